"""`rolewarden enforce`: make the changes of the plan with the same code as the functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from rolewarden.bindings import RoleKey
from rolewarden.clock import Clock
from rolewarden.detach import Detacher
from rolewarden.errors import PartlyDone, Refused, RetryLater
from rolewarden.guardrails import Rules
from rolewarden.history import History, HistoryTable, NoHistory
from rolewarden.needs import Exemptions, Needs
from rolewarden.origin import SCHEDULED_CHECK, of_operator
from rolewarden.publish import Publisher
from rolewarden.published import NoDocuments, PublishedDocuments
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder
from rolewarden.reported import ReportedFindings
from rolewarden.reread import AlreadyRead
from rolewarden.verdicts import Outcome, Reason, Remediation, Verdict
from rolewarden.work import NoRechecks

from rolewarden_cli.answers import HIDDEN, shown, some_of
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress
from rolewarden_cli.plan import RETIRED, Plan, PlannedRole

ENFORCE_COMMAND = "rolewarden enforce"
"""The name of the cause in the history."""

HISTORY_DAYS = 400
"""Days that a history entry of this command lives: the default of the stack's parameter."""

ENFORCE_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each retry, because IAM may not find a new policy yet."""


class EnforcedRole(NamedTuple):
    """The result for a role. `reason` says why it lacks a guardrail; empty without one."""

    account: str
    role: str
    before: Verdict
    verdict: Verdict
    remediation: Remediation
    attached: tuple[str, ...]
    message: str
    reason: str


@dataclass(frozen=True)
class Enforced:
    """The result of the command.

    - `policies`: the change to each policy, by name.
    - `outcomes`: the outcomes of the evaluated roles.
    - `detached`: the detached policies, by role.
    - `postponed`: a line for each change that AWS did not make.
    - `left`: the roles that were not evaluated, because the user `stopped` the command.
    """

    policies: Mapping[str, str]
    outcomes: tuple[Outcome, ...] = field(metadata=HIDDEN)
    detached: Mapping[str, tuple[str, ...]]
    postponed: tuple[str, ...]
    left: tuple[str, ...]
    stopped: bool

    @property
    @shown
    def roles(self) -> tuple[EnforcedRole, ...]:
        """The outcomes, with the fields that a reader needs."""
        names = ("account", "role", "before", "verdict", "remediation", "attached", "message")
        return tuple(EnforcedRole(**some_of(one, *names), reason=one.reason or "") for one in self.outcomes)

    @property
    def undone(self) -> tuple[Outcome, ...]:
        """The outcomes of roles that still lack a guardrail."""
        return tuple(o for o in self.outcomes if o.verdict in {Verdict.UNENFORCEABLE, Verdict.DRIFTED})

    @property
    def is_whole(self) -> bool:
        """Whether the command made all planned changes."""
        return not (self.stopped or self.postponed or self.undone)


def enforce_rules(
    connection: Connection,
    inventory: Inventory,
    plan: Plan,
    rules: Rules,
    today: date,
    progress: Progress = ignore_progress,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Enforced:
    """Make the changes of `plan`: write policies, remediate roles, delete unused policies.

    Each role is evaluated again, because it can have changed since the plan. If a stack is deployed, its history
    records the changes. After `stop` returns True, no further role is evaluated. Raises Refused, RetryLater and
    RulesError if the policies cannot be written. In this case no role was changed.
    """
    work = _Enforcement(connection, inventory, plan, rules, today)
    work.publish()
    left = list(plan.changed_roles)
    while left and not stop():
        progress("roles", len(plan.changed_roles) - len(left), len(plan.changed_roles))
        work.remediate(left.pop(0))
    # A stop during the last role leaves no role, and the rest takes few calls.
    stopped = bool(left)
    if not stopped:
        progress("roles", len(plan.changed_roles), len(plan.changed_roles))
        work.complete()
        work.retire()
    return Enforced(
        work.policies,
        tuple(work.outcomes),
        work.detached,
        tuple(work.postponed),
        tuple(role.outcome.role for role in left),
        stopped,
    )


def recorder_of(connection: Connection) -> Recorder:
    """The recorder for a command that writes. It writes to the stack's history if a stack is deployed."""
    tables, aws = connection.tables, connection.writer
    if tables is None:
        return Recorder(NoHistory())
    return Recorder(History(aws, HistoryTable(tables.history, HISTORY_DAYS)), ReportedFindings(aws, tables.bindings))


def exemptions_of(connection: Connection) -> Exemptions:
    """The comparison of exemptions with AWS, for a command that writes. A deployed stack has the rules of the file."""
    deployed = connection.stack.deployed if connection.stack else None
    return Exemptions(connection.writer, lambda: deployed)


class _Enforcement:
    """The changes of one run so far."""

    def __init__(self, connection: Connection, inventory: Inventory, plan: Plan, rules: Rules, today: date) -> None:
        aws, recorder = connection.writer, recorder_of(connection)
        self.account = connection.account
        self.origin = of_operator(ENFORCE_COMMAND, connection.caller)
        self.plan = plan
        self.recorder = recorder
        exemptions = exemptions_of(connection)
        clock = Clock(today=lambda: today)
        needs = Needs(rules, aws.partition, inventory.bound, self.account, exemptions, clock, recorder.history)
        self.reconciler = Reconciler(aws, needs, inventory.covers)
        tables = connection.tables
        documents = PublishedDocuments(aws, tables.bindings) if tables else NoDocuments()
        self.publisher = Publisher(aws, recorder, needs, documents)
        # No recheck is needed: the next plan and the next sweep of a deployed stack evaluate the roles again.
        self.detacher = Detacher(aws, recorder, needs, NoRechecks(), AlreadyRead(), self.origin)
        self.policies: dict[str, str] = {}
        self.outcomes: list[Outcome] = []
        self.detached: dict[str, tuple[str, ...]] = {}
        self.postponed: list[str] = []

    def publish(self) -> None:
        """Write the policies of the guardrails."""
        self.policies = self.publisher.publish(self.account, self.origin)

    def complete(self) -> None:
        """Remove the statements that the policies kept only until every role had them from another policy."""
        if self.publisher.retaining:
            self.publisher.publish(self.account, SCHEDULED_CHECK)

    def remediate(self, role: PlannedRole) -> None:
        """Evaluate and remediate one role as the functions do, and detach the policies of the plan."""
        name = role.outcome.role
        try:
            self._report(self._reconcile(RoleKey(role.outcome.account, name)))
            if role.detached:
                done = self.detacher.detach_from(self.account, name, list(role.detached))
                self.detached[name] = tuple(done["detached"])
        except PartlyDone as error:
            self._report(error.outcome)
            self.postponed.append(f"{name}: {error}")
        except (Refused, RetryLater) as error:
            self.postponed.append(f"{name}: {error}")

    def _reconcile(self, role: RoleKey) -> Outcome:
        """Reconcile a role, and try again if IAM does not find a new policy yet."""
        for pause in ENFORCE_PAUSES:
            outcome = self.reconciler.reconcile(role, self.origin)
            if outcome.reason is not Reason.POLICY_MISSING:
                return outcome
            time.sleep(pause)
        return self.reconciler.reconcile(role, self.origin)

    def _report(self, outcome: Outcome) -> None:
        self.recorder.record_outcome(outcome)
        self.outcomes.append(outcome)

    def retire(self) -> None:
        """Delete the policies of guardrails that were removed from guardrails.yaml."""
        for policy in self.plan.policies:
            if policy.change == RETIRED:
                try:
                    done = self.detacher.retire(self.account, policy.name)
                except (Refused, RetryLater) as error:
                    self.postponed.append(f"{policy.name}: {error}")
                    continue
                if done["retired"]:
                    self.policies[policy.name] = RETIRED
                else:
                    self.postponed.append(f"{policy.name}: {done.get('waits', 'a guardrail needs it')}")
