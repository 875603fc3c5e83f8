"""The judge of drills: which regions of which accounts events no longer reach, and at which link they stop.

SweepFunction judges in three places: the heartbeat counts the accounts in which a drill is cut, each sweep reports them
and restores the canary, and the step `drills` gives the states to an operator:

- payload `{"step": "drills"}`, or with `"account"` for one account.
- result `{"drills": [...]}` with an entry for each kind of drill in each region: `account`, `region`, `drill`, `state`
  (a DrillState, or `not drilled` for a region without the canary's resource), `misses`, `nonce` and `at` (seconds of
  the epoch) of the deciding drill, the figures of `Heard` if it was heard, and `link` and `message` if it is late or
  cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rolewarden.canary import NOT_DRILLED, DrillKind
from rolewarden.clock import Clock
from rolewarden.drill import CUT_MISSES, DrillResult, DrillState, RecordedDrills, results_of
from rolewarden.errors import Refused, RetryLater
from rolewarden.origin import SWEEP
from rolewarden.path import BrokenLink, EventPath, PathLink
from rolewarden.record import Recorder
from rolewarden.reported import ReportedKind
from rolewarden.verdicts import Reason

MIN_WINDOW = 4 * 3600.0
"""Seconds of pulses that the judge reads, if the interval of sweeps is so short that some intervals are less."""

FULL_WINDOW = 3 * 24 * 3600.0
"""Seconds of full drills that the judge reads. One is sent each day, and after each deployment."""

_BAD = frozenset({DrillState.LATE, DrillState.CUT})


class Found(NamedTuple):
    """The state of one kind of drill in a region, and the first broken link if it is late or cut."""

    judged: DrillResult
    broken: BrokenLink | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields for the command line."""
        drill, heard = self.judged.drill, self.judged.heard
        shown = {
            "account": drill.account,
            "region": drill.region,
            "drill": drill.kind.value,
            "state": self.judged.state.value,
            "misses": self.judged.misses,
            "nonce": drill.nonce,
            "at": drill.at,
        }
        if heard:
            shown |= {name: figure for name, figure in heard._asdict().items() if isinstance(figure, float)}
        if self.broken:
            shown |= {"link": self.broken.link.value, "message": self.broken.message}
        return shown


@dataclass
class DrillJudge:
    """Judges drills.

    - `limit`: seconds after which a drill that was not heard is missed.
    - `sweep_seconds`: the seconds from one scheduled sweep, and so from one pulse, to the next.
    """

    drills: RecordedDrills
    path: EventPath
    recorder: Recorder
    clock: Clock
    limit: float
    sweep_seconds: float

    def states(self, account: str) -> list[DrillResult]:
        """The state of each kind of drill in each region of an account. Raises RetryLater."""
        now = self.clock.now()
        # Enough for two misses and the pulse before them.
        window = max(MIN_WINDOW, (CUT_MISSES + 1) * self.sweep_seconds + self.limit)
        found = self.drills.since(account, now, pulses=now - window, drills=now - FULL_WINDOW)
        return results_of(found, now, self.limit)

    def judge(self, account: str, *, looks_at_queues: bool = False) -> list[Found]:
        """The states of an account, with the broken link of each drill that is late or cut. Raises RetryLater.

        With `looks_at_queues`, a full drill is cut if the account's dead-letter queue takes no event: an event that
        EventBridge could not deliver would be lost without a trace.
        """
        now = self.clock.now()
        found = [Found(one, self._broken(one, now)) for one in self.states(account)]
        return [self._with_queue(one) for one in found] if looks_at_queues else found

    def _broken(self, one: DrillResult, now: float) -> BrokenLink | None:
        return self.path.first_broken(one, now) if one.state in _BAD else None

    def _with_queue(self, found: Found) -> Found:
        one = found.judged
        if found.broken or one.state is DrillState.WAITING:
            return found
        broken = self.path.broken_queue(one.drill.account, one.drill.region)
        return Found(one._replace(state=DrillState.CUT), broken) if broken else found

    def show(self, accounts: Iterable[str], regions: Iterable[str]) -> list[dict[str, Any]]:
        """The states of accounts for an operator, with the regions that are not drilled. Raises RetryLater."""
        shown: list[dict[str, Any]] = []
        left_out = sorted(NOT_DRILLED.intersection(regions))
        for account in accounts:
            shown += [found.as_dict() for found in self.judge(account, looks_at_queues=True)]
            for region in left_out:
                kind = DrillKind.SUBJECTS.value
                shown.append({"account": account, "region": region, "drill": kind, "state": "not drilled"})
        return shown

    def is_waiting(self, account: str) -> bool:
        """Whether a full drill of an account began within the limit and was not heard yet. Raises RetryLater."""
        now = self.clock.now()
        recent = self.drills.since(account, now, drills=now - self.limit)
        return any(heard is None and not drill.refused for drill, heard in recent.items())

    def report(self, account: str) -> set[str]:
        """Report the regions of an account that are cut, one finding each. Gives the keys of the findings.

        Raises RetryLater.
        """
        reported: dict[str, str] = {}
        for found in self.judge(account):
            one = found.judged
            if one.state is DrillState.CUT and one.drill.region not in reported:
                link, message = found.broken or BrokenLink(PathLink.UNKNOWN, "")
                text = (
                    f"drill in {one.drill.region}: {one.drill.kind.value} in account {account} was missed "
                    f"{one.misses} times, the path is cut at the {link.value}: {message}"
                )
                refused = Refused(Reason.UNHEARD, text)
                reported[one.drill.region] = self.recorder.record_account_finding(
                    account, refused, SWEEP, ReportedKind.DRILL
                )
        return set(reported.values())

    def cut_off(self, accounts: Iterable[str]) -> set[str]:
        """The accounts in which a drill is cut, after the report of their findings.

        An account whose rows cannot be read now does not count.
        """
        found = set()
        for account in accounts:
            try:
                if any(one.state is DrillState.CUT for one in self.states(account)):
                    found.add(account)
                    self.report(account)
            except RetryLater as error:
                self.recorder.record_unread(f"drills of {account}", error)
        return found
