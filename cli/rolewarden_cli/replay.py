"""Replay: CloudTrail events through the template's own rules and functions, in this process, on a seeded account."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from rolewarden.aws import Aws
from rolewarden.errors import RolewardenError
from rolewarden.events import CLOUDTRAIL, parse_event
from rolewarden.origin import Cause

from rolewarden_cli.answers import shown

Handler = Callable[[Any, Any], Mapping[str, Any]]


class UnusableInputError(RolewardenError):
    """A file that holds no event; the message names the file and the reason."""


@dataclass(frozen=True)
class Replayed:
    """What one event came to.

    `rule` and `function` are None where no rule matches, and then `reason` says what the function would have said.
    `outcomes`, `policies` and `alert` (the subject of what people are told) are those of the function's answer, `calls`
    are the AWS calls it made, as `iam:AttachRolePolicy`.
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
        """Roles that are left without something they need."""
        return tuple(o["role"] for o in self.outcomes if o["verdict"] in {"drifted", "unenforceable"})


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events in a file: one as EventBridge delivers it, one CloudTrail record, or a trail's `Records`.

    Raises UnusableInputError.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnusableInputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnusableInputError(f"{path}: is no text (unpack a trail's file first: gunzip {path.name})") from None
    except ValueError as error:
        raise UnusableInputError(f"{path}: no valid JSON: {error}") from None
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
        f"{path}: holds no event: give one as EventBridge delivers it, a CloudTrail record, or a trail's Records"
    )


def replay_files(files: list[Path], *, root: Path) -> Iterator[Replayed]:
    """Replay each file's events, in order, on an account seeded afresh for each file.

    `root` is the project's folder. Raises UnusableInputError before anything is replayed.
    """
    read = [(path, read_events(path)) for path in files]
    # Only who replays pays for the local AWS.
    from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
    from rolewarden_local.scenes.seed import seed
    from rolewarden_local.scenes.stage import stage
    from rolewarden_local.scenes.template import Template

    template = Template(root / "template.yaml", region=REGION, account=ACCOUNT_ID)
    aws = LocalAws.start()
    handlers: dict[str, Handler] = {}
    with aws.connected(), _quiet():
        aws.reset()
        seed(aws)
        guardrails = root / "layers" / "guardrails" / "guardrails.yaml"
        environment = stage(template, Aws(), account=ACCOUNT_ID, guardrails=guardrails)
        as_staged = aws.saved()
        with _environment(environment):
            for path, events in read:
                as_staged()
                for event in events:
                    local = _moved(event, {"account": ACCOUNT_ID, "region": REGION})
                    yield from _replay(path.name, local, template, aws, handlers)


def _moved(event: dict[str, Any], here: Mapping[str, str]) -> dict[str, Any]:
    """The event as if it had happened in the local account and region: the template's rules take no other."""
    text = json.dumps(event)
    for key, local in here.items():
        foreign = event.get(key)
        if isinstance(foreign, str) and _PLACES[key].fullmatch(foreign):
            text = text.replace(foreign, local)
    moved: dict[str, Any] = json.loads(text)
    return moved


_PLACES = {"account": re.compile(r"\d{12}"), "region": re.compile(r"[a-z]+(-[a-z]+)+-\d+")}


def _replay(
    file: str, event: dict[str, Any], template: Any, aws: Any, handlers: dict[str, Handler]
) -> Iterator[Replayed]:
    request = parse_event(event)
    cause = request.origin.cause
    if event["detail-type"] != CLOUDTRAIL:
        # What Rolewarden tells of itself has what led to it in its detail.
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
        raise UnusableInputError(f"{path}: the template names this handler, but there is no such file")
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the functions' logs and metrics off the screen: replay prints what they come to."""
    logging.disable(logging.CRITICAL)
    try:
        with _environment({"POWERTOOLS_METRICS_DISABLED": "true"}):
            yield
    finally:
        logging.disable(logging.NOTSET)
