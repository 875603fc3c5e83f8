"""A stack deployed by the real `sam deploy`: its rule, role, layers, queue and custom resource work as in AWS."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from boto3.dynamodb.conditions import Key
from rolewarden_local.aws import LocalAws
from rolewarden_local.scenes.seed import CANVAS_POLICY, TRUST, seed

pytestmark = pytest.mark.deployed
STACK = Path(__file__).parent / "stack"
SAM = Path(__file__).parents[2] / ".venv-sam" / "bin" / "sam"
T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = 10) -> T:
    """Wait until `look` finds something, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def deployed():
    local = LocalAws.start()
    local.reset()
    with local.serving():
        people = seed(local).access_keys
        options = ["--stack-name", "guard", "--resolve-s3", "--capabilities", "CAPABILITY_IAM"]
        command: list[str | Path] = [SAM, "deploy", *options, "--no-confirm-changeset", "--no-progressbar"]
        environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
        ran = subprocess.run(
            command, cwd=STACK, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        [stack] = boto3.client("cloudformation", "us-east-1").describe_stacks(StackName="guard")["Stacks"]
        yield local, people, {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        local.reset()


def notes(outputs: dict[str, str], role: str) -> list[dict]:
    table = boto3.resource("dynamodb", "us-east-1").Table(outputs["Table"])
    condition = Key("role").eq(role)
    return table.query(IndexName="by-role", KeyConditionExpression=condition)["Items"]


def test_the_custom_resource_answers(deployed):
    _, _, outputs = deployed
    assert outputs["Greeting"] == "Hello, world"


def test_the_function_has_a_role_under_its_path(deployed):
    _, _, outputs = deployed
    assert outputs["Role"].startswith("arn:aws:iam::111122223333:role/rolewarden/guard-GuardRole-")


def test_a_function_remediates_drift_by_an_api_call_as_its_own_role(deployed):
    local, people, outputs = deployed
    local.events.clear()
    iam = people["mallory"].session().client("iam")
    iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=CANVAS_POLICY)

    eventually(lambda: CANVAS_POLICY in [found["PolicyArn"] for found in attached(iam, "CanvasOmar")])
    drift, repair = (event["detail"] for event in local.events)
    assert drift["userIdentity"]["arn"] == "arn:aws:iam::111122223333:user/mallory"
    assert repair["eventName"] == "AttachRolePolicy"
    assert repair["userIdentity"]["type"] == "AssumedRole"
    assert repair["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == outputs["Role"]

    # The note comes through the delayed queue. The rule ignores the function's own call, so there is only one note.
    [note] = eventually(lambda: notes(outputs, "CanvasOmar"))
    assert (note["event"], note["layers"]) == ("DetachRolePolicy", "one two")


def attached(iam: Any, role: str) -> list[dict]:
    return iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]


def test_every_role_is_remediated_after_a_burst_of_drift(deployed):
    iam = boto3.client("iam", "us-east-1")
    names = [f"burst{number}" for number in range(8)]
    for name in names:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        iam.attach_role_policy(RoleName=name, PolicyArn=CANVAS_POLICY)
    for name in names:
        iam.detach_role_policy(RoleName=name, PolicyArn=CANVAS_POLICY)
    for name in names:
        eventually(partial(attached, iam, name))


def test_an_event_that_the_function_cannot_handle_ends_in_its_failure_queue(deployed):
    local, _, outputs = deployed
    iam, sqs = boto3.client("iam", "us-east-1"), boto3.client("sqs", "us-east-1")
    iam.create_role(RoleName="poison", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="poison", PolicyArn=CANVAS_POLICY)
    [message] = eventually(lambda: sqs.receive_message(QueueUrl=outputs["Failed"]).get("Messages"))
    failed = json.loads(message["Body"])
    assert failed["requestPayload"] == local.events[-1]
    assert failed["responsePayload"]["errorMessage"] == "poisoned"


@pytest.mark.parametrize(("loop", "runs"), [("Terminate", 16), ("Allow", 20)])
def test_a_function_that_sends_to_its_own_queue_is_stopped_after_16_invocations_unless_loops_are_allowed(
    deployed, loop, runs
):
    local, _, outputs = deployed
    sqs, functions = boto3.client("sqs", "us-east-1"), boto3.client("lambda", "us-east-1")
    counts = ["", "NotVisible", "Delayed"]
    waiting = {
        "QueueUrl": outputs["Work"],
        "AttributeNames": [f"ApproximateNumberOfMessages{count}" for count in counts],
    }
    functions.put_function_recursion_config(FunctionName=outputs["Guard"], RecursiveLoop=loop)
    sqs.purge_queue(QueueUrl=outputs["Failed"])
    # A message of an earlier test, in the same batch, would be a part of the chain.
    eventually(lambda: not any(map(int, sqs.get_queue_attributes(**waiting)["Attributes"].values())))
    table = boto3.resource("dynamodb", "us-east-1").Table(outputs["Table"])
    for row in notes(outputs, "hops"):
        table.delete_item(Key={"id": row["id"]})
    sqs.send_message(QueueUrl=outputs["Work"], MessageBody=json.dumps({"hops": 19}), DelaySeconds=0)
    if loop == "Terminate":
        [message] = eventually(lambda: sqs.receive_message(QueueUrl=outputs["Failed"]).get("Messages"))
        assert json.loads(message["Body"]) == {"hops": 3}
    eventually(lambda: len(notes(outputs, "hops")) >= runs)
    assert len(notes(outputs, "hops")) == runs
    assert local.longest_chains[outputs["Guard"]] == runs
