"""The account of a command: credentials, regions, and a served or new local AWS."""

import os
import re

import pytest
from rolewarden_cli import connect
from rolewarden_cli.main import app
from rolewarden_local.aws import LocalAws
from rolewarden_local.scenes.seed import seed
from typer.testing import CliRunner

from tests.commands import rolewarden

NAMES = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_PROFILE",
)


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A machine without configuration that is not an EC2 instance."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(connect, "LOCAL_ENDPOINT", "http://127.0.0.1:1")


def run(*arguments):
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "AWS credentials are missing: give --profile, or --local"),
        (["--profile", "nobody"], "(nobody) could not be found: list your profiles with `aws configure list-profiles`"),
    ],
)
def test_without_credentials_the_error_names_a_solution(nobody, arguments, says):
    result = run("status", "--region", "us-east-1", *arguments)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr


def test_without_a_region_the_error_names_a_solution(nobody, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    result = run("status")
    assert (result.exit_code, result.stderr) == (
        1, "rolewarden: the region is missing: give --region, or set AWS_DEFAULT_REGION\n"
    )  # fmt: skip


def test_an_error_is_one_line_without_the_notes_about_the_local_account_and_its_rules(nobody, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("explain", "Nobody", "amazon.nova-pro-v1:0", "--local")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1), result.output


def test_local_is_an_account_of_its_own_if_none_is_served(nobody):
    result = run("plan", "--local")
    assert result.exit_code == 2
    assert result.stderr == "rolewarden: local AWS in this process\n"
    assert "CanvasRosa" in result.stdout


def test_local_is_the_served_account_if_one_is_served(nobody, monkeypatch):
    aws = LocalAws.start()
    aws.reset()
    seed(aws)
    with aws.serving() as url:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setattr(connect, "LOCAL_ENDPOINT", url)
        result = run("plan", "--local", "--json")
    assert result.exit_code == 2
    assert result.stderr == f"rolewarden: local AWS at {url}\n"
    assert '"no-generative-ai": "created"' in result.stdout  # This account has no stage.
    assert "AWS_ENDPOINT_URL" not in os.environ


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--region", "xx"], "`xx` is not a region: give one such as us-east-1"),
        (["--region", "us-east-1", "--region", "frankfurt"], "`frankfurt` is not a region: give one such as us-east-1"),
        (["--assume-role", "Auditor"], "`Auditor` is not the ARN of a role: write arn:aws:iam::ACCOUNT:role/NAME"),
    ],
)
def test_an_invalid_region_or_role_is_an_error_of_one_line(world, arguments, says):
    result = rolewarden("plan", *arguments)
    assert (result.exit_code, result.stderr) == (1, f"rolewarden: {says}\n")


def test_without_guardrails_yaml_the_error_names_the_option(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = rolewarden("plan")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "guardrails.yaml does not exist: write it with `rolewarden init`, or name yours with --guardrails\n"
    )


CONFIGURATIONS = {
    "credential process that is missing": "credential_process = /nowhere/program",
    "credential process without JSON": "credential_process = echo nothing",
    "token file that is missing": "role_arn = arn:aws:iam::111122223333:role/x\nweb_identity_token_file = /nowhere",
    "source profile that is missing": "role_arn = arn:aws:iam::111122223333:role/x\nsource_profile = gone",
    "sso session that is missing": "sso_session = gone\nsso_account_id = 111122223333\nsso_role_name = x",
    "endpoint that is no URL": "aws_access_key_id = x\naws_secret_access_key = y\nendpoint_url = nonsense",
    "defaults mode": "aws_access_key_id = x\naws_secret_access_key = y\ndefaults_mode = nothing",
    "no section": "]",
}


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_mistake_in_the_configuration_of_aws_is_one_line_with_an_action(nobody, monkeypatch, tmp_path, text):
    file = tmp_path / "config"
    file.write_text(f"[default]\nregion = us-east-1\n{text}\n" if text != "]" else "[default")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1" if "nonsense" not in text else "nonsense")
    result = run("status")
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    [line] = result.stderr.splitlines()
    assert re.search(": (correct|list your profiles|check your network|check this file) ", line)
    assert ".: " not in line


@pytest.mark.parametrize(
    ("region", "suggests"), [("us-esat-1", "us-east-1"), ("eu-wset-1", "eu-west-1"), ("us-east-1", "")]
)
def test_a_region_that_is_nearly_right_is_named(nobody, monkeypatch, region, suggests):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    [line] = run("status", "--region", region).stderr.splitlines()
    assert ("did you mean" in line) == bool(suggests)
    assert f"did you mean `{suggests}`" in line or not suggests
