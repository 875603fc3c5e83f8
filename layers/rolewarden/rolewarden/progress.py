"""Progress: rows of the bindings table that record the progress of sweeps and audits, and the member accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rolewarden.bindings import row_key
from rolewarden.calls import ReadsItems, WritesItems
from rolewarden.clock import Clock

SWEEP_KEPT_SECONDS = 7 * 24 * 3600
"""Seconds after which the row of a sweep expires."""

_MEMBERS = "members"
"""The partition key of the rows about member accounts."""

_REQUESTS = "requests"
"""The partition key of the rows about requested sweeps."""

_HEALTH = "health"
"""The partition key of the rows that the heartbeat counts, one for each account that is covered."""


class Health(NamedTuple):
    """What the heartbeat knows of an account.

    - `since`: the time from which the account is covered, in seconds of the epoch.
    - `swept`: the start of the last completed sweep, 0 for none.
    - `broken`: the number of latest sweeps in a row that found a broken event path.
    """

    since: float = 0
    swept: float = 0
    broken: int = 0


def sweeps_scope(account: str) -> str:
    """The partition key of the rows that record the progress of an account's sweeps."""
    return f"sweep/{account}"


class RecordedProgress:
    """The progress of the sweeps and audits of a deployed stack, to read only. Methods raise RetryLater.

    The row of a sweep has these attributes:

    - `rules`: the fingerprint of the rules of the sweep.
    - `pending`: the outstanding chunks.
    - `listed`: whether every chunk is known.
    - `missed`: whether the sweep could not read something.
    - `completed`, `surplus`: the result, as soon as the sweep has ended.
    """

    def __init__(self, aws: ReadsItems, table: str) -> None:
        self.aws = aws
        self._table = table

    def has_read_everything(self, row: tuple[str, str]) -> bool:
        """Whether the sweep could read everything so far."""
        rows = self.aws.query(self._table, {"scope": row[0]})
        return any(found["item"] == row[1] and not found.get("missed") for found in rows)

    def sweeps(self, account: str) -> list[dict[str, Any]]:
        """The rows of the sweeps of the last days, oldest first: `item` is the time at which a sweep began."""
        return self.aws.query(self._table, {"scope": sweeps_scope(account)})

    def rules_of_last_sweep(self, account: str) -> str:
        """The fingerprint of the rules of the account's last sweep; empty if the table has no sweep of the account."""
        rows = self.aws.newest(self._table, {"scope": sweeps_scope(account)}, 1)
        return str(rows[0].get("rules", "")) if rows else ""

    def member_accounts(self) -> dict[str, float]:
        """The member accounts, each with the start of its last completed sweep (seconds of the epoch, 0 for none)."""
        rows = self.aws.query(self._table, {"scope": _MEMBERS})
        return {row["item"]: float(row["swept"]) for row in rows}

    def is_member(self, account: str) -> bool:
        """Whether the stack covers `account` as a member account, by the last list of StackSets."""
        rows = self.aws.query(self._table, {"scope": _MEMBERS}, begins=("item", account))
        return any(row["item"] == account for row in rows)

    def audited(self, account: str) -> datetime | None:
        """The time until which the calls of an account are audited; None if no audit has ended yet."""
        rows = self.aws.query(self._table, {"scope": _audit(account)["scope"]})
        return datetime.fromisoformat(rows[0]["until"]) if rows else None


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
        """Remove an outstanding chunk. Gives whether it was the last one of a sweep that has listed everything."""
        after = self.aws.update(self._table, row_key(row), "DELETE pending :chunk", {":chunk": {chunk}})
        return bool(after.get("listed")) and not after.get("pending")

    def end_listing(self, row: tuple[str, str]) -> bool:
        """Record that every chunk is known. Gives whether no chunk is outstanding."""
        after = self.aws.update(self._table, row_key(row), "SET listed = :yes", {":yes": True})
        return not after.get("pending")

    def mark_unread(self, row: tuple[str, str]) -> None:
        """Record that the sweep could not read something."""
        self.aws.update(self._table, row_key(row), "SET missed = :yes", {":yes": True})

    def finish(self, row: tuple[str, str], counts: Mapping[str, int], surplus: Mapping[str, Sequence[str]]) -> bool:
        """Record the result of a sweep. Gives whether the sweep began and has listed everything.

        A caller that can send messages can ask for the comparison of a sweep that never began.

        - `counts`: the numbers of subjects, roles and so on, by name.
        - `surplus`: the first "roles" with a policy that they do not need, and the first unused "policies".
        """
        values = {":counts": dict(counts), ":surplus": {what: list(names) for what, names in surplus.items()}}
        after = self.aws.update(self._table, row_key(row), "SET completed = :counts, surplus = :surplus", values)
        return bool(after.get("rules") and after.get("listed")) and not after.get("pending")

    def set_member_swept(self, account: str, at: float) -> None:
        """Record the start of the last completed sweep of a member account, 0 for a new account."""
        self.aws.put(self._table, {"scope": _MEMBERS, "item": account, "swept": int(at)})

    def forget_member(self, account: str) -> None:
        """Delete the rows of a member account that is no longer swept."""
        keys = [{"scope": scope, "item": account} for scope in (_MEMBERS, _HEALTH)]
        self.aws.write_newer(self._table, (), keys, at=self._clock.now())

    def health(self) -> dict[str, Health]:
        """What the heartbeat knows, by account."""
        rows = self.aws.query(self._table, {"scope": _HEALTH})
        return {
            row["item"]: Health(float(row.get("since", 0)), float(row.get("swept", 0)), int(row.get("broken", 0)))
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
        if is_whole:
            expression, values = f"{expression}, broken = :none", {**values, ":none": 0}
        elif is_whole is False:
            expression, values = f"{expression} ADD broken :one", {**values, ":one": 1}
        self.aws.update(self._table, key, expression, values)

    def set_audited(self, account: str, until: datetime) -> None:
        """Record that the calls of an account before `until` are audited."""
        self.aws.put(self._table, {**_audit(account), "until": until.isoformat()})

    def regions_read(self, account: str) -> float:
        """The time of the last look at all regions of an account, in seconds of the epoch; 0 before the first."""
        rows = self.aws.query(self._table, {"scope": _regions(account)["scope"]})
        return float(rows[0]["at"]) if rows else 0.0

    def set_regions_read(self, account: str, at: float) -> None:
        """Record the time of a look at all regions of an account."""
        self.aws.put(self._table, {**_regions(account), "at": int(at)})

    def claim(self, item: str, now: float, seconds: float) -> bool:
        """Claim something for some seconds. Gives whether no other claim of it lasts."""
        row = {"scope": _REQUESTS, "item": item, "ends": int(now + seconds), "expires": int(now) + SWEEP_KEPT_SECONDS}
        return self.aws.put_unless(self._table, row, "ends > :now", {":now": int(now)})

    def end_claim(self, item: str) -> None:
        """End a claim early."""
        self.aws.write_newer(self._table, (), [{"scope": _REQUESTS, "item": item}], at=self._clock.now())

    def claimed_until(self, item: str) -> float:
        """The time until which something is claimed, in seconds of the epoch; 0 if it never was."""
        rows = self.aws.query(self._table, {"scope": _REQUESTS}, begins=("item", item))
        return next((float(row["ends"]) for row in rows if row["item"] == item), 0.0)

    def set_claimed(self, item: str, until: float) -> None:
        """Claim something until a time, whether or not another claim of it lasts."""
        expires = int(until) + SWEEP_KEPT_SECONDS
        self.aws.put(self._table, {"scope": _REQUESTS, "item": item, "ends": int(until), "expires": expires})


def _regions(account: str) -> dict[str, str]:
    return {"scope": f"regions/{account}", "item": "at"}


def _audit(account: str) -> dict[str, str]:
    return {"scope": f"audit/{account}", "item": "until"}
