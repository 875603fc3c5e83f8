"""A contested role: somebody, or some tool, takes off again and again what Rolewarden puts back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rolewarden.history import HistoryKey
from rolewarden.origin import Cause
from rolewarden.own_events import Actor

CONTESTED = 3
"""So many acts within `WINDOW`, each of which had to be remediated, make a contest of it."""

WINDOW = timedelta(days=1)
"""An act counts for so long, and a contest is over when so long nothing had to be remediated."""

MOST_ROWS = 20
"""As many of the newest rows of a role's history are looked at: a tool that acts every minute leaves 1,440 a day."""

UNDOING = frozenset(
    {"CreateRole", "DeleteRole", "DetachRolePolicy", "DeleteRolePermissionsBoundary", "PutRolePermissionsBoundary"}
)
"""Names of the calls that take a guardrail off a role. What brings a new role under guard is no contest."""


class Contest(NamedTuple):
    """The acts (rows of the history, newest first) that had to be remediated on one role."""

    acts: tuple[Mapping[str, Any], ...]

    @classmethod
    def among(cls, rows: Iterable[Mapping[str, Any]], now: datetime) -> Contest | None:
        """What the newest rows of a role's history tell of a contest; None where there is none."""
        acts: dict[str, Mapping[str, Any]] = {}
        for row in sorted(rows, key=lambda row: HistoryKey.of(row["at"]), reverse=True):
            cause = row.get("cause", {})
            is_recent = HistoryKey.of(row["at"]).time >= now - WINDOW
            if row.get("remediation") and cause.get("event_name") in UNDOING and is_recent:
                # One act may be remediated twice: its event came twice, or two functions were at it.
                acts.setdefault(str(cause.get("event_id", row["at"])), row)
        return cls(tuple(acts.values())) if len(acts) >= CONTESTED else None

    @property
    def remediations(self) -> int:
        """The number of acts that had to be remediated."""
        return len(self.acts)

    @property
    def since(self) -> str:
        """The time of the first of these remediations, ISO 8601 UTC."""
        return HistoryKey.of(self.acts[-1]["at"]).time.isoformat(timespec="milliseconds")

    @property
    def actors(self) -> tuple[Actor, ...]:
        """The callers, those with the most acts first."""
        actors: dict[tuple[str, str, str], int] = {}
        for act in self.acts:
            cause = Cause.from_dict(act["cause"])
            who = (cause.principal, cause.source_address, cause.user_agent)
            actors[who] = actors.get(who, 0) + 1
        ordered = sorted(actors.items(), key=lambda found: (-found[1], found[0]))
        return tuple(Actor(*who, times) for who, times in ordered)
