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
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
from rolewarden.aws import Aws
from rolewarden.confirm import SOURCE, about_of
from rolewarden.events import CLOUDTRAIL, mapping, parse_event
from rolewarden.history import HistoryKey
from rolewarden.origin import Cause

from rolewarden_cli.answers import shown
from rolewarden_cli.connect import quiet
from rolewarden_cli.local import staged_account
from rolewarden_cli.recorded import UnusableInputError, files_in, read_events
from rolewarden_cli.shipped import here_or_shipped

if TYPE_CHECKING:
    from rolewarden_local.scenes.stage import StagedAccount

Handler = Callable[[Any, Any], Mapping[str, Any]]


@dataclass(frozen=True)
class Replayed:
    """The result of one event for one rule. An event that several rules match has several results.

    - `number`: the number of the event, from 1. The events that the functions put about it have the same number.
    - `rule`, `function`: None if no rule matches. Then `reason` has the reason for which the function would ignore it.
    - `outcomes`, `policies`, `alert`: from the response of the function; `alert` is the subject of the mail.
    - `calls`: the AWS calls of the function, for example `iam:AttachRolePolicy`.
    - `message`: the text of the mail, if messages were asked for and the function sent one.
    - `mismatches`: if they were asked for, the rules that do not match, each with the parts of its pattern that the
      event does not fit.
    """

    number: int
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
    message: str = ""
    mismatches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    @shown
    def left_drifted(self) -> tuple[str, ...]:
        """The roles that still lack a policy that they need."""
        return tuple(o["role"] for o in self.outcomes if o["verdict"] in {"drifted", "unenforceable"})


def replay_files(files: list[Path], *, messages: bool = False, mismatches: bool = False) -> Generator[Replayed]:
    """Replay the events of each file in order. Each file starts with the same seeded account.

    A folder stands for the files of events below it, and `-` for standard input.

    - `messages`: whether AlertFunction also gets the events of the other functions, and results have its messages.
    - `mismatches`: whether results name the rules that do not match.

    Raises UnusableInputError before the first event is replayed, and MissingExtraError.
    """
    read = [(path, events) for file in files for path, events in _events_of(here_or_shipped(file))]
    no_metrics = {"POWERTOOLS_METRICS_DISABLED": "true"}
    with quiet(), _environment(no_metrics), staged_account() as staged, _environment(staged.environment):
        stage = _Stage(staged, messages=messages, mismatches=mismatches)
        as_staged = staged.aws.saved()
        number = count(1)
        for path, events in read:
            as_staged()
            for event in events:
                yield from stage.replay(next(number), path.name, event)


def _events_of(path: Path) -> list[tuple[Path, list[dict[str, Any]]]]:
    """The events of a file, or of each file below a folder that has one. Raises UnusableInputError."""
    files = files_in(path)
    found = [(file, events) for file in files if (events := read_events(file, must=files == [path]))]
    if not found:
        raise UnusableInputError(f"{path}: no file in it has an event: name another folder")
    return found


def _record(event: dict[str, Any], table: str) -> None:
    """Write the row of the history that an event of Rolewarden reports. AlertFunction believes no other event."""
    kind, detail = event["detail-type"], event["detail"]
    if event.get("source") == SOURCE and (about := about_of(kind, detail)):
        at = HistoryKey(datetime.now(UTC), "", kind).text
        Aws().put(table, {**detail, "about": about, "named": about, "at": at, "kind": kind})
        event["time"] = datetime.now(UTC).isoformat()


def moved(event: Mapping[str, Any], account: str, region: str) -> dict[str, Any]:
    """The event as if it had happened in this account and region, because the template's rules match no other.

    The account and the region of the event are replaced in the fields that hold one, and in ARNs. Names stay as they
    are. An event without account or region gets these.
    """
    detail = mapping(event.get("detail"))
    foreign = {
        "account": str(event.get("account") or detail.get("recipientAccountId") or ""),
        "region": str(event.get("region") or detail.get("awsRegion") or ""),
    }
    here = {"account": account, "region": region}

    def arn(found: re.Match[str]) -> str:
        parts = {what: here[what] if found[what] == foreign[what] else found[what] for what in here}
        return f"{found['begin']}:{parts['region']}:{parts['account']}:"

    def of(value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            return {key: of(inside, key) for key, inside in value.items()}
        if isinstance(value, list):
            return [of(inside, name) for inside in value]
        if not isinstance(value, str):
            return value
        if name in _FIELDS and value == foreign[_FIELDS[name]]:
            return here[_FIELDS[name]]
        return _ARN.sub(arn, value)

    found: dict[str, Any] = of(event)
    return {**found, "account": found.get("account") or account, "region": found.get("region") or region}


_FIELDS = {
    "account": "account",
    "accountId": "account",
    "recipientAccountId": "account",
    "region": "region",
    "awsRegion": "region",
}
"""The fields of events and records that hold an account or a region."""

_ARN = re.compile(r"(?P<begin>arn:[\w-]+:[\w-]+):(?P<region>[a-z0-9-]*):(?P<account>[0-9]{12}|):", re.ASCII)


class _Stage:
    """The seeded account with the functions of the template, and the queues that get the messages of the functions."""

    def __init__(self, staged: StagedAccount, *, messages: bool, mismatches: bool) -> None:
        self._staged = staged
        self._rules = list(staged.template.rules())
        self._handlers: dict[str, Handler] = {}
        self._matcher = boto3.client("events", region_name=staged.region)
        self._shows_mismatches = mismatches
        self._mails = self._own_events = ""
        if messages:
            self._add_queues(staged.environment["ALARM_TOPIC_ARN"])

    def _add_queues(self, topic: str) -> None:
        """Subscribe a queue to the alarm topic, and another one to the events that the functions put."""
        sqs = boto3.client("sqs", region_name=self._staged.region)
        self._mails, self._own_events = (
            sqs.create_queue(QueueName=f"replay-{name}")["QueueUrl"] for name in ("mails", "events")
        )
        arns = [
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            for url in (self._mails, self._own_events)
        ]
        boto3.client("sns", region_name=self._staged.region).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns[0])
        self._matcher.put_rule(Name="replay", EventPattern=json.dumps({"source": [SOURCE]}))
        self._matcher.put_targets(Rule="replay", Targets=[{"Id": "1", "Arn": arns[1]}])

    def replay(self, number: int, file: str, event: Mapping[str, Any]) -> Iterator[Replayed]:
        """Replay one event, and then the events that the functions put about it, if messages are asked for."""
        local = moved(event, self._staged.account, self._staged.region)
        _record(local, self._staged.environment["HISTORY_TABLE"])
        yield from self._replay(number, file, local, mismatches=self._shows_mismatches)
        for own in self._taken(self._own_events):
            yield from (each for each in self._replay(number, file, own) if each.function == "AlertFunction")

    def _replay(self, number: int, file: str, event: dict[str, Any], *, mismatches: bool = False) -> Iterator[Replayed]:
        request = parse_event(event)
        cause = request.origin.cause
        if event["detail-type"] != CLOUDTRAIL:
            # Rolewarden's own events have their cause in the detail.
            cause = Cause.from_dict(event["detail"].get("cause"))._replace(event_name=str(event["detail-type"]))
        about = (number, file, cause.event_name, cause.actor, cause.time)
        matching = [rule for rule in self._rules if self._matches(rule.pattern, event)]
        others = [rule for rule in self._rules if rule not in matching] if mismatches else []
        differing = {rule.name: tuple(self._mismatches(rule.pattern, event)) for rule in others}
        if not matching:
            reason = request.ignored.value if request.ignored else "Rolewarden's own call"
            yield Replayed(*about, None, None, reason=reason, mismatches=differing)
        for rule in matching:
            if rule.function not in self._handlers:
                self._handlers[rule.function] = _handler(*self._staged.template.code(rule.function))
            aws = self._staged.aws
            mark = aws.mark()
            answer = self._handlers[rule.function](event, _context(rule.function, event))
            calls = tuple(f"{call.service}:{call.operation}" for call in aws.calls(mark))
            yield Replayed(
                *about,
                rule.name,
                rule.function,
                reason=answer.get("request", {}).get("ignored", ""),
                request=answer.get("request", {}),
                outcomes=tuple(answer.get("outcomes", ())),
                policies=answer.get("policies", {}),
                alert=answer.get("alert", ""),
                calls=calls,
                message="\n\n".join(json.loads(mail["Message"])["text"] for mail in self._taken(self._mails)),
                mismatches=differing,
            )
            differing = {}

    def _taken(self, queue: str) -> list[dict[str, Any]]:
        """The messages of a queue, which this call deletes from it. Empty if messages are not asked for."""
        if not queue:
            return []
        sqs, found = boto3.client("sqs", region_name=self._staged.region), []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _matches(self, pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
        answer = self._matcher.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))
        return bool(answer["Result"])

    def _mismatches(self, pattern: Mapping[str, Any], event: Mapping[str, Any]) -> Iterator[str]:
        """The parts of a pattern that the event does not fit, each with the value of the event."""
        for path, part in _parts(pattern):
            if self._matches(part, event):
                continue
            if path[-1] == "$or":
                yield f"no alternative of {'.'.join(path)} fits"
                continue
            value: Any = event
            for key in path:
                value = mapping(value).get(key)
            yield f"{'.'.join(path)} is {'missing' if value is None else json.dumps(value)}"


def _parts(pattern: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The path of each field in a pattern, and the pattern with this field alone. An `$or` is one field."""
    for key, inside in pattern.items():
        if isinstance(inside, Mapping):
            yield from _parts(inside, (*path, key))
            continue
        part: dict[str, Any] = {key: inside}
        for outer in reversed(path):
            part = {outer: part}
        yield (*path, key), part


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
