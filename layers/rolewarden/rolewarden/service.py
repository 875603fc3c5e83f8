"""What the four functions do, free of Lambda: an event, a message, a sweep, a publication."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from rolewarden import reconcile
from rolewarden.aws import Aws
from rolewarden.bindings import Binding, BindingsTable, RoleKey
from rolewarden.discovery import Discovery, Reading
from rolewarden.errors import PartlyDone, Refused, RetryLater
from rolewarden.events import SWEEP, Cause, Nomination, parse
from rolewarden.guardrails import load
from rolewarden.policies import compile_rules, digest
from rolewarden.reconcile import Reconciler
from rolewarden.record import GUARDRAILS_PUBLISHED, Recorder, logger
from rolewarden.settings import Settings
from rolewarden.verdicts import Outcome, Remedy

RECHECKS = 3
"""How often a role that was mended is looked at again before it is left to events and the sweep."""


@dataclass(frozen=True)
class Work:
    """A message of the work queue: a role to look at, why, and how many rechecks went before it."""

    role: RoleKey
    account: str
    cause: Cause
    rechecks: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The message's body."""
        return {
            "role": self.role.name,
            "role_account": self.role.account,
            "account": self.account,
            "cause": self.cause.as_dict(),
            "rechecks": self.rechecks,
        }

    @classmethod
    def from_dict(cls, body: Any) -> Work | None:
        """The inverse; None for anything that is no such message."""
        fields = body if isinstance(body, Mapping) else {}
        role, role_account, account = (fields.get(key) for key in ("role", "role_account", "account"))
        rechecks = fields.get("rechecks", 0)
        named = all(isinstance(text, str) and text for text in (role, role_account, account))
        if not named or not isinstance(rechecks, int):
            return None
        return cls(RoleKey(str(role_account), str(role)), str(account), Cause.from_dict(fields.get("cause")), rechecks)


def body_of(text: str) -> Any:
    """A message's JSON; None for a text that is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


class Rolewarden:
    """The product, put together for one function."""

    def __init__(self, settings: Settings, aws: Aws | None = None, *, clock: Callable[[], date] | None = None) -> None:
        """`clock` tells the day by which exemptions end: UTC's, where none is given.

        Raises RulesError where the guardrails that were deployed cannot be used.
        """
        self.settings = settings
        self.aws = aws or Aws()
        self.today = clock or reconcile.today
        self.rules = load(settings.guardrails_file, today=self.today())
        self.table = BindingsTable(self.aws, settings.bindings_table)
        self.discovery = Discovery(self.aws, self.table, self.rules)
        self.reconciler = Reconciler(self.aws, self.table, self.rules, self.today)
        self.recorder = Recorder(self.aws, settings.history_table, settings.history_days)

    def enforce(self, event: Any) -> dict[str, Any]:
        """Look at what an event nominates. Raises RetryLater."""
        nomination = parse(event, self.settings.account)
        if nomination.ignored:
            self.recorder.ignored(nomination)
            return _summary(nomination, ())
        reading = self._refreshed(nomination)
        if reading.refused:
            self.recorder.refused(nomination, reading.refused)
        fresh = reading.bindings
        roles = {binding.role for binding in fresh if binding.role}
        if nomination.role:
            roles.add(RoleKey(nomination.account, nomination.role))
        outcomes: list[Outcome] = []
        postponed: list[RetryLater] = []
        for role in sorted(roles, key=lambda role: (role.account, role.name)):
            try:
                outcomes.append(self.reconcile(Work(role, nomination.account, nomination.cause), fresh))
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

    def reconcile(self, work: Work, fresh: tuple[Binding, ...] = ()) -> Outcome:
        """Look at one role, record what is news, look again later where something was done. Raises RetryLater."""
        try:
            outcome = self.reconciler.reconcile(work.role, work.cause, account=work.account, fresh=fresh)
        except PartlyDone as error:
            # The next try finds attached what this one has attached, and would say nothing of it.
            self._settle(work, error.outcome)
            raise
        self._settle(work, outcome)
        return outcome

    def _settle(self, work: Work, outcome: Outcome) -> None:
        if outcome.remedy is Remedy.ATTACHED and work.rechecks < RECHECKS:
            self._look_again(Work(work.role, work.account, work.cause, work.rechecks + 1))
        self.recorder.outcome(outcome)

    def _look_again(self, work: Work) -> None:
        try:
            self.aws.send(self.settings.work_queue_url, [work.as_dict()], delay=self.settings.recheck_seconds)
        except (Refused, RetryLater) as error:
            # The role is mended and the sweep looks at it anyway: its record is worth more than this second look.
            logger.error("no recheck of a mended role", extra={"role": work.role.name, "why": str(error)})

    def message(self, body: Any) -> dict[str, Any]:
        """Work on one message of the queue; what is none is named and dropped. Raises RetryLater."""
        work = Work.from_dict(body)
        if work is None:
            logger.error("a message of the work queue is no work", extra={"body": str(body)[:200]})
            return {"ignored": "no work message"}
        return self.reconcile(work).as_dict()

    def publish(self, account: str, cause: Cause, *, only: str = "") -> dict[str, Any]:
        """Bring IAM's policies to what the guardrails say; all of them, or the one named `only`.

        Gives what was done by policy ("created", "replaced" or "unchanged"); empty where `only` is no guardrail's
        policy. Raises Refused, RetryLater and RulesError.
        """
        done: dict[str, str] = {}
        for policy in compile_rules(self.rules, self.aws.partition):
            if only not in {"", policy.name}:
                continue
            arn = policy.arn(self.aws.partition, account)
            text = self.aws.policy_text(arn)
            if text is None:
                self.aws.create_policy(policy.name, policy.text, "A guardrail of Rolewarden: edit guardrails.yaml")
                done[policy.name] = "created"
            elif digest(text) != digest(policy.document):
                self.aws.replace_policy(arn, policy.text)
                done[policy.name] = "replaced"
            else:
                done[policy.name] = "unchanged"
            if only and done[policy.name] != "unchanged":
                self.recorder.policy(account, policy.name, done[policy.name], cause)
        changed = any(what != "unchanged" for what in done.values())
        if changed or not only:
            # The sweep listens: a policy that had to be made again is attached to nothing.
            self.recorder.announce(
                GUARDRAILS_PUBLISHED, {"account": account, "policies": done, "cause": cause.as_dict()}
            )
        return {"policies": done}

    def restore(self, event: Any) -> dict[str, Any]:
        """Look at the policy that an event nominates. Raises Refused and RetryLater."""
        nomination = parse(event, self.settings.account)
        if nomination.ignored or not nomination.policy:
            self.recorder.ignored(nomination)
            return _summary(nomination, ())
        published = self.publish(nomination.account, nomination.cause, only=nomination.policy)
        return {**_summary(nomination, ()), **published}

    def sweep(self, account: str, region: str) -> dict[str, Any]:
        """Read every subject, bring the table in step, send every role that lacks something to the work queue.

        A subject that cannot be read is a finding, and bound as it was. Raises Refused and RetryLater.
        """
        readings = list(self.discovery.everything(account, region))
        known = {b.key: b for b in self.table.all() if b.account == account and b.region in {region, ""}}
        found: dict[tuple[str, str], Binding] = {}
        for reading in readings:
            found |= {binding.key: binding for binding in reading.with_known(known.values()).bindings}
            if reading.refused:
                self.recorder.refused(Nomination(account, region, SWEEP, subject=reading.subject), reading.refused)
        changed = [binding for key, binding in found.items() if known.get(key) != binding]
        self.table.write(changed, known.keys() - found.keys())
        roles: dict[RoleKey, list[Binding]] = {}
        for binding in found.values():
            if binding.role:
                roles.setdefault(binding.role, []).append(binding)
        carriers: dict[str, frozenset[str]] = {}
        lacking = []
        for role, bindings in sorted(roles.items(), key=lambda item: (item[0].account, item[0].name)):
            required = self.reconciler.required(bindings)
            if self.rules.exemption(role.name, self.today()):
                continue
            for policy in required:
                if policy not in carriers:
                    carriers[policy] = self.aws.roles_with_policy(self.reconciler.arn(policy, account))
            if role.account != account or any(role.name not in carriers[policy] for policy in required):
                lacking.append(Work(role, account, SWEEP))
        self.aws.send(self.settings.work_queue_url, (work.as_dict() for work in lacking))
        counts = {"subjects": len(found), "roles": len(roles), "lacking": len(lacking)}
        self.recorder.swept(account, region, counts)
        return counts


def _summary(nomination: Nomination, outcomes: tuple[Outcome, ...] | list[Outcome]) -> dict[str, Any]:
    return {
        "event": nomination.cause.event_name,
        "nominated": nomination.as_dict(),
        "outcomes": [outcome.as_dict() for outcome in outcomes],
    }
