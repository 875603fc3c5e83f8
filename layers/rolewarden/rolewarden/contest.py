"""Contested roles: a person or a tool repeatedly removes the guardrails that Rolewarden attaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rolewarden.events import BOUNDARY_EVENTS, NEW_ROLE_EVENTS
from rolewarden.history import HistoryKey
from rolewarden.origin import Cause
from rolewarden.own_events import Actor

CONTESTED = 3
"""Remediated removals within `WINDOW` from which a role counts as contested."""

WINDOW = timedelta(days=1)
"""The time for which a removal counts. A contest ends when this time passes without a remediated removal."""

MOST_ROWS = 20
"""The number of a role's newest history rows to read, because a tool that acts every minute leaves 1,440 a day."""

UNDOING = NEW_ROLE_EVENTS | BOUNDARY_EVENTS | {"DeleteRole", "DetachRolePolicy"}
"""Names of the calls that can remove a guardrail from a role. A remediation that another call led to is no contest."""


class Contest(NamedTuple):
    """The remediated removals of one role, as rows of its history, newest first."""

    acts: tuple[Mapping[str, Any], ...]

    @classmethod
    def among(cls, rows: Iterable[Mapping[str, Any]], now: datetime) -> Contest | None:
        """The contest that the newest rows of a role's history show; None if they show no contest."""
        acts: dict[str, Mapping[str, Any]] = {}
        for row in sorted(rows, key=lambda row: HistoryKey.of(row["at"]), reverse=True):
            cause = row.get("cause", {})
            is_recent = HistoryKey.of(row["at"]).time >= now - WINDOW
            if row.get("remediation") and cause.get("event_name") in UNDOING and is_recent:
                # One removal may have two rows, because its event arrived twice or two functions remediated it.
                acts.setdefault(str(cause.get("event_id", row["at"])), row)
        return cls(tuple(acts.values())) if len(acts) >= CONTESTED else None

    @property
    def remediations(self) -> int:
        """The number of removals that Rolewarden remediated."""
        return len(self.acts)

    @property
    def since(self) -> str:
        """The time of the first of these remediations, ISO 8601 UTC."""
        return HistoryKey.of(self.acts[-1]["at"]).time.isoformat(timespec="milliseconds")

    @property
    def actors(self) -> tuple[Actor, ...]:
        """The callers, those with the most removals first."""
        actors: dict[tuple[str, str, str, str], int] = {}
        for act in self.acts:
            cause = Cause.from_dict(act["cause"])
            # Naming an unverified caller would accuse whoever the sender of a message chose.
            shown = (cause.principal, cause.source_address, cause.user_agent, cause.person)
            who = shown if not cause.unverified else ("", "", "", "")
            actors[who] = actors.get(who, 0) + 1
        ordered = sorted(actors.items(), key=lambda found: (-found[1], found[0]))
        return tuple(Actor(actor, address, agent, times, person) for (actor, address, agent, person), times in ordered)
