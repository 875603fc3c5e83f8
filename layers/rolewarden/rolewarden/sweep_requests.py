"""Requests for sweeps, limited and put together.

Every caller with events:PutEvents can request a sweep, which operators need, and every caller with
lambda:InvokeFunction can invoke SweepFunction as the schedule or a queue does. A sweep reads every subject and role, so
a flood of requests would use up the quotas of the account. A request is never lost, but requests that arrive during a
sweep, or faster than allowed, lead to one sweep after it: a message of the sweep queue waits for its turn. The schedule
and the messages of PublishFunction are slower than the limit, and do not wait for the sweep before.

The rows of the bindings table in the scope `requests` have for each target, an account or all accounts:

- `lock/TARGET`: a request that is starting a sweep. It keeps another one from starting at the same time.
- `waiting/TARGET`: the message that waits.
- `paid/TARGET`: the time until which the sweeps so far are paid for, at one for each PACE_SECONDS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rolewarden.calls import SendsMessages
from rolewarden.clock import Clock
from rolewarden.progress import Progress
from rolewarden.work import LONGEST_DELAY

REQUESTED = "requested"
"""The step of the message that waits."""

ALL = "all"
"""The target of a request for the sweep of all accounts."""

PACE_SECONDS = 600.0
"""Seconds between two requested sweeps of a target in the long run."""

BURST = 6
"""The number of requested sweeps of a target that can follow each other without a wait."""

LOCK_SECONDS = 3
"""Seconds in which no second request of a target starts a sweep."""

RETRY_SECONDS = 10
"""Seconds after which the message looks again whether the running sweep has completed."""

LOST_SECONDS = 3600
"""The age of a sweep that has not completed, after which it does not hold up requests any more."""


@dataclass
class SweepRequests:
    """Decides when a requested sweep can start. Methods raise RetryLater.

    - `queue`: the URL of the sweep queue.
    - `own_account`: the account whose sweep stands for the sweep of all accounts.
    - `burst`: the number of sweeps of a target that can follow each other without a wait.
    """

    sends: SendsMessages
    progress: Progress
    queue: str
    own_account: str
    clock: Clock
    burst: int = BURST

    def claim(self, target: str, *, has_waited: bool = False, may_overlap: bool = False) -> bool:
        """Claim the start of the sweep of `target`. Gives whether it can start now; if not, one message waits.

        - `has_waited`: whether the request is the message that waited.
        - `may_overlap`: whether the sweep can start while another one is running.
        """
        now = self.clock.now()
        if has_waited:
            self.progress.end_claim(f"waiting/{target}")
        stored = self.progress.claimed_until(f"paid/{target}")
        paid = min(max(stored, now), now + self.burst * PACE_SECONDS)
        is_early = not may_overlap and self._is_running(target, now)
        wait = max(paid - (self.burst - 1) * PACE_SECONDS - now, RETRY_SECONDS if is_early else 0.0)
        if wait <= 0 and (may_overlap or self.progress.claim(f"lock/{target}", now, LOCK_SECONDS, LOCK_SECONDS)):
            # Of two functions that have read the same time, one claims the start, and the other one waits.
            if self.progress.extend_claim(f"paid/{target}", stored, paid + PACE_SECONDS):
                return True
            wait = RETRY_SECONDS
        delay = int(min(max(wait, RETRY_SECONDS), LONGEST_DELAY))
        waiting = f"waiting/{target}"
        slack = LOCK_SECONDS + RETRY_SECONDS
        if self.progress.claim(waiting, now, delay + slack, LONGEST_DELAY + slack):
            try:
                self.sends.send(self.queue, [message(target)], delay=delay)
            except BaseException:
                self.progress.end_claim(waiting)
                raise
        return False

    def _is_running(self, target: str, now: float) -> bool:
        return self.progress.is_sweeping(self.own_account if target == ALL else target, now, LOST_SECONDS)


def message(target: str) -> dict[str, Any]:
    """The message that waits for the turn of a request."""
    return {"step": REQUESTED, "target": target}


def is_of_bus(event: Mapping[str, Any]) -> bool:
    """Whether an event comes from the bus, where every caller with events:PutEvents can put it."""
    return event.get("source") == "rolewarden"
