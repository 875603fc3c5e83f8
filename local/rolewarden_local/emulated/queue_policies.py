"""Resource policies of SQS queues and SNS topics, and the queues that can be sources of a dead-letter queue.

MiniStack evaluates the policies only under AUTH, and never for EventBridge's deliveries. Here they decide next to the
caller's own policies: a deny of either denies, in the same account an allow of one is enough, and a caller of another
account needs both. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

EventBridge and Lambda are asked, too, if the queue has a policy. EventBridge comes as a service with the rule as
aws:SourceArn, and Lambda sends a failed event as the function's role. SQS itself moves messages to a dead-letter queue,
so RedriveAllowPolicy is asked when a queue names its dead-letter queue (SQS API Reference, CreateQueue).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rolewarden.packing import Document

from rolewarden_local.emulated import access
from rolewarden_local.emulated._ministack import eventbridge, lambda_svc, responses, sns, sqs
from rolewarden_local.emulated.judge import Decision, Values, judge
from rolewarden_local.emulated.patches import Patch

SEND = "sqs:SendMessage"


def install_queue_policies() -> None:
    """Let the policies of queues decide on deliveries of EventBridge and Lambda. Call once a process."""
    why = "MiniStack delivers to a queue whose policy does not allow it."
    Patch(eventbridge, "_invoke_target", _asking(eventbridge._invoke_target), why).install()
    Patch(lambda_svc, "_route_async_failure", _as_the_function(lambda_svc._route_async_failure), why).install()
    # MiniStack does not ask the RedriveAllowPolicy of a dead-letter queue.
    for operation in ("CreateQueue", "SetQueueAttributes"):
        sqs._HANDLERS[operation] = _with_allowed_source(sqs._HANDLERS[operation])


def policy_of(arn: str) -> Document | None:
    """The policy of the queue or topic with this ARN; None if it has none."""
    if arn == "*":
        return None
    named = sns._topic_by_arn_any_scope(arn) if arn.split(":")[2] == "sns" else sqs._queue_by_arn(arn)
    text = named["attributes"].get("Policy") if named else None
    document: Document | None = json.loads(text) if text else None
    return document


def _with_allowed_source(original: Callable[..., Any]) -> Callable[..., Any]:
    def act(data: Mapping[str, Any], url: str) -> Any:
        text = (data.get("Attributes") or {}).get("RedrivePolicy")
        named = str(data.get("QueueName") or str(data.get("QueueUrl", url)).rstrip("/").rpartition("/")[2])
        if text:
            dead = json.loads(str(text))["deadLetterTargetArn"]
            known = sqs._queue_by_arn(dead)
            allowed = json.loads((known or {"attributes": {}})["attributes"].get("RedriveAllowPolicy") or "{}")
            source = f"{dead.rpartition(':')[0]}:{named}"
            permission = allowed.get("redrivePermission", "allowAll")
            if permission != "allowAll" and source not in allowed.get("sourceQueueArns", ()):
                raise sqs._Err("InvalidParameterValue", f"{dead} does not allow {source} as a source queue.", 400)
        return original(data, url)

    return act


def decision(policy: Document, principal: str, action: str, arn: str, keys: Mapping[str, Values]) -> Decision:
    """The decision of a queue's policy on a request of `principal`: an IAM role or user, or the name of a service.

    A statement whose principal is an account gives nobody a permission by itself, because the policies of the caller
    must allow the call, too. Its deny applies to every caller of the account.
    """
    statements = [
        {name: value for name, value in statement.items() if name != "Principal"}
        for statement in policy["Statement"]
        if _names(statement.get("Principal"), principal, denies=statement["Effect"] == "Deny")
    ]
    if not statements:
        return "implicitDeny"
    return judge({"queue": {"Version": "2012-10-17", "Statement": statements}}, action, arn, keys).decision


def _names(principal: Any, caller: str, *, denies: bool) -> bool:
    if principal in ("*", {"AWS": "*"}):
        return True
    named = principal if isinstance(principal, dict) else {}
    listed = [item for kind in ("AWS", "Service") for item in _listed(named.get(kind, []))]
    account = caller.split(":")[4] if caller.startswith("arn:") else ""
    of_account = {account, f"arn:aws:iam::{account}:root"} if account and denies else set()
    return caller in listed or not of_account.isdisjoint(listed)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _asking(original: Callable[..., None]) -> Callable[..., None]:
    def invoke(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], view: Any = None) -> None:
        arn = target.get("Arn", "")
        policy = policy_of(arn) if arn.split(":")[2:3] == ["sqs"] else None
        if policy is not None:
            keys = {
                "aws:PrincipalIsAWSService": "true",
                "aws:SourceArn": rule["Arn"],
                "aws:SourceAccount": responses.get_account_id(),
            }
            if decision(policy, "events.amazonaws.com", SEND, arn, keys) != "allowed":
                return
        original(target, event, rule, view)

    return invoke


def _as_the_function(original: Callable[..., None]) -> Callable[..., None]:
    def send(target_arn: str, func_name: str, event: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        policy = policy_of(target_arn) if target_arn.split(":")[2:3] == ["sqs"] else None
        # The stack may have deleted the function since.
        arn = lambda_svc._functions.get(func_name, {}).get("config", {}).get("Role", "")
        role = access.role(arn) if arn else None
        if policy is not None and role is not None:
            keys = {
                "aws:PrincipalArn": role["Arn"],
                "aws:PrincipalAccount": role["Arn"].split(":")[4],
                "aws:PrincipalIsAWSService": "false",
            }
            if decision(policy, role["Arn"], SEND, target_arn, keys) == "explicitDeny":
                return
        original(target_arn, func_name, event, result)

    return send
