"""CloudTrail's event history and trails: LookupEvents, and the events that the trails of an account select.

MiniStack answers LookupEvents from its own records. In these, every caller is an IAM user, parameters have the names of
the request, `responseElements` is always null, and the calls to moto's SageMaker are missing. It keeps trails and their
selectors, but knows no trail of another account.

https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
The history has only the changing calls of IAM and SageMaker, and the calls of models. It has them immediately, but
CloudTrail takes minutes. It does not depend on trails, but EventBridge gets an event only if a trail that logs selects
it:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html

The accounts of an organization see the organization's trails in DescribeTrails. CloudTrail does not answer their
questions about such a trail: https://github.com/turbot/steampipe-plugin-aws/issues/577
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rolewarden_local.emulated._ministack import cloudtrail, responses
from rolewarden_local.emulated.cloudtrail import Event
from rolewarden_local.emulated.iam import Response
from rolewarden_local.emulated.organization import ORGANIZATION

LARGEST_TRAIL_PAGE: Final = 50
_ATTRIBUTES: Final = frozenset(
    {"AccessKeyId", "EventId", "EventName", "EventSource", "ReadOnly", "ResourceName", "ResourceType", "Username"}
)
_RESOURCES: Final = {
    "policyArn": "AWS::IAM::Policy",
    "policyName": "AWS::IAM::Policy",
    "roleName": "AWS::IAM::Role",
    "userName": "AWS::IAM::User",
}
"""The parameters of calls to IAM that name a resource, and the type of the resource."""


def install_trail(events: Sequence[Event]) -> None:
    """Answer LookupEvents from `events`, a list with the oldest event first, and show the organization's trails."""
    cloudtrail._DISPATCH["LookupEvents"] = lambda request: _lookup(events, request)
    for operation in ("CreateTrail", "UpdateTrail"):
        cloudtrail._DISPATCH[operation] = _with_global_events(cloudtrail._DISPATCH[operation])
    cloudtrail._DISPATCH["DescribeTrails"] = _with_trails_of_organization(cloudtrail._DISPATCH["DescribeTrails"])
    for operation, name in (("GetTrailStatus", "Name"), ("GetEventSelectors", "TrailName")):
        cloudtrail._DISPATCH[operation] = _of_the_own_account(cloudtrail._DISPATCH[operation], name)


def is_delivered(event: Event) -> bool:
    """Whether EventBridge gets this event: a trail that logs covers the region and selects the event.

    IAM's events are global service events. They are in the Region us-east-1 only, and a trail of another Region alone
    does not get them:
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html#cloudtrail-concepts-global-service-events
    """
    record = event["detail"]
    for account, region, name, trail in _covering_trails(event["account"], event["region"]):
        is_global = record["eventSource"] == "iam.amazonaws.com"
        if not trail.get("IsLogging") or (is_global and not trail["IncludeGlobalServiceEvents"]):
            continue
        default = cloudtrail._DEFAULT_EVENT_SELECTORS
        selectors = cloudtrail._event_selectors.get_scoped(account, region, name, default)
        if any(_selects(selector, record) for selector in selectors):
            return True
    return False


def _covering_trails(account: str, region: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """The trails that cover a region of an account: the trail's account, home region and name, and the trail."""
    for (owner, home, name), trail in cloudtrail._trails.all_items():
        is_covered = owner == account or (trail.get("IsOrganizationTrail") and account in ORGANIZATION.members())
        if is_covered and (home == region or trail.get("IsMultiRegionTrail")):
            yield owner, home, name, trail


def _selects(selector: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    if "FieldSelectors" in selector:
        return all(_matches(field, record) for field in selector["FieldSelectors"])
    kinds = {"All", "ReadOnly" if record["readOnly"] else "WriteOnly"}
    is_excluded = record["eventSource"] in selector.get("ExcludeManagementEventSources", ())
    return selector["IncludeManagementEvents"] and selector["ReadWriteType"] in kinds and not is_excluded


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "Equals": str.__eq__,
    "StartsWith": str.startswith,
    "EndsWith": str.endswith,
}


def _matches(field: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a field selector matches a record. A positive operator needs one of its values, a negative one none.

    https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
    """
    value = record.get(field["Field"], "")
    value = str(value).lower() if isinstance(value, bool) else value
    return all(
        any(match(value, wanted) for wanted in field.get(operator, ()))
        if operator in field
        else not any(match(value, unwanted) for unwanted in field.get(f"Not{operator}", ()))
        for operator, match in _OPERATORS.items()
    )


_Handler = Callable[[dict[str, Any]], Response]


def _with_global_events(original: _Handler) -> _Handler:
    """Refuse a trail of all Regions that leaves out global service events.

    https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_UpdateTrail.html,
    InvalidParameterCombinationException
    """

    def handle(request: dict[str, Any]) -> Response:
        found = cloudtrail._find_visible_trail(request.get("Name", ""))[2] or {}
        asked = {"IncludeGlobalServiceEvents": True, "IsMultiRegionTrail": False} | found | request
        if asked["IsMultiRegionTrail"] and not asked["IncludeGlobalServiceEvents"]:
            return _refused("InvalidParameterCombinationException", "Multi-Region trail must include global services")
        return original(request)

    return handle


def _with_trails_of_organization(original: _Handler) -> _Handler:
    """DescribeTrails, with the trails of the organization for its accounts.

    AWS promises no order. They come first, so that a caller that asks about the first trail only gets a refusal.
    """

    def handle(request: dict[str, Any]) -> Response:
        status, headers, body = original(request)
        answer = json.loads(body)
        account, region = responses.get_account_id(), responses.get_region()
        if status == 200 and not request.get("trailNameList"):
            of_organization = [
                cloudtrail._trail_view(trail)
                for owner, home, _, trail in _covering_trails(account, region)
                if owner != account and (home == region or request.get("includeShadowTrails", True))
            ]
            answer["trailList"] = [*of_organization, *answer["trailList"]]
        return status, headers, json.dumps(answer).encode()

    return handle


def _of_the_own_account(original: _Handler, name: str) -> _Handler:
    """An operation that refuses a trail of another account, whose ARN is the parameter `name`."""

    def handle(request: dict[str, Any]) -> Response:
        parts = request.get(name, "").split(":")
        account = responses.get_account_id()
        if len(parts) > 4 and parts[4] != account:
            return _refused("TrailNotFoundException", f"Unknown trail: {request[name]} for the user: {account}")
        return original(request)

    return handle


def _lookup(events: Sequence[Event], request: Mapping[str, Any]) -> Response:
    attributes = request.get("LookupAttributes", ())
    wanted = {attribute["AttributeKey"]: attribute["AttributeValue"] for attribute in attributes}
    size = request.get("MaxResults", LARGEST_TRAIL_PAGE)
    start, end = request.get("StartTime", float("-inf")), request.get("EndTime", float("inf"))
    if len(attributes) > 1 or not wanted.keys() <= _ATTRIBUTES:
        told = f"One lookup attribute, of {', '.join(sorted(_ATTRIBUTES))}"
        return _refused("InvalidLookupAttributesException", told)
    if not 1 <= size <= LARGEST_TRAIL_PAGE:
        return _refused("InvalidMaxResultsException", f"MaxResults is from 1 to {LARGEST_TRAIL_PAGE}")
    if start > end:
        return _refused("InvalidTimeRangeException", "StartTime is after EndTime")

    found = (
        entry
        for entry in _entries(events)
        if start <= entry["EventTime"] <= end and all(_has(entry, key, value) for key, value in wanted.items())
    )
    if "NextToken" in request and not _passed(found, request["NextToken"]):
        return _refused("InvalidNextTokenException", "The token is no longer valid")
    page = list(itertools.islice(found, size))
    rest = next(found, None)
    answer: dict[str, Any] = {"Events": page}
    if rest:
        answer["NextToken"] = base64.b64encode(page[-1]["EventId"].encode()).decode()
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()


def _passed(found: Iterator[Mapping[str, Any]], token: str) -> bool:
    """Continue after the last entry of the previous page. New events therefore do not shift the pages."""
    try:
        last = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return any(entry["EventId"] == last for entry in found)


def _entries(events: Sequence[Event]) -> Iterator[dict[str, Any]]:
    """The records of the caller's account in the caller's region, newest first."""
    account, region = responses.get_account_id(), responses.get_region()
    for event in reversed(events):
        if (event["account"], event["region"]) == (account, region):
            yield _entry(event["detail"])


def _has(entry: Mapping[str, Any], key: str, value: str) -> bool:
    if key.startswith("Resource"):
        return any(resource[key] == value for resource in entry["Resources"])
    return bool(entry.get(key) == value)


def _entry(record: Mapping[str, Any]) -> dict[str, Any]:
    parameters = record.get("requestParameters") or {}
    named = _RESOURCES if record["eventSource"] == "iam.amazonaws.com" else {}
    return {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "EventTime": datetime.fromisoformat(record["eventTime"]).timestamp(),
        "EventSource": record["eventSource"],
        "Username": _user_name(record["userIdentity"]),
        "AccessKeyId": record["userIdentity"]["accessKeyId"],
        "ReadOnly": "true" if record["readOnly"] else "false",
        "Resources": [
            {"ResourceType": kind, "ResourceName": parameters[name]}
            for name, kind in named.items()
            if name in parameters
        ],
        "CloudTrailEvent": json.dumps(record),
    }


def _user_name(identity: Mapping[str, Any]) -> str:
    """A user's name, the session name of an assumed role, or `root` for the account's root user."""
    if identity["type"] == "AssumedRole":
        return str(identity["arn"].rsplit("/", 1)[-1])
    return str(identity.get("userName", "root"))


def _refused(code: str, message: str) -> Response:
    body = json.dumps({"__type": code, "message": message}).encode()
    return 400, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code}, body
