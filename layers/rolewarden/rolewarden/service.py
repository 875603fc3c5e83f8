"""What the functions do, free of Lambda: an event, a message; and publication, sweep and detach put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from rolewarden import reconcile
from rolewarden.aws import LONGEST_CALL, Aws
from rolewarden.bindings import Binding, BindingsTable, RoleKey
from rolewarden.discovery import Discovery, SubjectReading
from rolewarden.errors import PartlyDone, Refused, RetryLater
from rolewarden.events import (
    ACCOUNT,
    BOUNDARY_EVENTS,
    DOMAIN_ID,
    POLICY_NAME,
    PROFILE_NAME,
    REGION,
    ROLE_NAME,
    EvaluationRequest,
    SubjectKey,
    mapping,
    matched,
    parse_event,
)
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails import load
from rolewarden.history import History
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK, SWEEP, Origin, Trigger
from rolewarden.own_events import RoleOutcome
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder, logger
from rolewarden.settings import Settings
from rolewarden.verdicts import Outcome, Reason, Remediation, Verdict
from rolewarden.work import BEGIN, PUBLISH, Work, origin_fields, origin_in, unlimited

if TYPE_CHECKING:
    from rolewarden.detach import Detacher
    from rolewarden.publish import Publisher
    from rolewarden.sweep import Sweeper

RECHECKS = 3
"""Rolewarden rechecks a remediated role, or what it may have read too early, at most so often."""

LONGEST_DELAY = 900
"""Seconds by which SQS can delay a message at most."""

DOCTOR = "doctor"
"""The step that `rolewarden doctor` asks SweepFunction for."""

RULES = "rules"
"""The step that returns the fingerprint of the rules that the function runs."""


class Recheck(NamedTuple):
    """A message of the work or publish queue: Rolewarden may have read too early what an event asks it to evaluate."""

    request: EvaluationRequest
    rechecks: int

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        request = self.request
        return {
            "request": request.as_dict(),
            "account": request.account,
            "region": request.region,
            **origin_fields(request.origin),
            "rechecks": self.rechecks,
        }

    @classmethod
    def from_dict(cls, body: Any) -> Recheck | None:
        """The inverse; None for anything that is no such message."""
        fields = mapping(body)
        named, rechecks = mapping(fields.get("request")), fields.get("rechecks")
        account, region = matched(ACCOUNT, fields.get("account")), matched(REGION, fields.get("region"))
        domain, profile = matched(DOMAIN_ID, named.get("domain")), matched(PROFILE_NAME, named.get("user_profile"))
        role, policy = matched(ROLE_NAME, named.get("role")), matched(POLICY_NAME, named.get("policy"))
        if not (account and region and isinstance(rechecks, int) and (domain or role or policy)):
            return None
        if "user_profile" in named and not profile:
            return None
        subject = SubjectKey(domain, profile) if domain else None
        origin = origin_in(fields)
        # At most one is set, as in an EvaluationRequest.
        role = "" if subject else role
        policy = "" if subject or role else policy
        return cls(EvaluationRequest(account, region, origin, role=role, subject=subject, policy=policy), rechecks)


class _Evaluation(NamedTuple):
    """The outcome of evaluating one role. It is `doubtful` if IAM may have answered with old data."""

    work: Work
    outcome: Outcome
    doubtful: bool = False

    @classmethod
    def partly(cls, work: Work, error: RetryLater) -> list[_Evaluation]:
        """What had been done when a look was cut short: the next try finds it done, and would say nothing of it."""
        return [cls(work, error.outcome)] if isinstance(error, PartlyDone) else []

    @property
    def again(self) -> Work | None:
        """The recheck that it asks for; None if it needs none."""
        work, outcome = self.work, self.outcome
        is_sweep = work.origin.trigger is Trigger.SWEEP
        # A boundary comes off because of a list of policies, which may be old even in a sweep.
        is_due = bool(outcome.boundary_removed) if is_sweep else outcome.has_written
        if not (is_due or self.doubtful) or work.rechecks >= RECHECKS:
            return None
        return Work(work.role, work.account, work.origin, work.rechecks + 1)


class Rolewarden:
    """The product, put together for one function."""

    def __init__(self, settings: Settings, aws: Aws | None = None, *, clock: Callable[[], date] | None = None) -> None:
        """`clock` tells the day by which exemptions end: UTC's, where none is given.

        Raises RulesError where the guardrails that were deployed cannot be used.
        """
        self.settings = settings
        self.seconds_left: Callable[[], float] = unlimited
        self.aws = aws or Aws(account=settings.account, member_role=settings.member_role)
        self.today = clock or reconcile.today
        self.rules = load(settings.guardrails_file, today=self.today())
        self.table = BindingsTable(self.aws, settings.bindings_table)
        self.discovery = Discovery(self.aws, self.table, self.rules, settings.own_roles)
        self.reconciler = Reconciler(self.aws, self.table, self.rules, self.today)
        self.recorder = Recorder(History(self.aws, settings.history), self.table)

    # Who looks at an event needs none of these, and their modules would cost its cold start.
    @cached_property
    def publisher(self) -> Publisher:
        """What PublishFunction does."""
        from rolewarden.publish import Publisher

        return Publisher(self.aws, self.recorder, self.reconciler)

    @cached_property
    def detacher(self) -> Detacher:
        """What DetachFunction does."""
        from rolewarden.detach import Detacher

        return Detacher(self.aws, self.recorder, self.reconciler, self._schedule_rechecks)

    @cached_property
    def sweeper(self) -> Sweeper:
        """What SweepFunction does."""
        from rolewarden.audit import Auditor
        from rolewarden.sweep import Coverage, Queues, Sweeper

        settings = self.settings
        return Sweeper(
            self.aws,
            self.table,
            self.discovery,
            self.reconciler,
            self.recorder,
            Auditor(self.aws, self.table, self.recorder, settings.own_roles),
            Queues(
                settings.sweep_queue_url,
                settings.work_queue_url,
                settings.detach_queue_url,
                settings.publish_queue_url,
            ),
            Coverage(
                settings.account, settings.regions, settings.member_stack_set, settings.call_as, settings.central_bus
            ),
        )

    def enforce(self, event: Any) -> dict[str, Any]:
        """Evaluate what an event names. Raises RetryLater."""
        request = self._parsed(event)
        if request.ignored:
            self.recorder.record_ignored_event(request)
            return _summary(request, ())
        return self._evaluate(request)

    def _parsed(self, event: Any) -> EvaluationRequest:
        # In an organization the event's account is a hint like the rest of it: STS says whether it may be entered.
        own_account = "" if self.settings.member_role else self.settings.account
        return parse_event(event, own_account, self.settings.regions)

    def _evaluate(self, request: EvaluationRequest, rechecks: int = 0) -> dict[str, Any]:
        reading = self._refreshed(request)
        # GetRole may still show whom the role trusted before.
        retrusted = request.origin.call == "UpdateAssumeRolePolicy" and bool(self.rules.also_govern)
        if (reading.unsettled and rechecks < RECHECKS) or (retrusted and rechecks == 0):
            self._schedule_rechecks(Recheck(request, rechecks + 1))
        if reading.refused:
            self.recorder.record_refusal(request, reading.refused)
        fresh = reading.bindings
        roles = {binding.role for binding in fresh if binding.role}
        if request.role:
            roles.add(RoleKey(request.account, request.role))
        evaluated: list[_Evaluation] = []
        postponed: list[RetryLater] = []
        for role in sorted(roles, key=lambda role: role.path):
            work = Work(role, request.account, request.origin, rechecks)
            try:
                evaluated.append(self._evaluate_role(work, fresh, detached=request.detached))
            except RetryLater as error:
                # The other roles need not wait for this one; the event comes again.
                postponed.append(error)
                evaluated += _Evaluation.partly(work, error)
        # Not before: no role stays bare for another's record.
        self._record(*evaluated)
        if postponed:
            raise postponed[0]
        refused = {"refused": str(reading.refused)} if reading.refused else {}
        return {**_summary(request, [evaluation.outcome for evaluation in evaluated]), **refused}

    def _refreshed(self, request: EvaluationRequest) -> SubjectReading:
        account = request.account
        if request.subject:
            return self.discovery.refresh(account, request.region, request.subject)
        if request.origin.call in {"CreateRole", "UpdateAssumeRolePolicy"}:
            return self.discovery.read_role(account, request.role)
        return SubjectReading(None)

    def reconcile(self, work: Work, fresh: tuple[Binding, ...] = (), *, detached: bool = False) -> Outcome:
        """Evaluate one role, record what is news, and schedule a recheck if something was done.

        A recheck follows as well if IAM may have answered with old data, for example after a policy was `detached` or
        a boundary changed. Raises RetryLater, also if too little time is left to be sure of an end.
        """
        try:
            evaluation = self._evaluate_role(work, fresh, detached=detached)
        except RetryLater as error:
            self._record(*_Evaluation.partly(work, error))
            raise
        self._record(evaluation)
        return evaluation.outcome

    def _evaluate_role(self, work: Work, fresh: tuple[Binding, ...], *, detached: bool) -> _Evaluation:
        if self.seconds_left() < LONGEST_CALL:
            raise RetryLater(f"no time is left for role {work.role.name}")
        unsettled = detached and work.origin.call == "PutRolePermissionsBoundary"
        try:
            outcome = self.reconciler.reconcile(
                work.role,
                work.origin,
                account=work.account,
                fresh=fresh,
                bindings=work.fresh(time.time()),
                unsettled=unsettled,
            )
        except PartlyDone:
            raise
        except RetryLater:
            self.aws.leave(work.account)
            raise
        return _Evaluation(work, outcome, _may_be_old(outcome, detached=detached, first=work.rechecks == 0))

    def _record(self, *evaluated: _Evaluation) -> None:
        """Schedule rechecks and write the record: for several roles in as few calls as for one."""
        again = [evaluation.again for evaluation in evaluated if evaluation.again]
        if again:
            self._schedule_rechecks(*again)
        with self.recorder.together():
            for evaluation in evaluated:
                self.recorder.record_outcome(evaluation.outcome)

    def _schedule_rechecks(self, *works: Work | Recheck) -> None:
        about_a_policy = any(isinstance(work, Recheck) and work.request.policy for work in works)
        queue = self.settings.publish_queue_url if about_a_policy else self.settings.work_queue_url
        bodies = [work.as_dict() for work in works]
        try:
            self.aws.send(queue, bodies, delay=self.settings.recheck_seconds)
        except (Refused, RetryLater) as error:
            # The remediation is done, and the sweep evaluates the role again: the record is worth more than a recheck.
            logger.error("no recheck", extra={"work": bodies, "why": str(error)})

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the queue; what is none is named and dropped. Raises RetryLater."""
        second = Recheck.from_dict(body)
        if second and not second.request.policy:
            return self._evaluate(second.request, second.rechecks)
        work = Work.from_dict(body)
        if work is None:
            logger.error("a message of the work queue is no work", extra={"body": str(body)[:200]})
            return {"ignored": "no work message"}
        return RoleOutcome.of(self.reconcile(work)).detail

    def sweep(self, event: Any) -> dict[str, Any]:
        """Begin what an event of the bus, or of the schedule, asks for. Raises Refused and RetryLater.

        A policy that was put right is asked about in its account; everything else sweeps them all. `rolewarden doctor`
        asks for no sweep, but whether one can work; RULES asks which rules the function runs.
        """
        if mapping(event).get("step") == RULES:
            return {"rules": fingerprint(self.rules, self.aws.partition)}
        if mapping(event).get("step") == DOCTOR:
            return {"probes": [probe.as_dict() for probe in self.sweeper.probes()]}
        detail = mapping(mapping(event).get("detail"))
        account = matched(ACCOUNT, detail.get("account"))
        # What the event says of a deployment only adds accounts: it is a hint like the rest of the event.
        deployed = detail.get("trigger") == Trigger.DEPLOYMENT.value
        if account and not deployed and account in {self.settings.account, *self.table.member_accounts()}:
            return self.sweeper.begin(account)
        return self.sweeper.start()

    def publish(self, account: str, origin: Origin) -> dict[str, Any]:
        """Bring all of IAM's policies to what the guardrails say. Raises Refused, RetryLater and RulesError."""
        done = self.publisher.publish(account, origin)
        self._complete_soon(account, origin)
        return {"policies": done}

    def _complete_soon(self, account: str, origin: Origin) -> None:
        """Have a deployment completed once the sweep has attached the policies to which statements have moved.

        Without this message the scheduled check completes it.
        """
        if origin.trigger is not Trigger.DEPLOYMENT or not self.publisher.held:
            return
        message = {"account": account, "step": PUBLISH}
        try:
            delay = min(LONGEST_DELAY, RECHECKS * self.settings.recheck_seconds)
            self.aws.send(self.settings.publish_queue_url, [message], delay=delay)
        except (Refused, RetryLater) as error:
            logger.error("the scheduled check completes the deployment", extra={"account": account, "why": str(error)})

    def restore(self, event: Any) -> dict[str, Any]:
        """Restore the policy that an event names. Raises Refused and RetryLater."""
        request = self._parsed(event)
        if request.ignored or not request.policy:
            self.recorder.record_ignored_event(request)
            return _summary(request, ())
        done = self._restored(request)
        self._schedule_rechecks(Recheck(request, 1))
        return done

    def handle_publish_message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the publish queue: an account to check, or a policy that IAM may have shown as it was.

        Raises as `restore` does.
        """
        fields = mapping(body)
        if fields.get("step") == PUBLISH and (account := matched(ACCOUNT, fields.get("account"))):
            if account == self.settings.account:
                return self.publish(account, SCHEDULED_CHECK)
            return self._publish_before_sweep(account)
        second = Recheck.from_dict(body)
        if second is None or not second.request.policy:
            logger.error("a message of PublishQueue is no recheck", extra={"body": str(body)[:200]})
            return {"ignored": "no recheck"}
        return self._restored(second.request)

    def _publish_before_sweep(self, account: str) -> dict[str, Any]:
        """Bring another account's policies to what they are to say, and have it swept: roles may then carry them.

        The message does not say whether this is a deployment, because a deployment restores policies without an alert.
        The table does: by a deployment the account's last sweep had other rules, and a new account had no sweep.
        """
        deploys = self.table.rules_of_last_sweep(account) != fingerprint(self.rules, self.aws.partition)
        origin = DEPLOYMENT if deploys else SCHEDULED_CHECK
        done: dict[str, str] = {}
        try:
            done = self.publisher.publish(account, origin, announces=False)
            self._complete_soon(account, origin)
        except Refused as refused:
            self.recorder.record_account_finding(account, refused, SWEEP)
        self.aws.send(self.settings.sweep_queue_url, [{"account": account, "step": BEGIN}])
        return {"policies": done}

    def _restored(self, request: EvaluationRequest) -> dict[str, Any]:
        done = self.publisher.publish(request.account, request.origin, only=request.policy)
        return {**_summary(request, ()), "policies": done}


def _may_be_old(outcome: Outcome, *, detached: bool, first: bool) -> bool:
    """Whether IAM, which is eventually consistent, may have shown the state before a change that was just made.

    `first`: no evaluation of the same change went before.
    """
    origin = outcome.origin
    if outcome.reason is Reason.ROLE_GONE:
        return origin.trigger is not Trigger.SWEEP and origin.call != "DeleteRole"
    if outcome.reason is Reason.POLICY_MISSING:
        return True
    if origin.call in BOUNDARY_EVENTS:
        # It tells nothing of the policies. Without a boundary that holds the role, or waits to be set, nothing is old.
        held = outcome.verdict is Verdict.COMPLIANT and outcome.boundary != ""
        return detached and (held or (outcome.verdict is Verdict.DRIFTED and outcome.remediation is Remediation.NONE))
    # The list of a role that was just made may be that of its predecessor.
    made = first and origin.call == "CreateRole" and bool(outcome.required)
    return (detached or made) and outcome.verdict is Verdict.COMPLIANT


def _summary(request: EvaluationRequest, outcomes: tuple[Outcome, ...] | list[Outcome]) -> dict[str, Any]:
    return {
        "event": request.origin.cause.event_name,
        "request": request.as_dict(),
        "outcomes": [RoleOutcome.of(outcome).detail for outcome in outcomes],
    }
