"""Whether an event of source `rolewarden` reports a row of the history.

Every caller with events:PutEvents can put an event with this source on the bus, and every caller with
lambda:InvokeFunction can pass one to a function. The recorder writes the row of an event before it puts the event on
the bus. So AlertFunction and SecurityHubFunction believe an event only if the history has a recent row with the same
content.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from rolewarden.events import ACCOUNT, mapping, matched
from rolewarden.history import StoredHistory
from rolewarden.names import fitting, folded
from rolewarden.own_events import (
    AccountFinding,
    FindingResolved,
    PolicyRestored,
    RoleContested,
    RoleFinding,
    SubjectFinding,
)
from rolewarden.record import about_account

SOURCE = "rolewarden"
"""The source of Rolewarden's own events."""

CONFIRMED = timedelta(days=1)
"""The age of a row until which an event counts. EventBridge retries a delivery for a day
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html)."""

LONGEST_PARTITION_KEY = 2_048
"""The number of bytes that DynamoDB accepts of a partition key."""

BEFORE = timedelta(minutes=20)
"""The lead that a row can have over its event. A function writes all its rows at the end, after 15 minutes at most."""

_OF_ROW = frozenset({"about", "named", "at", "kind", "expires"})
"""The attributes of a row that its event does not have."""


def confirmed_row(event: Any, account: str, history: StoredHistory, now: float) -> Mapping[str, Any] | None:
    """The row of the history that `event` reports; None if it reports none. Raises RetryLater.

    - `event`: an event as EventBridge delivers it. It may be any value.
    - `account`: the function's own account, which puts all of Rolewarden's events on the bus.
    - `now`: the time in seconds of the epoch.
    """
    envelope = mapping(event)
    detail, kind = mapping(envelope.get("detail")), envelope.get("detail-type")
    about = about_of(kind, detail)
    if (envelope.get("source"), envelope.get("account")) != (SOURCE, account) or not about:
        return None
    at = datetime.fromtimestamp(now, UTC)
    rows = history.rows(about, max(at - CONFIRMED, min(_time(envelope.get("time"), at), at) - BEFORE))
    for row in rows:
        if row.get("kind") == kind and {key: row[key] for key in row.keys() - _OF_ROW} == detail:
            return row
    return None


def about_of(kind: Any, detail: Mapping[str, Any]) -> str:
    """The history's key of the role, policy, subject or account of an event; empty if the event names none.

    `kind` is the detail type of the event.
    """
    account = matched(ACCOUNT, detail.get("account"))
    name = {
        RoleFinding.detail_type: _text(detail.get("role")),
        RoleContested.detail_type: _text(detail.get("role")),
        PolicyRestored.detail_type: f"policy/{_text(detail.get('policy'))}",
        AccountFinding.detail_type: about_account(_text(detail.get("message"))),
        SubjectFinding.detail_type: _subject(detail),
        FindingResolved.detail_type: _text(detail.get("finding")),
    }.get(kind if isinstance(kind, str) else "", "")
    return fitting(folded(f"{account}/{name}"), LONGEST_PARTITION_KEY) if account and name else ""


def _subject(detail: Mapping[str, Any]) -> str:
    if domain := _text(detail.get("domain")):
        return "/".join(filter(None, (domain, _text(detail.get("user_profile")))))
    return _text(detail.get("role")) or _text(detail.get("policy"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any, otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(_text(value)).astimezone(UTC)
    except ValueError:
        return otherwise
