"""Drills on demand: DrillFunction sends them, the bindings table shows them heard, and SweepFunction judges them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolewarden.canary import DrillKind
from rolewarden.drill import Drill, DrillState, Heard, RecordedDrills
from rolewarden.errors import Refused, RolewardenError
from rolewarden.path import PathLink
from rolewarden.progress import RecordedProgress
from rolewarden.work import DRILLS

from rolewarden_cli.answers import shown
from rolewarden_cli.connect import Connection
from rolewarden_cli.stack import DEPLOY, RESTORE

NOT_DRILLED_HERE = "not drilled"
"""The state that SweepFunction gives a region without the canary's resource type."""

POLL_SECONDS = 2.0
"""Seconds between the first looks at the bindings table. CloudTrail delivers most events after several seconds."""

POLL_SHARE = 1 / 30
"""Later, the seconds between two looks are this share of the time waited: a figure need not be shown at once then."""

MARGIN_SECONDS = 3.0
"""Seconds after the limit before the judgment is asked for, because the clocks of two computers differ."""

LINK_RECOMMENDATIONS: Mapping[PathLink, str] = {
    PathLink.CALL: "give the role of DrillFunction, or `rolewarden-drill` in a member account, the right that the "
    "message names: a service control policy may deny it",
    PathLink.CANARY: "remove the canary role from every domain and user profile, and restore its trust policy or the "
    "stack",
    PathLink.TRAIL: "create a trail in the region that logs management events, or turn its logging on",
    PathLink.FORWARDING_RULE: "enable the forwarding rule, or update the StackSet that creates it",
    PathLink.BUS: f"let the account's events into the central event bus again: {RESTORE}",
    PathLink.FORWARDING: "let the role of the forwarding rule put events on the central event bus: a service control "
    "policy may deny it",
    PathLink.RULE: f"enable the rule with `aws events enable-rule`, or {RESTORE}",
    PathLink.INVOCATION: f"let EventBridge invoke EnforceFunction again: {RESTORE}",
    PathLink.FUNCTION: "delete the reserved concurrency of EnforceFunction with "
    "`aws lambda delete-function-concurrency`",
    PathLink.REGIONS: "add the region to the parameter Regions, and deploy",
    PathLink.RIGHT: "give the role of EnforceFunction the right that the message names: a service control policy may "
    "deny it",
    PathLink.QUEUE: f"let EventBridge send messages to the dead-letter queue again: {RESTORE}",
    PathLink.UNKNOWN: "run `rolewarden drill` again after a few minutes; if it repeats, see the AWS Health Dashboard",
}
"""The recommended action for each link of the event path at which a drill stopped."""

_BY_LINK = {link.value: recommendation for link, recommendation in LINK_RECOMMENDATIONS.items()}

SLOW = (
    "run `rolewarden drill` again; if it repeats, raise the parameter DrillLimitMinutes or ask AWS Support why "
    "CloudTrail is slow"
)
"""The recommended action for a drill that was heard too late, so that no link is broken."""


class UncoveredAccountError(RolewardenError):
    """The stack does not cover an account that the user named; the message has the covered ones."""


class DrillRefusedError(RolewardenError):
    """The stack could not drill or judge; the message has the cause and the correction."""


class DrillInterruptedError(RolewardenError):
    """The user interrupted the wait. The drills that were sent end without the command."""


@dataclass(frozen=True)
class Pace:
    """The time of a command that waits, in seconds of the epoch, and how it waits."""

    now: Callable[[], float] = time.time
    wait: Callable[[float], None] = time.sleep


PACE = Pace()
"""The pace of every command."""


@dataclass(frozen=True)
class JudgedDrill:
    """One kind of drill in a region of an account, as SweepFunction judged it.

    - `state`: a DrillState, or NOT_DRILLED_HERE.
    - `misses`: the newest drills in a row that EnforceFunction did not hear, or did not act on.
    - `seconds`, `delivery`, `start`, `remediation`: as in `rolewarden.drill.Heard`; None if not measured.
    - `link`, `message`: the first broken link of the event path, and what is wrong with it; empty if none is.
    """

    account: str
    region: str
    drill: str
    state: str
    misses: int = 0
    nonce: str = ""
    at: float | None = None
    seconds: float | None = None
    delivery: float | None = None
    start: float | None = None
    remediation: float | None = None
    link: str = ""
    message: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> JudgedDrill:
        """The drill in an entry of SweepFunction's result."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})

    @property
    def is_well(self) -> bool:
        """Whether the newest drill was heard in time, or the region has no canary to drill."""
        return self.state in {DrillState.HEARD.value, NOT_DRILLED_HERE}

    @property
    @shown
    def recommendation(self) -> str:
        """The recommended action; empty if the drill was heard in time."""
        if self.is_well or self.state == DrillState.WAITING.value:
            return ""
        return _BY_LINK.get(self.link, SLOW)


@dataclass(frozen=True)
class Tally:
    """The drills that the command follows.

    - `drills`: each drill with what was heard of it, None before EnforceFunction heard it.
    - `waited`: the seconds for which the command has waited.
    - `limit`: the seconds after which a drill that was not heard is missed.
    """

    drills: Mapping[Drill, Heard | None]
    waited: float
    limit: float

    @property
    def open(self) -> list[Drill]:
        """The drills that are not heard yet, and whose calls AWS accepted."""
        return [drill for drill, heard in self.drills.items() if heard is None and not drill.refused]


class DrillsOnDemand:
    """Sends drills in a deployed stack and follows them. Methods raise Refused, RetryLater and NoConnectionError."""

    def __init__(self, connection: Connection, pace: Pace) -> None:
        stack, tables = connection.deployed(), connection.recorded()
        self._connection, self._pace = connection, pace
        self._functions = {logical: physical for logical, _, physical in stack.resources}
        self._drills = RecordedDrills(connection.aws, tables.bindings)
        self._members = RecordedProgress(connection.aws, tables.bindings)
        self.limit = 60.0 * float(stack.parameters.get("DrillLimitMinutes", "15"))

    def accounts(self, account: str = "", *, every: bool = False) -> tuple[str, ...]:
        """The accounts to drill: the stack's own one by default. Raises UncoveredAccountError."""
        own = self._connection.account
        if not account and not every:
            return (own,)
        covered = (own, *sorted(set(self._members.member_accounts()) - {own}))
        if account and account not in covered:
            raise UncoveredAccountError(
                f"the stack does not cover account `{account}`: give --account one of {', '.join(covered)}"
            )
        return (account,) if account else covered

    def send(self, account: str) -> list[Drill]:
        """Send a pulse and a full drill in an account, and return them.

        If a full drill of the account is still running, DrillFunction sends no second one. The running one is returned.
        """
        answer = self._run("DrillFunction", {"step": "drill", "account": account})
        if "ignored" in answer:
            raise UncoveredAccountError(
                f"DrillFunction does not drill account `{account}`: {answer['ignored']}: run `rolewarden sweep`, which "
                "reads the list of accounts"
            )
        try:
            sent = [
                Drill(account, row["region"], DrillKind(row["drill"]), row["at"], row["nonce"], row.get("refused", ""))
                for row in answer.get("drills", ())
            ]
        except (KeyError, ValueError):
            raise DrillRefusedError(
                f"DrillFunction of the stack gave an answer that this version does not know: run `{DEPLOY}`"
            ) from None
        if sent and not any(drill.kind is DrillKind.FULL for drill in sent):
            # The clock of DrillFunction decides, because that of the user can be wrong.
            at = sent[-1].at
            sent += sorted(self._drills.since(account, at, drills=at - self.limit), key=lambda drill: drill.at)[-1:]
        return sent

    def follow(self, sent: Sequence[Drill], show: Callable[[Tally], None]) -> Tally:
        """Wait until each drill is heard, or the limit has passed, and call `show` after each look at the table."""
        began, known = self._pace.now(), dict[Drill, Heard | None].fromkeys(sent)
        while True:
            waited = self._pace.now() - began
            tally = Tally(known, waited, self.limit)
            for account in sorted({drill.account for drill in tally.open}):
                times = [drill.at for drill in known if drill.account == account]
                found = self._drills.since(account, max(times), pulses=min(times), drills=min(times))
                # By the nonce, because the answer of DrillFunction has not all fields of a row.
                by_nonce = {drill.nonce: heard for drill, heard in found.items()}
                known = {drill: by_nonce.get(drill.nonce) or heard for drill, heard in known.items()}
            tally = Tally(known, waited, self.limit)
            show(tally)
            left = self.limit + MARGIN_SECONDS - waited
            if not tally.open or left <= 0:
                return tally
            self._pace.wait(min(max(POLL_SECONDS, POLL_SHARE * waited), left))

    def judge(self, accounts: Iterable[str]) -> tuple[JudgedDrill, ...]:
        """The state of each kind of drill in each region of the accounts, with the broken link of those missed."""
        found: list[JudgedDrill] = []
        for account in accounts:
            rows = self._run("SweepFunction", {"step": DRILLS, "account": account}).get("drills", ())
            found += map(JudgedDrill.of, rows)
        return tuple(found)

    def _run(self, function: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if function not in self._functions:
            raise DrillRefusedError(f"the stack has no function {function}: {RESTORE}")
        try:
            answer = self._connection.calls.run(self._functions[function], payload)
        except Refused as refused:
            raise DrillRefusedError(
                f"{function} did not do this: {refused}: give your role permission for lambda:InvokeFunction on "
                f"{function}, and read the log of the function"
            ) from refused
        return answer if isinstance(answer, dict) else {}
