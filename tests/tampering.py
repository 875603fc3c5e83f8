"""Records of calls on Rolewarden's own resources, and the rules that match them.

The resources have the names of the template with all its resources, which are its logical IDs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from rolewarden_local.scenes.template import Template

from tests.conftest import sample
from tests.stacks import ACCOUNT

LAMBDA = f"arn:aws:lambda:us-east-1:{ACCOUNT}"
RULE = "rolewarden-SweepFunctionSchedule-Yt3Jq0vXw1Zk"
ALARM = "rolewarden-HeartbeatAlarm-1K2L3M4N5O6P"
SUBSCRIPTION = f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic:5be8a1f4"
KEY = {"resources": [{"accountId": ACCOUNT, "ARN": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/AlarmKey"}]}
STACK = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/rolewarden/1f357b5b-3e36-838c-94a4-e671aa807118"


def queue(name: str) -> str:
    """The address of a queue."""
    return f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{name}"


def record(service: str, call: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """An event as EventBridge delivers it."""
    event = sample("self_purge_queue")
    event["source"] = f"aws.{service}"
    event["detail"] |= {
        "eventSource": f"{service}.amazonaws.com",
        "eventName": call,
        "responseElements": None,
        **changes,
    }
    return event


@cache
def rules(template: Template, bus: str = "default") -> dict[str, Any]:
    """The patterns of a bus's rules that send to AlertFunction or, in a forwarder, to the central account."""
    return {
        name.removeprefix("AlertFunction"): rule["EventPattern"]
        for name, rule in template.resources("AWS::Events::Rule").items()
        if "EventPattern" in rule and rule.get("EventBusName", "default") == bus
        if any(target["Arn"].endswith((":AlertFunction", ":event-bus/CentralBus")) for target in rule["Targets"])
    }
