"""Drills: calls of Rolewarden to itself that prove that events of an account and region arrive and are acted on.

A pulse changes nothing: DrillFunction sets a tag of the canary to the value that it has. A full drill detaches the
canary's policy, and EnforceFunction must attach it again by the ordinary path with its ordinary rights.

A drill is recognized by three things together: the nonce at the end of the user agent of its call, the ARN of the
caller (DrillFunction's role, or the role `rolewarden-drill` in a member account), and its row in the bindings table,
which DrillFunction writes before the call. A call without all three is not a drill.

The rows have the partition key (`scope`) `pulse/ACCOUNT` or `drill/ACCOUNT`. The nonce is `pulse.SECONDS.RANDOM` or
`drill.SECONDS.RANDOM`, so that rows sort by time. Each drill has up to two rows, with these sort keys (`item`):

- `NONCE/sent`, written by DrillFunction: `kind` (a DrillKind), `region`, `at` (seconds of the epoch) and, if AWS
  refused the call, `refused`.
- `NONCE/heard`, written by EnforceFunction: `event_id`, `seconds` (from the call to the start of EnforceFunction),
  `delivery` (from the call until the event bus received the event, which is CloudTrail's part), `start` (from there to
  the start of EnforceFunction), `remediation` (from there until the policy was attached again) and, if it was not,
  `refused`. A figure that could not be measured is missing.

Both rows expire after DRILL_KEPT_SECONDS. The history has a row of the kind `Drill Measured` for each drill that was
heard, about `ACCOUNT/drill/KIND/REGION`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from rolewarden.bindings import row_key
from rolewarden.calls import ReadsItems, WritesItems
from rolewarden.canary import DrillKind
from rolewarden.clock import CLOCK_SKEW

DRILL_KEPT_SECONDS = 4 * 24 * 3600
"""Seconds after which the rows of a drill expire: more than three full drills of a day each."""

CUT_MISSES = 2
"""Drills of one kind in a row that were not heard before the path counts as cut."""

_PULSE, _DRILL = "pulse", "drill"
_SENT, _HEARD = "sent", "heard"


class Drill(NamedTuple):
    """One drill, as DrillFunction sent it.

    - `at`: the time of the call, in seconds of the epoch.
    - `refused`: the answer of AWS if it refused the call; empty otherwise.
    - `counted`: whether its seconds become metrics. CloudWatch charges a metric for each hour in which it has a figure,
      so only full drills and the first pulse of a day (UTC) count.
    """

    account: str
    region: str
    kind: DrillKind
    at: float
    nonce: str
    refused: str = ""
    counted: bool = False

    @classmethod
    def new(cls, account: str, region: str, kind: DrillKind, at: float, *, counted: bool = True) -> Drill:
        """A drill with a new nonce."""
        word = _DRILL if kind is DrillKind.FULL else _PULSE
        return cls(account, region, kind, at, f"{word}.{int(at):010d}.{secrets.token_hex(8)}", counted=counted)


class Heard(NamedTuple):
    """The measurements of EnforceFunction when it heard a drill. The times are in seconds; None means not measured.

    - `event_id`: the ID that CloudTrail gave the call.
    - `seconds`: from the call to the start of EnforceFunction.
    - `delivery`: the part of it until the event bus received the event. For a forwarded event this is the central bus,
      and the part includes the forwarding.
    - `start`: the rest of it, for EventBridge's delivery and the start of EnforceFunction.
    - `remediation`: from the start of EnforceFunction until the canary's policy was attached again.
    - `refused`: why the policy was not attached again; empty if it was, and after a pulse.
    """

    event_id: str
    seconds: float
    delivery: float | None = None
    start: float | None = None
    remediation: float | None = None
    refused: str = ""

    @property
    def total(self) -> float:
        """From the call to the end of the remediation, or to the start of EnforceFunction after a pulse."""
        return self.seconds + (self.remediation or 0.0)


class DrillState(StrEnum):
    """The state of one kind of drill in a region of an account."""

    HEARD = "heard"
    """EnforceFunction heard the newest drill in time, and restored the canary if that was a full drill."""

    WAITING = "waiting"
    """The newest drill is younger than the limit, and no drill before it is known."""

    LATE = "late"
    """EnforceFunction did not hear the newest drill in time, or could not restore the canary."""

    CUT = "cut"
    """EnforceFunction missed two drills in a row or more."""


class DrillResult(NamedTuple):
    """The state of one kind of drill in a region of an account.

    - `misses`: the number of newest drills in a row that EnforceFunction did not hear, or did not act on.
    - `drill`: the newest drill that decided the state. Of missed ones, it is one whose call AWS accepted, if there is
      any. If the state is WAITING, it is the newest one at all.
    - `heard`: what EnforceFunction measured of it; None if it did not hear it.
    """

    state: DrillState
    misses: int
    drill: Drill
    heard: Heard | None = None

    @property
    def key(self) -> tuple[str, str, DrillKind]:
        """The account, region and kind."""
        return self.drill.account, self.drill.region, self.drill.kind


def results_of(drills: Mapping[Drill, Heard | None], now: float, limit: float) -> list[DrillResult]:
    """The state of each kind of drill in each region, in the order of region and kind.

    - `drills`: the recent drills of one account, each with what was heard of it.
    - `limit`: seconds after which a drill that was not heard is missed.
    """
    groups: dict[tuple[str, DrillKind], list[Drill]] = {}
    for drill in sorted(drills, key=lambda drill: drill.nonce.partition(".")[2], reverse=True):
        groups.setdefault((drill.region, drill.kind), []).append(drill)
    return [_result_of(groups[key], drills, now, limit) for key in sorted(groups)]


def _result_of(
    newest_first: list[Drill], drills: Mapping[Drill, Heard | None], now: float, limit: float
) -> DrillResult:
    decided = [drill for drill in newest_first if drills[drill] or drill.refused or now - drill.at >= limit]
    if not decided:
        return DrillResult(DrillState.WAITING, 0, newest_first[0])
    missed: list[Drill] = []
    for drill in decided:
        heard = drills[drill]
        if heard and not heard.refused:
            break
        missed.append(drill)
    if missed:
        # After a full drill that nothing answered, the next one has no policy to detach. The first one shows the cause.
        telling = next((drill for drill in missed if not drill.refused), missed[0])
        state = DrillState.CUT if len(missed) >= CUT_MISSES else DrillState.LATE
        return DrillResult(state, len(missed), telling, drills[telling])
    newest, heard = decided[0], drills[decided[0]]
    # An event that arrives after the limit proves that the path is whole, however slow it is.
    is_late = heard is not None and heard.total > limit
    return DrillResult(DrillState.LATE if is_late else DrillState.HEARD, 0, newest, heard)


class RecordedDrills:
    """The drills of a deployed stack, to read only. Methods raise RetryLater."""

    def __init__(self, aws: ReadsItems, table: str) -> None:
        self.aws = aws
        self._table = table

    def find(self, account: str, nonce: str) -> tuple[Drill | None, Heard | None]:
        """The drill with this nonce, and what was heard of it. None for each if the table does not have it."""
        rows = self.aws.query(self._table, {"scope": _scope(account, nonce)}, begins=("item", f"{nonce}/"))
        found = _paired(account, rows)
        return next(((drill, heard) for drill, heard in found.items() if drill.nonce == nonce), (None, None))

    def since(
        self, account: str, now: float, *, pulses: float | None = None, drills: float | None = None
    ) -> dict[Drill, Heard | None]:
        """The drills of an account that are newer than a time in seconds of the epoch, each with what was heard of it.

        - `now`: a drill with a later time does not count, because Rolewarden cannot have sent it.
        - `pulses`, `drills`: the time for pulses, and for full drills. None leaves them out.
        """
        rows = [
            row
            for word, begin in ((_PULSE, pulses), (_DRILL, drills))
            if begin is not None
            for row in self.aws.query(
                self._table, {"scope": f"{word}/{account}"}, least=("item", f"{word}.{max(0, int(begin)):010d}")
            )
        ]
        return {drill: heard for drill, heard in _paired(account, rows).items() if drill.at <= now + CLOCK_SKEW}


class Drills(RecordedDrills):
    """The drills of a deployed stack, to read and to write. Methods raise RetryLater."""

    aws: WritesItems

    def __init__(self, aws: WritesItems, table: str) -> None:
        super().__init__(aws, table)

    def put_sent(self, drill: Drill) -> None:
        """Record a drill, before its call and again if AWS refuses the call."""
        at = Decimal(f"{drill.at:.3f}")
        row = {"kind": drill.kind.value, "region": drill.region, "at": at, "counted": drill.counted}
        refused = {"refused": drill.refused} if drill.refused else {}
        self._put(drill, _SENT, {**row, **refused}, drill.at)

    def put_heard(self, drill: Drill, heard: Heard, now: float) -> None:
        """Record that EnforceFunction heard a drill."""
        figures = {
            name: Decimal(f"{figure:.3f}")
            for name, figure in heard._asdict().items()
            if isinstance(figure, float | int)
        }
        refused = {"refused": heard.refused} if heard.refused else {}
        self._put(drill, _HEARD, {**figures, **refused, "event_id": heard.event_id}, now)

    def _put(self, drill: Drill, what: str, row: Mapping[str, Any], at: float) -> None:
        key = row_key((_scope(drill.account, drill.nonce), f"{drill.nonce}/{what}"))
        self.aws.put(self._table, {**key, **row, "expires": int(at) + DRILL_KEPT_SECONDS})


def _scope(account: str, nonce: str) -> str:
    return f"{_DRILL if nonce.startswith(f'{_DRILL}.') else _PULSE}/{account}"


def _paired(account: str, rows: Iterable[Mapping[str, Any]]) -> dict[Drill, Heard | None]:
    """The drills of rows, each with what was heard of it. A row in another form does not count."""
    sent: dict[str, Drill] = {}
    heard: dict[str, Heard] = {}
    for row in rows:
        nonce, _, what = str(row.get("item")).partition("/")
        refused = row.get("refused", "")
        if what == _SENT and row.get("kind") in list(DrillKind) and isinstance(row.get("region"), str):
            at, counted = _number(row, "at") or 0.0, row.get("counted") is True
            sent[nonce] = Drill(account, row["region"], DrillKind(row["kind"]), at, nonce, refused, counted)
        if what == _HEARD and (seconds := _number(row, "seconds")) is not None:
            delivery, start, remediation = (_number(row, name) for name in ("delivery", "start", "remediation"))
            heard[nonce] = Heard(str(row.get("event_id", "")), seconds, delivery, start, remediation, refused)
    return {drill: heard.get(nonce) for nonce, drill in sent.items()}


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, Decimal | int | float) and not isinstance(value, bool) else None
