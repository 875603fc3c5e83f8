"""The time, and how much of it is left: what the work depends on without asking AWS."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime


def utc_today() -> date:
    """The current day (UTC), by which exemptions end."""
    return datetime.now(UTC).date()


def unlimited() -> float:
    """The seconds left to work that Lambda does not run."""
    return float("inf")


@dataclass
class Clock:
    """The one place that tells the time and the deadline. Every collaborator of a function has the same clock.

    - `now`: the time in seconds of the epoch.
    - `today`: the day by which exemptions end.
    - `seconds_left`: the seconds until Lambda ends the invocation.
    """

    now: Callable[[], float] = time.time
    today: Callable[[], date] = utc_today
    seconds_left: Callable[[], float] = unlimited

    def end_with(self, milliseconds_left: Callable[[], int]) -> None:
        """Take the deadline of an invocation: the `get_remaining_time_in_millis` of its Lambda context."""
        self.seconds_left = lambda: milliseconds_left() / 1000
