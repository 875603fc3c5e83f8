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
from rolewarden.discovery import Discovery, Reading
from rolewarden.errors import PartlyDone, Refused, RetryLater
from rolewarden.events import (
    ACCOUNT,
    BOUNDARY_EVENTS,
    CHECK,
    DEPLOYMENT,
    DOMAIN_ID,
    POLICY_NAME,
    PROFILE_NAME,
    REGION,
    ROLE_NAME,
    SWEEP,
    Cause,
    Nomination,
    SubjectKey,
    mapping,
    matched,
    parse,
)
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails import load
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder, logger
from rolewarden.settings import Settings
from rolewarden.verdicts import Outcome, Reason, Remediation, Verdict
from rolewarden.work import BEGIN, PUBLISH, Work, cause_in, unlimited

if TYPE_CHECKING:
    from rolewarden.detach import Detacher
    from rolewarden.publish import Publisher
    from rolewarden.sweep import Sweeper

RECHECKS = 3
"""How often a role that was remediated, or what may have been read too early, is looked at again before it is left to
events and the sweep."""

LONGEST_DELAY = 900
"""Seconds by which SQS can delay a message at most."""

DOCTOR = "doctor"
"""The step that `rolewarden doctor` asks SweepFunction for."""

RULES = "rules"
"""The step that returns the fingerprint of the rules that the function runs."""


class Recheck(NamedTuple):
    """A message of the work or publish queue: what an event nominated may have been read too early, or too old."""

    nomination: Nomination
    rechecks: int

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        nomination = self.nomination
        return {
            "request": nomination.as_dict(),
            "account": nomination.account,
            "region": nomination.region,
            "cause": nomination.cause.as_dict(),
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
        cause = cause_in(fields)
        # One of them, as of a Nomination.
        role = "" if subject else role
        policy = "" if subject or role else policy
        return cls(Nomination(account, region, cause, role=role, subject=subject, policy=policy), rechecks)


class _Look(NamedTuple):
    """What a look at one role has come to; `doubtful` where IAM may have answered from before."""

    work: Work
    outcome: Outcome
    doubtful: bool = False

    @classmethod
    def partly(cls, work: Work, error: RetryLater) -> list[_Look]:
        """What had been done when a look was cut short: the next try finds it done, and would say nothing of it."""
        return [cls(work, error.outcome)] if isinstance(error, PartlyDone) else []

    @property
    def again(self) -> Work | None:
        """The second look that it asks for."""
        work, outcome = self.work, self.outcome
        # Who took a boundary off has believed a list of policies that may be old.
        mended = outcome.has_written and (work.cause != SWEEP or bool(outcome.boundary_removed))
        if not (mended or self.doubtful) or work.rechecks >= RECHECKS:
            return None
        return Work(work.role, work.account, work.cause, work.rechecks + 1)


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
        self.recorder = Recorder(self.aws, settings.history_table, settings.history_days, self.table)

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

        return Detacher(self.aws, self.recorder, self.reconciler, self._look_again)

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
            Coverage(settings.account, settings.regions, settings.members, settings.call_as, settings.central_bus),
        )

    def enforce(self, event: Any) -> dict[str, Any]:
        """Look at what an event nominates. Raises RetryLater."""
        nomination = self._parsed(event)
        if nomination.ignored:
            self.recorder.ignored(nomination)
            return _summary(nomination, ())
        return self._look(nomination)

    def _parsed(self, event: Any) -> Nomination:
        # In an organization the event's account is a hint like the rest of it: STS says whether it may be entered.
        own_account = "" if self.settings.member_role else self.settings.account
        return parse(event, own_account, self.settings.regions)

    def _look(self, nomination: Nomination, rechecks: int = 0) -> dict[str, Any]:
        reading = self._refreshed(nomination)
        # GetRole may still show whom the role trusted before.
        retrusted = nomination.cause.event_name == "UpdateAssumeRolePolicy" and bool(self.rules.also_govern)
        if (reading.unsettled and rechecks < RECHECKS) or (retrusted and rechecks == 0):
            self._look_again(Recheck(nomination, rechecks + 1))
        if reading.refused:
            self.recorder.refused(nomination, reading.refused)
        fresh = reading.bindings
        roles = {binding.role for binding in fresh if binding.role}
        if nomination.role:
            roles.add(RoleKey(nomination.account, nomination.role))
        looked: list[_Look] = []
        postponed: list[RetryLater] = []
        for role in sorted(roles, key=lambda role: role.path):
            work = Work(role, nomination.account, nomination.cause, rechecks)
            try:
                looked.append(self._looked(work, fresh, detached=nomination.detached))
            except RetryLater as error:
                # The other roles need not wait for this one; the event comes again.
                postponed.append(error)
                looked += _Look.partly(work, error)
        # Not before: no role stays bare for another's record.
        self._settle(*looked)
        if postponed:
            raise postponed[0]
        refused = {"refused": str(reading.refused)} if reading.refused else {}
        return {**_summary(nomination, [look.outcome for look in looked]), **refused}

    def _refreshed(self, nomination: Nomination) -> Reading:
        account = nomination.account
        if nomination.subject:
            return self.discovery.refresh(account, nomination.region, nomination.subject)
        if nomination.cause.event_name in {"CreateRole", "UpdateAssumeRolePolicy"}:
            return self.discovery.role(account, nomination.role)
        return Reading(None)

    def reconcile(self, work: Work, fresh: tuple[Binding, ...] = (), *, detached: bool = False) -> Outcome:
        """Look at one role and record what is news; look again later where something was done.

        The same where IAM may have answered from before, as when a policy was just `detached` or a boundary changed.
        Raises RetryLater, also where too little time is left to be sure of an end.
        """
        try:
            look = self._looked(work, fresh, detached=detached)
        except RetryLater as error:
            self._settle(*_Look.partly(work, error))
            raise
        self._settle(look)
        return look.outcome

    def _looked(self, work: Work, fresh: tuple[Binding, ...], *, detached: bool) -> _Look:
        if self.seconds_left() < LONGEST_CALL:
            raise RetryLater(f"no time is left for role {work.role.name}")
        unsettled = detached and work.cause.event_name == "PutRolePermissionsBoundary"
        try:
            outcome = self.reconciler.reconcile(
                work.role,
                work.cause,
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
        return _Look(work, outcome, _may_be_old(outcome, detached=detached, first=work.rechecks == 0))

    def _settle(self, *looked: _Look) -> None:
        """Ask for second looks, and record: of several roles in as few calls as of one."""
        again = [look.again for look in looked if look.again]
        if again:
            self._look_again(*again)
        with self.recorder.together():
            for look in looked:
                self.recorder.outcome(look.outcome)

    def _look_again(self, *works: Work | Recheck) -> None:
        about_a_policy = any(isinstance(work, Recheck) and work.nomination.policy for work in works)
        queue = self.settings.publish_queue_url if about_a_policy else self.settings.work_queue_url
        bodies = [work.as_dict() for work in works]
        try:
            self.aws.send(queue, bodies, delay=self.settings.recheck_seconds)
        except (Refused, RetryLater) as error:
            # What could be done is done and the sweep looks anyway: the record is worth more than this second look.
            logger.error("no recheck", extra={"work": bodies, "why": str(error)})

    def message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the queue; what is none is named and dropped. Raises RetryLater."""
        second = Recheck.from_dict(body)
        if second and not second.nomination.policy:
            return self._look(second.nomination, second.rechecks)
        work = Work.from_dict(body)
        if work is None:
            logger.error("a message of the work queue is no work", extra={"body": str(body)[:200]})
            return {"ignored": "no work message"}
        return self.reconcile(work).as_dict()

    def sweep(self, event: Any) -> dict[str, Any]:
        """Begin what an event of the bus, or of the schedule, asks for. Raises Refused and RetryLater.

        A policy that was put right is asked about in its account; everything else sweeps them all. `rolewarden doctor`
        asks for no sweep, but whether one can work; RULES asks which rules the function runs.
        """
        if mapping(event).get("step") == RULES:
            return {"rules": fingerprint(self.rules, self.aws.partition)}
        if mapping(event).get("step") == DOCTOR:
            return {"checks": [check.as_dict() for check in self.sweeper.checks()]}
        detail = mapping(mapping(event).get("detail"))
        account = matched(ACCOUNT, detail.get("account"))
        deployed = Cause.from_dict(detail.get("cause")) == DEPLOYMENT
        if account and not deployed and account in {self.settings.account, *self.table.members()}:
            return self.sweeper.begin(account)
        return self.sweeper.start(DEPLOYMENT if deployed else CHECK)

    def publish(self, account: str, cause: Cause) -> dict[str, Any]:
        """Bring all of IAM's policies to what the guardrails say. Raises Refused, RetryLater and RulesError."""
        done = self.publisher.publish(account, cause)
        self._complete_soon(account, cause)
        return {"policies": done}

    def _complete_soon(self, account: str, cause: Cause) -> None:
        """Have a deployment completed once the sweep has attached the policies to which statements have moved.

        Without this message the scheduled check completes it.
        """
        if cause != DEPLOYMENT or not self.publisher.held:
            return
        message = {"account": account, "step": PUBLISH, "cause": CHECK.as_dict()}
        try:
            delay = min(LONGEST_DELAY, RECHECKS * self.settings.recheck_seconds)
            self.aws.send(self.settings.publish_queue_url, [message], delay=delay)
        except (Refused, RetryLater) as error:
            logger.error("the scheduled check completes the deployment", extra={"account": account, "why": str(error)})

    def restore(self, event: Any) -> dict[str, Any]:
        """Look at the policy that an event nominates. Raises Refused and RetryLater."""
        nomination = self._parsed(event)
        if nomination.ignored or not nomination.policy:
            self.recorder.ignored(nomination)
            return _summary(nomination, ())
        done = self._restored(nomination)
        self._look_again(Recheck(nomination, 1))
        return done

    def publish_message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the publish queue: an account to check, or a policy that IAM may have shown as it was.

        Raises as `restore` does.
        """
        fields = mapping(body)
        if fields.get("step") == PUBLISH and (account := matched(ACCOUNT, fields.get("account"))):
            if account == self.settings.account:
                return self.publish(account, CHECK)
            return self._publish_before_sweep(account, Cause.from_dict(fields.get("cause")))
        second = Recheck.from_dict(body)
        if second is None or not second.nomination.policy:
            logger.error("a message of PublishQueue is no recheck", extra={"body": str(body)[:200]})
            return {"ignored": "no recheck"}
        return self._restored(second.nomination)

    def _publish_before_sweep(self, account: str, cause: Cause) -> dict[str, Any]:
        """Bring another account's policies to what they are to say, and have it swept: roles may then carry them."""
        done: dict[str, str] = {}
        try:
            done = self.publisher.publish(account, cause, announces=False)
            self._complete_soon(account, cause)
        except Refused as refused:
            self.recorder.account(account, refused, SWEEP)
        self.aws.send(self.settings.sweep_queue_url, [{"account": account, "step": BEGIN}])
        return {"policies": done}

    def _restored(self, nomination: Nomination) -> dict[str, Any]:
        done = self.publisher.publish(nomination.account, nomination.cause, only=nomination.policy)
        return {**_summary(nomination, ()), "policies": done}


def _may_be_old(outcome: Outcome, *, detached: bool, first: bool) -> bool:
    """Whether IAM, which is eventually consistent, may have shown the state before a change that was just made.

    `first` where no look at the same change went before.
    """
    if outcome.reason is Reason.ROLE_GONE:
        return outcome.cause.event_name not in {"DeleteRole", SWEEP.event_name}
    if outcome.reason is Reason.POLICY_MISSING:
        return True
    if outcome.cause.event_name in BOUNDARY_EVENTS:
        # It tells nothing of the policies. Without a boundary that holds the role, or waits to be set, nothing is old.
        held = outcome.verdict is Verdict.COMPLIANT and outcome.boundary != ""
        return detached and (held or (outcome.verdict is Verdict.DRIFTED and outcome.remediation is Remediation.NONE))
    # The list of a role that was just made may be that of its predecessor.
    made = first and outcome.cause.event_name == "CreateRole" and bool(outcome.required)
    return (detached or made) and outcome.verdict is Verdict.COMPLIANT


def _summary(nomination: Nomination, outcomes: tuple[Outcome, ...] | list[Outcome]) -> dict[str, Any]:
    return {
        "event": nomination.cause.event_name,
        "request": nomination.as_dict(),
        "outcomes": [outcome.as_dict() for outcome in outcomes],
    }
