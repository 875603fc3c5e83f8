"""Progress: rows of the bindings table that record how far sweeps and audits are, and the accounts that are covered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from rolewarden.bindings import RoleKey, as_number, look_key, row_key
from rolewarden.calls import ReadsItems, WritesItems
from rolewarden.clock import CLOCK_SKEW, Clock
from rolewarden.sweep_messages import SWEEP_BEGAN, sweeps_scope

SWEEP_KEPT_SECONDS = 7 * 24 * 3600
"""Seconds after which the row of a sweep expires."""

COVERED_SECONDS = 60.0
"""Seconds for which a member account counts as covered without another look at the table."""

_MEMBERS = "members"
"""The partition key of the rows about member accounts."""

_REQUESTS = "requests"
"""The partition key of the rows about requested sweeps."""

_EXEMPT = "exempt"
"""The partition key of the rows with the unique ID of each exempt role. They decide only whether to report another ID.
"""

_HEALTH = "health"
"""The partition key of the rows that the heartbeat counts, one for each account that is covered."""


_PUBLISHED = "published"
"""The sort key of the row with the rules of the last deployment."""


class Health(NamedTuple):
    """The facts that the heartbeat knows of an account.

    - `since`: the time from which the account is covered, in seconds of the epoch.
    - `swept`: the start of the last completed sweep, 0 for none.
    - `broken`: the number of latest sweeps in a row that found a broken event path.
    """

    since: float = 0
    swept: float = 0
    broken: int = 0


class RecordedProgress:
    """The progress of the sweeps and audits of a deployed stack, to read only. Methods raise RetryLater.

    The row of a sweep has these attributes:

    - `rules`: the fingerprint of the rules of the sweep.
    - `pending`: the outstanding chunks.
    - `listed`: whether every chunk is known.
    - `missed`: whether the sweep could not read something.
    - `completed`, `surplus`, `observed`: the result, as soon as the sweep has ended.
    """

    def __init__(self, aws: ReadsItems, table: str) -> None:
        self.aws = aws
        self._table = table

    def has_read_everything(self, row: tuple[str, str]) -> bool:
        """Whether the sweep has listed everything, has no outstanding chunk, and could read everything."""
        rows = self.aws.query(self._table, {"scope": row[0]}, begins=("item", row[1]))
        return any(_is_whole(found) and not found.get("missed") for found in rows)

    def is_whole(self, row: tuple[str, str]) -> bool:
        """Whether the sweep began, has listed everything, and has no outstanding chunk."""
        rows = self.aws.query(self._table, {"scope": row[0]}, begins=("item", row[1]))
        return any(map(_is_whole, rows))

    def sweeps(self, account: str) -> list[dict[str, Any]]:
        """The rows of the sweeps of the last days, oldest first: `item` is the time at which a sweep began."""
        return self.aws.query(self._table, {"scope": sweeps_scope(account)})

    def rules_of_last_sweep(self, account: str, now: float) -> str:
        """The fingerprint of the rules of the account's last sweep; empty if the table has no sweep of the account."""
        return str(self._last_sweep(account, now + CLOCK_SKEW).get("rules", ""))

    def _last_sweep(self, account: str, before: float) -> dict[str, Any]:
        """The row of the last sweep that began before `before`, so that a row with a later time does not count."""
        rows = [row for row in self.sweeps(account) if SWEEP_BEGAN.fullmatch(row["item"])]
        return next((row for row in reversed(rows) if float(row["item"]) < before), {})

    def is_sweeping(self, account: str, now: float, most: float) -> bool:
        """Whether the account's last sweep began less than `most` seconds ago and has not completed."""
        row = self._last_sweep(account, now + CLOCK_SKEW)
        return bool(row) and not row.get("completed") and now - float(row["item"]) < most

    def member_accounts(self) -> dict[str, float]:
        """The member accounts, each with the start of its last completed sweep (seconds of the epoch, 0 for none)."""
        rows = self.aws.query(self._table, {"scope": _MEMBERS})
        return {row["item"]: as_number(row.get("swept")) for row in rows}

    def is_member(self, account: str) -> bool:
        """Whether the stack covers `account` as a member account, by the last list of StackSets."""
        rows = self.aws.query(self._table, {"scope": _MEMBERS}, begins=("item", account))
        return any(row["item"] == account for row in rows)

    def published_rules(self, account: str) -> str:
        """The rules of the last deployment as `set_published_rules` got them; empty without the row."""
        rows = self.aws.query(self._table, {"scope": _rules(account)["scope"]})
        text = rows[0].get("text") if rows else ""
        return text if isinstance(text, str) else ""

    def audited(self, account: str, before: float) -> datetime | None:
        """The time until which the calls of an account are audited; None if no audit has ended yet.

        A time after `before`, or in another form, also gives None. Otherwise the audit would leave out the calls before
        it.
        """
        rows = self.aws.query(self._table, {"scope": _audit(account)["scope"]})
        try:
            until = datetime.fromisoformat(rows[0]["until"])
            return until if until.timestamp() <= before else None
        except (LookupError, TypeError, ValueError, OverflowError):
            return None


@dataclass
class CoveredAccounts:
    """Whether the stack covers an account.

    - `home`: the account of the stack.
    - `table`: the bindings table.
    - `has_members`: whether the stack covers an organization.

    Every account of the organization can send events, and its administrator can create the role that a function enters.
    So neither an event nor an open role decides which accounts Rolewarden works in, and whose subjects count.

    An account that has just joined is not covered until the next sweep lists it. Before that, it has no policies that a
    function could attach.
    """

    aws: ReadsItems
    table: str
    home: str
    has_members: bool = True
    _seen: dict[str, float] = field(default_factory=dict)

    def __call__(self, account: str) -> bool:
        """Whether the stack covers `account`. Raises RetryLater."""
        if account == self.home or not self.has_members:
            return account == self.home
        now = time.monotonic()
        if now - self._seen.get(account, float("-inf")) < COVERED_SECONDS:
            return True
        is_covered = RecordedProgress(self.aws, self.table).is_member(account)
        if is_covered:
            self._seen[account] = now
        return is_covered


class Progress(RecordedProgress):
    """The progress of the sweeps and audits of a deployed stack, to read and to write. Methods raise RetryLater."""

    aws: WritesItems

    def __init__(self, aws: WritesItems, table: str, clock: Clock | None = None) -> None:
        super().__init__(aws, table)
        self._clock = clock or Clock()

    def begin(self, row: tuple[str, str], now: float, rules: str) -> None:
        """Create the row that records the progress of a sweep by `rules` (a fingerprint). The row expires."""
        self.aws.put(self._table, {**row_key(row), "expires": int(now) + SWEEP_KEPT_SECONDS, "rules": rules})

    def add_chunks(self, row: tuple[str, str], chunks: set[str]) -> None:
        """Add outstanding chunks to a sweep."""
        self.aws.update(self._table, row_key(row), "ADD pending :chunks", {":chunks": chunks})

    def end_chunk(self, row: tuple[str, str], chunk: str) -> bool:
        """Remove an outstanding chunk. Gives whether it was the last one of a sweep that has listed everything.

        If the row of the sweep was deleted meanwhile, each chunk counts as the last one.
        """
        after = self.aws.update(self._table, row_key(row), "DELETE pending :chunk", {":chunk": {chunk}})
        # Without the row's beginning, nobody knows what is outstanding. A comparison too many does no harm.
        return not after.get("pending") and bool(after.get("listed") or not after.get("rules"))

    def end_listing(self, row: tuple[str, str]) -> bool:
        """Record that every chunk is known. Gives whether no chunk is outstanding."""
        after = self.aws.update(self._table, row_key(row), "SET listed = :yes", {":yes": True})
        return not after.get("pending")

    def mark_unread(self, row: tuple[str, str]) -> None:
        """Record that the sweep could not read something."""
        self.aws.update(self._table, row_key(row), "SET missed = :yes", {":yes": True})

    def finish(
        self,
        row: tuple[str, str],
        counts: Mapping[str, int],
        surplus: Mapping[str, Sequence[str]],
        observed: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """Record the result of a sweep.

        - `counts`: the numbers of subjects, roles and so on, by name.
        - `surplus`: the first "roles" with a policy that they do not need, and the first unused "policies".
        - `observed`: the policies of each guardrail in observe mode, by the guardrail's name.
        """
        values: dict[str, Any] = {":counts": dict(counts)}
        for name, found in ((":surplus", surplus), (":observed", observed)):
            values[name] = {what: list(names) for what, names in found.items()}
        expression = "SET completed = :counts, surplus = :surplus, observed = :observed"
        self.aws.update(self._table, row_key(row), expression, values)

    def unfinished(self, account: str, before: float) -> str:
        """The start of the account's last sweep before `before`; empty if it has a result, or if no sweep began."""
        last = self._last_sweep(account, before)
        return "" if last.get("completed") else str(last.get("item", ""))

    def set_member_swept(self, account: str, at: float) -> None:
        """Record the start of the last completed sweep of a member account, 0 for a new account."""
        self.aws.put(self._table, {"scope": _MEMBERS, "item": account, "swept": int(at)})

    def forget_member(self, account: str) -> None:
        """Delete the rows of a member account that is no longer swept."""
        keys = [{"scope": scope, "item": account} for scope in (_MEMBERS, _HEALTH)]
        self.aws.write_newer(self._table, (), keys, at=self._clock.now())

    def health(self) -> dict[str, Health]:
        """The facts that the heartbeat knows, by account."""
        rows = self.aws.query(self._table, {"scope": _HEALTH})
        return {
            row["item"]: Health(
                as_number(row.get("since")), as_number(row.get("swept")), int(as_number(row.get("broken")))
            )
            for row in rows
        }

    def set_covered(self, account: str, at: float) -> Health:
        """Record the time from which an account is covered."""
        key = {"scope": _HEALTH, "item": account}
        self.aws.update(self._table, key, "SET since = :at", {":at": int(at)})
        return Health(int(at))

    def set_health(self, account: str, at: float, *, is_whole: bool | None) -> None:
        """Record a completed sweep that began at `at`, and whether it found every event path whole (None: unknown)."""
        key, expression, values = {"scope": _HEALTH, "item": account}, "SET swept = :at", {":at": int(at)}
        if is_whole is not None:
            broken = 0 if is_whole else self.health().get(account, Health()).broken + 1
            expression, values = f"{expression}, broken = :broken", {**values, ":broken": broken}
        self.aws.update(self._table, key, expression, values)

    def set_audited(self, account: str, until: datetime) -> None:
        """Record that the calls of an account before `until` are audited."""
        self.aws.put(self._table, {**_audit(account), "until": until.isoformat()})

    def exempt_id(self, role: RoleKey) -> str:
        """The unique ID that an exempt role had at the last sweep; empty before the first one."""
        rows = self.aws.query(self._table, {"scope": _EXEMPT}, begins=("item", role.path))
        return next((str(row.get("id", "")) for row in rows if row["item"] == role.path), "")

    def set_exempt_id(self, role: RoleKey, unique: str) -> None:
        """Record the unique ID of an exempt role."""
        self.aws.put(self._table, {"scope": _EXEMPT, "item": role.path, "id": unique})

    def set_published_rules(self, account: str, text: str) -> None:
        """Keep the rules of a deployment, in any form."""
        self.aws.put(self._table, {**_rules(account), "text": text})

    def regions_read(self, account: str) -> float:
        """The time of the last look at all regions of an account, in seconds of the epoch.

        It is 0 before the first one, and if the row has a time in the future.
        """
        rows = self.aws.query(self._table, {"scope": look_key(account)["scope"]})
        at = as_number(rows[0].get("at")) if rows else 0.0
        return at if at <= self._clock.now() + CLOCK_SKEW else 0.0

    def set_regions_read(self, account: str, at: float, *, covered: bool) -> None:
        """Record the time of a look at all regions of an account, and whether all its domains are in covered regions.

        `covered` is false, too, if the look could not read a region.
        """
        self.aws.put(self._table, {**look_key(account), "at": int(at), "covered": covered})

    def claim(self, item: str, now: float, seconds: float, most: float) -> bool:
        """Claim something for some seconds. Gives whether no other claim of it lasts.

        `most` is the greatest number of seconds of such a claim. A row that lasts longer is not Rolewarden's.
        """
        row = {"scope": _REQUESTS, "item": item, "ends": int(now + seconds), "expires": int(now) + SWEEP_KEPT_SECONDS}
        times = {":now": int(now), ":latest": int(now + most + CLOCK_SKEW)}
        return self.aws.put_unless(self._table, row, "ends > :now AND ends <= :latest", times)

    def end_claim(self, item: str) -> None:
        """End a claim early."""
        self.aws.write_newer(self._table, (), [{"scope": _REQUESTS, "item": item}], at=self._clock.now())

    def claimed_until(self, item: str) -> float:
        """The time until which something is claimed, in seconds of the epoch; 0 if it never was."""
        rows = self.aws.query(self._table, {"scope": _REQUESTS}, begins=("item", item))
        return next((float(row["ends"]) for row in rows if row["item"] == item), 0.0)

    def extend_claim(self, item: str, known: float, until: float) -> bool:
        """Extend a claim that `claimed_until` gave as `known`. Gives whether no other function extended it meanwhile.

        A row that lasts until a time after `until` is not Rolewarden's, and is replaced.
        """
        expires = int(until) + SWEEP_KEPT_SECONDS
        row = {"scope": _REQUESTS, "item": item, "ends": int(until), "expires": expires}
        times = {":known": int(known), ":until": int(until)}
        return self.aws.put_unless(self._table, row, "ends > :known AND ends <= :until", times)


def _is_whole(row: Mapping[str, Any]) -> bool:
    """Whether a sweep with this row began, has listed everything, and has no outstanding chunk."""
    return bool(row.get("rules") and row.get("listed")) and not row.get("pending")


def _rules(account: str) -> dict[str, str]:
    return {"scope": f"rules/{account}", "item": _PUBLISHED}


def _audit(account: str) -> dict[str, str]:
    return {"scope": f"audit/{account}", "item": "until"}
