"""The history: its table and the events that report its rows, and the sort key of a row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rolewarden.calls import ReadsItems, WritesHistory
from rolewarden.names import folded


class HistoryTable(NamedTuple):
    """The table that keeps the record. A row expires after `days`."""

    name: str
    days: int


class HistoryKey(NamedTuple):
    """The sort key of a row, its attribute `at`.

    - `time`: when Rolewarden made the change or the finding, in UTC.
    - `origin`: the correlation ID of the change, otherwise the ID of the event that led to the row. Empty if the row
      has neither, for example a finding of a sweep.
    - `kind`: the detail type of the event that reports the row. One event can lead to rows of two kinds at once.
    - `digest`: a digest of the content of a backfilled row, and of a row that is written together with another of the
      same time, origin and kind. Empty for every other row.

    Rows of earlier versions have only the time, or the time and the origin.
    """

    time: datetime
    origin: str = ""
    kind: str = ""
    digest: str = ""

    @property
    def text(self) -> str:
        """The value in the table. These texts sort in the order of their times."""
        parts = (self.time.isoformat(timespec="milliseconds"), self.origin, self.kind, self.digest)
        return "#".join(parts).rstrip("#")

    @classmethod
    def of(cls, text: str) -> HistoryKey:
        """The inverse of `text`. Raises ValueError if the text does not begin with a time."""
        time, *others = text.split("#", 3)
        return cls(datetime.fromisoformat(time), *others)


class StoredHistory:
    """The history of a deployed stack, to read only. Methods raise RetryLater."""

    def __init__(self, aws: ReadsItems, table: HistoryTable) -> None:
        self.aws = aws
        self._table = table

    def newest(self, about: str, most: int) -> list[dict[str, Any]]:
        """The newest rows about a role or policy, newest first, `most` of them at most."""
        return self.aws.newest(self._table.name, {"about": folded(about)}, most)

    def rows(self, about: str, since: datetime) -> list[dict[str, Any]]:
        """The rows about a role or policy from `since`."""
        return self.aws.query(self._table.name, {"about": folded(about)}, least=("at", HistoryKey(since).text))


class History(StoredHistory):
    """The history of a deployed stack, and the event bus on which the stack reports. Methods raise RetryLater."""

    aws: WritesHistory

    def __init__(self, aws: WritesHistory, table: HistoryTable) -> None:
        super().__init__(aws, table)

    def put_events(self, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Put events (detail type and detail) on the bus."""
        self.aws.put_events(events)

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows. If several have one key, all are kept."""
        self.aws.put_all(self._table.name, [self._expiring(row) for row in _apart(rows)])

    def put_once(self, row: Mapping[str, Any]) -> bool:
        """Write a row unless the table has one with this key. Return whether it was written."""
        return self.aws.put_unless(self._table.name, self._expiring(row), "attribute_exists(about)")

    def _expiring(self, row: Mapping[str, Any]) -> dict[str, Any]:
        expires = HistoryKey.of(row["at"]).time + timedelta(days=self._table.days)
        return {**row, "expires": int(expires.timestamp())}


def _apart(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows with different keys. A row with the key of an earlier one gets a digest of its content, as a backfilled row.

    BatchWriteItem refuses all rows if two have one key.
    """
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        key = row["about"], row["at"]
        if found.setdefault(key, row) != row:
            digest = hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()[:8]
            at = HistoryKey.of(row["at"])._replace(digest=digest).text
            found[row["about"], at] = {**row, "at": at}
    return list(found.values())


class NoHistory(History):
    """The history if no stack is deployed. It drops rows and events."""

    def __init__(self) -> None:
        pass

    def put_events(self, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Do nothing."""

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing."""

    def put_once(self, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Write nothing."""
        return False

    def newest(self, about: str, most: int) -> list[dict[str, Any]]:  # noqa: ARG002
        """No row."""
        return []

    def rows(self, about: str, since: datetime) -> list[dict[str, Any]]:  # noqa: ARG002
        """No row."""
        return []
