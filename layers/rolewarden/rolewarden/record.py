"""The record: every remediation and finding as one log line, one event, one row of the history, and metrics.

A failure to record never blocks a remediation. The recorder logs and counts such a failure instead.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from rolewarden.bindings import Binding
from rolewarden.canary import DrillKind
from rolewarden.clock import CLOCK_SKEW, Clock
from rolewarden.contest import MOST_ROWS, UNDOING, WINDOW, Contest
from rolewarden.errors import Refused, RetryLater
from rolewarden.events import EvaluationRequest, Ignored
from rolewarden.history import History, HistoryKey
from rolewarden.names import fitting, folded
from rolewarden.origin import FORGED_REQUEST, Cause, Origin, Trigger
from rolewarden.own_events import (
    AccountFinding,
    CanaryRestored,
    DrillMeasured,
    FindingResolved,
    GuardrailsPublished,
    OwnEvent,
    PolicyRestored,
    RoleContested,
    RoleFinding,
    RoleOutcome,
    RoleRemediated,
    RulesChanged,
    SubjectFinding,
    SurplusDetached,
    SweepCompleted,
)
from rolewarden.plaintext import visible, visible_parts
from rolewarden.reported import (
    KEPT_SECONDS,
    REPORTING_SECONDS,
    ReportedFinding,
    ReportedFindings,
    ReportedKind,
    ReportedRow,
)
from rolewarden.verdicts import RECOMMENDATIONS, SOME_SUBJECTS, UNDONE, Doubt, Outcome, Reason, Verdict

# An invocation that raises before it decides anything has no metrics. Its error is logged, so the warning about missing
# metrics is not needed.
warnings.filterwarnings("ignore", message="No application metrics to publish")


def log_line(entry: Mapping[str, Any]) -> str:
    """An entry of the log as one line of JSON. Its texts have no invisible characters after a tool decoded them.

    Only the text of an exception keeps its line feeds, because it is the listing of a stack.
    """
    shown = {name: visible_parts(value, lines=name in STACKS) for name, value in entry.items()}
    return json.dumps(shown, default=lambda value: visible(str(value)), separators=(",", ":"))


STACKS = frozenset(["exception", "stack_trace"])
"""The fields of a log entry that have a line for each call."""

logger = Logger(service="rolewarden", json_serializer=log_line)
metrics = Metrics(namespace="Rolewarden", service="rolewarden")

ACCOUNT_WIDE = "account/"
"""The prefix of the name of a finding about a whole account. No domain ID begins like this: they begin with d-."""

LONGEST_NAME = 500
"""The greatest number of bytes of the name of a finding about an account. With an account and the time of a row, it is
part of sort keys, of which DynamoDB accepts 1,024 bytes."""

PUBLICATION_OF = "publication of "
"""The beginning of the message of a finding about a policy that could not be published. Its name follows."""

RULES_CHANGES = "rules/deployed"
"""The name under which the history has the rule changes of an account. No role has a slash in its name."""

PUBLICATIONS = "rules/published"
"""The name under which the history has the policies that deployments wrote in an account."""

MOST_LOGGED = 20
"""The number of accounts that a log line of the heartbeat names."""

MOST_GATHERED = 50
"""The number of gathered records that are written without waiting for more. If Lambda ends a function, no more than
these lack in the history until the next audit. PutEvents takes 10 of them in a call, and BatchWriteItem 25."""

CONFIRMED_SECONDS = 24 * 3600.0
"""Seconds for which the memory of a function keeps that the history has a finding."""

EVENT_REPORTED_SECONDS = 3600.0
"""Seconds in which the same finding is not reported again for events of the same actor."""


_KINDS_OF_DOUBTS = {
    Reason.FIRST_USE: ReportedKind.FIRST_USE,
    Reason.EXEMPT_REPLACED: ReportedKind.REPLACEMENT,
    Reason.TAGGED: ReportedKind.TAGS,
}
"""The kinds of findings about doubts that do not concern an exemption."""

BELIEVED = frozenset(
    event.detail_type
    for event in (RoleFinding, SubjectFinding, AccountFinding, PolicyRestored, RoleContested, FindingResolved)
)
"""The detail types of the events that AlertFunction or SecurityHubFunction looks up in the history."""


class _Record(NamedTuple):
    """One entry of the record.

    After its event is on the bus, the table gets the rows in `marks` and loses the findings in `resolved`.
    """

    event: OwnEvent
    row: dict[str, Any]
    marks: Sequence[ReportedRow] = ()
    resolved: Sequence[ReportedFinding] = ()


@dataclass
class Recorder:
    """Writes the record of one account.

    - `reported`: the table of recently reported findings. With it, a finding that every sweep or a flood of events
      repeats is reported once. None means that every finding is reported.
    - `history`: with NoHistory, the recorder writes log lines and metrics only.
    """

    history: History
    reported: ReportedFindings | None = None
    clock: Clock = field(default_factory=Clock)
    _gathered: list[_Record] | None = None
    _confirmed: dict[ReportedFinding, float] = field(default_factory=dict)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Gather the records made inside the block, and write them at its end in few calls, even if the block raises.

        MOST_GATHERED records are written at once. In a nested block, the outermost block writes them.
        """
        if self._gathered is not None:
            yield
            return
        self._gathered = []
        try:
            yield
        finally:
            gathered, self._gathered = self._gathered, None
            self._write(gathered)

    def record_outcome(self, outcome: Outcome) -> None:
        """Record the outcome of an evaluation. If it is no news, only count the verdict.

        A doubt about the exemption of the role is a finding in any case.
        """
        if outcome.doubt:
            self.record_doubt(outcome.account, outcome.doubt, outcome.origin)
        metrics.add_metric(f"Verdict.{outcome.before.value}", MetricUnit.Count, 1)
        if not outcome.is_news:
            logger.debug("the evaluation is no news", extra={"outcome": RoleOutcome.of(outcome).detail})
            return
        about = f"{outcome.account}/{outcome.role}"
        if outcome.verdict is Verdict.UNENFORCEABLE:
            metrics.add_metric("Unenforceable", MetricUnit.Count, 1)
        what = f"{outcome.verdict.value}: {outcome.reason or ''} {' '.join(outcome.missing)}"
        wrong = ReportedKind.BOUNDARY if outcome.verdict is Verdict.COMPLIANT else ReportedKind.ROLE
        if outcome.reason is Reason.OTHER_ACCOUNT:
            wrong = ReportedKind.OTHER_ACCOUNT
        finding = ReportedFinding(outcome.account, outcome.role, wrong, what)
        marks = () if outcome.has_written else self._news(finding, outcome.origin)
        if marks is None:
            return
        now = self._now()
        remediated = outcome.has_written
        seconds = _seconds_since(outcome.cause, now) if remediated else None
        if remediated:
            metrics.add_metric("Remediated", MetricUnit.Count, 1)
            if seconds is not None:
                metrics.add_metric("SecondsToRemediate", MetricUnit.Seconds, seconds)
        unfinished = outcome.verdict in {Verdict.UNENFORCEABLE, Verdict.DRIFTED}
        event = (RoleRemediated if remediated and not unfinished else RoleFinding).of(outcome, seconds)
        log = logger.warning if unfinished or outcome.reason else logger.info
        log(event.detail_type, extra={"outcome": event.detail})
        self._report(event, about, now, marks=marks)
        if remediated:
            self._report_contest(outcome, about, now)

    def record_refusal(self, request: EvaluationRequest, refused: Refused) -> None:
        """Record that AWS refuses what Rolewarden needs to evaluate the subject or role that an event names."""
        named = request.as_dict()
        subject = request.subject
        event = SubjectFinding(
            account=request.account,
            domain=subject.domain_id if subject else "",
            user_profile=subject.user_profile if subject else "",
            role=request.role,
            policy=request.policy,
            verdict=Verdict.UNENFORCEABLE,
            reason=refused.reason,
            message=str(refused),
            recommendation=RECOMMENDATIONS.get(refused.reason, ""),
            cause=request.origin.cause,
        )
        self._report_finding(event, "/".join(named.values()), request.origin)

    def record_account_finding(
        self,
        account: str,
        refused: Refused,
        origin: Origin,
        kind: ReportedKind = ReportedKind.UNREAD,
        *,
        is_link: bool = False,
    ) -> str:
        """Record that Rolewarden cannot enter an account, or that AWS refuses a call that concerns the whole account.

        `kind` is OUTSIDE for domains in a region that the stack does not cover. With `is_link`, the message is the
        problem of a link of the event path. Return the key of the finding.
        """
        event = AccountFinding(
            account=account,
            verdict=Verdict.UNENFORCEABLE,
            reason=refused.reason,
            message=str(refused),
            recommendation=RECOMMENDATIONS.get(refused.reason, ""),
            cause=origin.cause,
        )
        name = about_account(str(refused))
        # The problem of a link belongs to the finding, so that a worse one is reported, too.
        what = f"{refused.reason.value} {_by_length(str(refused))}" if is_link else ""
        self._report_finding(event, name, origin, kind, what=what)
        return folded(f"{account}/{name}")

    def record_doubt(self, account: str, doubt: Doubt, origin: Origin) -> str:
        """Record a doubt about a role of `account`, its exemption, or a tag. Return the key of the finding."""
        event = AccountFinding(
            account=account,
            verdict=Verdict.UNENFORCEABLE,
            reason=doubt.reason.value,
            message=doubt.message,
            recommendation=RECOMMENDATIONS.get(doubt.reason, ""),
            cause=origin.cause,
        )
        name = about_account(doubt.message)
        kind = _KINDS_OF_DOUBTS.get(doubt.reason, ReportedKind.EXEMPTION)
        self._report_finding(event, name, origin, kind, what=f"{doubt.reason.value} {doubt.message}")
        return folded(f"{account}/{name}")

    def record_unpublished(self, account: str, policy: str, refused: Refused, origin: Origin) -> None:
        """Record that AWS refused to publish the policy of a guardrail in an account."""
        event = AccountFinding(
            account=account,
            verdict=Verdict.UNENFORCEABLE,
            reason=refused.reason,
            message=f"{PUBLICATION_OF}{policy}: {refused}",
            recommendation=RECOMMENDATIONS.get(refused.reason, ""),
            cause=origin.cause,
        )
        self._report_finding(event, about_account(event.message), origin, ReportedKind.PUBLICATION)

    def record_unsigned(self, account: str, call: str, origin: Origin) -> None:
        """Record a call with the credentials of a function that the function did not make. `call` names it."""
        event = AccountFinding(
            account=account,
            verdict=Verdict.UNENFORCEABLE,
            reason=Reason.UNSIGNED.value,
            message=call,
            recommendation=RECOMMENDATIONS[Reason.UNSIGNED],
            cause=origin.cause,
        )
        what = f"{Reason.UNSIGNED.value} {call}"
        self._report_finding(event, about_account(call), origin, ReportedKind.UNSIGNED, what=what)

    def record_forged_request(self, account: str, function: str, why: str) -> None:
        """Record that a caller invoked `function` with a custom-resource request that CloudFormation did not send."""
        event = AccountFinding(
            account=account,
            verdict=Verdict.UNENFORCEABLE,
            reason=Reason.FORGED.value,
            message=f"{function}: a custom-resource request was refused: {why}",
            recommendation=RECOMMENDATIONS[Reason.FORGED],
            cause=FORGED_REQUEST.cause,
        )
        self._report_finding(event, about_account(function), FORGED_REQUEST)

    def record_unkeepable(self, profile: Binding, domain: Binding, guardrails: Sequence[str], origin: Origin) -> None:
        """Record that a user profile lacks guardrails that it needs, because it uses its domain's role."""
        event = SubjectFinding(
            account=profile.account,
            domain=profile.domain_id,
            user_profile=profile.user_profile,
            role=domain.role.name if domain.role else "",
            missing=tuple(guardrails),
            verdict=Verdict.UNENFORCEABLE,
            reason=Reason.SHARES_ROLE.value,
            recommendation=RECOMMENDATIONS[Reason.SHARES_ROLE],
            cause=origin.cause,
        )
        self._report_finding(event, f"{profile.domain_id}/{profile.user_profile}", origin, ReportedKind.SHARED_ROLE)

    def _report_finding(
        self,
        event: SubjectFinding | AccountFinding,
        name: str,
        origin: Origin,
        kind: ReportedKind = ReportedKind.UNREAD,
        *,
        what: str = "",
    ) -> None:
        metrics.add_metric("Unenforceable", MetricUnit.Count, 1)
        missing = event.missing if isinstance(event, SubjectFinding) else ()
        what = what or f"{event.reason} {_asked(event.message)} {' '.join(missing)}"
        marks = self._news(ReportedFinding(event.account, name, kind, what), origin)
        if marks is not None:
            logger.warning(event.detail_type, extra={"finding": event.detail})
            self._report(event, f"{event.account}/{name}", self._now(), marks=marks)

    def _news(self, finding: ReportedFinding, origin: Origin) -> Sequence[ReportedRow] | None:
        """The rows that the table needs after the report of this finding; None if it was reported recently.

        Recently means within KEPT_SECONDS for a sweep, and within EVENT_REPORTED_SECONDS for events of one actor.
        """
        if self.reported is None:
            return ()
        keeps: float = KEPT_SECONDS
        if origin.trigger is not Trigger.SWEEP:
            keeps = EVENT_REPORTED_SECONDS
            finding = finding._replace(what=f"{finding.what} {origin.cause.principal}", by_event=True)
        try:
            now = self.clock.now()
            mark = self.reported.claim(finding, now, keeps=keeps)
            if mark is None and not self._is_in_history(finding, now, keeps):
                # A row alone must not silence a finding. Only the claim of another function counts.
                mark = self.reported.claim(finding, now, keeps=keeps, latest=REPORTING_SECONDS)
        except RetryLater as error:
            logger.error("the finding may be reported twice", extra={"about": finding.about, "why": str(error)})
            return ()
        return None if mark is None else (mark,)

    def _is_in_history(self, finding: ReportedFinding, now: float, keeps: float) -> bool:
        """Whether the history has the same finding, not older than `keeps` seconds, and not resolved since.

        The memory of the function keeps a positive result for a day. Raises RetryLater.
        """
        if now - self._confirmed.get(finding, 0.0) < CONFIRMED_SECONDS:
            return True
        since = datetime.fromtimestamp(now - keeps - CLOCK_SKEW, UTC)
        found = False
        for row in self.history.rows(finding.about, since):
            if finding.what in _findings_in(row):
                found = True
            elif row.get("kind") == FindingResolved.detail_type and row.get("was") == finding.what:
                found = False
        if found:
            self._confirmed[finding] = now
        return found

    def _report_contest(self, outcome: Outcome, about: str, now: datetime) -> None:
        """Report a contested role, once per contest."""
        if self.reported is None or outcome.origin.call not in UNDOING:
            return
        try:
            newest = self.history.newest(about, MOST_ROWS)
            gathered = [record.row for record in self._gathered or () if record.row["about"] == folded(about)]
            contest = Contest.among([*newest, *gathered], now)
            if contest is None:
                return
            metrics.add_metric("Contested", MetricUnit.Count, 1)
            kind, quiet = ReportedKind.CONTESTED, WINDOW.total_seconds()
            finding = ReportedFinding(outcome.account, outcome.role, kind, kind.value)
            is_extended = self.reported.extend(finding, now.timestamp(), keeps=quiet)
            if is_extended and self._is_in_history(finding, now.timestamp(), KEPT_SECONDS):
                return
            latest = REPORTING_SECONDS if is_extended else KEPT_SECONDS
            mark = self.reported.claim(finding, now.timestamp(), keeps=quiet, latest=latest)
            if mark is None:
                return
        except RetryLater as error:
            metrics.add_metric("RecordFailed", MetricUnit.Count, 1)
            logger.error("the history could not be read to find a contest", extra={"about": about, "why": str(error)})
            return
        event = RoleContested(
            account=outcome.account,
            role=outcome.role,
            required=outcome.required,
            attached=outcome.attached,
            subjects=outcome.subjects[:SOME_SUBJECTS],
            remediations=contest.remediations,
            since=contest.since,
            actors=contest.actors,
            cause=outcome.cause,
        )
        logger.warning(event.detail_type, extra={"finding": event.detail})
        self._report(event, about, now, marks=[mark])

    def record_resolved(self, findings: Sequence[ReportedFinding], origin: Origin) -> None:
        """Record that reported findings about one role, subject or account are resolved, by Rolewarden or otherwise."""
        finding = findings[0]
        event = FindingResolved(account=finding.account, finding=finding.name, was=finding.what, cause=origin.cause)
        logger.info(event.detail_type, extra={"finding": event.detail})
        self._report(event, f"{finding.account}/{finding.name}", self._now(), resolved=findings)

    def record_detachment(
        self, account: str, role: str, policies: Sequence[str], origin: Origin, correlation_id: str
    ) -> None:
        """Record that calls with this correlation ID detached guardrails from a role that no longer needs them."""
        event = SurplusDetached(
            account=account, role=role, detached=tuple(policies), cause=origin.cause, correlation_id=correlation_id
        )
        metrics.add_metric("Detached", MetricUnit.Count, 1)
        logger.info(event.detail_type, extra={"finding": event.detail})
        self._report(event, f"{account}/{role}", self._now())

    def record_restored_policy(self, account: str, policy: str, what: str, origin: Origin, correlation_id: str) -> None:
        """Record that a guardrail's policy was restored. `what` is "created", "replaced" or "undone"."""
        event = PolicyRestored(
            account=account, policy=policy, remediation=what, cause=origin.cause, correlation_id=correlation_id
        )
        metrics.add_metric("PolicyRestored", MetricUnit.Count, 1)
        logger.warning(event.detail_type, extra={"finding": event.detail})
        self._report(event, f"{account}/policy/{policy}", self._now())

    def record_undone_policy(self, account: str, policy: str, origin: Origin) -> None:
        """Record a call that changed a guardrail's policy, which was right again before Rolewarden read it.

        If the history has a row of the call, Rolewarden restored the policy and reported that. Raises RetryLater.
        """
        event_id = origin.cause.event_id
        rows = self.newest(f"{account}/policy/{policy}")
        if event_id and all(Cause.from_dict(row.get("cause")).event_id != event_id for row in rows):
            self.record_restored_policy(account, policy, UNDONE, origin, "")

    def record_publication(self, event: GuardrailsPublished) -> None:
        """Record the policies that a deployment wrote, by which the audit knows its calls. This sends no event."""
        self._put_rows([_Record(event, _row(event, f"{event.account}/{PUBLICATIONS}", self._now()))])

    def record_drill(self, event: DrillMeasured, *, counted: bool) -> None:
        """Record a drill that EnforceFunction heard: a row of its own kind, and metrics if it is `counted`."""
        logger.info(event.detail_type, extra={"drill": event.detail})
        self._report(event, f"{event.account}/drill/{event.drill}/{event.region}", self._now())
        if not counted:
            return
        figures = EphemeralMetrics(namespace="Rolewarden")
        figures.add_dimension(name="account", value=event.account)
        figures.add_dimension(name="region", value=event.region)
        figures.add_metric("SecondsToHear", MetricUnit.Seconds, event.milliseconds / 1000)
        if event.drill == DrillKind.FULL:
            if event.delivery_milliseconds is not None and event.start_milliseconds is not None:
                figures.add_metric("SecondsToDeliver", MetricUnit.Seconds, event.delivery_milliseconds / 1000)
                figures.add_metric("SecondsToStart", MetricUnit.Seconds, event.start_milliseconds / 1000)
            if (remediation := event.remediation_milliseconds) is not None:
                figures.add_metric("SecondsToRestore", MetricUnit.Seconds, remediation / 1000)
                figures.add_metric("SecondsUnprotected", MetricUnit.Seconds, (event.milliseconds + remediation) / 1000)
        figures.flush_metrics()

    def record_canary(self, event: CanaryRestored) -> None:
        """Record that Rolewarden attached the canary's policy again without a drill."""
        logger.warning(event.detail_type, extra={"canary": event.detail})
        self._report(event, f"{event.account}/{event.role}", self._now())

    def record_rules(self, event: RulesChanged) -> None:
        """Record a change of the rules."""
        logger.info(event.detail_type, extra={"detail": event.detail})
        self._report(event, f"{event.account}/{RULES_CHANGES}", self._now())

    def record_deployer(self, row: Mapping[str, Any], event: RulesChanged) -> None:
        """Add the cause of `event` to the row of a rule change, and put the event on the bus. Raises RetryLater."""
        self.history.put([{**row, "cause": event.cause.as_dict()}])
        self.announce(event, needed=False)

    def newest(self, about: str) -> list[dict[str, Any]]:
        """The newest rows of the history about something, newest first. Raises RetryLater."""
        return self.history.newest(about, MOST_ROWS)

    def rows(self, about: str, since: datetime) -> list[dict[str, Any]]:
        """The history of a role or policy from `since`. Raises RetryLater."""
        return self.history.rows(about, since)

    def backfill(self, event: OwnEvent, about: str, at: datetime) -> bool:
        """Record an unrecorded change that Rolewarden made at the time `at`. Raises RetryLater.

        Return False if the history has the row by now.
        """
        # CloudTrail may show some calls of one correlation ID and second to one audit, and the others to the next. The
        # digest keeps the rows of both audits apart.
        deeds = json.dumps({name: value for name, value in event.detail.items() if name != "cause"}, sort_keys=True)
        row = _row(event, about, at, digest=hashlib.sha256(deeds.encode()).hexdigest()[:8])
        if not self.history.put_once(row):
            return False
        metrics.add_metric("Backfilled", MetricUnit.Count, 1)
        self.announce(event, needed=False)
        return True

    def record_failed_audit(self, account: str, refused: Refused) -> None:
        """Record that AWS does not let the audit compare CloudTrail with the history."""
        metrics.add_metric("RecordFailed", MetricUnit.Count, 1)
        logger.error("the history cannot be audited", extra={"account": account, "why": str(refused)})

    def record_ignored_event(self, request: EvaluationRequest) -> None:
        """Count an event that triggers no evaluation, and log it if Rolewarden may have missed something."""
        metrics.add_metric("IgnoredEvents", MetricUnit.Count, 1)
        details = {"cause": request.origin.cause.as_dict(), "reason": request.ignored}
        if request.ignored is Ignored.UNREADABLE:
            metrics.add_metric("UnreadableEvents", MetricUnit.Count, 1)
            logger.warning("the event triggers no evaluation", extra=details)
        else:
            logger.debug("the event triggers no evaluation", extra=details)

    def record_unread(self, what: str, error: RetryLater) -> None:
        """Count and log something that a sweep could not read, and that the next sweep reads again."""
        metrics.add_metric("SweepMissed", MetricUnit.Count, 1)
        logger.warning("the sweep could not read this now", extra={"about": what, "why": str(error)})

    def record_sweep(self, account: str, regions: Sequence[str], counts: Mapping[str, int]) -> None:
        """Record a completed sweep: `counts` by name, as metrics and as the event. Raises RetryLater."""
        metrics.add_metric("SweepCompleted", MetricUnit.Count, 1)
        for name, count in counts.items():
            metrics.add_metric(f"Sweep.{name}", MetricUnit.Count, count)
        self.announce(SweepCompleted(account=account, regions=tuple(regions), **counts))

    def record_heartbeat(
        self, accounts: int, overdue: Sequence[str], cut_off: Sequence[str], *, unlisted: bool
    ) -> None:
        """Count the covered accounts, and log those without a recent sweep and those whose events may not arrive.

        `unlisted` says that AWS refuses to list the accounts, so that one that is not counted may have no sweep.
        """
        metrics.add_metric("AccountsCovered", MetricUnit.Count, accounts)
        metrics.add_metric("AccountsOverdue", MetricUnit.Count, len(overdue) + unlisted)
        metrics.add_metric("AccountsCutOff", MetricUnit.Count, len(cut_off))
        log = logger.warning if overdue or cut_off or unlisted else logger.info
        log(
            "heartbeat",
            extra={
                "accounts": accounts,
                "overdue": list(overdue[:MOST_LOGGED]),
                "cut_off": list(cut_off[:MOST_LOGGED]),
                "unlisted": unlisted,
            },
        )

    def announce(self, event: OwnEvent, *, needed: bool = True) -> None:
        """Log a milestone (`Guardrails Published`, `Sweep Completed`) or a backfilled event, and put it on the bus.

        Raises RetryLater if the event is `needed`. Otherwise a failure is logged and counted.
        """
        logger.info(event.detail_type, extra={"detail": event.detail})
        try:
            self.history.put_events([(event.detail_type, event.detail)])
        except RetryLater as error:
            if needed:
                raise
            metrics.add_metric("RecordFailed", MetricUnit.Count, 1)
            logger.error("the event could not be put on the bus", extra={"detail": event.detail, "why": str(error)})

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def _report(
        self,
        event: OwnEvent,
        about: str,
        now: datetime,
        *,
        marks: Sequence[ReportedRow] = (),
        resolved: Sequence[ReportedFinding] = (),
    ) -> None:
        record = _Record(event, _row(event, about, now), marks, resolved)
        if self._gathered is None:
            self._write([record])
        else:
            self._gathered.append(record)
            if len(self._gathered) >= MOST_GATHERED:
                gathered, self._gathered = self._gathered, []
                self._write(gathered)

    def _write(self, records: Sequence[_Record]) -> None:
        if not records:
            return
        # AlertFunction and SecurityHubFunction believe an event only if the history has its row. So the rows of these
        # events come first. Each write has its own handler, so that a failure of one does not lose the other.
        believed = [record for record in records if record.event.detail_type in BELIEVED]
        others = [record for record in records if record.event.detail_type not in BELIEVED]
        has_rows = self._put_rows(believed)
        self._has_written(records, lambda: self._publish(records, marking=has_rows))
        self._put_rows(others)

    def _put_rows(self, records: Sequence[_Record]) -> bool:
        rows = [record.row for record in records]
        return not rows or self._has_written(records, lambda: self.history.put(rows))

    def _has_written(self, records: Sequence[_Record], write: Callable[[], None]) -> bool:
        try:
            write()
        except (Refused, RetryLater) as error:
            metrics.add_metric("RecordFailed", MetricUnit.Count, len(records))
            about = [record.row["about"] for record in records]
            logger.error("the record could not be written", extra={"about": about, "why": str(error)})
            return False
        return True

    def _publish(self, records: Sequence[_Record], *, marking: bool) -> None:
        self.history.put_events([(record.event.detail_type, record.event.detail) for record in records])
        if self.reported is None or not marking:
            return
        # The findings are marked after their rows are written and their events are on the bus. Otherwise a failure
        # could mark a finding that reaches no person, and later findings of the same kind would stay silent, too.
        marks = [row for record in records for row in record.marks]
        resolved = [finding for record in records for finding in record.resolved]
        try:
            if marks:
                self.reported.mark(marks)
            if resolved:
                self.reported.forget(resolved, self.clock.now())
        except RetryLater as error:
            logger.error("the finding may be reported twice", extra={"about": [*marks, *resolved], "why": str(error)})


def _row(event: OwnEvent, about: str, at: datetime, digest: str = "") -> dict[str, Any]:
    detail = event.detail
    origin = detail.get("correlation_id") or detail.get("cause", {}).get("event_id", "")
    return {
        **detail,
        "about": folded(about),
        "named": about,
        "at": HistoryKey(at, origin, event.detail_type, digest).text,
        "kind": event.detail_type,
    }


def _findings_in(row: Mapping[str, Any]) -> Iterator[str]:
    """The finding of a row of the history in the words of `ReportedFinding.what`; nothing if the row has none.

    The words are complete. A row that lacks the reason therefore confirms only a finding that has none either.
    """
    kind, reason, message = row.get("kind"), row.get("reason"), str(row.get("message") or "")
    missing = row.get("missing")
    listed = " ".join(map(str, missing if isinstance(missing, list) else ()))
    if kind == RoleContested.detail_type:
        texts = [ReportedKind.CONTESTED.value]
    elif kind == RoleFinding.detail_type:
        texts = [f"{row.get('verdict')}: {reason or ''} {listed}"]
    elif kind in {SubjectFinding.detail_type, AccountFinding.detail_type}:
        texts = [f"{reason} {text}" for text in (f"{_asked(message)} {listed}", message, _by_length(message))]
    else:
        texts = []
    principal = Cause.from_dict(row.get("cause")).principal
    for text in texts:
        yield from (text, f"{text} {principal}")


def about_account(message: str) -> str:
    """The name of a finding about a whole account, which ends in the call that failed."""
    return fitting(f"{ACCOUNT_WIDE}{_asked(message)}", LONGEST_NAME)


def _by_length(message: str) -> str:
    """A message with the length of each number instead, because the number of lost events changes with each sweep."""
    return re.sub(r"[0-9]+", lambda number: f"#{len(number[0])}", message)


def _asked(message: str) -> str:
    """The call that failed. The message of a refusal begins with it, because events have no field for it."""
    return message.partition(":")[0]


def _seconds_since(cause: Cause, now: datetime) -> int | None:
    """Whole seconds from the call to `now`, because CloudTrail records whole seconds. None if the time is unknown."""
    try:
        return max(0, round((now - datetime.fromisoformat(cause.time)).total_seconds()))
    except (ValueError, TypeError):
        return None
