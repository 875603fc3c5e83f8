"""EnforceFunction and ReconcileFunction: evaluate the roles that an event or a work message names.

An evaluation may be too early, because IAM and SageMaker are eventually consistent. The Enforcer then schedules a
recheck.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from rolewarden.aws import LONGEST_CALL
from rolewarden.bindings import Binding, RoleKey
from rolewarden.canary import is_canary
from rolewarden.clock import Clock
from rolewarden.discovery import Discovery, SubjectReader, SubjectReading
from rolewarden.drill import Drills
from rolewarden.errors import PartlyDone, Refused, RetryLater
from rolewarden.events import BOUNDARY_EVENTS, NEW_ROLE_EVENTS, EvaluationRequest, arrived, parse_event
from rolewarden.listener import Listener
from rolewarden.origin import Trigger
from rolewarden.own_events import RoleOutcome
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder, logger
from rolewarden.runtime import Runtime
from rolewarden.settings import EnforceSettings
from rolewarden.shared_reads import SHARED_FROM, SharedReads
from rolewarden.verdicts import Doubt, Outcome, Reason, Remediation, Verdict
from rolewarden.work import RECHECKS, Recheck, Rechecks, SchedulesRechecks, Work, Works


class _Evaluation(NamedTuple):
    """The outcome of the evaluation of one role. It is `doubtful` if IAM may have returned a stale read."""

    work: Work
    outcome: Outcome
    doubtful: bool = False

    @classmethod
    def partly(cls, work: Work, error: RetryLater) -> list[_Evaluation]:
        """The outcome of an evaluation that was cut short after a write; empty if it wrote nothing.

        The next attempt finds this work done, so the record would not show it otherwise.
        """
        return [cls(work, error.outcome)] if isinstance(error, PartlyDone) else []

    @property
    def again(self) -> Work | None:
        """The recheck that follows this evaluation; None if no recheck is due."""
        work, outcome = self.work, self.outcome
        is_sweep = work.origin.trigger is Trigger.SWEEP
        # The Reconciler removes a boundary because of a list of policies, which may be a stale read even in a sweep.
        is_due = bool(outcome.boundary_removed) if is_sweep else outcome.has_written
        if not (is_due or self.doubtful) or work.rechecks >= RECHECKS:
            return None
        return Work(work.role, work.account, work.origin, work.rechecks + 1)


class Sessions(Protocol):
    """Sessions in other accounts."""

    def leave(self, account: str) -> None:
        """As `Aws.leave`."""


@dataclass
class Enforcer:
    """Evaluates roles, records their outcomes, and schedules rechecks.

    - `sessions`: the sessions in other accounts. The Enforcer drops one if an evaluation has to be repeated.
    - `covers`: whether the stack covers an account. Events and messages of other accounts do not count.
    - `regions`: the regions whose domains the stack covers.
    - `shared`: the reads that the evaluations of a message with many roles share.
    """

    discovery: Discovery
    reconciler: Reconciler
    recorder: Recorder
    rechecks: SchedulesRechecks
    sessions: Sessions
    covers: Callable[[str], bool]
    regions: tuple[str, ...]
    clock: Clock
    listener: Listener
    shared: SharedReads

    @classmethod
    def of(cls, runtime: Runtime, settings: EnforceSettings) -> Self:
        """Create an Enforcer and its parts."""
        aws, clock = runtime.aws, runtime.clock
        return cls(
            Discovery(SubjectReader(aws, runtime.rules, settings.own_roles), runtime.bindings, clock),
            Reconciler(aws, runtime.needs, runtime.covers, own_roles=settings.own_roles),
            runtime.recorder,
            Rechecks(aws, settings.work_queue_url, settings.recheck_seconds),
            aws,
            runtime.covers,
            settings.regions,
            clock,
            Listener(
                aws,
                Drills(aws, settings.bindings_table),
                runtime.recorder,
                clock,
                settings.account,
                settings.drill_role,
                aws.partition,
            ),
            SharedReads(aws, clock),
        )

    def handle_event(self, event: Any) -> dict[str, Any]:
        """Evaluate the role, or the roles of the subject, that an event names. Raises RetryLater.

        `event` is the event, or the payload of the rules' input transformers. If the event is a call on the canary, the
        result has the field `drill`.
        """
        event, arrival = arrived(event, self.clock.now())
        request = parse_event(event, self.covers, self.regions)
        if request.ignored:
            self.recorder.record_ignored_event(request)
            return {**request.summary, "outcomes": []}
        done = self._evaluate(request)
        if request.drill:
            is_used = any(outcome["verdict"] != Verdict.OUT_OF_SCOPE for outcome in done["outcomes"])
            done["drill"] = self.listener.hear(request, request.drill, arrival, is_used=is_used)
        return done

    def _evaluate(self, request: EvaluationRequest, rechecks: int = 0) -> dict[str, Any]:
        reading = self._refreshed(request)
        # GetRole may still return the old trust policy.
        rules = self.discovery.reader.rules
        retrusted = request.origin.call == "UpdateAssumeRolePolicy" and bool(rules.also_govern or rules.for_users)
        if (reading.may_change and rechecks < RECHECKS) or (retrusted and rechecks == 0):
            self.rechecks.schedule(Recheck(request, rechecks + 1))
        if reading.refused:
            self.recorder.record_refusal(request, reading.refused)
        fresh = reading.bindings
        roles = {binding.role for binding in fresh if binding.role}
        roles |= self._shared_roles(request.account, fresh)
        if request.role:
            roles.add(RoleKey(request.account, request.role))
        evaluated: list[_Evaluation] = []
        postponed: list[RetryLater] = []
        for role in sorted(roles, key=lambda role: role.path):
            work = Work(role, request.account, request.origin, rechecks)
            try:
                evaluated.append(self._evaluate_role(work, fresh, detached=request.detached))
            except RetryLater as error:
                # Continue with the other roles. Lambda retries the event for this one.
                postponed.append(error)
                evaluated += _Evaluation.partly(work, error)
        # Record after all evaluations, so that no role stays unprotected while the function records another one.
        self._record(*evaluated)
        self._record_tags(request)
        if postponed:
            raise postponed[0]
        refused = {"refused": str(reading.refused)} if reading.refused else {}
        outcomes = [RoleOutcome.of(evaluation.outcome).detail for evaluation in evaluated]
        return {**request.summary, "outcomes": outcomes, **refused}

    def _shared_roles(self, account: str, fresh: tuple[Binding, ...]) -> set[RoleKey]:
        """The roles of domains whose users are told apart, if one of `fresh` is a user profile of the domain.

        A new user profile can need a guardrail from which its name is an exception.
        """
        if not self.discovery.reader.rules.for_users:
            return set()
        domains = {(one.region, one.domain_id) for one in fresh if one.user_profile}
        read = (one for domain in domains for one in self.discovery.bindings.of_domain(account, *domain))
        return {one.role for one in read if one.role and one.identifies}

    def _record_tags(self, request: EvaluationRequest) -> None:
        """Record that another caller than a trusted tagger changed a tag by which an assignment matches."""
        rules, change, subject = self.discovery.reader.rules, request.tags, request.subject
        if not (rules.trusted_taggers and change and subject) or change.principal in rules.trusted_taggers:
            return
        keys = sorted(change.keys & rules.tag_keys) if change.keys else ["an unknown tag"]
        if keys:
            name = "/".join(filter(None, subject))
            message = f"tags of {name}: {change.principal or 'an unknown caller'} set or removed {', '.join(keys)}"
            self.recorder.record_doubt(request.account, Doubt(Reason.TAGGED, message, ends=False), request.origin)

    def _refreshed(self, request: EvaluationRequest) -> SubjectReading:
        account = request.account
        if request.subject:
            return self.discovery.refresh(account, request.region, request.subject)
        if request.origin.call in NEW_ROLE_EVENTS | {"UpdateAssumeRolePolicy"}:
            return self.discovery.refresh_role(account, request.role)
        return SubjectReading(None)

    def evaluate(self, work: Work, fresh: tuple[Binding, ...] = (), *, detached: bool = False) -> Outcome:
        """Evaluate one role, record its outcome, and schedule a recheck if the Reconciler wrote to IAM.

        - `fresh`: bindings that were just read from SageMaker.
        - `detached`: whether the event says that a policy was detached, or that the boundary changed. A recheck can
          then follow, because IAM may have returned a stale read.

        Raises RetryLater, also if too little time is left for an evaluation.
        """
        try:
            evaluation = self._evaluate_role(work, fresh, detached=detached)
        except RetryLater as error:
            self._record(*_Evaluation.partly(work, error))
            raise
        self._record(evaluation)
        if is_canary(work.role.name):
            is_used = evaluation.outcome.verdict is not Verdict.OUT_OF_SCOPE
            self.listener.restore_missing(work.role.account, work.origin, is_used=is_used)
        return evaluation.outcome

    def _evaluate_role(
        self, work: Work, fresh: tuple[Binding, ...], *, detached: bool, shared: SharedReads | None = None
    ) -> _Evaluation:
        if self.clock.seconds_left() < LONGEST_CALL:
            raise RetryLater(f"too little time is left to evaluate role {work.role.name}")
        boundary_just_set = detached and work.origin.call == "PutRolePermissionsBoundary"
        try:
            outcome = self.reconciler.reconcile(
                work.role,
                work.origin,
                fresh=fresh,
                rows=work.rows,
                boundary_just_set=boundary_just_set,
                shared=shared,
            )
        except PartlyDone:
            raise
        except RetryLater:
            for account in {work.account, work.role.account}:
                self.sessions.leave(account)
            raise
        return _Evaluation(work, outcome, _may_be_stale(outcome, detached=detached, first=work.rechecks == 0))

    def _record(self, *evaluated: _Evaluation) -> None:
        """Schedule rechecks and write the record. Several roles need as few calls as one."""
        again = [evaluation.again for evaluation in evaluated if evaluation.again]
        if again:
            self.rechecks.schedule(*again)
        with self.recorder.together():
            for evaluation in evaluated:
                self.recorder.record_outcome(evaluation.outcome)

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Handle one message of the work queue. Raises RetryLater.

        A message of another shape is logged as an error and dropped.
        """
        recheck = Recheck.from_dict(body)
        if recheck and not recheck.request.policy and self.covers(recheck.request.account):
            return self._evaluate(recheck.request, recheck.rechecks)
        if works := Works.from_dict(body):
            return {"outcomes": self._evaluate_works(works.works)}
        work = Work.from_dict(body)
        if work is None:
            logger.error("message of the work queue dropped: not a role to evaluate", extra={"body": str(body)[:200]})
            return {"ignored": "no work message"}
        return RoleOutcome.of(self.evaluate(work)).detail

    def _evaluate_works(self, works: Sequence[Work]) -> list[dict[str, Any]]:
        """Evaluate the roles of one message, and hand over those that it cannot end. Raises RetryLater."""
        roles = Counter(work.role.account for work in works)
        evaluated: list[_Evaluation] = []
        failed: list[Work] = []
        left = list(works)
        with self.recorder.together():
            while left and self.clock.seconds_left() >= LONGEST_CALL:
                work = left.pop(0)
                if is_canary(work.role.name):
                    failed.append(work)  # Its message of its own also restores it.
                    continue
                shared = self.shared if roles[work.role.account] >= SHARED_FROM else None
                try:
                    evaluated.append(self._evaluate_role(work, (), detached=False, shared=shared))
                except RetryLater as error:
                    failed.append(work)
                    evaluated += _Evaluation.partly(work, error)
            self._record(*evaluated)
        try:
            self.rechecks.send_unfinished(left, failed)
        except Refused as refused:
            raise RetryLater(str(refused)) from refused
        return [RoleOutcome.of(evaluation.outcome).detail for evaluation in evaluated]


def _may_be_stale(outcome: Outcome, *, detached: bool, first: bool) -> bool:
    """Whether IAM, which is eventually consistent, may have returned the state before the change in the event.

    - `detached`: whether the event says that a policy was detached, or that the boundary changed.
    - `first`: whether this is the first evaluation because of the event.
    """
    origin = outcome.origin
    if outcome.reason is Reason.ROLE_GONE:
        return origin.trigger is not Trigger.SWEEP and origin.call != "DeleteRole"
    if outcome.reason in {Reason.POLICY_MISSING, Reason.POLICY_EDITED}:
        # PublishFunction restores the policy meanwhile.
        return True
    if (
        first
        and origin.call in NEW_ROLE_EVENTS | {"DeleteRole"}
        and (outcome.doubt or outcome.verdict is Verdict.EXEMPT)
    ):
        # The verification of the exemption reads whether the role exists, and when it was created.
        return True
    if origin.call in BOUNDARY_EVENTS:
        # The event changes no policy. A read can only be stale if a boundary protects the role, or still has to be set.
        is_bounded = outcome.verdict is Verdict.COMPLIANT and outcome.boundary != ""
        is_waiting = outcome.verdict is Verdict.DRIFTED and outcome.remediation is Remediation.NONE
        return detached and (is_bounded or is_waiting)
    # The list of policies of a new role may be that of a deleted role with the same name.
    is_new = first and origin.call in NEW_ROLE_EVENTS and bool(outcome.required)
    return (detached or is_new) and outcome.verdict is Verdict.COMPLIANT
