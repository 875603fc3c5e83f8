"""The state of the deployed stack: its last sweep, and the roles that it cannot keep protected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rolewarden.bindings import RoleKey, StoredBindings
from rolewarden.contest import Contest
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.names import folded
from rolewarden.needs import EXEMPTION_OF
from rolewarden.own_events import AccountFinding, RoleFinding, RoleRemediated, SubjectFinding, SurplusDetached
from rolewarden.policies import policy_arn
from rolewarden.progress import RecordedProgress
from rolewarden.reconcile import POLICIES_PER_ROLE
from rolewarden.record import ACCOUNT_WIDE
from rolewarden.reported import KEPT_SECONDS
from rolewarden.verdicts import Reason, Remediation, Verdict

from rolewarden_cli.answers import HIDDEN, shown
from rolewarden_cli.commands import held_anywhere, is_open
from rolewarden_cli.connect import Connection
from rolewarden_cli.figures import MEASURED, Latencies, read_latencies
from rolewarden_cli.history import Entry, read_history
from rolewarden_cli.inventory import Progress, ignore_progress
from rolewarden_cli.organization import UnreachedAccount, read_accounts, recorded_in
from rolewarden_cli.promotion import ObservedEvents, count_events

FINDING_LIFETIME = timedelta(seconds=KEPT_SECONDS, days=1)
"""The age from which on a finding no longer holds, because a sweep would have reported it again."""

OLD_AFTER = timedelta(hours=3)
"""The age from which on the output marks the last sweep as old. HeartbeatAlarm uses the schedule instead."""

OF_ACCOUNT = frozenset(
    reason.value
    for reason in (Reason.UNHEARD, Reason.NOT_DELEGATED, Reason.NOT_ENTERED, Reason.OUTSIDE, Reason.NOT_PREVENTED)
)
"""The reasons of findings about an account that each sweep, or the reading of all regions, decides again."""

OVERDUE = timedelta(days=2)
"""The age of the last sweep from which on it is overdue: twice the longest interval between sweeps."""


@dataclass(frozen=True)
class SweepSeen:
    """A sweep that the bindings table records.

    - `completed`: the counts of the sweep; empty if it has not ended.
    - `missed`: whether the sweep could not read everything.
    - `surplus_roles`: the first roles with policies that they do not need.
    - `unused_policies`: the first policies that belong to no guardrail.
    - `observed`: the policies of each guardrail that was in observe mode, by the guardrail's name.
    """

    began: datetime
    completed: Mapping[str, int]
    missed: bool
    surplus_roles: tuple[str, ...] = ()
    unused_policies: tuple[str, ...] = ()
    observed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ContestedRole:
    """A role whose guardrails were removed `times` times since `since`, by `actors`, the most active first."""

    role: str
    times: int
    since: datetime
    actors: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """The state of the deployed stack in one region.

    - `last_sweep`: the newest sweep that has ended, None without one in the last week.
    - `running`: the newest sweep if it has not ended.
    - `governed`: the roles that the stack evaluates now, without those whose exemption held in the last sweep. 0 before
      the first sweep.
    - `exempt`: the roles whose exemption held in the last sweep.
    - `lost`: the tables that no longer exist, so that what they recorded is not known.
    - `measured`: how long a role stays unprotected, as drills measured it.
    - `unenforceable`: the newest entry of each role, subject and exemption, if it is an unresolved finding.
    - `observed`: the newest entry of each role that lacks only guardrails in observe mode. This is no finding to solve.
    - `account_findings`: the newest entry about each broken link of the event path, each region that is not covered,
      and service control policies that are not in effect, if it is unresolved.
    - `since_observing`: the events that Rolewarden would have remediated; None without a guardrail in observe mode.
    - `sweeps`: the sweeps of the last week, oldest first.
    - `detached`: the roles from which surplus policies were detached since the last sweep began.
    - `deleted`: the unused policies of the last sweep that IAM no longer has.
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
    measured: Latencies = field(default_factory=Latencies)
    lost: tuple[str, ...] = ()
    observed: tuple[Entry, ...] = ()
    account_findings: tuple[Entry, ...] = ()
    since_observing: ObservedEvents | None = None
    sweeps: tuple[SweepSeen, ...] = field(default=(), metadata=HIDDEN)
    detached: tuple[str, ...] = field(default=(), metadata=HIDDEN)
    deleted: tuple[str, ...] = field(default=(), metadata=HIDDEN)

    @property
    @shown
    def surplus_roles(self) -> int:
        """The number of roles with policies that they do not need: those of the last sweep without those since then."""
        return max(0, self._counted("surplus") - len(self.detached))

    @property
    @shown
    def unused_policies(self) -> int:
        """The number of policies that belong to no guardrail, as `surplus_roles`."""
        return max(0, self._counted("unused_policies") - len(self.deleted))

    def _counted(self, what: str) -> int:
        return self.last_sweep.completed.get(what, 0) if self.last_sweep else 0

    @property
    @shown
    def observed_guardrails(self) -> tuple[str, ...]:
        """The guardrails that were in observe mode at the last sweep."""
        return tuple(self.last_sweep.observed) if self.last_sweep else ()

    @property
    @shown
    def observes(self) -> bool:
        """Whether every guardrail was in observe mode at the last sweep, so that the stack changes no role."""
        return bool(self.last_sweep and self.last_sweep.completed.get("observes"))

    @property
    @shown
    def covered(self) -> int:
        """The number of protected roles: the governed roles without those that have a finding."""
        found = (*self.unenforceable, *self.observed)
        left = {folded(entry.about) for entry in found if entry.kind == RoleFinding.detail_type}
        return max(0, self.governed - len(left))

    @property
    def sweep_age(self) -> timedelta | None:
        """The time since the last sweep began; None without a sweep in the last week."""
        return self.at - self.last_sweep.began if self.last_sweep else None

    @property
    @shown
    def sweep_age_seconds(self) -> int | None:
        """The same time in seconds."""
        return round(self.sweep_age.total_seconds()) if self.sweep_age else None

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition of `rolewarden status` holds, by name."""
        age, sweep = self.sweep_age, self.last_sweep
        is_swept = sweep is not None and not self.lost and not sweep.missed and age is not None and age <= OVERDUE
        return {
            "contested": bool(self.contested),
            "unprotected": bool(self.unenforceable),
            "account": bool(self.account_findings),
            "observed": bool(self.observed or self.observes),
            "sweep": not is_swept,
            "unreached": False,
            "surplus": bool(self.surplus_roles or self.unused_policies),
        }


@dataclass(frozen=True)
class StatusTotals:
    """The sums of all accounts; `well` are the accounts without anything to do."""

    accounts: int
    unreached: int
    well: int
    governed: int
    covered: int
    exempt: int
    contested: int
    unenforceable: int
    remediated_last_day: int


@dataclass(frozen=True)
class AllStatuses:
    """The states of all accounts of the stack."""

    accounts: tuple[Status, ...]
    unreached: tuple[UnreachedAccount, ...] = ()

    @property
    @shown
    def totals(self) -> StatusTotals:
        """The sums of all accounts."""
        found = self.accounts
        return StatusTotals(
            len(found),
            len(self.unreached),
            sum(not is_open("status", one.conditions) for one in found),
            sum(one.governed for one in found),
            sum(one.covered for one in found),
            sum(one.exempt for one in found),
            sum(len(one.contested) for one in found),
            sum(len(one.unenforceable) for one in found),
            sum(one.remediated_last_day for one in found),
        )

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition of `rolewarden status` holds in any account, by name."""
        return held_anywhere("status", [one.conditions for one in self.accounts], unreached=bool(self.unreached))


@dataclass(frozen=True)
class Recorded:
    """The records that the states of all accounts share.

    - `entries`: the history of all accounts.
    - `measured`: how long a role stays unprotected in each account.
    - `lost`: as in `Status`.
    """

    entries: tuple[Entry, ...]
    measured: Latencies
    lost: tuple[str, ...] = ()

    def measured_in(self, account: str) -> Latencies:
        """The figures of one account."""
        return replace(self.measured, rows=tuple(row for row in self.measured.rows if row.account == account))


def read_recorded(connection: Connection, now: datetime) -> Recorded:
    """Read the records that all states share. Raises NoConnectionError if no stack is deployed, and RetryLater."""
    lost: list[str] = []
    entries: tuple[Entry, ...] = ()
    with _unless_lost(connection, connection.recorded().history, "HistoryTable", lost):
        entries = read_history(connection, every=True)
    measured = read_latencies(connection, [entry for entry in entries if entry.at >= now - MEASURED], now)
    return Recorded(entries, measured, tuple(lost))


def read_all_statuses(connection: Connection, now: datetime, progress: Progress = ignore_progress) -> AllStatuses:
    """Read the state of each account of an `organized` connection, from the tables alone. Raises as `read_recorded`."""
    shared = read_recorded(connection, now)
    return AllStatuses(
        *read_accounts(connection, recorded_in, lambda one: read_status(one, now, shared=shared), progress)
    )


def read_status(connection: Connection, now: datetime, *, shared: Recorded | None = None) -> Status:
    """Read the state of one account. `shared`: the records that several accounts share; None to read them.

    Raises NoConnectionError if no stack is deployed, and RetryLater.
    """
    shared = shared or read_recorded(connection, now)
    region = connection.regions[0]
    tables = connection.recorded()
    lost: list[str] = []
    sweeps: list[SweepSeen] = []
    roles: set[RoleKey] = set()
    with _unless_lost(connection, tables.bindings, "BindingsTable", lost):
        rows = RecordedProgress(connection.stored, tables.bindings).sweeps(connection.account)
        sweeps += (_sweep_of(row) for row in rows)
        stored = StoredBindings(connection.stored, tables.bindings, lambda _: True)
        roles |= {binding.role for binding in stored.of_account(connection.account) if binding.role}
    lost += shared.lost
    recorded = tuple(entry for entry in shared.entries if entry.account == connection.account)
    last = next((sweep for sweep in reversed(sweeps) if sweep.completed), None)
    exempt = last.completed.get("exempt", 0) if last else 0
    # As in a sweep, a role of another account counts there.
    evaluated = sum(role.account == connection.account for role in roles) if last else 0
    running = sweeps[-1] if sweeps and not sweeps[-1].completed else None
    entries = [entry for entry in recorded if entry.at >= now - FINDING_LIFETIME]
    newest: dict[str, Entry] = {}
    for entry in entries:
        newest.setdefault(folded(entry.about), entry)
    return Status(
        connection.account,
        region,
        now,
        last,
        running,
        max(0, evaluated - exempt),
        exempt,
        tuple(_contested(entries, now)),
        tuple(entry for entry in newest.values() if _is_wrong(entry) and not _is_observed(entry)),
        sum(entry.kind == RoleRemediated.detail_type and entry.at >= now - timedelta(days=1) for entry in entries),
        shared.measured_in(connection.account),
        tuple(lost),
        tuple(entry for entry in newest.values() if _is_wrong(entry) and _is_observed(entry)),
        tuple(entry for entry in newest.values() if _is_of_account(entry)),
        _since_observing(connection, recorded, last) if last and last.observed else None,
        tuple(sweeps),
        _detached_since(last, entries) if last else (),
        _deleted_since(connection, last) if last else (),
    )


def _detached_since(sweep: SweepSeen, entries: Iterable[Entry]) -> tuple[str, ...]:
    """The roles from which surplus policies were detached since a sweep began, which compares before they are."""
    if not sweep.completed.get("surplus"):
        return ()
    found = {
        folded(entry.about): entry.about
        for entry in entries
        if entry.kind == SurplusDetached.detail_type and entry.at >= sweep.began
    }
    return tuple(sorted(found.values()))


def _deleted_since(connection: Connection, sweep: SweepSeen) -> tuple[str, ...]:
    """The unused policies of a sweep that IAM no longer has; empty if the caller cannot list them."""
    if not sweep.unused_policies or not connection.is_entered:
        return ()
    try:
        existing = connection.writer.own_policies()
    except (Refused, RetryLater):
        return ()
    return tuple(name for name in sweep.unused_policies if name not in existing)


def _since_observing(connection: Connection, recorded: Iterable[Entry], sweep: SweepSeen) -> ObservedEvents:
    try:
        quota = connection.calls.policies_per_role() if connection.is_entered else POLICIES_PER_ROLE
    except Refused:
        quota = POLICIES_PER_ROLE

    def has_fallback(role: str) -> bool:
        """Whether a fallback boundary would protect a full role: it has no boundary, or one of Rolewarden."""
        if not sweep.completed.get("fallback") or not connection.is_entered:
            return False
        try:
            boundary = connection.aws.role(role).boundary
        except (Refused, RetryLater):
            return False
        return not boundary or boundary.startswith(policy_arn("", connection.aws.partition, connection.account))

    return count_events(recorded, sweep.observed, quota, has_fallback)


@contextmanager
def _unless_lost(connection: Connection, table: str, name: str, lost: list[str]) -> Iterator[None]:
    """Read a table in the block. If the table no longer exists, add its name to `lost`. Raises RetryLater."""
    try:
        yield
    except (Gone, RetryLater):
        if connection.stack_calls.has_table(table):
            raise
        lost.append(name)


def _sweep_of(row: Mapping[str, Any]) -> SweepSeen:
    """The sweep that a row of the bindings table records."""
    counts = {name: int(count) for name, count in (row.get("completed") or {}).items()}
    began, surplus = datetime.fromtimestamp(float(row["item"]), UTC), row.get("surplus") or {}
    roles, policies_left = (tuple(surplus.get(what, ())) for what in ("roles", "policies"))
    observed = {str(name): tuple(policies) for name, policies in (row.get("observed") or {}).items()}
    return SweepSeen(began, counts, bool(row.get("missed")), roles, policies_left, observed)


def _is_wrong(entry: Entry) -> bool:
    about_exemption = entry.about.startswith(f"{ACCOUNT_WIDE}{EXEMPTION_OF}")
    if entry.kind not in {RoleFinding.detail_type, SubjectFinding.detail_type} and not about_exemption:
        return False
    return entry.verdict in {Verdict.UNENFORCEABLE, Verdict.DRIFTED}


def _is_of_account(entry: Entry) -> bool:
    """Whether events may not arrive from an account, or what the account has is not covered."""
    return entry.kind == AccountFinding.detail_type and entry.reason in OF_ACCOUNT


def _is_observed(entry: Entry) -> bool:
    """Whether a role lacks only guardrails in observe mode."""
    return entry.verdict == Verdict.DRIFTED and entry.remediation == Remediation.OBSERVED


def _contested(entries: Iterable[Entry], now: datetime) -> Iterable[ContestedRole]:
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    named: dict[str, str] = {}
    for entry in entries:
        rows[folded(entry.about)].append(entry.row)
        named.setdefault(folded(entry.about), entry.about)
    for role, found in sorted(rows.items()):
        if contest := Contest.among(found, now):
            since = datetime.fromisoformat(contest.since)
            yield ContestedRole(named[role], contest.remediations, since, tuple(each.actor for each in contest.actors))
