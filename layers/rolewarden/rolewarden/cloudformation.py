"""Answers to CloudFormation's custom resource requests.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-responses.html
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from rolewarden.record import logger

PHYSICAL_ID = "rolewarden-guardrails"
"""There is one such resource a stack, and its id never changes: a new id would make CloudFormation delete the old."""


def is_request(event: Mapping[str, Any]) -> bool:
    """Whether `event` waits for an answer at its ResponseURL."""
    return "RequestType" in event and "ResponseURL" in event


def answered(event: Mapping[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do `work` for a request and tell CloudFormation how it went, also when it raises.

    On delete nothing is done: the policies stay where they are attached, a removed stack bares no role.
    """
    reason = ""
    result: dict[str, Any] = {}
    if event["RequestType"] != "Delete":
        try:
            result = work()
        except Exception as error:  # CloudFormation would wait an hour for an answer that never came
            logger.exception("a deployment's request failed")
            reason = f"{type(error).__name__}: {error}"
    answer = {
        "Status": "FAILED" if reason else "SUCCESS",
        "Reason": reason[:1000],
        "PhysicalResourceId": event.get("PhysicalResourceId") or PHYSICAL_ID,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    request = urllib.request.Request(  # noqa: S310 - the URL is CloudFormation's
        event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        pass
    return {**result, "status": answer["Status"]}
