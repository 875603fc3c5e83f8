"""Alerts that are sent only when CloudTrail's event history shows their call.

A caller who can invoke a function can send it the record of a call that nobody made, with another caller each time. So
the limit of one caller stops no such flood. Beyond a number of different alerts within an hour, an alert is held: a row
of the alerts table has what it is about. Every 15 minutes, AlertFunction reads the calls that changed something from
the event history of the account, and looks for a row of each. So the cost does not depend on the number of forged
records. An alert whose call is there is sent, and its text is made of CloudTrail's record. An alert without one is only
counted, and a summary says so.

The alerts table has two scopes for it:

- `held/ACCOUNT REGION`: a held alert. The sort key is the ID of its call and the digest of its key.
- `holding`: the numbers of alerts (`held`, `sent`) of an account and region in an hour.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rolewarden.alert import SUMMARY_ROWS, AlertKey
from rolewarden.alert_limits import ALERT_KEPT_SECONDS, alert_digest, log_other_form
from rolewarden.calls import ReadsWrites, WritesItems
from rolewarden.clock import Clock
from rolewarden.errors import Refused
from rolewarden.record import logger

HELD_SECONDS = 2 * 3600
"""Seconds for which an alert waits for its call at least. CloudTrail typically delivers an event within an average of
about 5 minutes, and this time is not guaranteed:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html."""

HOUR = 3600
"""Seconds of the alerts that are counted together."""

MOST_CALLS_READ = 5_000
"""The number of calls that one run reads. AWS allows two pages of 50 a second, and the function has two minutes."""

EVERYWHERE = "*"
"""The region of a finding: the call that caused it can be in each region that the stack covers."""


class HeldAlert(NamedTuple):
    """An alert whose call CloudTrail shows.

    - `place`: the account and the region, or EVERYWHERE. `item` is the sort key of its row.
    - `key`: the digest of the alert's key.
    - `event`: the event of a finding, which the history has confirmed. None for a record of CloudTrail.
    - `hour`: the hour in which the alert came.
    """

    place: str
    item: str
    key: str
    event: Mapping[str, Any] | None
    hour: int


class LateAlerts(NamedTuple):
    """The alerts of an account and region in an hour whose calls CloudTrail does not show.

    `examples` are the headlines of some of them, each with the ID of the call, and `item` is the key of their row.
    """

    item: str
    number: int
    examples: list[tuple[str, str]]


class _Numbers(NamedTuple):
    """The numbers of an account and region in an hour. `closes` is the time of the summary."""

    item: str
    account: str
    region: str
    hour: int
    closes: int
    held: int
    sent: int


@dataclass
class HeldAlerts:
    """The held alerts. Methods raise RetryLater. `regions` are the regions from which records come."""

    aws: WritesItems
    calls: ReadsWrites
    table: str
    regions: frozenset[str]
    clock: Clock

    def keep(self, key: AlertKey, region: str, event_id: str, headline: str, event: Mapping[str, Any] | None) -> None:
        """Hold an alert. A second time with the same key and call changes nothing."""
        now, place = int(self.clock.now()), f"{key.account} {region if region in self.regions else EVERYWHERE}"
        common = {"read_at": now, "expires": now + ALERT_KEPT_SECONDS}
        hour = now // HOUR
        row = {"scope": f"held/{place}", "item": f"{event_id} {alert_digest(key)}", "hour": hour, "headline": headline}
        whole = {**row, **({"event": json.dumps(event)} if event else {}), **common}
        if not self.aws.put_unless(self.table, whole, "attribute_exists(headline)"):
            return
        closes = (hour + 1) * HOUR + HELD_SECONDS
        counts = {"scope": "holding", "item": f"{place} {hour}", "closes": closes, **common}
        self.aws.put_unless(self.table, counts, "attribute_exists(closes)")
        self._add(f"{place} {hour}", "held")

    def found(self) -> Iterator[tuple[HeldAlert, Mapping[str, Any]]]:
        """The held alerts whose calls are in CloudTrail's event history, each with CloudTrail's record."""
        places: dict[tuple[str, str], set[str]] = defaultdict(set)
        since: dict[tuple[str, str], float] = {}
        for one in self._holding():
            for each in self.regions if one.region == EVERYWHERE else {one.region}:
                places[one.account, each].add(f"{one.account} {one.region}")
                oldest = one.hour * HOUR - HELD_SECONDS
                since[one.account, each] = min(oldest, since.get((one.account, each), oldest))
        left = MOST_CALLS_READ
        # Forged records can be of any account and region. The random order keeps each of them from being last for long.
        for account, region in random.sample(sorted(places), len(places)):
            begin, end = (datetime.fromtimestamp(at, UTC) for at in (since[account, region], self.clock.now()))
            try:
                for record in self.calls.within(account).recorded_writes(region, begin, end):
                    left -= 1
                    for place in places[account, region]:
                        yield from ((one, record) for one in self._of_call(place, str(record.get("eventID"))))
                    if left <= 0:
                        logger.error("the event history has more calls than one run reads")
                        return
            except Refused as refused:
                logger.error(
                    "CloudTrail's event history cannot be read", extra={"why": str(refused), "account": account}
                )

    def forget_sent(self, one: HeldAlert) -> None:
        """Delete the row of an alert that was sent."""
        keys = [{"scope": f"held/{one.place}", "item": one.item}]
        self.aws.write_newer(self.table, (), keys, at=self.clock.now())
        self._add(f"{one.place} {one.hour}", "sent")

    def late(self) -> list[LateAlerts]:
        """The alerts that have waited long enough."""
        found = []
        for one in self._holding():
            if one.closes > self.clock.now():
                continue
            rows = self.aws.query(self.table, {"scope": f"held/{one.account} {one.region}"}, most=SUMMARY_ROWS)
            of_hour = [row for row in rows if str(row.get("hour")) == str(one.hour)]
            examples = [(str(row.get("headline")), str(row["item"]).partition(" ")[0]) for row in of_hour]
            found.append(LateAlerts(one.item, max(one.held - one.sent, 0), examples))
        return found

    def forget_late(self, late: list[LateAlerts]) -> None:
        """Delete the numbers that a summary has. DynamoDB deletes the rows of the alerts later."""
        keys = [{"scope": "holding", "item": one.item} for one in late]
        self.aws.write_newer(self.table, (), keys, at=self.clock.now())

    def _holding(self) -> Iterator[_Numbers]:
        """The numbers of each account and region in each hour. A row of another form is logged and left out."""
        for row in self.aws.query(self.table, {"scope": "holding"}):
            try:
                account, region, hour = str(row["item"]).split(" ")
                numbers = (int(row[name]) if name in row else 0 for name in ("closes", "held", "sent"))
                yield _Numbers(str(row["item"]), account, region, int(hour), *numbers)
            except (ValueError, TypeError) as error:
                log_other_form(row, repr(error))

    def _of_call(self, place: str, event_id: str) -> Iterator[HeldAlert]:
        for row in self.aws.query(self.table, {"scope": f"held/{place}"}, begins=("item", f"{event_id} ")):
            try:
                event = json.loads(row["event"]) if "event" in row else None
                yield HeldAlert(place, str(row["item"]), str(row["item"]).partition(" ")[2], event, int(row["hour"]))
            except (KeyError, ValueError, TypeError) as error:
                log_other_form(row, repr(error))

    def _add(self, item: str, number: str) -> None:
        self.aws.update(self.table, {"scope": "holding", "item": item}, f"ADD {number} :one", {":one": 1})
