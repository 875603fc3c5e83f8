"""Calls that CloudFormation makes for the resources of a stack, as the events that EventBridge delivers for them.

MiniStack makes the resources of a stack by functions of its own, so that no record of a call is left.

CloudTrail records the service that calls in `sourceIPAddress`, `userAgent` and `userIdentity.invokedBy`
(https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html,
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html). A record does
not name the stack. This module has the calls for the types of resources that Rolewarden watches.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rolewarden_local.emulated._ministack import REGION, provisioners, responses
from rolewarden_local.emulated.cloudtrail import Event

CLOUDFORMATION: Final = "cloudformation.amazonaws.com"


@dataclass
class Recording:
    """Whether the calls are recorded. They invoke AlertFunction once each, and every copy of it is a process here."""

    on: bool = False


RECORDING: Final = Recording()

Recorded = tuple[str, str, dict[str, Any]]
"""The service, the event name and the request parameters of a call."""

_Emit = Callable[[Event], None]


def install_stack_calls(emit: _Emit) -> None:
    """Hand each call for a resource of a stack to `emit`. Call once a process, after every other change of handlers."""
    for kind, calls in _CALLS.items():
        handlers = provisioners._RESOURCE_HANDLERS[kind]
        handlers["create"] = _creating(handlers["create"], calls, emit)
        if "update" in handlers:
            handlers["update"] = _updating(handlers["update"], calls, emit)
        handlers["delete"] = _deleting(handlers["delete"], calls, emit)


def stack_call(service: str, name: str, parameters: Mapping[str, Any], account: str, region: str) -> Event:
    """The event of a call that CloudFormation makes with the rights of a person in `account`."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    region = REGION if service == "iam" else region
    identity = {
        "type": "IAMUser",
        "principalId": "AIDADEPLOYER",
        "arn": f"arn:aws:iam::{account}:user/deployer",
        "accountId": account,
        "accessKeyId": "AKIADEPLOYER00000000",
        "userName": "deployer",
        "invokedBy": CLOUDFORMATION,
    }
    detail = {
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventTime": now,
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": CLOUDFORMATION,
        "userAgent": CLOUDFORMATION,
        "requestParameters": dict(parameters),
        "responseElements": None,
        "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "AWS API Call via CloudTrail",
        "source": f"aws.{service}",
        "account": account,
        "time": now,
        "region": region,
        "resources": [],
        "detail": detail,
    }


def _creating(create: Callable[..., Any], calls: _Calls, emit: _Emit) -> Callable[..., Any]:
    def create_and_record(logical: str, props: Mapping[str, Any], stack: str, *more: Any) -> Any:
        made = create(logical, props, stack, *more)
        _record(calls("create", made[0], props), emit)
        return made

    return create_and_record


def _updating(update: Callable[..., Any], calls: _Calls, emit: _Emit) -> Callable[..., Any]:
    def update_and_record(physical: str, old: Any, new: Mapping[str, Any], *more: Any) -> Any:
        made = update(physical, old, new, *more)
        _record(calls("update", made[0], new), emit)
        return made

    return update_and_record


def _deleting(delete: Callable[..., Any], calls: _Calls, emit: _Emit) -> Callable[..., Any]:
    def delete_and_record(physical: str, props: Mapping[str, Any], *more: Any) -> Any:
        deleted = delete(physical, props, *more)
        _record(calls("delete", physical, props or {}), emit)
        return deleted

    return delete_and_record


def _record(calls: Iterable[Recorded], emit: _Emit) -> None:
    for service, name, parameters in calls if RECORDING.on else ():
        emit(stack_call(service, name, parameters, responses.get_account_id(), responses.get_region()))


_Calls = Callable[[str, str, Mapping[str, Any]], Iterator[Recorded]]


def _of_role(what: str, role: str, props: Mapping[str, Any]) -> Iterator[Recorded]:
    trust = json.dumps(props.get("AssumeRolePolicyDocument", {}))
    if what == "create":
        path = props.get("Path", "/")
        yield "iam", "CreateRole", {"roleName": role, "path": path, "assumeRolePolicyDocument": trust}
    if what == "update":
        yield "iam", "UpdateAssumeRolePolicy", {"roleName": role, "policyDocument": trust}
    for policy in filter(lambda found: isinstance(found, Mapping), props.get("Policies", ())):
        named = {"roleName": role, "policyName": policy["PolicyName"]}
        if what == "delete":
            yield "iam", "DeleteRolePolicy", named
        else:
            yield "iam", "PutRolePolicy", {**named, "policyDocument": json.dumps(policy["PolicyDocument"])}
    if what == "delete":
        yield "iam", "DeleteRole", {"roleName": role}


def _of_policy(what: str, _name: str, props: Mapping[str, Any]) -> Iterator[Recorded]:
    call = "DeleteRolePolicy" if what == "delete" else "PutRolePolicy"
    for role in props.get("Roles", ()):
        document = json.dumps(props.get("PolicyDocument", {}))
        more = {} if what == "delete" else {"policyDocument": document}
        yield "iam", call, {"roleName": role, "policyName": props["PolicyName"], **more}


def _of_function(what: str, name: str, _props: Mapping[str, Any]) -> Iterator[Recorded]:
    calls = {
        "create": ("CreateFunction20150331",),
        "update": ("UpdateFunctionCode20150331v2", "UpdateFunctionConfiguration20150331v2"),
        "delete": ("DeleteFunction20150331",),
    }
    for call in calls[what]:
        yield "lambda", call, {"functionName": name}


def _of_queue(what: str, url: str, _props: Mapping[str, Any]) -> Iterator[Recorded]:
    call = {"create": "CreateQueue", "update": "SetQueueAttributes", "delete": "DeleteQueue"}[what]
    yield "sqs", call, {"queueName": url.rsplit("/", 1)[-1]} if what == "create" else {"queueUrl": url}


def _of_queue_policy(_what: str, _name: str, props: Mapping[str, Any]) -> Iterator[Recorded]:
    for url in props.get("Queues", ()):
        yield "sqs", "SetQueueAttributes", {"queueUrl": url}


def _of_rule(what: str, name: str, _props: Mapping[str, Any]) -> Iterator[Recorded]:
    name = name.rsplit("|", 1)[-1]
    if what == "delete":
        yield "events", "RemoveTargets", {"rule": name}
        yield "events", "DeleteRule", {"name": name}
    else:
        yield "events", "PutRule", {"name": name}
        yield "events", "PutTargets", {"rule": name}


def _of_alarm(what: str, name: str, _props: Mapping[str, Any]) -> Iterator[Recorded]:
    if what == "delete":
        yield "monitoring", "DeleteAlarms", {"alarmNames": [name]}
    else:
        yield "monitoring", "PutMetricAlarm", {"alarmName": name}


_CALLS: Final[Mapping[str, _Calls]] = {
    "AWS::IAM::Role": _of_role,
    "AWS::IAM::Policy": _of_policy,
    "AWS::Lambda::Function": _of_function,
    "AWS::SQS::Queue": _of_queue,
    "AWS::SQS::QueuePolicy": _of_queue_policy,
    "AWS::Events::Rule": _of_rule,
    "AWS::CloudWatch::Alarm": _of_alarm,
}
