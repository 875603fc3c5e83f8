"""Replay of CloudTrail events through the template's rules and functions, in this process, on a seeded account."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from rolewarden.aws import Aws
from rolewarden.confirm import SOURCE, about_of
from rolewarden.errors import RolewardenError
from rolewarden.events import CLOUDTRAIL, parse_event
from rolewarden.history import HistoryKey
from rolewarden.origin import Cause

from rolewarden_cli.answers import shown
from rolewarden_cli.connect import quiet
from rolewarden_cli.local import staged_account
from rolewarden_cli.shipped import here_or_shipped

Handler = Callable[[Any, Any], Mapping[str, Any]]


class UnusableInputError(RolewardenError):
    """The command cannot use an input file; the message has the cause and the correction."""


@dataclass(frozen=True)
class Replayed:
    """The result of one event.

    - `rule`, `function`: None if no rule matches. Then `reason` has the reason for which the function would ignore it.
    - `outcomes`, `policies`, `alert`: from the response of the function; `alert` is the subject of the mail.
    - `calls`: the AWS calls of the function, for example `iam:AttachRolePolicy`.
    """

    file: str
    event: str
    actor: str
    time: str
    rule: str | None
    function: str | None
    reason: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    outcomes: tuple[Mapping[str, Any], ...] = ()
    policies: Mapping[str, str] = field(default_factory=dict)
    alert: str = ""
    calls: tuple[str, ...] = ()

    @property
    @shown
    def left_drifted(self) -> tuple[str, ...]:
        """The roles that still lack a policy that they need."""
        return tuple(o["role"] for o in self.outcomes if o["verdict"] in {"drifted", "unenforceable"})


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events in a file: one in EventBridge's format, one CloudTrail record, or the `Records` of a trail.

    Raises UnusableInputError.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnusableInputError(f"{path}: cannot be read: {error.strerror}: name a readable file") from None
    except UnicodeDecodeError:
        raise UnusableInputError(f"{path}: is not text: unpack the file of a trail with `gunzip {path.name}`") from None
    except ValueError as error:
        raise UnusableInputError(f"{path}: is not valid JSON: {error}: name a JSON file, see folder events") from None
    records = found.get("Records") if isinstance(found, dict) else found
    if isinstance(records, list) and records:
        return [_event(path, record) for record in records]
    return [_event(path, found)]


def _event(path: Path, value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and "detail-type" in value and isinstance(value.get("detail"), dict):
        return value
    if isinstance(value, dict) and "eventName" in value and isinstance(value.get("eventSource"), str):
        return {
            "version": "0",
            "id": value.get("eventID", ""),
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws." + value["eventSource"].split(".")[0],
            "account": value.get("recipientAccountId", ""),
            "time": value.get("eventTime", ""),
            "region": value.get("awsRegion", ""),
            "resources": [],
            "detail": value,
        }
    raise UnusableInputError(
        f"{path}: has no event: name a file with an EventBridge event, a CloudTrail record, or the Records of a trail"
    )


def replay_files(files: list[Path]) -> Generator[Replayed]:
    """Replay the events of each file in order. Each file starts with the same seeded account.

    Raises UnusableInputError before the first event is replayed, and MissingExtraError.
    """
    read = [(path, read_events(here_or_shipped(path))) for path in files]
    handlers: dict[str, Handler] = {}
    with quiet(), _environment({"POWERTOOLS_METRICS_DISABLED": "true"}), staged_account() as staged:
        as_staged = staged.aws.saved()
        with _environment(staged.environment):
            for path, events in read:
                as_staged()
                for event in events:
                    local = _moved(event, {"account": staged.account, "region": staged.region})
                    _record(local, staged.environment["HISTORY_TABLE"])
                    yield from _replay(path.name, local, staged.template, staged.aws, handlers)


def _record(event: dict[str, Any], table: str) -> None:
    """Write the row of the history that an event of Rolewarden reports. AlertFunction believes no other event."""
    kind, detail = event["detail-type"], event["detail"]
    if event.get("source") == SOURCE and (about := about_of(kind, detail)):
        at = HistoryKey(datetime.now(UTC), "", kind).text
        Aws().put(table, {**detail, "about": about, "named": about, "at": at, "kind": kind})
        event["time"] = datetime.now(UTC).isoformat()


def _moved(event: dict[str, Any], here: Mapping[str, str]) -> dict[str, Any]:
    """The event, moved to the local account and region, because the template's rules match no other."""
    text = json.dumps(event)
    for key, local in here.items():
        foreign = event.get(key)
        if isinstance(foreign, str) and _PLACES[key].fullmatch(foreign):
            text = text.replace(foreign, local)
    moved: dict[str, Any] = json.loads(text)
    return moved


_PLACES = {"account": re.compile(r"[0-9]{12}"), "region": re.compile(r"[a-z]+(-[a-z]+)+-[0-9]+")}


def _replay(
    file: str, event: dict[str, Any], template: Any, aws: Any, handlers: dict[str, Handler]
) -> Iterator[Replayed]:
    request = parse_event(event)
    cause = request.origin.cause
    if event["detail-type"] != CLOUDTRAIL:
        # Rolewarden's own events have their cause in the detail.
        cause = Cause.from_dict(event["detail"].get("cause"))._replace(event_name=str(event["detail-type"]))
    about = (file, cause.event_name, cause.actor, cause.time)
    matcher = boto3.client("events", region_name="us-east-1")
    rules = [
        rule
        for rule in template.rules()
        if matcher.test_event_pattern(EventPattern=json.dumps(rule.pattern), Event=json.dumps(event))["Result"]
    ]
    if not rules:
        reason = request.ignored.value if request.ignored else "Rolewarden's own call"
        yield Replayed(*about, None, None, reason=reason)
    for rule in rules:
        if rule.function not in handlers:
            handlers[rule.function] = _handler(*template.code(rule.function))
        mark = aws.mark()
        answer = handlers[rule.function](event, _context(rule.function, event))
        yield Replayed(
            *about,
            rule.name,
            rule.function,
            reason=answer.get("request", {}).get("ignored", ""),
            request=answer.get("request", {}),
            outcomes=tuple(answer.get("outcomes", ())),
            policies=answer.get("policies", {}),
            alert=answer.get("alert", ""),
            calls=tuple(f"{call.service}:{call.operation}" for call in aws.calls(mark)),
        )


def _handler(path: Path, name: str) -> Handler:
    spec = importlib.util.spec_from_file_location(f"rolewarden_function_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise UnusableInputError(f"{path}: does not exist, but template.yaml names this handler: correct template.yaml")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = getattr(module, name)
    return handler


def _context(function: str, event: Mapping[str, Any]) -> Any:
    return SimpleNamespace(
        function_name=function,
        memory_limit_in_mb=256,
        invoked_function_arn=f"arn:aws:lambda:{event['region']}:{event['account']}:function:{function}",
        aws_request_id=str(event.get("id", "")),
        get_remaining_time_in_millis=lambda: 60_000,
    )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
