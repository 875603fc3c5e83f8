"""How the deployed stack is doing: its last sweep, and the roles that it cannot keep protected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rolewarden.contest import Contest
from rolewarden.names import folded
from rolewarden.own_events import RoleFinding, RoleRemediated, SubjectFinding
from rolewarden.progress import RecordedProgress
from rolewarden.reported import KEPT_SECONDS
from rolewarden.verdicts import Verdict

from rolewarden_cli.answers import shown
from rolewarden_cli.connect import Connection
from rolewarden_cli.history import Entry, read_history

STANDS = timedelta(seconds=KEPT_SECONDS, days=1)
"""A finding that is older, and was not told again since, no longer holds: every sweep would tell of it again."""

LONG_SINCE = timedelta(hours=3)
"""The last sweep is told to be old after so long; the stack's own alarm knows the schedule."""

OVERDUE = timedelta(days=2)
"""The age of the last sweep from which on the stack is not well: twice the longest interval that it can have."""


@dataclass(frozen=True)
class SweepSeen:
    """A sweep that the table remembers; `completed` is empty while it runs, and where it did not come to its end.

    `surplus_roles` are the first roles with policies that they do not need, `unused_policies` the first policies that
    no guardrail stands for.
    """

    began: datetime
    completed: Mapping[str, int]
    missed: bool
    surplus_roles: tuple[str, ...] = ()
    unused_policies: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContestedRole:
    """A role whose guardrails were taken off `times` times since `since`, by `actors`, who acts most first."""

    role: str
    times: int
    since: datetime
    actors: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """How the deployed stack is doing in one region.

    `last_sweep` is the newest that came to its end, `running` one that began after it. `governed` roles, and those of
    them that are `exempt`, are the last sweep's; `unenforceable` are the newest findings of roles and subjects that
    nothing newer has settled.
    """

    account: str
    region: str
    at: datetime
    last_sweep: SweepSeen | None
    running: SweepSeen | None
    governed: int
    exempt: int
    contested: tuple[ContestedRole, ...]
    unenforceable: tuple[Entry, ...]
    remediated_last_day: int

    @property
    @shown
    def covered(self) -> int:
        """Roles that carry what they need."""
        left = {folded(entry.about) for entry in self.unenforceable if entry.kind != SubjectFinding.detail_type}
        return max(0, self.governed - self.exempt - len(left))

    @property
    def sweep_age(self) -> timedelta | None:
        """How long ago the last sweep began; None where there was none in the last week."""
        return self.at - self.last_sweep.began if self.last_sweep else None

    @property
    @shown
    def sweep_age_seconds(self) -> int | None:
        """The same in seconds."""
        return round(self.sweep_age.total_seconds()) if self.sweep_age else None

    @property
    def is_well(self) -> bool:
        """Whether a whole sweep was completed in time, and no role or subject is contested or unprotected."""
        age, sweep = self.sweep_age, self.last_sweep
        is_swept = sweep is not None and not sweep.missed and age is not None and age <= OVERDUE
        return is_swept and not self.contested and not self.unenforceable


def read_status(connection: Connection, now: datetime) -> Status:
    """How the deployed stack is doing. Raises NoConnectionError where nothing is deployed, and RetryLater."""
    region = connection.regions[0]
    progress = RecordedProgress(connection.aws, connection.recorded().bindings)
    sweeps = [_sweep(row) for row in progress.sweeps(connection.account)]
    last = next((sweep for sweep in reversed(sweeps) if sweep.completed), None)
    running = sweeps[-1] if sweeps and not sweeps[-1].completed else None
    entries = read_history(connection, since=now - STANDS)
    newest: dict[str, Entry] = {}
    for entry in entries:
        newest.setdefault(folded(entry.about), entry)
    return Status(
        connection.account,
        region,
        now,
        last,
        running,
        last.completed.get("roles", 0) if last else 0,
        last.completed.get("exempt", 0) if last else 0,
        tuple(_contested(entries, now)),
        tuple(entry for entry in newest.values() if _is_wrong(entry)),
        sum(entry.kind == RoleRemediated.detail_type and entry.at >= now - timedelta(days=1) for entry in entries),
    )


def _sweep(row: Mapping[str, Any]) -> SweepSeen:
    counts = {name: int(count) for name, count in (row.get("completed") or {}).items()}
    began, surplus = datetime.fromtimestamp(float(row["item"]), UTC), row.get("surplus") or {}
    names = (tuple(surplus.get(what, ())) for what in ("roles", "policies"))
    return SweepSeen(began, counts, bool(row.get("missed")), *names)


def _is_wrong(entry: Entry) -> bool:
    if entry.kind not in {RoleFinding.detail_type, SubjectFinding.detail_type}:
        return False
    return entry.verdict in {Verdict.UNENFORCEABLE, Verdict.DRIFTED}


def _contested(entries: Iterable[Entry], now: datetime) -> Iterable[ContestedRole]:
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    named: dict[str, str] = {}
    for entry in entries:
        rows[folded(entry.about)].append(entry.row)
        named.setdefault(folded(entry.about), entry.about)
    for role, told in sorted(rows.items()):
        if contest := Contest.among(told, now):
            since = datetime.fromisoformat(contest.since)
            yield ContestedRole(named[role], contest.remediations, since, tuple(who.actor for who in contest.actors))
