"""DrillFunction: sends pulses and full drills. `rolewarden.listener` hears them, and `rolewarden.judge` judges them.

The function works for an event `Sweep Completed` of the default bus, for its daily schedule and for an operator:

- `Sweep Completed`: a pulse in the event's account, and a full drill if the account had none for a day or since the
  last deployment.
- `{"step": "drill"}`: a full drill in each account that has not had one for most of a day. This is the schedule.
- `{"step": "drill", "account": ACCOUNT}`: a full drill in one account now, and a pulse.
- `{"step": "pulse", "account": ACCOUNT}`: a pulse in one account now, or the one of the last REQUEST_SECONDS.

The result has a list `drills` with an entry for each call: `account`, `region`, `drill` (the DrillKind), `nonce`, `at`
(seconds of the epoch) and, if AWS refused the call, `refused`.

The account in an event is a hint: only an account that the stack covers is drilled. Anyone can put `Sweep Completed` on
the bus. So an event leads to one pulse in PULSE_SECONDS, and two full drills of an account never run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from rolewarden.aws import IAM_HOME_REGIONS, LONGEST_CALL, Aws
from rolewarden.canary import NOT_DRILLED, DrillKind
from rolewarden.canary_calls import CanaryCalls
from rolewarden.clock import Clock
from rolewarden.drill import Drill, Drills
from rolewarden.errors import Refused, RetryLater
from rolewarden.events import ACCOUNT, mapping, matched
from rolewarden.progress import RecordedProgress
from rolewarden.record import logger
from rolewarden.settings import DrillSettings
from rolewarden.verdicts import Reason

FULL, PULSE = "drill", "pulse"
"""The steps of an invocation: full drills, or a pulse."""

DAILY_SECONDS = 23 * 3600.0
"""Seconds between two full drills of an account: less than a day, because schedules do not begin to the second."""

PULSE_SECONDS = 600.0
"""Seconds between two pulses of an account that events lead to: less than the shortest interval of sweeps."""


REQUEST_SECONDS = 10.0
"""Seconds between two pulses of an account that operators request. Each has a row, and a metric, for each region."""


class MakesDrills(Protocol):
    """Makes the calls of drills on the canary, and no others."""

    def set_role_tag(self, account: str, nonce: str) -> None:
        """As `CanaryCalls.set_role_tag`."""

    def set_config_tag(self, account: str, region: str, nonce: str) -> None:
        """As `CanaryCalls.set_config_tag`."""

    def detach(self, account: str, nonce: str) -> bool:
        """As `CanaryCalls.detach`."""


@dataclass
class Driller:
    """Sends drills.

    - `account`: the stack's own account.
    - `regions`: the regions that the stack covers. `home_region`: the region of IAM's events.
    - `limit`: seconds in which no second full drill of an account begins.
    - `deployed`: gives the time of the last deployment, in seconds of the epoch.
    """

    calls: MakesDrills
    drills: Drills
    members: RecordedProgress
    account: str
    regions: tuple[str, ...]
    home_region: str
    limit: float
    deployed: Callable[[], float]
    clock: Clock

    @classmethod
    def of(cls, aws: Aws, settings: DrillSettings, clock: Clock) -> Self:
        """Create a Driller and its parts."""
        return cls(
            CanaryCalls(aws),
            Drills(aws, settings.bindings_table),
            RecordedProgress(aws, settings.bindings_table),
            settings.account,
            settings.regions,
            IAM_HOME_REGIONS.get(aws.partition, aws.region),
            settings.drill_limit_minutes * 60.0,
            lambda: aws.stack_updated(settings.stack_id),
            clock,
        )

    def handle(self, event: Any) -> dict[str, Any]:
        """Send the drills that an event or an operator asks for. Raises RetryLater."""
        envelope = mapping(event)
        step, account = envelope.get("step"), matched(ACCOUNT, envelope.get("account"))
        if step is None:
            account = matched(ACCOUNT, mapping(envelope.get("detail")).get("account"))
        elif step == FULL and "account" not in envelope:
            return self._send(self._drill_everything())
        if not account or not self._covers(account):
            logger.warning("no drill: the stack does not cover this account", extra={"account": account})
            return {"drills": [], "ignored": "the stack does not cover the account"}
        if step is None:
            return self._send(self._after_sweep(account))
        drills = self._recent_pulse(account) or self.pulse(account, counted=step == FULL)
        return self._send([*drills, *self.drill(account)] if step == FULL else drills)

    def _send(self, drills: list[Drill]) -> dict[str, Any]:
        shown = [
            {
                "account": drill.account,
                "region": drill.region,
                "drill": drill.kind.value,
                "nonce": drill.nonce,
                "at": drill.at,
                **({"refused": drill.refused} if drill.refused else {}),
            }
            for drill in drills
        ]
        logger.info("drills", extra={"drills": shown})
        return {"drills": shown}

    def _covers(self, account: str) -> bool:
        return account == self.account or self.members.is_member(account)

    def _after_sweep(self, account: str) -> list[Drill]:
        now = self.clock.now()
        day = now - now % DAILY_SECONDS
        known = self.drills.since(account, now, pulses=min(day, now - PULSE_SECONDS), drills=now - DAILY_SECONDS)
        pulse = max((drill.at for drill in known if drill.kind is not DrillKind.FULL), default=0.0)
        drills = [] if pulse >= now - PULSE_SECONDS else self.pulse(account, counted=pulse < day)
        full = max((drill.at for drill in known if drill.kind is DrillKind.FULL), default=0.0)
        return [*drills, *self.drill(account)] if full < self.deployed() or not full else drills

    def _recent_pulse(self, account: str) -> list[Drill]:
        """The pulse that an operator has just requested. A caller cannot cause one pulse after the other."""
        now = self.clock.now()
        return list(self.drills.since(account, now, pulses=now - REQUEST_SECONDS))

    def _drill_everything(self) -> list[Drill]:
        """Send a full drill in each account that is due, as far as time allows. Sweeps ask for the others."""
        sent: list[Drill] = []
        for account in (self.account, *sorted(self.members.member_accounts())):
            if self.clock.seconds_left() < 2 * LONGEST_CALL:
                logger.warning("time did not suffice for all full drills", extra={"next": account})
                break
            now = self.clock.now()
            if self.drills.since(account, now, drills=now - DAILY_SECONDS):
                continue
            try:
                sent += self.drill(account)
            except RetryLater as error:
                logger.error("an account cannot be drilled now", extra={"account": account, "why": str(error)})
        return sent

    def pulse(self, account: str, *, counted: bool) -> list[Drill]:
        """Send a pulse in an account: one call on the canary role, and one in each region. Raises RetryLater."""
        sent = [self._make(account, self.home_region, DrillKind.ROLES, counted=counted)]
        drilled = [region for region in self.regions if region not in NOT_DRILLED]
        return sent + [self._make(account, region, DrillKind.SUBJECTS, counted=counted) for region in drilled]

    def drill(self, account: str) -> list[Drill]:
        """Send a full drill in an account, unless one began within the limit. Raises RetryLater."""
        now = self.clock.now()
        if self.drills.since(account, now, drills=now - self.limit):
            return []
        return [self._make(account, self.home_region, DrillKind.FULL)]

    def _make(self, account: str, region: str, kind: DrillKind, *, counted: bool = True) -> Drill:
        drill = Drill.new(account, region, kind, self.clock.now(), counted=counted)
        # The row comes first: a call without its row counts as that of another caller.
        self.drills.put_sent(drill)
        try:
            self._make_call(drill)
        except Refused as refused:
            drill = drill._replace(refused=str(refused))
            self.drills.put_sent(drill)
        return drill

    def _make_call(self, drill: Drill) -> None:
        if drill.kind is DrillKind.ROLES:
            self.calls.set_role_tag(drill.account, drill.nonce)
        elif drill.kind is DrillKind.SUBJECTS:
            self.calls.set_config_tag(drill.account, drill.region, drill.nonce)
        elif not self.calls.detach(drill.account, drill.nonce):
            raise Refused(Reason.CANARY, "DetachRolePolicy: the canary's policy is not attached to the canary role")
