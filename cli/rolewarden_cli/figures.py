"""The time in which a role stays unprotected: the seconds that drills measured, by account and region.

The history has each drill for as long as it keeps rows. Without these rows, CloudWatch has the figures of the metrics.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rolewarden.canary import DrillKind
from rolewarden.errors import Refused, RetryLater
from rolewarden.own_events import DrillMeasured

from rolewarden_cli.connect import Connection
from rolewarden_cli.history import Entry

MEASURED_DAYS = 30
"""Days of the figures."""

MEASURED = timedelta(days=MEASURED_DAYS)


class Figure(StrEnum):
    """A figure of drills. The values are the names of the metrics."""

    HEAR = "SecondsToHear"
    """From the call of a drill to the start of EnforceFunction."""

    UNPROTECTED = "SecondsUnprotected"
    """From the detachment in a full drill until the policy was attached again: so many seconds without protection."""

    @property
    def meaning(self) -> str:
        """The figure in words."""
        return "unprotected" if self is Figure.UNPROTECTED else "to hear a call"


@dataclass(frozen=True)
class Latency:
    """The seconds of a figure in an account and region, measured `count` times in the last MEASURED_DAYS days."""

    account: str
    region: str
    figure: Figure
    count: int
    p50: float
    p95: float
    maximum: float


@dataclass(frozen=True)
class Latencies:
    """The measured figures by account and region.

    - `source`: "history", "metrics", or empty if neither has a figure.
    - `unread`: why CloudWatch gave no figures; empty if it was not asked or has answered.
    """

    rows: tuple[Latency, ...] = ()
    source: str = ""
    unread: str = ""


def read_latencies(connection: Connection, entries: Iterable[Entry], now: datetime) -> Latencies:
    """The figures of the history `entries`, or those of CloudWatch if no entry has one."""
    if found := of_history(entries, now):
        return Latencies(found, "history")
    try:
        found = _of_metrics(connection, now)
    except (Refused, RetryLater) as error:
        return Latencies(unread=str(error))
    return Latencies(found, "metrics" if found else "")


def of_history(entries: Iterable[Entry], now: datetime) -> tuple[Latency, ...]:
    """The figures of the drills in the history."""
    seconds: dict[tuple[str, str, Figure], list[float]] = defaultdict(list)
    for entry in entries:
        if entry.kind != DrillMeasured.detail_type or entry.at < now - MEASURED:
            continue
        row = entry.row
        region, heard, remediation = str(row["region"]), row["milliseconds"], row.get("remediation_milliseconds")
        seconds[entry.account, region, Figure.HEAR].append(float(heard) / 1000)
        if row.get("drill") == DrillKind.FULL and remediation is not None:
            seconds[entry.account, region, Figure.UNPROTECTED].append(float(heard + remediation) / 1000)
    return tuple(
        Latency(*key, len(found), percentile(found, 50), percentile(found, 95), max(found))
        for key, found in sorted(seconds.items())
    )


def percentile(figures: Sequence[float], percent: int) -> float:
    """The smallest of the figures that at least this percentage of them do not exceed."""
    return sorted(figures)[max(0, math.ceil(len(figures) * percent / 100) - 1)]


def _of_metrics(connection: Connection, now: datetime) -> tuple[Latency, ...]:
    rows = []
    for figure in Figure:
        for account, region in connection.calls.measured_places(figure.value):
            seen = connection.calls.measured(figure.value, account, region, now - MEASURED, now)
            if seen:
                rows.append(Latency(account, region, figure, seen.count, seen.p50, seen.p95, seen.maximum))
    return tuple(sorted(rows, key=lambda row: (row.account, row.region, row.figure)))
