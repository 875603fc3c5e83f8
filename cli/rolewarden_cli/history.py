"""The history of the deployed stack: remediations and findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rolewarden.errors import Gone, RolewardenError
from rolewarden.history import HistoryKey
from rolewarden.matching import matches
from rolewarden.names import about, account_and_name, same
from rolewarden.origin import Cause
from rolewarden.own_events import CanaryRestored, DrillMeasured, GuardrailsPublished, RulesChanged

from rolewarden_cli.answers import HIDDEN, shown
from rolewarden_cli.connect import Connection
from rolewarden_cli.suggestions import no_such_role

DRILLS = frozenset({DrillMeasured.detail_type, CanaryRestored.detail_type})
"""The kinds of the entries that drills lead to."""

NO_DRIFT = DRILLS | {GuardrailsPublished.detail_type, RulesChanged.detail_type}
"""The kinds of entries that say nothing about the drift of a role or policy."""


class NoSuchRoleError(RolewardenError):
    """The account has no role with this name."""


class UnreadableTimeError(RolewardenError):
    """A point in time has an unknown format; the message has the formats."""


@dataclass(frozen=True)
class Entry:
    """A row of the history: a remediation or a finding.

    - `kind`: the detail type of Rolewarden's own event about it (`rolewarden.own_events`).
    - `about`: the name of the role, policy or subject without its account.
    - `policies`: the policies that were attached, else those that were detached, else those that are missing, or that
      a deployment wrote.
    - `event`, `actor`, `source_address`: the cause.
    - `row`: the whole row.
    - `person`: who uses the caller's shared role (`Cause.person`).
    - `erased`: the day on which an operator erased the caller; empty if nobody did.
    - `digest`, `earlier_digest`, `changes`: the rules after and before a change of the rules, and its lines. The
      message is its summary.
    - `unverified`: why the cause is not verified; empty if it is (`Cause.unverified`).
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
    row: Mapping[str, Any] = field(metadata=HIDDEN)
    unverified: str = ""
    person: str = ""
    erased: str = ""
    digest: str = ""
    earlier_digest: str = ""
    changes: tuple[str, ...] = ()

    @property
    def caused_by(self) -> str:
        """The name of the call that caused the entry, its caller, and the address of the caller, in words."""
        by = f" by {self.actor}" if self.actor else ""
        by += f" for {self.person}" if self.person else ""
        place = f" from {self.source_address}" if self.source_address else ""
        doubt = f" (not verified: {self.unverified})" if self.unverified else ""
        doubt += f" (caller erased on {self.erased})" if self.erased else ""
        return f"{self.event or 'unknown cause'}{by}{place}{doubt}"


@dataclass(frozen=True)
class Entries:
    """The entries of one account, newest first."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class AccountHistory:
    """The entries of one of several accounts, newest first."""

    account: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class HistoryTotals:
    """The sums of all accounts."""

    accounts: int
    entries: int


@dataclass(frozen=True)
class AllHistory:
    """The history of all accounts of the stack. An account without an entry has an empty list."""

    accounts: tuple[AccountHistory, ...]

    @property
    @shown
    def totals(self) -> HistoryTotals:
        """The sums of all accounts."""
        return HistoryTotals(len(self.accounts), sum(len(one.entries) for one in self.accounts))


def by_account(connection: Connection, entries: Iterable[Entry]) -> AllHistory:
    """The entries by account, for each account of an `organized` connection and each with an entry."""
    found: dict[str, list[Entry]] = {account: [] for account in connection.covered or ()}
    for entry in entries:
        found.setdefault(entry.account, []).append(entry)
    return AllHistory(tuple(AccountHistory(account, tuple(found[account])) for account in sorted(found)))


def read_history(
    connection: Connection, *, role: str = "", since: datetime | None = None, actor: str = "", every: bool = False
) -> tuple[Entry, ...]:
    """The history, newest first.

    - `role`: only entries about this role; empty for all.
    - `since`: only entries from this time on; None for all.
    - `actor`: only entries whose caller or person contains this text or matches this pattern; empty for all.
    - `every`: whether to give the entries of all accounts, and not only those of the connection.

    Raises NoConnectionError if no stack is deployed, and RetryLater.
    """
    tables = connection.recorded()
    if role and not every:
        rows: Iterable[Mapping[str, Any]] = connection.stored.query(
            tables.history, {"about": about(connection.account, role)}
        )
    else:
        rows = connection.stored.scan(tables.history)
    found = (_entry(row) for row in rows)
    wanted = (
        entry
        for entry in found
        if (every or entry.account == connection.account)
        and (not role or same(entry.about, role))
        and (since is None or entry.at >= since)
        and (not actor or _names(actor, entry.actor, entry.person))
    )
    return tuple(sorted(wanted, key=lambda entry: entry.at, reverse=True))


def need_role(connection: Connection, role: str) -> None:
    """Raise NoSuchRoleError if IAM has no such role, so that the name is probably a mistake. Raises RetryLater."""
    try:
        connection.aws.role(role)
    except Gone:
        missing = no_such_role(connection.account, role, (each.name for each in connection.aws.roles()))
        raise NoSuchRoleError(
            f"{missing}, and the history has no such entry: give the name without its path, and list the governed "
            "roles with `rolewarden plan --all`"
        ) from None


def parsed_time(text: str, now: datetime) -> datetime:
    """The point in time of `text`: `90m`, `2h` or `7d` before `now`, a date, or an ISO 8601 time (UTC).

    Raises UnreadableTimeError.
    """
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if ago := re.fullmatch(r"([0-9]{1,6})([mhd])", text):
            return now - timedelta(**{units[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UnreadableTimeError(
            f"`{text}` is not a point in time: write 90m, 2h or 7d for a time ago, or a date such as 2026-11-25"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _entry(row: Mapping[str, Any]) -> Entry:
    cause = Cause.from_dict(row.get("cause"))
    account, named = account_and_name(str(row.get("named") or row["about"]))
    policies = next((row[key] for key in ("attached", "detached", "missing", "policies") if row.get(key)), ())
    return Entry(
        at=HistoryKey.of(row["at"]).time,
        kind=str(row["kind"]),
        account=account,
        about=named or account,
        verdict=str(row.get("verdict", "")),
        remediation=str(row.get("remediation", "")),
        policies=tuple(policies),
        reason=str(row.get("reason", "")),
        message=str(row.get("message") or row.get("summary", "")),
        recommendation=str(row.get("recommendation", "")),
        event=cause.event_name,
        actor=cause.actor,
        source_address=cause.source_address,
        row=dict(row),
        unverified=cause.unverified,
        person=cause.person,
        erased=str(row.get("erased", "")),
        digest=str(row.get("digest", "")),
        earlier_digest=str(row.get("earlier_digest", "")),
        changes=tuple(map(str, row.get("changes", ()))),
    )


def _names(actor: str, *found: str) -> bool:
    pattern = actor if set(actor) & set("*?") else f"*{actor}*"
    return any(matches(pattern.lower(), name.lower()) for name in found)
