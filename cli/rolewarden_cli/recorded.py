"""Events in files, in the forms in which people have them.

A file can be compressed with gzip. It holds rows of CSV, or one JSON value or several (JSON lines). A value is an event
of EventBridge, a record of CloudTrail, a list of these, or an envelope that holds them at any depth, see `HOLDERS`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
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

_STANDARD_INPUT = Path("-")

HOLDERS = (
    "Records", "Sns", "records",  # logs of a trail, and the events of Lambda for SNS, SQS and Firehose
    "Messages", "Body", "body", "Message", "message",  # messages of SQS, SNS and CloudWatch Logs
    "Events", "events", "logEvents", "CloudTrailEvent", "cloudtrailevent",  # lookups of CloudTrail and CloudWatch Logs
    "Entries", "Detail", "detail",  # requests of PutEvents, and an event whose detail is a text
    "eventJson", "eventjson", "@message",  # columns of queries
)  # fmt: skip
"""The keys under which an envelope holds events: as a value, or as a text that has JSON."""

_ROWS = ("QueryResultRows", "results")
"""The keys of the rows that CloudTrail Lake and CloudWatch Logs Insights give."""

MAX_DEPTH = 100
"""Number of levels of a JSON value that is an input. A record of CloudTrail has about ten."""

_ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")

_GZIP = b"\x1f\x8b"


class UnusableInputError(RolewardenError):
    """The command cannot use an input file; the message has the cause and the correction."""


def files_in(path: Path) -> list[Path]:
    """The file at `path`, or the files of events below a folder in the order of their names.

    Raises UnusableInputError if the folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.name.endswith(_ENDINGS) and file.is_file())
    if not found:
        raise UnusableInputError(f"{path}: has no .json, .jsonl or .csv file, also none with .gz: name another folder")
    return found


def read_text(path: Path) -> str:
    """The text of a file, or of standard input for `-`, without compression and without its byte order mark.

    JSON can be UTF-8, UTF-16 (to which Windows PowerShell redirects output) or UTF-32. Raises UnusableInputError.
    """
    try:
        raw = sys.stdin.buffer.read() if path == _STANDARD_INPUT else path.read_bytes()
        while raw.startswith(_GZIP):
            raw = gzip.decompress(raw)
        return raw.decode(json.detect_encoding(raw)).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise UnusableInputError(
            f"{path}: is not text in UTF-8, UTF-16 or UTF-32: save it as UTF-8, or name a JSON file, see folder events"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error) or "it is cut off"
        raise UnusableInputError(f"{path}: cannot be read: {why}: name a readable file") from None


def read_events(path: Path, *, must: bool = True) -> list[dict[str, Any]]:
    """The events of a file in EventBridge's format, in their order. `must`: whether a file without one is an error.

    A record without `recipientAccountId` or `awsRegion` becomes an event without account or region. Raises
    UnusableInputError, which names the first entry that is no event, and the field that it lacks.
    """
    entries = [entry for entry in read_entries(path) if not is_digest(entry)]
    if not entries and must:
        raise UnusableInputError(f"{path}: has no event: name a file with an event, a record, or a trail's Records")
    several = len(entries) > 1
    return [_event(f"{path}: entry {number}" if several else str(path), it) for number, it in enumerate(entries, 1)]


def is_digest(entry: Any) -> bool:
    """Whether an entry is a digest of a trail or the signature of a result, which are next to the files with events."""
    return isinstance(entry, dict) and not {"digestStartTime", "hashSignature"}.isdisjoint(entry)


def read_entries(path: Path) -> Iterator[Any]:
    """The events, records and other values in a file, in their order. Raises UnusableInputError."""
    text = read_text(path)
    for value in _csv_rows(path, text) if _is_csv(text) else values_in(path, text):
        yield from entries_in(path, value)


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
            raise _too_deep(path) from None
        if _is_deep(value):
            raise _too_deep(path)
        yield value


def _after_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _too_deep(path: Path) -> UnusableInputError:
    return UnusableInputError(
        f"{path}: is nested too deeply, with more than {MAX_DEPTH} levels: name a file with events"
    )


def _is_deep(value: Any) -> bool:
    """Whether a value has more than MAX_DEPTH levels."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inside
            for each in level
            if isinstance(each, dict | list)
            for inside in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def entries_in(path: Path, value: Any, depth: int = 0) -> Iterator[Any]:
    """The events and records in a value, which may be an envelope or a list. Raises as `values_in`.

    A value that is none of these is given as it is.
    """
    if depth > MAX_DEPTH:  # A text of an envelope can have another envelope.
        raise _too_deep(path)
    if isinstance(value, list):
        for each in value:
            yield from entries_in(path, each, depth + 1)
        return
    if isinstance(value, dict) and not is_event(value):
        for row in _rows(value):
            yield from entries_in(path, row, depth + 1)
        if any(isinstance(value.get(key), list) for key in _ROWS):
            return
        for key in HOLDERS:
            inside = value.get(key)
            if isinstance(inside, str) and inside.lstrip()[:1] in {"{", "["}:
                for each in values_in(path, inside):
                    yield from entries_in(path, each, depth + 1)
                return
            if isinstance(inside, list | dict) and key != "detail":
                yield from entries_in(path, inside, depth + 1)
                return
    yield value


def is_event(value: Mapping[str, Any]) -> bool:
    """Whether a value is an event of EventBridge or a record of CloudTrail, and not an envelope."""
    if isinstance(value.get("detail"), dict) and "detail-type" in value:
        return True
    return isinstance(value.get("eventSource"), str) and isinstance(value.get("eventName"), str)


def _rows(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows in an answer of CloudTrail Lake (cells of one key) or Logs Insights (cells with `field` and `value`)."""
    for key in _ROWS:
        rows = value.get(key)
        for cells in rows if isinstance(rows, list) else ():
            pairs = [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []
            row: dict[str, Any] = {}
            for cell in pairs:
                row |= {cell["field"]: cell.get("value")} if "field" in cell else cell
            yield record_of_row(row)


def _is_csv(text: str) -> bool:
    """Whether a text is CSV: its first line names columns, and is no JSON."""
    first = text.lstrip().partition("\n")[0].strip()
    return bool(_COLUMN.fullmatch(first.partition(",")[0])) and first not in {"true", "false", "null"}


_COLUMN = re.compile(r'"?[A-Za-z_@][\w .()@-]*"?')


def _csv_rows(path: Path, text: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    try:
        # An event in a cell can have line breaks.
        for row in csv.DictReader(io.StringIO(text.lstrip(), newline=""), restval=""):
            yield record_of_row({key: value for key, value in row.items() if key is not None})
    except csv.Error as error:
        raise UnusableInputError(f"{path}: is not valid CSV: {error}: export the result of the query again") from None


_OF_RECORDS = (
    "eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress",
    "userAgent", "errorCode", "errorMessage", "requestParameters", "responseElements", "additionalEventData",
    "requestID", "eventID", "readOnly", "resources", "eventType", "managementEvent", "recipientAccountId",
    "sharedEventID", "vpcEndpointId", "eventCategory", "serviceEventDetails", "principalId", "accountId",
    "accessKeyId", "userName", "sessionContext", "sessionIssuer", "sourceIdentity", "invokedBy",
    "webIdFederationData", "federatedProvider", "creationDate", "mfaAuthenticated", "onBehalfOf", "userId",
    "identityStoreArn",
)  # fmt: skip

_FIELDS = {name.lower(): name for name in _OF_RECORDS}
"""The fields of records and identities by their names in lower case, which Athena and Lake use for columns:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/query-supported-event-schemas.html."""


def record_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a query as a record of CloudTrail. A row that is none stays as it is.

    A nested field is JSON, or has the form `{key=value, key=value}` in which Athena and Lake print a struct.
    """
    lowered = {key.lower(): key for key in row}
    if not {"eventname", "eventsource"} <= lowered.keys() or "calls" in lowered:
        return dict(row)
    return {_FIELDS.get(key.lower(), key): _cell(value) for key, value in row.items() if value or value is False}


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in {"{", "["}:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return _struct(value) if value.startswith("{") else value


_KEY = re.compile(r"([\w:@.-]+)=")


def _struct(text: str, depth: int = 0) -> dict[str, Any]:
    """The fields of a struct as Athena and Lake print it: `{key=value, other={key=value}}`, without null values."""
    text, level = text[1:].removesuffix("}"), 0
    keys: list[re.Match[str]] = []
    for place, char in enumerate(text):
        if level == 0 and (place == 0 or text[place - 2 : place] == ", ") and (key := _KEY.match(text, place)):
            keys.append(key)
        level += (char == "{") - (char == "}")
    ends = [key.start() - 2 for key in keys[1:]] + [len(text)]
    found = {_FIELDS.get(key[1].lower(), key[1]): text[key.end() : end] for key, end in zip(keys, ends, strict=True)}
    return {
        name: _struct(value, depth + 1) if value.startswith("{") and depth < MAX_DEPTH else value
        for name, value in found.items()
        if value not in {"null", ""}
    }


def _event(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnusableInputError(f"{place}: is no JSON object: give an event of EventBridge or a record of CloudTrail")
    if "detail-type" in value or "detail" in value:
        if not isinstance(value.get("detail-type"), str) or not isinstance(value.get("detail"), dict):
            lacking = "detail" if isinstance(value.get("detail-type"), str) else "detail-type"
            raise UnusableInputError(f"{place}: lacks `{lacking}`: give the whole event, as EventBridge delivers it")
        return value
    if _OF_A_FILE & value.keys():
        raise UnusableInputError(f"{place}: says that S3 has a file with events: download that file, and name it")
    for name in ("eventSource", "eventName"):
        if not isinstance(value.get(name), str):
            raise UnusableInputError(f"{place}: lacks `{name}`: give the whole record, as CloudTrail writes it")
    return _delivered(value)


_OF_A_FILE = {"s3", "s3Bucket"}
"""The keys of notifications about a log file: those of S3, and those of a trail."""


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
