"""`rolewarden explain ROLE MODEL`: the reason for one decision."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from rolewarden.bindings import Binding, RoleKey
from rolewarden.changes import criteria
from rolewarden.guardrails import EXCEPT, Rules
from rolewarden.observing import banner_of
from rolewarden.policies import boundary_name, compile_guardrail, is_boundary, policy_arn
from rolewarden.verdicts import Verdict

from rolewarden_cli.access import Decision, Judge, Statement
from rolewarden_cli.answers import HIDDEN, merged, shown, shown_as
from rolewarden_cli.connect import Connection
from rolewarden_cli.history import Entry, NoSuchRoleError, read_history
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress
from rolewarden_cli.models import Model, Models
from rolewarden_cli.plan import PlannedRole, compared
from rolewarden_cli.suggestions import no_such_role


@dataclass(frozen=True)
class ReasonForAccess:
    """A statement that decided, with its origin.

    - `guardrail`: empty if the policy is not one of Rolewarden's guardrails.
    - `assignments`: the assignments of guardrails.yaml that require the policy, each with a subject, in words.
    - `attached`: the newest history entry about the attachment to this role, None without one.
    """

    statement: Statement = field(metadata=merged("policy", "document"))
    guardrail: str
    assignments: tuple[str, ...]
    attached: Entry | None

    @property
    @shown
    def policy_arn(self) -> str:
        """The ARN of the statement's policy; empty for an inline policy."""
        return self.statement.arn

    @property
    @shown_as("statement")
    def label(self) -> str:
        """The statement's Sid or its number."""
        return self.statement.label


@dataclass(frozen=True)
class UserDecision:
    """The decision for one user of a shared role, who differs from the others by the source identity.

    - `allowed`: whether a route is open in sessions of the user's apps.
    - `limits`: the gaps of this, in words.
    """

    user_profile: str
    allowed: bool
    limits: str


class ExplainedRoute(NamedTuple):
    """A route to a model.

    - `allowed`: whether it is open.
    - `statements`: the names of the statements that decided.
    - `service_control_policy`: whether a service control policy closes it. `service_control_policies` are the readable
      ones that may be the one.
    - `prevention`: whether a service control policy that guardrails.yaml compiles to closes it.
    - `undecided`: the condition keys that only a live call has and that could change the decision.
    """

    route: str
    allowed: bool
    statements: tuple[str, ...]
    service_control_policy: bool
    service_control_policies: tuple[str, ...]
    prevention: bool
    undecided: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """The reason why a role can or cannot use a model: the decision on every route, and the deciding statements.

    - `planned`: the plan for the role, None if no subject uses it.
    - `recorded`: whether a stack is deployed, which records a history.
    - `users`: the decisions for the users who are told apart from the others. All else is about sessions without a
      source identity.
    - `is_listed`: whether a list of Bedrock or JumpStart models has the model.
    - `unread`: a line for each part of the account that could not be read.
    - `observed`: the guardrails in observe mode, and `banner` the line that names them.
    """

    account: str
    role: str
    model: Model = field(metadata=merged("family"))
    decision: Decision = field(metadata=merged("allowed"))
    subjects: tuple[str, ...]
    planned: PlannedRole | None = field(metadata=HIDDEN)
    reasons: tuple[ReasonForAccess, ...]
    recorded: bool
    is_listed: bool
    unread: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    banner: str = field(default="", metadata=HIDDEN)
    users: tuple[UserDecision, ...] = ()

    @property
    @shown_as("model")
    def model_id(self) -> str:
        """The model's id."""
        return self.model.id

    @property
    @shown
    def verdict(self) -> Verdict:
        """The current verdict on the role."""
        return self.planned.outcome.before if self.planned else Verdict.OUT_OF_SCOPE

    @property
    @shown
    def missing(self) -> tuple[str, ...]:
        """The guardrails that the role lacks."""
        return self.planned.outcome.missing if self.planned else ()

    @property
    @shown
    def routes(self) -> tuple[ExplainedRoute, ...]:
        """Each route, and the statements or other reasons that decided on it."""
        return tuple(
            ExplainedRoute(
                one.name,
                one.allowed,
                tuple(statement.name for statement in one.statements),
                one.denied_by_scp,
                one.scps,
                one.by_prevention,
                one.undecided,
            )
            for one in self.decision.routes
        )

    @property
    @shown
    def service_control_policy(self) -> bool:
        """Whether no route is open and a service control policy closes one of them."""
        return self.decision.denied_by_scp

    @property
    @shown
    def undecided(self) -> tuple[str, ...]:
        """The condition keys that only a live call has and that could change the decision."""
        return self.decision.undecided


def explain_role(
    connection: Connection,
    inventory: Inventory,
    rules: Rules,
    role: str,
    models: Models,
    today: date,
    progress: Progress = ignore_progress,
) -> Explanation:
    """Evaluate every route of `role` to the one model of `models`. Raises NoSuchRoleError, Refused and RetryLater."""
    role = inventory.spelled(role)
    detail = inventory.roles.get(role)
    if detail is None:
        raise NoSuchRoleError(
            f"{no_such_role(inventory.account, role, inventory.roles)}: give the name without its path, and list the "
            "governed roles with `rolewarden plan --all`"
        )
    [model] = models.columns
    judge = Judge(connection.calls, inventory, models, rules)
    [decision] = judge.decisions(detail, progress, every=True)
    bindings = inventory.bound.of_role(RoleKey(inventory.account, role))
    plan = compared(connection, inventory, rules, today)
    planned = next((found for found in plan.roles if found.outcome.role == role and found.bindings), None)
    entries = read_history(connection, role=role) if connection.tables else ()
    users = tuple(
        UserDecision(
            f"{one.domain_name or one.domain_id}/{one.user_profile}",
            judge.decisions(detail, progress, source_identity=one.user_profile)[0].allowed,
            one.limits,
        )
        for one in plan.told_apart
        if one.role == role
    )
    deciding = {s.name: s for route in decision.routes for s in route.statements}
    return Explanation(
        inventory.account,
        role,
        model,
        decision,
        tuple(binding.label for binding in bindings),
        planned,
        tuple(_reason(statement, inventory, rules, bindings, entries) for statement in deciding.values()),
        connection.tables is not None,
        not models.unlisted,
        tuple(filter(None, (*sorted(judge.unjudged), judge.scps.unread))),
        rules.observed,
        banner_of(rules),
        users,
    )


def _reason(
    statement: Statement, inventory: Inventory, rules: Rules, bindings: Sequence[Binding], entries: Sequence[Entry]
) -> ReasonForAccess:
    name = statement.policy
    ours = statement.arn == policy_arn(name, inventory.partition, inventory.account)
    guardrail = _guardrail(name, rules, inventory.partition) if ours else ""
    attached = next((entry for entry in entries if _attaches(entry, name, statement.arn)), None) if ours else None
    wanted = {guardrail} if ours else set()
    if ours and is_boundary(name):
        wanted = {each for names in rules.enforced_together if boundary_name(names) == name for each in names}
    return ReasonForAccess(statement, guardrail, tuple(dict.fromkeys(_requiring(rules, wanted, bindings))), attached)


def _guardrail(policy: str, rules: Rules, partition: str) -> str:
    """The guardrail of a policy under `/rolewarden/`; the policy's own name if no guardrail of the file has it."""
    for name, guardrail in {**rules.guardrails, **rules.for_users}.items():
        if any(compiled.name == policy for compiled in compile_guardrail(guardrail, partition)):
            return name
    return policy


def _attaches(entry: Entry, policy: str, arn: str) -> bool:
    if is_boundary(policy):
        return entry.remediation == "bounded" and entry.row.get("boundary") == arn
    return policy in entry.row.get("attached", ())


def _requiring(rules: Rules, guardrails: Collection[str], bindings: Sequence[Binding]) -> Iterator[str]:
    for binding in bindings:
        for number, assignment in enumerate(rules.assignments, start=1):
            if assignment.matches(binding.subject):
                if {name.removeprefix(EXCEPT) for name in guardrails} & set(assignment.guardrails):
                    yield f"assignment {number} ({criteria(assignment)}) for {binding.label}"
                break
