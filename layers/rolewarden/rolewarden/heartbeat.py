"""The heartbeat: how many accounts lack a recent sweep, and how many are cut off from the event bus.

A schedule triggers the heartbeat every 15 minutes, whatever the interval of the sweeps is. It compares the accounts
that StackSets names with the sweeps that the bindings table records, so the sweep of one account says nothing about
another.
A member account cannot write the numbers: they come from the log of SweepFunction in the central account.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rolewarden.clock import CLOCK_SKEW, Clock
from rolewarden.progress import Health, Progress
from rolewarden.record import Recorder

MIN_SECONDS = 3600.0
"""Seconds within which an account needs a sweep, if SweepInterval is so short that two intervals are less."""

CUT_OFF_SWEEPS = 2
"""Sweeps in a row that find a broken event path before the account counts as cut off. The first sweep after a
deployment can begin before StackSets has created the forwarding rules."""


@dataclass(frozen=True)
class Heartbeat:
    """Counts the accounts that need attention. `sweep_seconds` is the time from one sweep to the next."""

    progress: Progress
    recorder: Recorder
    clock: Clock
    sweep_seconds: float

    def beat(self, accounts: Collection[str], *, unlisted: bool, cut: Collection[str] = ()) -> dict[str, Any]:
        """Count the accounts without a recent sweep or with a broken event path, and record the numbers.

        - `accounts`: the accounts that Rolewarden covers.
        - `unlisted`: whether `accounts` may be incomplete, because AWS refuses to list them. This counts as one more
          account without a sweep.
        - `cut`: the accounts whose event path a drill has found cut.

        Raises RetryLater.
        """
        now = self.clock.now()
        health = self.progress.health()
        for new in sorted(set(accounts) - health.keys()):
            health[new] = self.progress.set_covered(new, now)
        overdue = sorted(account for account in accounts if self._is_overdue(health[account], now))
        cut_off = sorted(account for account in accounts if account in cut or health[account].broken >= CUT_OFF_SWEEPS)
        self.recorder.record_heartbeat(len(accounts), overdue, cut_off, unlisted=unlisted)
        return {"accounts": len(accounts), "overdue": overdue, "cut_off": cut_off, "unlisted": unlisted}

    def _is_overdue(self, health: Health, now: float) -> bool:
        """Whether the last completed sweep began too long ago. A new account has the same time for its first one."""
        times = [at for at in (health.since, health.swept) if at <= now + CLOCK_SKEW]
        return now - max(times, default=0) > max(2 * self.sweep_seconds, MIN_SECONDS)
