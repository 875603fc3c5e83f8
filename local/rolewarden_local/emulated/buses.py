"""Delivery of events to event buses of other regions and accounts, and policies of buses.

MiniStack drops an event whose target is a bus in another region or account. It ignores the `Policy` parameter of
PutPermission, and does not have AWS::Events::EventBusPolicy.

The role of the rule needs events:PutEvents on the bus, and the policy of a bus in another account must allow it. The
event keeps its account, region and ID. The second bus does not forward it to a third one. If an event cannot be
delivered, it goes to the dead-letter queue of the target. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rolewarden_local.emulated import access, targets
from rolewarden_local.emulated._ministack import eventbridge, provisioners, responses
from rolewarden_local.emulated.organization import ORGANIZATION
from rolewarden_local.emulated.patches import Patch

_HOP = "_ForwardedFromElsewhere"


def install_buses() -> None:
    """Add delivery to other regions and accounts, and bus policies in stacks. Call once a process."""
    Patch(
        eventbridge,
        "_invoke_target",
        _delivering(eventbridge._invoke_target),
        "MiniStack drops an event whose target is a bus of another region or account.",
    ).install()
    Patch(
        eventbridge,
        "_put_permission",
        _taking_a_policy(eventbridge._put_permission),
        "MiniStack ignores the Policy parameter of PutPermission.",
    ).install()
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": _policy_created,
        "update": lambda physical, _old, new, _stack: _policy_created(physical, new, _stack),
        "delete": _delete_policy,
    }


def _delivering(original: Callable[..., None]) -> Callable[..., None]:
    def invoke(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], view: Any = None) -> None:
        parts = target.get("Arn", "").split(":")
        is_bus = len(parts) == 6 and parts[2] == "events" and parts[5].startswith("event-bus/")
        if not is_bus or (parts[4], parts[3]) == (responses.get_account_id(), responses.get_region()):
            original(target, event, rule, view)
        elif not event.get(_HOP):
            _forward(target, event, rule)

    return invoke


def _forward(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any]) -> None:
    arn = target["Arn"]
    _, _, _, region, account, resource = arn.split(":")
    name = resource.removeprefix("event-bus/")
    role = access.taken_by("events.amazonaws.com", target.get("RoleArn", ""))
    context = {
        "events:source": event["Source"],
        "events:detail-type": event["DetailType"],
        "events:eventBusInvocation": "true",
    }
    sends = role is not None and access.role_may(role, "events:PutEvents", arn, context)
    if role is not None and account != responses.get_account_id():
        principal = {"aws:PrincipalArn": role["Arn"], "aws:PrincipalOrgID": ORGANIZATION.of(responses.get_account_id())}
        policy = eventbridge._event_bus_policies.get_scoped(account, region, name)
        sends = sends and access.resource_allows(policy, "events:PutEvents", arn, {**context, **principal})
    with responses.request_scope(account, region):
        eventbridge._ensure_default_bus()
        if sends and name in eventbridge._event_buses:
            eventbridge._dispatch_event({**event, "EventBusName": name, "_DispatchPath": [], _HOP: True})
            return
    targets.record_failure(target, event, rule)


def _taking_a_policy(original: Callable[..., Any]) -> Callable[..., Any]:
    """Answer PutPermission with its `Policy` parameter, which MiniStack ignores."""

    def put(data: Mapping[str, Any]) -> Any:
        if "Policy" not in data:
            return original(data)
        eventbridge._event_bus_policies[data.get("EventBusName", "default")] = json.loads(data["Policy"])
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, b"{}"

    return put


def _policy_created(logical_id: str, props: Mapping[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
    bus = props.get("EventBusName", "default")
    statement = {**props["Statement"], "Sid": props["StatementId"]}
    kept = eventbridge._event_bus_policies.get(bus) or {"Version": "2012-10-17", "Statement": []}
    others = [other for other in kept["Statement"] if other.get("Sid") != statement["Sid"]]
    eventbridge._event_bus_policies[bus] = {**kept, "Statement": [*others, json.loads(json.dumps(statement))]}
    return logical_id, {}


def _delete_policy(_physical: str, props: Mapping[str, Any]) -> None:
    eventbridge._remove_permission(
        {"EventBusName": props.get("EventBusName", "default"), "StatementId": props["StatementId"]}
    )
