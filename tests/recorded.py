"""The row of the history that one of Rolewarden's events reports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rolewarden.aws import Aws
from rolewarden.confirm import about_of
from rolewarden.history import HistoryKey


def record(aws: Aws, table: str, event: dict[str, Any], at: datetime | None = None) -> dict[str, Any]:
    """Write the row of `event`, as the recorder does before it puts the event on the bus. Return the event.

    The event gets the time of the row: `at`, or now.
    """
    at = at or datetime.now(UTC)
    kind, detail = event["detail-type"], event["detail"]
    about = about_of(kind, detail)
    row = {**detail, "about": about, "named": about, "at": HistoryKey(at, "", kind).text, "kind": kind}
    aws.put(table, {**row, "expires": int(at.timestamp()) + 1000})
    return {**event, "time": at.isoformat(timespec="seconds")}
