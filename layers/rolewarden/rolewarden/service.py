"""What the functions do, free of Lambda: an event, a message; and publication, sweep and release put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from rolewarden import reconcile
from rolewarden.audit import Auditor
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
from rolewarden.guardrails import load
from rolewarden.publish import Publisher
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder, logger
from rolewarden.release import Releaser
from rolewarden.settings import Settings
from rolewarden.sweep import BEGIN, PUBLISH, Coverage, Queues, Sweeper, unlimited
from rolewarden.verdicts import Outcome, Reason, Remedy, Verdict
from rolewarden.work import Work

RECHECKS = 3
"""How often a role that was mended, or what may have been read too early, is looked at again before it is left to
events and the sweep."""

DOCTOR = "doctor"
"""The step that `rolewarden doctor` asks SweepFunction for."""


@dataclass(frozen=True)
class SecondLook:
    """A message of the work or publish queue: what an event nominated may have been read too early, or too old."""

    nomination: Nomination
    rechecks: int

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        nomination = self.nomination
        return {
            "nominated": nomination.as_dict(),
            "account": nomination.account,
            "region": nomination.region,
            "cause": nomination.cause.as_dict(),
            "rechecks": self.rechecks,
        }

    @classmethod
    def from_dict(cls, body: Any) -> SecondLook | None:
        """The inverse; None for anything that is no such message."""
        fields = mapping(body)
        named, rechecks = mapping(fields.get("nominated")), fields.get("rechecks")
        account, region = matched(ACCOUNT, fields.get("account")), matched(REGION, fields.get("region"))
        domain, profile = matched(DOMAIN_ID, named.get("domain")), matched(PROFILE_NAME, named.get("user_profile"))
        role, policy = matched(ROLE_NAME, named.get("role")), matched(POLICY_NAME, named.get("policy"))
        if not (account and region and isinstance(rechecks, int) and (domain or role or policy)):
            return None
        if "user_profile" in named and not profile:
            return None
        subject = SubjectKey(domain, profile) if domain else None
        cause = Cause.from_dict(fields.get("cause"))
        # One of them, as of a Nomination.
        role = "" if subject else role
        policy = "" if subject or role else policy
        return cls(Nomination(account, region, cause, role=role, subject=subject, policy=policy), rechecks)


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
        self.publisher = Publisher(self.aws, self.recorder, self.rules)
        self.releaser = Releaser(self.aws, self.recorder, self.reconciler, self._look_again)
        self.sweeper = Sweeper(
            self.aws,
            self.table,
            self.discovery,
            self.reconciler,
            self.recorder,
            Auditor(self.aws, self.table, self.recorder, settings.own_roles),
            Queues(
                settings.sweep_queue_url,
                settings.work_queue_url,
                settings.release_queue_url,
                settings.publish_queue_url,
            ),
            Coverage(settings.account, settings.regions, settings.members, settings.call_as, settings.hub_bus),
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
            self._look_again(SecondLook(nomination, rechecks + 1))
        if reading.refused:
            self.recorder.refused(nomination, reading.refused)
        fresh = reading.bindings
        roles = {binding.role for binding in fresh if binding.role}
        if nomination.role:
            roles.add(RoleKey(nomination.account, nomination.role))
        outcomes: list[Outcome] = []
        postponed: list[RetryLater] = []
        for role in sorted(roles, key=lambda role: role.path):
            try:
                work = Work(role, nomination.account, nomination.cause, rechecks)
                outcomes.append(self.reconcile(work, fresh, detached=nomination.detached))
            except RetryLater as error:
                # The other roles need not wait for this one; the event comes again.
                postponed.append(error)
        if postponed:
            raise postponed[0]
        refused = {"refused": str(reading.refused)} if reading.refused else {}
        return {**_summary(nomination, outcomes), **refused}

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
        except PartlyDone as error:
            # The next try finds attached what this one has attached, and would say nothing of it.
            self._settle(work, error.outcome)
            raise
        except RetryLater:
            self.aws.leave(work.account)
            raise
        self._settle(work, outcome, doubtful=_may_be_old(outcome, detached=detached, first=work.rechecks == 0))
        return outcome

    def _settle(self, work: Work, outcome: Outcome, *, doubtful: bool = False) -> None:
        # Who took a boundary off has believed a list of policies that may be old.
        mended = outcome.has_written and (work.cause != SWEEP or bool(outcome.boundary_removed))
        if (mended or doubtful) and work.rechecks < RECHECKS:
            self._look_again(Work(work.role, work.account, work.cause, work.rechecks + 1))
        self.recorder.outcome(outcome)

    def _look_again(self, work: Work | SecondLook) -> None:
        about_a_policy = isinstance(work, SecondLook) and work.nomination.policy
        queue = self.settings.publish_queue_url if about_a_policy else self.settings.work_queue_url
        try:
            self.aws.send(queue, [work.as_dict()], delay=self.settings.recheck_seconds)
        except (Refused, RetryLater) as error:
            # What could be done is done and the sweep looks anyway: the record is worth more than this second look.
            logger.error("no second look", extra={"work": work.as_dict(), "why": str(error)})

    def message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the queue; what is none is named and dropped. Raises RetryLater."""
        second = SecondLook.from_dict(body)
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
        asks for no sweep, but whether one can work.
        """
        if mapping(event).get("step") == DOCTOR:
            return {"checks": [check.as_dict() for check in self.sweeper.checks()]}
        detail = mapping(mapping(event).get("detail"))
        account = matched(ACCOUNT, detail.get("account"))
        deployed = Cause.from_dict(detail.get("cause")) == DEPLOYMENT
        if account and not deployed:
            return self.sweeper.begin(account)
        return self.sweeper.start(DEPLOYMENT if deployed else CHECK)

    def publish(self, account: str, cause: Cause) -> dict[str, Any]:
        """Bring all of IAM's policies to what the guardrails say. Raises Refused, RetryLater and RulesError."""
        return {"policies": self.publisher.publish(account, cause)}

    def restore(self, event: Any) -> dict[str, Any]:
        """Look at the policy that an event nominates. Raises Refused and RetryLater."""
        nomination = self._parsed(event)
        if nomination.ignored or not nomination.policy:
            self.recorder.ignored(nomination)
            return _summary(nomination, ())
        done = self._restored(nomination)
        self._look_again(SecondLook(nomination, 1))
        return done

    def publish_message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the publish queue: an account to check, or a policy that IAM may have shown as it was.

        Raises as `restore` does.
        """
        fields = mapping(body)
        if fields.get("step") == PUBLISH and (account := matched(ACCOUNT, fields.get("account"))):
            return self._publish_before_sweep(account, Cause.from_dict(fields.get("cause")))
        second = SecondLook.from_dict(body)
        if second is None or not second.nomination.policy:
            logger.error("a message of the publish queue is no second look", extra={"body": str(body)[:200]})
            return {"ignored": "no second look"}
        return self._restored(second.nomination)

    def _publish_before_sweep(self, account: str, cause: Cause) -> dict[str, Any]:
        """Bring another account's policies to what they are to say, and have it swept: roles may then carry them."""
        done: dict[str, str] = {}
        try:
            done = self.publisher.publish(account, cause, announces=False)
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
        return detached and (held or (outcome.verdict is Verdict.DRIFTED and outcome.remedy is Remedy.NONE))
    # The list of a role that was just made may be that of its predecessor.
    made = first and outcome.cause.event_name == "CreateRole" and bool(outcome.required)
    return (detached or made) and outcome.verdict is Verdict.COMPLIANT


def _summary(nomination: Nomination, outcomes: tuple[Outcome, ...] | list[Outcome]) -> dict[str, Any]:
    return {
        "event": nomination.cause.event_name,
        "nominated": nomination.as_dict(),
        "outcomes": [outcome.as_dict() for outcome in outcomes],
    }
