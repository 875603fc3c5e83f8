"""`python -m rolewarden_local serve`, and serving in a test's process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import boto3
import pytest
from rolewarden_local.aws import LocalAws

pytestmark = pytest.mark.long

CLIENT: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture
def server():
    command = [sys.executable, "-m", "rolewarden_local", "serve", "--port", "0", "--stage"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_a_seeded_account_until_it_is_terminated(server, number):
    said = server.stdout.readline()
    assert said.startswith("ready: "), "no log line of a function precedes it"
    url = next(word for word in said.split() if word.startswith("http://"))
    with urllib.request.urlopen(f"{url}/_ministack/health") as health:  # noqa: S310
        assert json.load(health)["services"]
    # The clients run in another process, because other tests may have connected every client of this one.
    ask = f"import boto3; print(boto3.client('sagemaker', endpoint_url={url!r}, **{CLIENT}).list_domains()['Domains'])"
    domains = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"'DomainName': '(\w+)'", domains) == ["analytics", "research"]
    server.send_signal(number)
    rest, _ = server.communicate(timeout=15)
    assert (server.returncode, rest) == (0, "")


def test_a_process_can_serve_twice_and_queue_urls_have_the_current_port():
    local = LocalAws.start()
    local.reset()
    for name in ("first", "second"):
        with local.serving() as url:
            assert os.environ["AWS_ENDPOINT_URL"] == url
            queue = boto3.client("sqs", endpoint_url=url, **CLIENT).create_queue(QueueName=name)["QueueUrl"]
            assert queue.split("/")[2].split(":")[1] == url.split(":")[2]
    assert os.environ.get("AWS_ENDPOINT_URL") != url


def test_a_taken_port_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        LocalAws.start().serving(port=taken.getsockname()[1]).__enter__()


def test_clients_in_process_and_over_http_reach_the_same_account():
    local = LocalAws.start()
    local.reset()
    with local.connected():
        boto3.client("iam", **CLIENT).create_user(UserName="alice")
    with local.serving() as url:
        users = boto3.client("iam", endpoint_url=url, **CLIENT).list_users()["Users"]
    assert [user["UserName"] for user in users] == ["alice"]
