"""The clock of a function: the time, and the seconds until its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

CLOCK_SKEW = 60.0
"""Seconds by which the clocks of two functions may differ. No row of a table can have a later time."""


def utc_today() -> date:
    """The current day in UTC. Exemptions end by this day."""
    return datetime.now(UTC).date()


def unlimited() -> float:
    """The seconds left for work outside Lambda, which has no deadline: infinity."""
    return float("inf")


@dataclass
class Clock:
    """The time and the deadline of a function. All collaborators of a function share one clock.

    - `now`: the time in seconds of the epoch.
    - `today`: the day by which exemptions end.
    - `seconds_left`: the seconds until Lambda ends the invocation.
    """

    now: Callable[[], float] = time.time
    today: Callable[[], date] = utc_today
    seconds_left: Callable[[], float] = unlimited

    def end_with(self, milliseconds_left: Callable[[], int]) -> None:
        """Set the deadline of an invocation. `milliseconds_left` is `get_remaining_time_in_millis` of its context."""
        self.seconds_left = lambda: milliseconds_left() / 1000
