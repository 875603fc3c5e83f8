"""The origin of an action: its trigger and its cause.

Code branches on the trigger and on the call. The cause is for the record, and no decision depends on it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Trigger(StrEnum):
    """The trigger of an evaluation, a publication or a detachment."""

    EVENT = "event"
    SWEEP = "sweep"
    DEPLOYMENT = "deployment"
    SCHEDULE = "schedule"
    OPERATOR = "operator"


class Cause(NamedTuple):
    """The call that caused an action: its name, time, caller and address, as the record shows them.

    Every field is the text of the event, or empty. `time` is ISO 8601 UTC.
    """

    event_id: str = ""
    """The ID that CloudTrail gave the API call."""
    event_name: str = ""
    """The API call, or one of `Sweep`, `ScheduledCheck`, `Deployment`, `ForgedRequest`, `rolewarden enforce` and
    `rolewarden detach`."""
    time: str = ""
    """The time of the API call, ISO 8601 UTC."""
    actor: str = ""
    """The ARN of the caller. Without an ARN: the ID of an Identity Center user, or the name of an AWS service."""
    source_address: str = ""
    """The address that the API call came from."""
    user_agent: str = ""
    """The tool that made the API call."""
    person: str = ""
    """The person or program that uses a shared role: the Identity Center user for whom the session acts, or the
    session's source identity. The caller who assumes the role chooses it, unless its trust policy limits it."""
    unverified: str = ""
    """The text `queue message` if only a message of a queue says all this. Its sender may have invented it."""

    @property
    def principal(self) -> str:
        """The actor without a name that its caller chooses, such as that of a session. Empty if it is unverified.

        A federated user has the name of the user who made its session instead, see `events.cause_of`.
        """
        if self.unverified:
            return ""
        kind, *names = self.actor.split("/")
        if kind.endswith(":federated-user"):
            return "/".join(filter(None, (kind, self.person)))
        return "/".join([kind, *names[:-1]]) if kind.endswith(":assumed-role") and len(names) > 1 else self.actor

    def as_dict(self) -> dict[str, str]:
        """The fields that are not empty."""
        return {key: value for key, value in self._asdict().items() if value}

    @classmethod
    def from_dict(cls, value: Any) -> Cause:
        """The inverse of `as_dict`. Accepts any value, and keeps the fields that are text."""
        fields = value if isinstance(value, Mapping) else {}
        texts = {key: found if isinstance(found := fields.get(key), str) else "" for key in cls._fields}
        return cls(**texts).limited()

    def limited(self) -> Cause:
        """The cause with fields that every service of AWS stores, because a caller may choose them.

        No field is longer than in a record of CloudTrail, and each is valid Unicode.
        """
        texts = {key: text[: LONGEST[key]] for key, text in self._asdict().items()}
        return Cause(**{key: text.encode("utf-8", "replace").decode() for key, text in texts.items()})


LONGEST = {
    "event_id": 64,  # It is part of the sort key of a row, of which DynamoDB accepts 1,024 bytes.
    "event_name": 128,
    "time": 32,
    "actor": 2048,
    "source_address": 256,
    "user_agent": 1024,
    "person": 256,
    "unverified": 64,
}
"""The greatest number of characters of each field of a cause."""


class Origin(NamedTuple):
    """The trigger of an action, and its cause for the record. `call` is the API call of an event, otherwise empty."""

    trigger: Trigger
    cause: Cause = Cause()
    call: str = ""

    def new_correlation_id(self) -> str:
        """Make a correlation ID for the calls of one remediation from the event's ID or the trigger, and a random part.

        CloudTrail keeps it in the record of each call (see `rolewarden.signature`).
        """
        name = self.cause.event_id if _EVENT_ID.fullmatch(self.cause.event_id) else self.trigger.value
        return f"{name}.{secrets.token_hex(4)}"


SWEEP = Origin(Trigger.SWEEP, Cause(event_name="Sweep"))
"""The origin of findings and remediations of a sweep."""

QUEUE_MESSAGE = "queue message"
"""The value of `Cause.unverified`."""

DEPLOYMENT = Origin(Trigger.DEPLOYMENT, Cause(event_name="Deployment"))
"""The origin of changes by a deployment."""

SCHEDULED_CHECK = Origin(Trigger.SCHEDULE, Cause(event_name="ScheduledCheck"))
"""The origin of restorations by a scheduled check, which does not know the caller of the change."""

FORGED_REQUEST = Origin(Trigger.EVENT, Cause(event_name="ForgedRequest"))
"""The origin of a finding about a custom-resource request that CloudFormation did not send."""


def of_operator(command: str, caller: str) -> Origin:
    """The origin of changes that `caller` (an ARN) makes with a command of the CLI."""
    return Origin(Trigger.OPERATOR, Cause(event_name=command, actor=caller))


def cause_of_correlation_id(correlation_id: str) -> Cause:
    """The cause that a correlation ID contains: the event's ID, or the name of the trigger."""
    name = _name_in(correlation_id)
    if _EVENT_ID.fullmatch(name):
        return Cause(event_id=name)
    known = {origin.trigger.value: origin.cause for origin in (SWEEP, DEPLOYMENT, SCHEDULED_CHECK)}
    return known.get(name, Cause(event_name=name))


def is_of_deployment(correlation_id: str) -> bool:
    """Whether the calls with this correlation ID carried out a deployment."""
    return _name_in(correlation_id) == Trigger.DEPLOYMENT.value


def _name_in(correlation_id: str) -> str:
    """The part of a correlation ID before the random part."""
    return correlation_id.rpartition(".")[0]
