"""`rolewarden history` and `rolewarden status`: what the deployed stack has recorded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rolewarden.contest import Contest
from rolewarden.errors import RolewardenError
from rolewarden.guardrails import matches
from rolewarden.history import HistoryKey
from rolewarden.names import about, account_and_name, folded
from rolewarden.origin import Cause
from rolewarden.own_events import RoleFinding, RoleRemediated, SubjectFinding
from rolewarden.progress import Progress
from rolewarden.reported import KEPT_SECONDS
from rolewarden.verdicts import Verdict

from rolewarden_cli.connect import Connection

STANDS = timedelta(seconds=KEPT_SECONDS, days=1)
"""A finding that is older, and was not told again since, no longer holds: every sweep would tell of it again."""

LONG_SINCE = timedelta(hours=3)
"""The last sweep is told to be old after so long; the stack's own alarm knows the schedule."""


class UnreadableTimeError(RolewardenError):
    """A point in time that cannot be read; the message says what to write."""


@dataclass(frozen=True)
class Entry:
    """A row of the history: a remediation or a finding.

    `about` names the role, policy or subject without its account; `kind` is the detail type of the event that told of
    it (`rolewarden.record`). `policies` are those that were put back or taken off, or that are missing. `event`,
    `actor` and `source_address` are of the cause. `row` is all of it.
    """

    at: datetime
    kind: str
    account: str
    about: str
    verdict: str
    remediation: str
    policies: tuple[str, ...]
    reason: str
    message: str
    recommendation: str
    event: str
    actor: str
    source_address: str
    row: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "kind": self.kind,
            "account": self.account,
            "about": self.about,
            "verdict": self.verdict,
            "remediation": self.remediation,
            "policies": list(self.policies),
            "reason": self.reason,
            "message": self.message,
            "recommendation": self.recommendation,
            "event": self.event,
            "actor": self.actor,
            "source_address": self.source_address,
        }


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

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "began": _text(self.began),
            "completed": dict(self.completed),
            "missed": self.missed,
            "surplus_roles": list(self.surplus_roles),
            "unused_policies": list(self.unused_policies),
        }


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
    def covered(self) -> int:
        """Roles that carry what they need."""
        left = {folded(entry.about) for entry in self.unenforceable if entry.kind != SubjectFinding.detail_type}
        return max(0, self.governed - self.exempt - len(left))

    @property
    def sweep_age(self) -> timedelta | None:
        """How long ago the last sweep began; None where there was none in the last week."""
        return self.at - self.last_sweep.began if self.last_sweep else None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        age = self.sweep_age
        return {
            "account": self.account,
            "region": self.region,
            "at": _text(self.at),
            "last_sweep": self.last_sweep.as_dict() if self.last_sweep else None,
            "running": self.running.as_dict() if self.running else None,
            "sweep_age_seconds": round(age.total_seconds()) if age else None,
            "governed": self.governed,
            "exempt": self.exempt,
            "covered": self.covered,
            "contested": [
                {"role": role.role, "times": role.times, "since": _text(role.since), "actors": list(role.actors)}
                for role in self.contested
            ],
            "unenforceable": [entry.as_dict() for entry in self.unenforceable],
            "remediated_last_day": self.remediated_last_day,
        }


def read_history(
    connection: Connection, *, role: str = "", since: datetime | None = None, actor: str = ""
) -> tuple[Entry, ...]:
    """The record, newest first; of a role, since a time, of actors that `actor` names or is a part of.

    Raises NoConnectionError where nothing is deployed, and RetryLater.
    """
    tables = connection.recorded()
    if role:
        rows: Iterable[Mapping[str, Any]] = connection.aws.query(
            tables.history, {"about": about(connection.account, role)}
        )
    else:
        rows = connection.aws.scan(tables.history)
    found = (_entry(row) for row in rows)
    wanted = (e for e in found if (since is None or e.at >= since) and (not actor or _names(actor, e.actor)))
    return tuple(sorted(wanted, key=lambda entry: entry.at, reverse=True))


def read_status(connection: Connection, now: datetime) -> Status:
    """How the deployed stack is doing. Raises NoConnectionError where nothing is deployed, and RetryLater."""
    region = connection.regions[0]
    progress = Progress(connection.aws, connection.recorded().bindings)
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


def moment(text: str, now: datetime) -> datetime:
    """The point in time that `text` says: `90m`, `2h`, `7d` before `now`, a day, or an ISO 8601 time (UTC).

    Raises UnreadableTimeError.
    """
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if ago := re.fullmatch(r"(\d{1,6})([mhd])", text):
            return now - timedelta(**{units[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UnreadableTimeError(
            f"`{text}` is no point in time: write 90m, 2h or 7d for so long ago, or a day as 2026-11-25"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _entry(row: Mapping[str, Any]) -> Entry:
    cause = Cause.from_dict(row.get("cause"))
    account, named = account_and_name(str(row.get("named") or row["about"]))
    policies = next((row[key] for key in ("attached", "detached", "missing") if row.get(key)), ())
    return Entry(
        at=HistoryKey.of(row["at"]).time,
        kind=str(row["kind"]),
        account=account,
        about=named or account,
        verdict=str(row.get("verdict", "")),
        remediation=str(row.get("remediation", "")),
        policies=tuple(policies),
        reason=str(row.get("reason", "")),
        message=str(row.get("message", "")),
        recommendation=str(row.get("recommendation", "")),
        event=cause.event_name,
        actor=cause.actor,
        source_address=cause.source_address,
        row=dict(row),
    )


def _names(actor: str, found: str) -> bool:
    pattern = actor if set(actor) & set("*?") else f"*{actor}*"
    return matches(pattern.lower(), found.lower())


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


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
