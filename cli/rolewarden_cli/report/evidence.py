"""The evidence of the history: the times in which roles were unprotected, tampering, and whether Rolewarden worked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

from rolewarden.events import BOUNDARY_EVENTS
from rolewarden.names import folded
from rolewarden.own_events import (
    AccountFinding,
    CanaryRestored,
    DrillMeasured,
    FindingResolved,
    PolicyRestored,
    RoleFinding,
    RoleRemediated,
    RulesChanged,
)
from rolewarden.verdicts import Reason, Remediation, Verdict

from rolewarden_cli.history import Entry
from rolewarden_cli.report.model import AccountReport, Report

_WITHOUT_PROTECTION = {Verdict.DRIFTED.value, Verdict.UNENFORCEABLE.value}

_REMOVALS = BOUNDARY_EVENTS | {"DetachRolePolicy"}
"""The calls that take a guardrail from a role."""

_TAMPERING = {
    Reason.CANARY.value: "changed the canary, with which Rolewarden tests itself",
    Reason.FORGED.value: "sent a forged request to a function",
    Reason.UNSIGNED.value: "used the credentials of a function",
    Reason.TAGGED.value: "set a tag that decides about guardrails, without permission by guardrails.yaml",
    Reason.EXEMPT_TRUST.value: "let other callers assume an exempt role",
}
"""The action of a caller, by the reason of a finding about the account."""

_PARTS_OF_PATH = {Reason.UNHEARD.value, Reason.NOT_ENTERED.value, Reason.LEFT.value, Reason.NOT_DELEGATED.value}
"""The reasons of findings that say that Rolewarden could not work in an account."""


@dataclass(frozen=True)
class Unprotected:
    """The times in which a role lacked a guardrail, as far as the history shows them.

    - `times`: how often; `unmeasured` of them without a known beginning.
    - `longest`, `total`: of the measured times that have ended; None without one.
    - `since`: the beginning of a time that has not ended; None if the role is protected, or if it is not known.
    - `is_now`: whether the role lacks a guardrail now.
    - `observed`: whether Rolewarden only observed at one of these times, because of observe mode.
    """

    role: str
    times: int
    unmeasured: int
    longest: timedelta | None
    total: timedelta | None
    since: datetime | None
    is_now: bool
    observed: bool


@dataclass(frozen=True)
class Tampering:
    """Calls of one caller that took a guardrail away, or that changed Rolewarden itself.

    - `actor`, `person`: empty if the history does not name them.
    - `did`: what the calls did, in words.
    - `about`: the roles and policies.
    - `unverified`: why the caller is not verified; empty if it is.
    """

    actor: str
    person: str
    call: str
    did: str
    about: tuple[str, ...]
    times: int
    first: datetime
    last: datetime
    unverified: str


@dataclass(frozen=True)
class Regularity:
    """The regularity of something: its number, and the longest time without it within the period of the report."""

    what: str
    place: str
    times: int
    first: datetime | None
    last: datetime | None
    longest_gap: timedelta | None


@dataclass(frozen=True)
class Evidence:
    """The evidence of all accounts of a report, each part with its account. Answers and tables count the same parts."""

    report: Report

    @cached_property
    def unprotected(self) -> tuple[tuple[str, Unprotected], ...]:
        """The roles that were unprotected."""
        return tuple((one.account, found) for one in self.report.accounts for found in find_unprotected(one))

    @cached_property
    def tampering(self) -> tuple[tuple[str, Tampering], ...]:
        """The calls that took guardrails away or changed Rolewarden."""
        return tuple((one.account, found) for one in self.report.accounts for found in find_tampering(one.history))

    @cached_property
    def rule_changes(self) -> tuple[tuple[str, Entry], ...]:
        """The changes of the rules."""
        return tuple(
            (one.account, entry)
            for one in self.report.accounts
            for entry in one.history
            if entry.kind == RulesChanged.detail_type
        )

    @cached_property
    def regularity(self) -> tuple[tuple[str, Regularity], ...]:
        """The regularity of sweeps and drills in the accounts with a deployed stack."""
        since = self.report.provenance.history_since
        return tuple(
            (one.account, found)
            for one in self.report.accounts
            if one.plan.deployed
            for found in find_regularity(one, since)
        )


def find_unprotected(account: AccountReport) -> tuple[Unprotected, ...]:
    """The roles that were unprotected in the period of the history, or that are now, the longest time first."""
    entries: dict[str, list[Entry]] = defaultdict(list)
    names: dict[str, str] = {}
    for entry in sorted(account.history, key=lambda entry: entry.at):
        if entry.kind in {RoleRemediated.detail_type, RoleFinding.detail_type, FindingResolved.detail_type}:
            entries[folded(entry.about)].append(entry)
            names.setdefault(folded(entry.about), entry.about)
    now = {
        folded(role): role
        for role, verdict in account.verdicts.items()
        if verdict in {Verdict.DRIFTED, Verdict.UNENFORCEABLE}
    }
    found = [_unprotected(names.get(role, now.get(role, role)), entries[role], is_now=role in now)
             for role in sorted({*entries, *now})]  # fmt: skip
    never = timedelta()
    return tuple(sorted(
        (one for one in found if one.times or one.is_now),
        key=lambda one: (not one.is_now, -(one.longest or never).total_seconds(), one.role),
    ))  # fmt: skip


def _unprotected(role: str, entries: Iterable[Entry], *, is_now: bool) -> Unprotected:
    lengths: list[timedelta] = []
    times = unmeasured = 0
    since: datetime | None = None
    observed = False
    for entry in entries:
        if entry.kind == RoleFinding.detail_type and entry.verdict in _WITHOUT_PROTECTION:
            times += since is None
            since = since or entry.at
            observed = observed or entry.remediation == Remediation.OBSERVED.value
            continue
        seconds = _seconds(entry.row.get("seconds_since_event"))
        if since is not None:
            lengths.append(entry.at - since)
        elif entry.kind == RoleRemediated.detail_type:
            times += 1
            unmeasured += seconds is None
            lengths += [] if seconds is None else [timedelta(seconds=seconds)]
        since = None
        if entry.kind == RoleRemediated.detail_type and entry.verdict in _WITHOUT_PROTECTION:
            since, times = entry.at, times + 1
    if since is not None and not is_now:
        unmeasured += 1  # The history does not show when this time ended.
    return Unprotected(
        role,
        times,
        unmeasured,
        max(lengths, default=None),
        sum(lengths, timedelta()) if lengths else None,
        since if is_now else None,
        is_now,
        observed,
    )


def _seconds(value: Any) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except (TypeError, ValueError):
        return None


def find_tampering(history: Iterable[Entry]) -> tuple[Tampering, ...]:
    """The calls that took guardrails away or changed Rolewarden, by caller, those with the most calls first."""
    found: dict[tuple[str, str, str, str, str], list[Entry]] = defaultdict(list)
    for entry in history:
        if did := _deed(entry):
            found[entry.actor, entry.person, entry.event, did, entry.unverified].append(entry)
    made = [
        Tampering(
            actor, person, call, did,
            tuple(sorted({entry.about for entry in entries if entry.kind != AccountFinding.detail_type})),
            len(entries),
            min(entry.at for entry in entries),
            max(entry.at for entry in entries),
            unverified,
        )
        for (actor, person, call, did, unverified), entries in found.items()
    ]  # fmt: skip
    return tuple(sorted(made, key=lambda one: (-one.times, one.actor, one.call, one.did)))


def _deed(entry: Entry) -> str:
    """The action of the caller of an entry, in words; empty if it was no tampering."""
    if entry.kind == RoleRemediated.detail_type and entry.event in _REMOVALS:
        return "took a guardrail from a role"
    if entry.kind == PolicyRestored.detail_type:
        was_deleted = entry.remediation == "created" or entry.event == "DeletePolicy"
        return "deleted a guardrail's policy" if was_deleted else "edited a guardrail's policy"
    if entry.kind == CanaryRestored.detail_type:
        return _TAMPERING[Reason.CANARY.value]
    return _TAMPERING.get(entry.reason, "") if entry.kind == AccountFinding.detail_type else ""


def find_regularity(account: AccountReport, since: datetime) -> tuple[Regularity, ...]:
    """The regularity of the sweeps of the account, and of the drills that EnforceFunction heard, by region.

    The longest time without a drill begins with the first drill of the period, because the stack may be younger.
    """
    at = account.access.at
    sweeps = [sweep.began for sweep in account.status.sweeps if sweep.completed] if account.status else []
    found = [_regularity("completed sweep of the last 7 days", account.account, sweeps, at)]
    drills: dict[str, list[datetime]] = defaultdict(list)
    for entry in account.history:
        if entry.kind == DrillMeasured.detail_type and entry.at >= since:
            drills[str(entry.row.get("region", ""))].append(entry.at)
    found += [_regularity("drill that was heard", region, drills[region], at) for region in sorted(drills)]
    if not drills:
        found.append(_regularity("drill that was heard", account.account, [], at))
    return tuple(found)


def _regularity(what: str, place: str, times: Sequence[datetime], until: datetime) -> Regularity:
    if not times:
        return Regularity(what, place, 0, None, None, None)
    ordered = [*sorted(times), max(until, *times)]
    gaps = [later - earlier for earlier, later in pairwise(ordered)]
    return Regularity(what, place, len(times), ordered[0], ordered[-2], max(gaps))


def find_interruptions(history: Iterable[Entry]) -> tuple[Entry, ...]:
    """The findings that say that Rolewarden could not work in an account, newest first."""
    found = [entry for entry in history if entry.kind == AccountFinding.detail_type and entry.reason in _PARTS_OF_PATH]
    return tuple(sorted(found, key=lambda entry: entry.at, reverse=True))


def length_in_words(length: timedelta) -> str:
    """A length of time with its two largest units: `3 d 4 h`, `12 min 5 s`, `48 s`."""
    seconds = round(length.total_seconds())
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number or (unit == "s" and not parts):
            parts.append(f"{number:,} {unit}")
    return " ".join(parts[:2])


def moment(value: datetime | None) -> str:
    """A time in UTC, to the minute; `not known` for None."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if value else "not known"
