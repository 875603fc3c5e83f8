"""Alerts that are sent only when CloudTrail's event history shows their call.

Whoever can invoke a function can send it the record of a call that nobody made, with another caller each time. So the
limit of one caller stops no such flood. Beyond a number of different alerts of an account within an hour, an alert is
held: a row of the alerts table has what it is about. Every 15 minutes, one look at the event history of the account
decides on all of them, so its cost does not depend on the number of forged records. An alert whose call is there is
sent, and its text is made of CloudTrail's record. An alert whose call is missing for HELD_SECONDS is only counted, and
a summary says so.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rolewarden.alert import AlertKey
from rolewarden.alert_limits import ALERT_KEPT_SECONDS, alert_digest
from rolewarden.calls import ReadsWrites, WritesItems
from rolewarden.clock import Clock
from rolewarden.errors import Refused, RetryLater
from rolewarden.record import logger

HELD_SECONDS = 2 * 3600
"""Seconds for which an alert waits for its call. CloudTrail typically delivers an event within an average of about 5
minutes, and this time is not guaranteed:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html."""

MOST_CALLS_READ = 5_000
"""The number of calls that one run reads. AWS allows two pages of 50 a second, and the function has two minutes."""

EVERYWHERE = "*"
"""The region of a finding: the call that caused it can be in each region that the stack covers."""


class HeldAlert(NamedTuple):
    """An alert that waits for its call.

    - `item`: the sort key of its row.
    - `region`: the region whose event history must have the call, or EVERYWHERE.
    - `key`: the digest of the alert's key.
    - `headline`: the subject of the alert.
    - `event`: the event of a finding, which the history has confirmed. None for a record of CloudTrail.
    - `closes`: the time until which the alert waits.
    """

    item: str
    account: str
    region: str
    event_id: str
    key: str
    headline: str
    event: Mapping[str, Any] | None
    closes: float


@dataclass
class HeldAlerts:
    """The held alerts, in the alerts table. Methods raise RetryLater."""

    aws: WritesItems
    calls: ReadsWrites
    table: str
    regions: frozenset[str]
    clock: Clock

    def keep(self, key: AlertKey, region: str, event_id: str, headline: str, event: Mapping[str, Any] | None) -> None:
        """Hold an alert. A second time with the same key and call changes nothing."""
        now = int(self.clock.now())
        whole = {
            "scope": "held",
            "item": f"{event_id} {alert_digest(key)}",
            "account": key.account,
            "region": region,
            "headline": headline,
            **({"event": json.dumps(event)} if event else {}),
            "closes": now + HELD_SECONDS,
            "read_at": now,
            "expires": now + ALERT_KEPT_SECONDS,
        }
        times = {":now": now, ":latest": now + HELD_SECONDS}
        self.aws.put_unless(self.table, whole, "closes > :now AND closes <= :latest", times)

    def all(self) -> list[HeldAlert]:
        """The alerts that are held."""
        rows = self.aws.query(self.table, {"scope": "held"})
        return [
            HeldAlert(
                str(row["item"]),
                str(row["account"]),
                str(row["region"]),
                *str(row["item"]).partition(" ")[::2],
                str(row["headline"]),
                json.loads(row["event"]) if "event" in row else None,
                float(row["closes"]),
            )
            for row in rows
        ]

    def found(self, held: list[HeldAlert]) -> Iterator[tuple[HeldAlert, Mapping[str, Any]]]:
        """Those of `held` whose calls are in CloudTrail's event history, each with CloudTrail's record."""
        groups: dict[tuple[str, str], list[HeldAlert]] = defaultdict(list)
        for one in held:
            for region in self.regions if one.region == EVERYWHERE else {one.region} & self.regions:
                groups[one.account, region].append(one)
        left, now = MOST_CALLS_READ, self.clock.now()
        # Forged records can be of any account and region. In another order each time, none of them is last for long.
        for (account, region), waiting in random.sample(sorted(groups.items()), len(groups)):
            wanted = defaultdict[str, list[HeldAlert]](list)
            for one in waiting:
                wanted[one.event_id].append(one)
            since = min(one.closes for one in waiting) - 2 * HELD_SECONDS
            try:
                within = self.calls.within(account)
                begin, end = datetime.fromtimestamp(int(since), UTC), datetime.fromtimestamp(now, UTC)
                for record in within.recorded_writes(region, begin, end):
                    left -= 1
                    for one in wanted.pop(str(record.get("eventID")), ()):
                        yield one, record
                    if not wanted or left <= 0:
                        break
            except (Refused, RetryLater) as error:
                logger.error("CloudTrail's event history cannot be read", extra={"why": str(error), "account": account})
            if left <= 0:
                logger.error("the event history has more calls than one run reads")
                return

    def forget(self, held: list[HeldAlert]) -> None:
        """Delete the rows of alerts that were sent, or that a summary has."""
        keys = [{"scope": "held", "item": one.item} for one in held]
        self.aws.write_newer(self.table, (), keys, at=self.clock.now())
