"""The record: every remedy and finding as one log line, one event, one row of history and metrics.

The record never stands in the way of a remedy: what cannot be recorded is itself logged and counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from rolewarden.aws import Aws
from rolewarden.errors import Refused, RetryLater
from rolewarden.events import Cause, Ignored, Nomination
from rolewarden.verdicts import CURES, Outcome, Remedy, Verdict

# An invocation that raised before it decided anything has counted nothing, and its error says so already.
warnings.filterwarnings("ignore", message="No application metrics to publish")

logger = Logger(service="rolewarden")
metrics = Metrics(namespace="Rolewarden", service="rolewarden")

ROLE_REMEDIED = "Role Remedied"
ROLE_FINDING = "Role Finding"
SUBJECT_FINDING = "Subject Finding"
POLICY_RESTORED = "Policy Restored"
GUARDRAILS_PUBLISHED = "Guardrails Published"
SWEEP_COMPLETED = "Sweep Completed"
"""Detail types of the events from source `rolewarden`."""


@dataclass
class Recorder:
    """Writes the record of one account."""

    aws: Aws
    history_table: str
    history_days: int

    def outcome(self, outcome: Outcome) -> None:
        """Record what became of a role; nothing but a count where there is no news."""
        metrics.add_metric(f"Verdict.{outcome.before.value}", MetricUnit.Count, 1)
        if not outcome.is_news:
            logger.debug("no news of a role", extra={"outcome": outcome.as_dict()})
            return
        now = datetime.now(UTC)
        detail = outcome.as_dict()
        remedied = outcome.remedy is Remedy.ATTACHED
        if remedied:
            metrics.add_metric("Remedied", MetricUnit.Count, 1)
            if (bare := _seconds_since(outcome.cause, now)) is not None:
                detail["seconds_since_event"] = bare
                metrics.add_metric("SecondsToRemedy", MetricUnit.Seconds, bare)
        if outcome.verdict is Verdict.UNENFORCEABLE:
            metrics.add_metric("Unenforceable", MetricUnit.Count, 1)
        unfinished = outcome.verdict in {Verdict.UNENFORCEABLE, Verdict.DRIFTED}
        name = ROLE_REMEDIED if remedied and not unfinished else ROLE_FINDING
        log = logger.warning if unfinished else logger.info
        log(name, extra={"outcome": detail})
        self._tell(name, detail, f"{outcome.account}/{outcome.role}", now)

    def refused(self, nomination: Nomination, refused: Refused) -> None:
        """Record that AWS does not let us look at the subject (or role) that an event nominates."""
        named = nomination.as_dict()
        detail = {
            "account": nomination.account,
            **named,
            "verdict": Verdict.UNENFORCEABLE.value,
            "reason": refused.reason,
            "message": str(refused),
            "cure": CURES.get(refused.reason, ""),
            "cause": nomination.cause.as_dict(),
        }
        metrics.add_metric("Unenforceable", MetricUnit.Count, 1)
        logger.warning(SUBJECT_FINDING, extra={"finding": detail})
        about = "/".join([nomination.account, *named.values()])
        self._tell(SUBJECT_FINDING, detail, about, datetime.now(UTC))

    def policy(self, account: str, policy: str, what: str, cause: Cause) -> None:
        """Record that a guardrail's policy was `what` ("created", "replaced") because of `cause`."""
        detail = {"account": account, "policy": policy, "remedy": what, "cause": cause.as_dict()}
        metrics.add_metric("PolicyRestored", MetricUnit.Count, 1)
        logger.warning(POLICY_RESTORED, extra={"finding": detail})
        self._tell(POLICY_RESTORED, detail, f"{account}/policy/{policy}", datetime.now(UTC))

    def ignored(self, nomination: Nomination) -> None:
        """Count an event that nominates nothing, and say so where something may have been missed."""
        metrics.add_metric("IgnoredEvents", MetricUnit.Count, 1)
        details = {"cause": nomination.cause.as_dict(), "reason": nomination.ignored}
        if nomination.ignored is Ignored.UNREADABLE:
            metrics.add_metric("UnreadableEvents", MetricUnit.Count, 1)
            logger.warning("event nominates nothing", extra=details)
        else:
            logger.debug("event nominates nothing", extra=details)

    def swept(self, account: str, region: str, counts: Mapping[str, int]) -> None:
        """Record a completed sweep: `counts` by name, as metrics and as the event. Raises RetryLater."""
        for name, count in counts.items():
            metrics.add_metric(f"Sweep.{name}", MetricUnit.Count, count)
        self.announce(SWEEP_COMPLETED, {"account": account, "region": region, **counts})

    def announce(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Log a milestone (`Guardrails Published`, `Sweep Completed`) and put it on the bus. Raises RetryLater."""
        logger.info(detail_type, extra={"detail": detail})
        self.aws.publish(detail_type, detail)

    def _tell(self, detail_type: str, detail: Mapping[str, Any], about: str, now: datetime) -> None:
        event_id = detail.get("cause", {}).get("event_id", "")
        row = {
            **detail,
            "about": about,
            "at": f"{now.isoformat(timespec='milliseconds')}#{event_id}",
            "kind": detail_type,
            "expires": int((now + timedelta(days=self.history_days)).timestamp()),
        }
        writes: tuple[Callable[[], None], ...] = (
            lambda: self.aws.publish(detail_type, detail),
            lambda: self.aws.put(self.history_table, row),
        )
        for write in writes:
            # Each on its own: that one fails is no reason to lose the other.
            try:
                write()
            except (Refused, RetryLater) as error:
                metrics.add_metric("RecordFailed", MetricUnit.Count, 1)
                logger.error("the record could not be written", extra={"about": about, "why": str(error)})


def _seconds_since(cause: Cause, now: datetime) -> int | None:
    """Whole seconds from the event to now; CloudTrail tells the time of a call by the second."""
    try:
        return max(0, round((now - datetime.fromisoformat(cause.time)).total_seconds()))
    except (ValueError, TypeError):
        return None
