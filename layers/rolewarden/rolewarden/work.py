"""Messages of the work queue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolewarden.bindings import Binding, RoleKey
from rolewarden.events import SWEEP, Cause

FEW_BINDINGS = 20
"""As many bindings of a role travel with its message; a role of more subjects is asked for in the table."""

SMALL = 20_000
"""Bytes of a message that carries bindings: their tags may be long, and SQS takes 256 KiB at a time."""

FRESH_SECONDS = 300.0
"""For so long the bindings of a message are taken as read a moment ago."""


@dataclass(frozen=True)
class Work:
    """A role to look at, why, and how many rechecks went before it.

    `bindings` are all that the role has, as the sweep read them at `read_at` (seconds of the epoch): the table's index
    may not show them yet. Empty where nobody has just read them.
    """

    role: RoleKey
    account: str
    cause: Cause
    rechecks: int = 0
    bindings: tuple[Binding, ...] = ()
    read_at: float = 0.0

    @classmethod
    def of_sweep(cls, role: RoleKey, account: str, bindings: Sequence[Binding], read_at: float) -> Work:
        """What a sweep asks for, with the role's bindings where they are few."""
        work = cls(role, account, SWEEP, bindings=tuple(bindings), read_at=read_at)
        small = len(bindings) <= FEW_BINDINGS and len(json.dumps(work.as_dict())) <= SMALL
        return work if small else cls(role, account, SWEEP)

    def fresh(self, now: float) -> tuple[Binding, ...]:
        """The bindings, as long as they may be taken for what is the case."""
        return self.bindings if now - self.read_at < FRESH_SECONDS else ()

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        body: dict[str, Any] = {
            "role": self.role.name,
            "role_account": self.role.account,
            "account": self.account,
            "cause": self.cause.as_dict(),
            "rechecks": self.rechecks,
        }
        if self.bindings:
            body |= {"bindings": [binding.as_row() for binding in self.bindings], "read_at": self.read_at}
        return body

    @classmethod
    def from_dict(cls, body: Any) -> Work | None:
        """The inverse; None for anything that is no such message."""
        fields = body if isinstance(body, Mapping) else {}
        role, role_account, account = (fields.get(key) for key in ("role", "role_account", "account"))
        rechecks, read_at = fields.get("rechecks", 0), fields.get("read_at", 0.0)
        named = all(isinstance(text, str) and text for text in (role, role_account, account))
        if not named or not isinstance(rechecks, int) or not isinstance(read_at, int | float):
            return None
        try:
            bindings = tuple(Binding.of_row(row) for row in fields.get("bindings", ()))
        except (KeyError, TypeError, AttributeError):
            return None
        cause = Cause.from_dict(fields.get("cause"))
        return cls(RoleKey(str(role_account), str(role)), str(account), cause, rechecks, bindings, read_at)


def unlimited() -> float:
    """The seconds left to work that Lambda does not run."""
    return float("inf")


def body_of(text: str) -> Any:
    """A message's JSON; None for a text that is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None
