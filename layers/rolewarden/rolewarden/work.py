"""Messages of the work and publish queues: roles to evaluate, and rechecks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rolewarden.bindings import Binding, RoleKey
from rolewarden.calls import SendsMessages
from rolewarden.errors import Refused, RetryLater
from rolewarden.events import (
    ACCOUNT,
    DOMAIN_ID,
    IAM_EVENTS,
    POLICY_NAME,
    PROFILE_NAME,
    REGION,
    ROLE_NAME,
    SAGEMAKER_EVENTS,
    EvaluationRequest,
    SubjectKey,
    mapping,
    matched,
)
from rolewarden.origin import SCHEDULED_CHECK, SWEEP, Cause, Origin, Trigger
from rolewarden.record import logger

BEGIN, PUBLISH = "begin", "publish"
"""The first step of an account's sweep, and the step of PublishFunction before the sweep of a member account."""

RULES = "rules"
"""The step that returns the fingerprint of the rules that SweepFunction runs."""

HEARTBEAT = "heartbeat"
"""The step that counts the accounts without a recent sweep. A schedule triggers it."""

DOCTOR = "doctor"
"""The step that returns the probes of all accounts, for `rolewarden doctor`."""

RECHECKS = 3
"""The greatest number of rechecks after one evaluation."""

FEW_BINDINGS = 20
"""The greatest number of bindings in a message. The receiver reads the table for a role with more."""

SMALL = 20_000
"""The greatest number of bytes of a message with bindings. Tags may be long, and SQS accepts 256 KiB in a call."""

FRESH_SECONDS = 300.0
"""Seconds for which the bindings of a message count as current."""


class Work(NamedTuple):
    """A role to evaluate: a message of the work queue.

    - `account`: the account of the event or sweep.
    - `origin`: the trigger and the cause of the evaluation.
    - `rechecks`: the number of rechecks so far.
    - `bindings`: all bindings of the role as a sweep has read them, because the table's index may not show them yet.
      Empty if no sweep has just read them, or if they are too long for a message.
    - `read_at`: the time at which they were read, in seconds of the epoch.
    """

    role: RoleKey
    account: str
    origin: Origin
    rechecks: int = 0
    bindings: tuple[Binding, ...] = ()
    read_at: float = 0.0

    @classmethod
    def of_sweep(cls, role: RoleKey, account: str, bindings: Sequence[Binding], read_at: float) -> Work:
        """The work that a sweep sends, with the role's bindings if these are few."""
        work = cls(role, account, SWEEP, bindings=tuple(bindings), read_at=read_at)
        small = len(bindings) <= FEW_BINDINGS and len(json.dumps(work.as_dict())) <= SMALL
        return work if small else cls(role, account, SWEEP)

    def fresh(self, now: float) -> tuple[Binding, ...]:
        """The bindings while they count as current, otherwise none. `now` is in seconds of the epoch."""
        return self.bindings if abs(now - self.read_at) < FRESH_SECONDS else ()

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        body: dict[str, Any] = {
            "role": self.role.name,
            "role_account": self.role.account,
            "account": self.account,
            **origin_fields(self.origin),
            "rechecks": self.rechecks,
        }
        if self.bindings:
            body |= {"bindings": [binding.as_row() for binding in self.bindings], "read_at": self.read_at}
        return body

    @classmethod
    def from_dict(cls, body: Any) -> Work | None:
        """The work of a message, the inverse of `as_dict`; None if `body` is not such a message."""
        fields = mapping(body)
        role = RoleKey(matched(ACCOUNT, fields.get("role_account")), matched(ROLE_NAME, fields.get("role")))
        account, rechecks = matched(ACCOUNT, fields.get("account")), fields.get("rechecks", 0)
        read_at = fields.get("read_at", 0.0)
        if not all((role.account, role.name, account)) or not isinstance(rechecks, int):
            return None
        try:
            bindings = tuple(Binding.of_row(row) for row in fields.get("bindings", ()))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        # Reject bindings of another role, because this role must not get the policies that the other one needs.
        if not isinstance(read_at, int | float) or any(binding.role != role for binding in bindings):
            return None
        return cls(role, account, origin_in(fields), rechecks, bindings, read_at)


class Recheck(NamedTuple):
    """A message of the work or publish queue: evaluate the request again, because the first read may have been stale.

    `rechecks` is the number of this recheck, counted from 1.
    """

    request: EvaluationRequest
    rechecks: int

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        request = self.request
        return {
            "request": request.as_dict(),
            "account": request.account,
            "region": request.region,
            **origin_fields(request.origin),
            "rechecks": self.rechecks,
        }

    @classmethod
    def from_dict(cls, body: Any) -> Recheck | None:
        """The recheck of a message, the inverse of `as_dict`; None if `body` is not such a message."""
        fields = mapping(body)
        named, rechecks = mapping(fields.get("request")), fields.get("rechecks")
        account, region = matched(ACCOUNT, fields.get("account")), matched(REGION, fields.get("region"))
        domain, profile = matched(DOMAIN_ID, named.get("domain")), matched(PROFILE_NAME, named.get("user_profile"))
        role, policy = matched(ROLE_NAME, named.get("role")), matched(POLICY_NAME, named.get("policy"))
        if not (account and region and isinstance(rechecks, int) and (domain or role or policy)):
            return None
        if "user_profile" in named and not profile:
            return None
        subject = SubjectKey(domain, profile) if domain else None
        origin = origin_in(fields)
        # At most one is set, as in an EvaluationRequest.
        role = "" if subject else role
        policy = "" if subject or role else policy
        return cls(EvaluationRequest(account, region, origin, role=role, subject=subject, policy=policy), rechecks)


class SchedulesRechecks(Protocol):
    """Schedules rechecks, or leaves them out."""

    def schedule(self, *works: Work | Recheck) -> None:
        """As `Rechecks.schedule`."""


@dataclass(frozen=True)
class Rechecks:
    """The rechecks of a function: messages of `queue_url`, received after `delay` seconds (0 to 900)."""

    aws: SendsMessages
    queue_url: str
    delay: int

    def schedule(self, *works: Work | Recheck) -> None:
        """Send a message for each recheck. If SQS does not accept the messages, log an error."""
        bodies = [work.as_dict() for work in works]
        try:
            self.aws.send(self.queue_url, bodies, delay=self.delay)
        except (Refused, RetryLater) as error:
            # Continue: the remediation must still be recorded, and the next sweep evaluates the role again anyway.
            logger.error("recheck not scheduled", extra={"work": bodies, "why": str(error)})


class NoRechecks:
    """Schedules no rechecks: for commands, because the deployed stack receives the events of their calls."""

    def schedule(self, *works: Work | Recheck) -> None:
        """Do nothing."""


def origin_fields(origin: Origin) -> dict[str, Any]:
    """The fields of a message that give an origin; `origin_in` reads them."""
    return {"trigger": origin.trigger.value, "call": origin.call, "cause": origin.cause.as_dict()}


def origin_in(fields: Mapping[str, Any]) -> Origin:
    """The origin that a message gives.

    A message is a hint. It can name a sweep or an event as the trigger, but never a deployment or an operator.
    Otherwise a caller could hide a change, because Rolewarden neither reports nor audits the writes of a deployment. A
    message without a cause, for example one that was sent by hand, has the cause of a scheduled check.
    """
    trigger = Trigger.SWEEP if fields.get("trigger") == Trigger.SWEEP.value else Trigger.EVENT
    call = fields.get("call")
    known = call if isinstance(call, str) and call in IAM_EVENTS | SAGEMAKER_EVENTS else ""
    cause = Cause.from_dict(fields.get("cause"))
    return Origin(trigger, SCHEDULED_CHECK.cause if cause == Cause() else cause, known)


def body_of(text: str) -> Any:
    """The JSON value of a message's text; None if the text is not JSON, or is nested too deeply to read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
