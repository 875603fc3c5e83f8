"""The functions' handlers, and their inputs from Lambda, SQS and CloudFormation."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import ROOT
from tests.world import World

STACK = "arn:aws:cloudformation:us-east-1:111122223333:stack/rolewarden/1f357b5b-3e36-838c-94a4-e671aa807118"


def load_function(name: str) -> ModuleType:
    """Load the module functions/NAME/app.py again, as at a cold start."""
    path = ROOT / "functions" / name / "app.py"
    spec = importlib.util.spec_from_file_location(f"function_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def function_handler(
    world: World, monkeypatch: pytest.MonkeyPatch, function: str, *, status: str = ""
) -> Callable[[dict[str, Any], Any], Any]:
    """Load the handler of a function as at a cold start, while CloudFormation has the stack in `status`.

    Without a status, the stack is in an update or, for DetachFunction, in a deletion.
    """
    status = status or {"detach": "DELETE_IN_PROGRESS"}.get(function, "UPDATE_IN_PROGRESS")
    monkeypatch.setattr("rolewarden.aws.Aws.stack_status", lambda _, stack: {STACK: status}[stack])
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    handler: Callable[[dict[str, Any], Any], Any] = load_function(function).handler
    return handler


def lambda_context(function: str, seconds_left: Callable[[], float] = lambda: 900) -> SimpleNamespace:
    """The context that Lambda passes to a function of this name. It calls `seconds_left` each time."""
    return SimpleNamespace(
        function_name=function,
        memory_limit_in_mb=256,
        invoked_function_arn=f"arn:aws:lambda:us-east-1:{ACCOUNT_ID}:function:{function}",
        aws_request_id="1",
        get_remaining_time_in_millis=lambda: seconds_left() * 1000,
    )


def sqs_event(*bodies: object) -> dict[str, Any]:
    """The event with which Lambda passes messages to a function. A body that is not a string becomes JSON."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": "handle",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:us-east-1:{ACCOUNT_ID}:WorkQueue",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def work_message(role: str) -> dict[str, str]:
    """A message that requests an evaluation of a role from ReconcileFunction."""
    return {"role": role, "role_account": ACCOUNT_ID, "account": ACCOUNT_ID}


def deployment_request(answers: SimpleNamespace, kind: str = "Create", **more: object) -> dict[str, object]:
    """CloudFormation's request to a custom resource. `answers` is the fixture that receives the answer."""
    return {
        "RequestType": kind,
        "ResponseURL": answers.url,
        "StackId": STACK,
        "RequestId": "r-1",
        "LogicalResourceId": "Guardrails",
        "ResourceType": "Custom::RolewardenGuardrails",
        **more,
    }


def deletion_request(answers: SimpleNamespace, on_delete: str) -> dict[str, object]:
    """CloudFormation's request during the deletion of a stack with the parameter OnDelete `on_delete`."""
    answers.setenv("ON_DELETE", on_delete)
    return deployment_request(answers, "Delete", PhysicalResourceId="kept")
