"""The limits of alerts: one mail for each caller, call and resource an hour, and few different ones for each caller.

A caller who causes alert after alert could make people ignore all of them. So a repeated alert is counted, and a
summary has the number. A caller could also cause many different alerts to hide one of them. So the number of different
alerts of a caller, and of an account, is limited, and reaching the limit is an alert, too. The alerts of other callers
and accounts still arrive. A caller could also forge records with another caller each time. So beyond a number of
alerts of an account, an alert is held until CloudTrail shows its call (`rolewarden.held_alerts`).

The table has rows of four scopes, besides those of `rolewarden.held_alerts`. Each row counts until the time `closes`:

- `alert`: an alert that was sent, with the number of `repeats`.
- `limit`: the number of different alerts of a caller or account (`kinds`), and of those left out (`beyond`).
- `notice`: an alert about a limit, or about a row of the history. It is sent only once.
- `narrowed`: a trail that logged less than Rolewarden needs, and may be restored since then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from rolewarden.alert import AlertKey
from rolewarden.calls import WritesItems
from rolewarden.clock import Clock
from rolewarden.record import logger

WINDOW_SECONDS = 3600
"""Seconds for which an alert counts as sent."""

CLAIM_SECONDS = 50
"""Seconds for which a function's claim to send an alert lasts. If that function ends before, Lambda retries after a
minute at the earliest (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html)."""

SKEW_SECONDS = 60
"""Seconds by which the clocks of two functions can differ."""

KEPT_NOTICE_SECONDS = 2 * 24 * 3600
"""Seconds for which a row of the history counts as reported: longer than its event can arrive."""

NARROWED_SECONDS = 900
"""Seconds for which a narrowed trail does not count: longer than two records of calls at the same time can be apart."""

ALERT_KEPT_SECONDS = 3 * 24 * 3600
"""Seconds after which DynamoDB can delete a row: longer than an event of a row of the history counts."""

MOST_OF_ACTOR, MOST_OF_ACCOUNT = 20, 60
"""The number of different alerts of one caller within an hour. The second number is the limit of an account for refused
calls, for the findings of its sweeps, and for the alerts about callers that CloudTrail has not confirmed."""


class Limit(NamedTuple):
    """A limit on different alerts. `item` is its sort key and `name` the caller or account for people.

    `holds`: whether an alert beyond the limit waits for its call. Otherwise it is only counted.
    """

    item: str
    name: str
    most: int
    of_actor: bool
    holds: bool = False


class Admission(NamedTuple):
    """The decision on one alert.

    - `is_new`: whether to send it.
    - `repeats`: the number of alerts like it that an earlier hour counted and no summary has.
    - `reached`: the limit because of which it is left out. None if it is within the limits.
    """

    is_new: bool
    repeats: int = 0
    reached: Limit | None = None


class Counted(NamedTuple):
    """The numbers that a summary has, and the keys of their rows."""

    repeated: list[tuple[str, int]]
    left_out: list[tuple[str, int]]
    keys: list[dict[str, str]]


@dataclass
class AlertLimits:
    """The limits of alerts, in the alerts table. Methods raise RetryLater."""

    aws: WritesItems
    table: str
    clock: Clock

    def admit(self, key: AlertKey, headline: str, *, is_verified: bool = False) -> Admission:
        """Decide whether to send an alert with this key, and claim it. After it is sent, call `keep`.

        `is_verified` says that CloudTrail has the call. Such an alert has limits of its own.
        """
        now, item = self.clock.now(), alert_digest(key)
        row = next((row for row in self._rows("alert", item) if row["item"] == item), {})
        # A row that counts for longer than an hour is not Rolewarden's. It would silence the alert.
        if now < row.get("closes", 0) <= now + WINDOW_SECONDS + SKEW_SECONDS:
            self._add("alert", item, "repeats")
            return Admission(is_new=False)
        for limit in _limits(key, is_verified=is_verified):
            if self._add_kind(limit, now) > limit.most:
                if not limit.holds:
                    self._add("limit", limit.item, "beyond")
                return Admission(is_new=False, reached=limit)
        if not self._claim("alert", item, headline=headline):
            self._add("alert", item, "repeats")
            return Admission(is_new=False)
        return Admission(is_new=True, repeats=int(row.get("repeats", 0)))

    def keep(self, key: AlertKey) -> None:
        """Count an alert as sent for WINDOW_SECONDS."""
        self._set_end("alert", alert_digest(key), WINDOW_SECONDS)

    def claim_notice(self, item: str) -> bool:
        """Claim a notice. Gives False if it was sent or is claimed. After it is sent, call `keep_notice`."""
        return self._claim("notice", item)

    def keep_notice(self, item: str, seconds: int = WINDOW_SECONDS) -> None:
        """Count a notice as sent for `seconds`."""
        self._set_end("notice", item, seconds)

    def note_narrowed(self, trail: str) -> None:
        """Note for NARROWED_SECONDS that a caller has narrowed a trail."""
        now = int(self.clock.now())
        row = {"closes": now + NARROWED_SECONDS, "read_at": now, "expires": now + ALERT_KEPT_SECONDS}
        self.aws.put(self.table, {"scope": "narrowed", "item": trail, **row})

    def narrowed(self) -> list[str]:
        """The trails that callers have narrowed in the last NARROWED_SECONDS."""
        now = self.clock.now()
        return [str(row["item"]) for row in self._rows("narrowed") if row["closes"] > now]

    def counted(self) -> Counted:
        """The numbers of all hours that have ended."""
        now = self.clock.now()
        alerts, limits = ([row for row in self._rows(of) if row["closes"] <= now] for of in ("alert", "limit"))
        return Counted(
            [(str(row.get("headline", "?")), int(row["repeats"])) for row in alerts if row.get("repeats")],
            [(str(row.get("name", "?")), int(row["beyond"])) for row in limits if row.get("beyond")],
            [{"scope": row["scope"], "item": row["item"]} for row in (*alerts, *limits)],
        )

    def forget(self, counted: Counted) -> None:
        """Delete the rows of numbers that a summary has. A row of a new hour stays."""
        self.aws.write_newer(self.table, (), counted.keys, at=self.clock.now())

    def _rows(self, scope: str, item: str = "") -> list[dict[str, Any]]:
        """The rows of a scope. A row without its end is one that was deleted while another function added to it."""
        rows = self.aws.query(self.table, {"scope": scope}, begins=("item", item))
        return [{"closes": 0, **row} for row in rows if _has_numbers(row)]

    def _add_kind(self, limit: Limit, now: float) -> int:
        row = {"closes": int(now + WINDOW_SECONDS), "name": limit.name}
        self._begin("limit", limit.item, row, now)
        return int(self._add("limit", limit.item, "kinds")["kinds"])

    def _claim(self, scope: str, item: str, **more: str) -> bool:
        now = self.clock.now()
        return self._begin(scope, item, {"closes": int(now + CLAIM_SECONDS), **more}, now)

    def _begin(self, scope: str, item: str, row: Mapping[str, Any], now: float) -> bool:
        """Write a row unless the table has one that still counts."""
        expires = int(now) + ALERT_KEPT_SECONDS
        whole = {"scope": scope, "item": item, **row, "read_at": int(now), "expires": expires}
        longest = KEPT_NOTICE_SECONDS if scope == "notice" else WINDOW_SECONDS
        times = {":now": int(now), ":latest": int(now) + longest + SKEW_SECONDS}
        return self.aws.put_unless(self.table, whole, "closes > :now AND closes <= :latest", times)

    def _add(self, scope: str, item: str, number: str) -> dict[str, Any]:
        return self.aws.update(self.table, {"scope": scope, "item": item}, f"ADD {number} :one", {":one": 1})

    def _set_end(self, scope: str, item: str, seconds: int) -> None:
        closes = int(self.clock.now()) + seconds
        self.aws.update(self.table, {"scope": scope, "item": item}, "SET closes = :closes", {":closes": closes})


def _has_numbers(row: Mapping[str, Any]) -> bool:
    """Whether the numbers of a row are numbers. Any other row is logged, and counts as missing."""
    wrong = [name for name in ("closes", "repeats", "beyond") if not isinstance(row.get(name, 0), int | Decimal)]
    if wrong:
        log_other_form(row, f"no number: {', '.join(wrong)}")
    return not wrong


def log_other_form(row: Mapping[str, Any], why: str) -> None:
    """Log a row that AlertFunction has not written. It must not stop the alerts of the other rows."""
    key = {name: str(row.get(name))[:200] for name in ("scope", "item")}
    logger.error("a row of the alerts table has another form and counts as missing", extra={**key, "why": why})


def _limits(key: AlertKey, *, is_verified: bool) -> list[Limit]:
    """The limits of an alert.

    A sweep can find many things at once, and knows no caller, so its findings have a limit of their own. The account
    has a limit for refused calls, which cost many callers no permission. Beyond the other limits, an alert waits until
    CloudTrail shows its call, because a record can be forged in the name of any caller. A call that CloudTrail shows
    has only the limit of its caller, so that no forged record and no other caller hides it.
    """
    if not key.actor:
        return [Limit(f"sweep/{key.account}", f"sweeps of account {key.account}", MOST_OF_ACCOUNT, of_actor=False)]
    caller = alert_digest(key._replace(call="", resource="", is_refused=False))
    if is_verified:
        return [Limit(f"verified/{caller}", key.actor, MOST_OF_ACTOR, of_actor=True)]
    kind, holds = ("account", False) if key.is_refused else ("callers", True)
    of_account = Limit(f"{kind}/{key.account}", f"account {key.account}", MOST_OF_ACCOUNT, of_actor=False, holds=holds)
    return [Limit(f"actor/{caller}", key.actor, MOST_OF_ACTOR, of_actor=True, holds=True), of_account]


def alert_digest(key: AlertKey) -> str:
    """A short text that is different for each key."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()
