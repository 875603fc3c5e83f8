"""Events in files, in the forms in which people have them.

A file holds one JSON value or several (JSON lines), and can be compressed with gzip. A value is one of these:

- an event of EventBridge, a record of CloudTrail, or a list of these.
- the `Records` of a trail's log file.
- the `Events` that `aws cloudtrail lookup-events` prints, or the `Messages` that `aws sqs receive-message` prints.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rolewarden.errors import RolewardenError

DETAIL_TYPES = {
    "AwsApiCall": "AWS API Call via CloudTrail",
    "AwsServiceEvent": "AWS Service Event via CloudTrail",
    "AwsConsoleAction": "AWS Console Action via CloudTrail",
    "AwsConsoleSignIn": "AWS Console Sign In via CloudTrail",
    "AwsCloudTrailInsight": "AWS Insight via CloudTrail",
}
"""The detail type of EventBridge by the `eventType` of a record,
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html."""

_LISTS = {"Records": "", "Events": "CloudTrailEvent", "Messages": "Body"}
"""The lists in an object, with the key under which an entry of the list has its event as text."""

_GZIP = b"\x1f\x8b"

_ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""The encoding by the first bytes: Windows PowerShell redirects output to a file as UTF-16."""


class UnusableInputError(RolewardenError):
    """The command cannot use an input file; the message has the cause and the correction."""


def read_text(path: Path) -> str:
    """The text of a file, also of a compressed one, without its byte order mark. Raises UnusableInputError."""
    try:
        raw = path.read_bytes()
        if raw.startswith(_GZIP):
            raw = gzip.decompress(raw)
        return raw.decode(_ENCODINGS.get(raw[:2], "utf-8-sig"))
    except UnicodeDecodeError:
        raise UnusableInputError(f"{path}: is not text: name a JSON file, see folder events") from None
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or error
        raise UnusableInputError(f"{path}: cannot be read: {why}: name a readable file") from None


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a file in EventBridge's format, in their order.

    A record without `recipientAccountId` or `awsRegion` becomes an event without account or region. Raises
    UnusableInputError, which names the first entry that is no event, and the field that it lacks.
    """
    entries = [entry for value in values_in(path, read_text(path)) for entry in entries_in(path, value)]
    if not entries:
        raise UnusableInputError(f"{path}: has no event: name a file with an event, a record, or a trail's Records")
    several = len(entries) > 1
    return [_event(f"{path}: entry {number}" if several else str(path), it) for number, it in enumerate(entries, 1)]


def values_in(path: Path, text: str) -> Iterator[Any]:
    """The JSON values in a text, one after the other. Raises UnusableInputError, which names the file `path`."""
    decoder, place = json.JSONDecoder(), 0
    # No copy of the rest is made: a file can have a hundred thousand values.
    while (place := _after_space(text, place)) < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except ValueError as error:
            raise UnusableInputError(
                f"{path}: is not valid JSON: {error}: name a JSON file, or one with a JSON object on each line"
            ) from None
        except RecursionError:
            raise UnusableInputError(
                f"{path}: is nested too deeply: name a file with an event, a record, or a trail's Records"
            ) from None
        yield value


def _after_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def entries_in(path: Path, value: Any) -> Iterator[Any]:
    """The events and records in a value, which may be a list of them. Raises as `values_in`."""
    if isinstance(value, list):
        for each in value:
            yield from entries_in(path, each)
        return
    held = next((key for key in _LISTS if isinstance(value, dict) and isinstance(value.get(key), list)), "")
    if not held:
        yield value
        return
    for each in value[held]:
        inside = each.get(_LISTS[held]) if isinstance(each, dict) else None
        if isinstance(inside, str):
            for event in values_in(path, inside):
                yield from entries_in(path, event)
        else:
            yield each


def _event(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnusableInputError(f"{place}: is no JSON object: give an event of EventBridge or a record of CloudTrail")
    if "detail-type" in value or "detail" in value:
        if not isinstance(value.get("detail-type"), str) or not isinstance(value.get("detail"), dict):
            lacking = "detail" if isinstance(value.get("detail-type"), str) else "detail-type"
            raise UnusableInputError(f"{place}: lacks `{lacking}`: give the whole event, as EventBridge delivers it")
        return value
    for name in ("eventSource", "eventName"):
        if not isinstance(value.get(name), str):
            raise UnusableInputError(f"{place}: lacks `{name}`: give the whole record, as CloudTrail writes it")
    return _delivered(value)


def _delivered(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of CloudTrail as EventBridge delivers it."""
    kind = str(record.get("eventType", "AwsApiCall"))
    return {
        "version": "0",
        "id": record.get("eventID", ""),
        "detail-type": DETAIL_TYPES.get(kind, kind),
        "source": "aws." + record["eventSource"].split(".")[0],
        "account": record.get("recipientAccountId", ""),
        "time": record.get("eventTime", ""),
        "region": record.get("awsRegion", ""),
        "resources": [],
        "detail": record,
    }
