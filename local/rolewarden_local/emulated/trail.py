"""CloudTrail's event history: LookupEvents, answered from the events that the endpoint keeps.

MiniStack answers LookupEvents from its own records. In these, every caller is an IAM user, parameters have the names of
the request, `responseElements` is always null, and the calls to moto's SageMaker are missing.

https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
The history has only the changing calls of IAM and SageMaker. It has them immediately, but CloudTrail takes minutes.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rolewarden_local.emulated._ministack import cloudtrail, responses
from rolewarden_local.emulated.cloudtrail import Event
from rolewarden_local.emulated.iam import Response

LARGEST_TRAIL_PAGE: Final = 50
_ATTRIBUTES: Final = frozenset({"AccessKeyId", "EventId", "EventName", "EventSource", "ReadOnly", "Username"})


def install_trail(events: Sequence[Event]) -> None:
    """Answer LookupEvents from `events`, a list with the oldest event first."""
    cloudtrail._DISPATCH["LookupEvents"] = lambda request: _lookup(events, request)


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
        if start <= entry["EventTime"] <= end and all(entry.get(key) == value for key, value in wanted.items())
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


def _entry(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "EventTime": datetime.fromisoformat(record["eventTime"]).timestamp(),
        "EventSource": record["eventSource"],
        "Username": _user_name(record["userIdentity"]),
        "AccessKeyId": record["userIdentity"]["accessKeyId"],
        "ReadOnly": "true" if record["readOnly"] else "false",
        "Resources": [],
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
