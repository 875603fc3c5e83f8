"""Messages of the work and publish queues: roles to evaluate, and rechecks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rolewarden.bindings import Binding, NamedRow, RoleKey
from rolewarden.calls import SendsMessages
from rolewarden.chunks import chunks
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
from rolewarden.origin import QUEUE_MESSAGE, SCHEDULED_CHECK, SWEEP, Cause, Origin, Trigger
from rolewarden.record import logger

BEGIN, PUBLISH = "begin", "publish"
"""The first step of an account's sweep, and the step of PublishFunction before the sweep of a member account."""

RULES = "rules"
"""The step that returns the fingerprint of the rules that SweepFunction runs."""

DEPLOYER = "deployer"
"""The step of PublishFunction that looks up who deployed the rules."""

HEARTBEAT = "heartbeat"
"""The step that counts the accounts without a recent sweep. A schedule triggers it."""

DRILLS = "drills"
"""The step that returns the states of drills, for `rolewarden drill`."""

DOCTOR = "doctor"
"""The step that returns the probes of all accounts, for `rolewarden doctor`."""

LONGEST_DELAY = 900
"""The greatest number of seconds by which SQS can delay a message."""

RECHECKS = 3
"""The greatest number of rechecks after one evaluation."""

FEW_BINDINGS = 20
"""The greatest number of rows that a message names, because each that the index does not show takes a query."""


MOST_ROLES = 25
"""The greatest number of roles in a message. BatchWriteItem writes as many rows of the history in a call."""

FEW_ROLES = 10
"""The number of roles up to which a sweep sends a message for each. Several copies of the function then share them."""

MOST_BYTES = 100_000
"""The greatest number of bytes of the roles in a message. SQS accepts 262,144 for a whole batch."""

MOST_KEY = 512
"""The greatest number of characters of a row's key in a message. DynamoDB accepts 1,024 bytes."""


class Work(NamedTuple):
    """A role to evaluate: a message of the work queue.

    - `account`: the account of the event or sweep.
    - `origin`: the trigger and the cause of the evaluation.
    - `rechecks`: the number of rechecks so far.
    - `rows`: the role's rows of the bindings table, if a sweep has just read them, because the table's index may not
      show them yet. The message does not have their content, so it cannot give the role a guardrail. Empty if no sweep
      has just read them, or if they are more than FEW_BINDINGS.
    """

    role: RoleKey
    account: str
    origin: Origin
    rechecks: int = 0
    rows: tuple[NamedRow, ...] = ()

    @classmethod
    def of_sweep(cls, role: RoleKey, account: str, bindings: Sequence[Binding]) -> Work:
        """The work that a sweep sends. It names the rows of the role's bindings if these are few."""
        few = bindings if len(bindings) <= FEW_BINDINGS else ()
        return cls(role, account, SWEEP, rows=tuple(NamedRow(*binding.key, binding.digest) for binding in few))

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        body: dict[str, Any] = {
            "role": self.role.name,
            "role_account": self.role.account,
            "account": self.account,
            **origin_fields(self.origin),
            "rechecks": self.rechecks,
        }
        if self.rows:
            body["rows"] = [list(row) for row in self.rows]
        return body

    @classmethod
    def from_dict(cls, body: Any) -> Work | None:
        """The work of a message, the inverse of `as_dict`; None if `body` is not such a message."""
        fields = mapping(body)
        role = RoleKey(matched(ACCOUNT, fields.get("role_account")), matched(ROLE_NAME, fields.get("role")))
        account, rechecks = matched(ACCOUNT, fields.get("account")), rechecks_in(fields)
        if not all((role.account, role.name, account)) or rechecks is None:
            return None
        return cls(role, account, origin_in(fields), rechecks, _rows(fields.get("rows")))


class Works(NamedTuple):
    """Roles to evaluate together: a message of the work queue. They are independent of each other."""

    works: tuple[Work, ...]

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        return {"account": self.works[0].account, "works": [work.as_dict() for work in self.works]}

    @classmethod
    def from_dict(cls, body: Any) -> Works | None:
        """The works of a message, the inverse of `as_dict`; None if `body` is not such a message.

        Entries that are no work are left out. A message with more than MOST_ROLES entries is not one of a sweep.
        """
        listed = mapping(body).get("works")
        if not isinstance(listed, list) or len(listed) > MOST_ROLES:
            return None
        works = tuple(work for each in listed if (work := Work.from_dict(each)))
        return cls(works) if works else None


def messages_of(works: Sequence[Work]) -> list[Sequence[Work]]:
    """The works of a sweep as its messages hold them: one in each if they are few, otherwise up to MOST_ROLES."""
    if len(works) <= FEW_ROLES:
        return [[work] for work in works]
    return list(chunks(list(works), MOST_ROLES, most=MOST_BYTES, weigh=lambda work: len(json.dumps(work.as_dict()))))


def body_for(works: Sequence[Work]) -> dict[str, Any]:
    """The body of a message about these works."""
    return works[0].as_dict() if len(works) == 1 else Works(tuple(works)).as_dict()


def _rows(value: Any) -> tuple[NamedRow, ...]:
    """The rows that a message names: FEW_BINDINGS at most, and no other values."""
    named = [row for row in (value if isinstance(value, list) else []) if isinstance(row, list) and len(row) == 3]
    valid = [row for row in named if all(isinstance(text, str) and 0 < len(text) <= MOST_KEY for text in row)]
    return tuple(NamedRow(*row) for row in valid[:FEW_BINDINGS])


def rechecks_in(fields: Mapping[str, Any]) -> int | None:
    """The number of rechecks of a message, 0 without one; None if it is no such number.

    A number below 0 would make a chain of rechecks that does not end.
    """
    value = fields.get("rechecks", 0)
    return value if type(value) is int and 0 <= value <= RECHECKS else None


class Recheck(NamedTuple):
    """A message of the work or publish queue: evaluate the request again, because the first read may have been stale.

    - `rechecks`: the number of this recheck, counted from 1.
    - `edited`: whether the call gave a policy another text than it had after the call.
    """

    request: EvaluationRequest
    rechecks: int
    edited: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        request = self.request
        return {
            "request": request.as_dict(),
            "account": request.account,
            "region": request.region,
            **origin_fields(request.origin),
            "rechecks": self.rechecks,
            **({"edited": True} if self.edited else {}),
        }

    @classmethod
    def from_dict(cls, body: Any) -> Recheck | None:
        """The recheck of a message, the inverse of `as_dict`; None if `body` is not such a message."""
        fields = mapping(body)
        named, rechecks = mapping(fields.get("request")), rechecks_in(fields)
        account, region = matched(ACCOUNT, fields.get("account")), matched(REGION, fields.get("region"))
        domain, profile = matched(DOMAIN_ID, named.get("domain")), matched(PROFILE_NAME, named.get("user_profile"))
        role, policy = matched(ROLE_NAME, named.get("role")), matched(POLICY_NAME, named.get("policy"))
        if not (account and region and rechecks and (domain or role or policy)):
            return None
        if "user_profile" in named and not profile:
            return None
        subject = SubjectKey(domain, profile) if domain else None
        origin = origin_in(fields)
        # At most one is set, as in an EvaluationRequest.
        role = "" if subject else role
        policy = "" if subject or role else policy
        request = EvaluationRequest(account, region, origin, role=role, subject=subject, policy=policy)
        return cls(request, rechecks, fields.get("edited") is True)


class SchedulesRechecks(Protocol):
    """Schedules rechecks, or leaves them out."""

    def schedule(self, *works: Work | Recheck) -> None:
        """As `Rechecks.schedule`."""

    def send_unfinished(self, left: Sequence[Work], failed: Sequence[Work]) -> None:
        """As `Rechecks.send_unfinished`."""


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

    def send_unfinished(self, left: Sequence[Work], failed: Sequence[Work]) -> None:
        """Send the works of a message that it did not end. Raises Refused and RetryLater.

        - `left`: the works for which no time was left. They stay together and begin at once.
        - `failed`: the works that AWS could not do now. Each gets its own message, so that SQS counts its attempts.
        """
        if left:
            self.aws.send(self.queue_url, [body_for(left)])
        if failed:
            self.aws.send(self.queue_url, [work.as_dict() for work in failed], delay=self.delay)


class NoRechecks:
    """Schedules no rechecks: for commands, because the deployed stack receives the events of their calls."""

    def schedule(self, *works: Work | Recheck) -> None:
        """Do nothing."""

    def send_unfinished(self, left: Sequence[Work], failed: Sequence[Work]) -> None:
        """Do nothing."""


def origin_fields(origin: Origin) -> dict[str, Any]:
    """The fields of a message that give an origin; `origin_in` reads them."""
    return {"trigger": origin.trigger.value, "call": origin.call, "cause": origin.cause.as_dict()}


def origin_in(fields: Mapping[str, Any]) -> Origin:
    """The origin that a message gives.

    A message is a hint. It can name a sweep or an event as the trigger, but never a deployment or an operator.
    Otherwise a caller could hide a change, because Rolewarden neither reports nor audits the writes of a deployment.
    The cause of a sweep has no caller. Every other cause is marked as unverified, because the sender of the message may
    have invented it. A message without a cause, for example one that was sent by hand, has the cause of a scheduled
    check.
    """
    if fields.get("trigger") == Trigger.SWEEP.value:
        return SWEEP
    call = fields.get("call")
    known = call if isinstance(call, str) and call in IAM_EVENTS | SAGEMAKER_EVENTS else ""
    cause = Cause.from_dict(fields.get("cause"))._replace(unverified=QUEUE_MESSAGE)
    is_named = cause not in {Cause(unverified=QUEUE_MESSAGE), SCHEDULED_CHECK.cause._replace(unverified=QUEUE_MESSAGE)}
    return Origin(Trigger.EVENT, cause if is_named else SCHEDULED_CHECK.cause, known)


def body_of(text: str) -> Any:
    """The JSON value of a message's text; None if the text is not JSON, or is nested too deeply to read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
