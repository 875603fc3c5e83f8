"""`rolewarden plan`: the changes that enforcing guardrails.yaml would make, computed without making them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import NamedTuple

from rolewarden.bindings import BEDROCK, VIAS, Binding, RoleKey, shared_profiles
from rolewarden.calls import ListsPolicies
from rolewarden.canary import is_of_drills
from rolewarden.check import loosenings, names_accounts
from rolewarden.clock import Clock
from rolewarden.discovery import UNTOUCHABLE_PATHS
from rolewarden.documents import digest
from rolewarden.errors import Gone, Refused
from rolewarden.guardrails import Guardrail, Rules
from rolewarden.listed import PublishedPolicy, RoleDescription
from rolewarden.names import among
from rolewarden.needs import Exemptions, Needs
from rolewarden.observing import banner_of, promoted
from rolewarden.origin import Origin, Trigger
from rolewarden.policies import DESCRIPTION, compile_rules, policy_arn
from rolewarden.reconcile import Reconciler
from rolewarden.verdicts import CREATED, RECOMMENDATIONS, REPLACED, UNCHANGED, Outcome, Reason, Verdict

from rolewarden_cli.account import RoleDetail
from rolewarden_cli.answers import HIDDEN, merged, shown, shown_as, some_of
from rolewarden_cli.commands import held_anywhere, is_open
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress, take
from rolewarden_cli.organization import MemberRole, UnreachedAccount, read_accounts
from rolewarden_cli.promotion import Promotion, promotion
from rolewarden_cli.source_identity import limits, recommendation
from rolewarden_cli.stack import DEPLOY, StackRules, recorded
from rolewarden_cli.unmatched import UnmatchedName, find_unmatched

ENDS_SOON = 30
"""Number of days before the end of an exemption from which on the plan lists it."""

RETIRED, KEPT = "retired", "kept"
DIRECT_DEPLOYMENT, BEDROCK_ROLE = "direct deployment", "Bedrock role"


@dataclass(frozen=True)
class PlannedPolicy:
    """A guardrail's policy, and its change: "created", "replaced", "unchanged", "retired" or "kept".

    The last two are policies of guardrails that were removed from guardrails.yaml or renamed. Enforcing deletes a
    "retired" policy, and a "kept" one stays attached to some roles.
    """

    name: str
    change: str


@dataclass(frozen=True)
class PlannedRole:
    """A governed role.

    - `outcome`: the outcome of `reconcile`, computed and not applied. `before` is the verdict now, `verdict` the one
      afterwards, `attached` the policies to attach, and `reason` the reason why a policy cannot be attached.
    - `bindings`: the uses of the role.
    - `attached_policies`: the number of managed policies that the role has attached now, of the `quota`.
    - `detached`: the policies that the role does not need and enforcing would detach.
    - `surplus`: the policies that the role does not need and keeps.
    - `detachable`: the policies of both that `rolewarden detach` detaches.
    """

    outcome: Outcome = field(
        metadata=merged(
            "account", "role", "before", "verdict", "remediation", "required", "missing", "attached", "boundary",
            "boundary_removed", "message",
        )
    )  # fmt: skip
    bindings: tuple[Binding, ...] = field(metadata=HIDDEN)
    attached_policies: int
    quota: int
    detached: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    detachable: tuple[str, ...] = ()

    @property
    @shown
    def changes(self) -> bool:
        """Whether enforcing would change the role."""
        return self.outcome.has_written or bool(self.detached)

    @property
    @shown
    def reason(self) -> str:
        """The reason why a policy cannot be attached; empty without one."""
        return self.outcome.reason or ""

    @property
    @shown
    def recommendation(self) -> str:
        """The recommended action for the reason; empty without a reason."""
        return RECOMMENDATIONS.get(self.outcome.reason, "") if self.outcome.reason else ""

    @property
    @shown
    def subjects(self) -> tuple[PlannedUse, ...]:
        """The uses of the role, with the fields that a reader needs."""
        return tuple(PlannedUse(**some_of(binding, *PlannedUse._fields)) for binding in self.bindings)


class PlannedUse(NamedTuple):
    """A use of a role: a subject, and the setting that names the role."""

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    kind: str
    via: str


@dataclass(frozen=True)
class SharedRole:
    """A user profile that uses its domain's role and does not get its assignment.

    - `guardrails`: the guardrails that it needs and cannot have.
    - `also`: the guardrails of its domain's role that its assignment lacks, and that it has in addition.
    - `why`: the reason why its sessions cannot be told apart from those of the other users.
    """

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    role: str
    guardrails: tuple[str, ...]
    recommendation: str
    also: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class ToldApart:
    """A user profile that uses its domain's role and gets its assignment by its source identity.

    - `only`: the guardrails that deny something only in sessions of its apps. Its jobs do not have them.
    - `free_of`: the guardrails of its domain's role that deny nothing in sessions of its apps. Its jobs have them.
    - `limits`: the gaps of this, in words.
    """

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    role: str
    only: tuple[str, ...]
    free_of: tuple[str, ...]
    limits: str


@dataclass(frozen=True)
class EndingExemption:
    """An exemption that ends within 30 days; `roles` are the governed roles that it exempts: its role, or none."""

    role: str
    until: date
    days_left: int
    reason: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class DoubtfulExemption:
    """An exemption that AWS contradicts.

    - `ends`: whether the exemption does not hold in the deployed stack.
    - `reason`, `message`, `recommendation`: why, and the recommended action.
    """

    role: str
    ends: bool
    reason: str
    message: str
    recommendation: str


@dataclass(frozen=True)
class OpenSwitch:
    """A setting of a domain or user profile that turns on generative AI in Canvas.

    - `switch`: "direct deployment" (Canvas can deploy JumpStart models) or "Bedrock role" (Canvas uses Bedrock as
      `role`).
    - `user_profile`: empty for a setting of the domain.
    """

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    switch: str
    role: str = ""


@dataclass(frozen=True)
class NamedRole:
    """A role that the settings of a domain or of its user profiles name, and that this plan does not evaluate.

    - `via`: the setting: one of `OTHER_VIAS`, or one of `VIAS` for a role of another account that the stack covers.
    - `role_account`, `role`: the account and the name of the role.
    - `subjects`: the domain and the user profiles whose settings name the role.
    - `governed`: whether the role gets guardrails for another reason, for example by `also_govern`. None if the role
      belongs to another account and the plan does not show that.
    """

    region: str
    domain_id: str
    domain_name: str
    via: str
    role_account: str
    role: str
    subjects: tuple[str, ...]
    governed: bool | None


@dataclass(frozen=True)
class LoosenedRule:
    """An assignment that denies less than the last one, and that callers can get by a name or a tag that they choose.

    - `assignment`: its position in the file, from 1.
    - `why`: the callers who can get it, and the recommended action.
    - `subjects`: the domains, user profiles and roles of this account that have it now.
    """

    assignment: int
    why: str
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The changes that enforcing would make in one account, and the findings that it cannot resolve.

    - `deployed`: whether a deployed stack keeps the guardrails attached by itself.
    - `stack`: the comparison of the stack's rules with the file.
    - `outside`: the domains in regions that neither the plan nor the stack covers.
    - `doubts`: the exemptions that AWS contradicts since the last deployment of the stack.
    - `told_apart`: the user profiles that get their assignment by their source identity.
    - `loosened`: the assignments that callers can get by what they choose.
    - `unmatched`: the names in guardrails.yaml that match nothing in the account. They are warnings, and leave nothing
      to do for the account.
    - `observed`: the guardrails in observe mode, and `banner` the line that names them.
    - `promotions`: the changes that enforcing each of them would make, and then those of enforcing all of them.
    """

    account: str
    regions: tuple[str, ...]
    at: datetime
    deployed: bool
    policies: tuple[PlannedPolicy, ...] = field(metadata=HIDDEN)
    roles: tuple[PlannedRole, ...]
    shared: tuple[SharedRole, ...] = field(metadata=HIDDEN)
    exemptions: tuple[EndingExemption, ...]
    switches: tuple[OpenSwitch, ...]
    unread: tuple[str, ...]
    stack: StackRules = StackRules.NONE
    outside: tuple[str, ...] = ()
    doubts: tuple[DoubtfulExemption, ...] = ()
    named: tuple[NamedRole, ...] = field(default=(), metadata=HIDDEN)
    told_apart: tuple[ToldApart, ...] = ()
    loosened: tuple[LoosenedRule, ...] = ()
    unmatched: tuple[UnmatchedName, ...] = ()
    observed: tuple[str, ...] = ()
    banner: str = field(default="", metadata=HIDDEN)
    promotions: tuple[Promotion, ...] = ()

    @property
    @shown_as("other_roles")
    def other_roles(self) -> tuple[NamedRole, ...]:
        """The roles that settings name and that the plan does not evaluate."""
        return self.named

    @property
    def changed_policies(self) -> tuple[PlannedPolicy, ...]:
        """The policies that enforcing would write or delete."""
        return tuple(policy for policy in self.policies if policy.change not in {UNCHANGED, KEPT})

    @property
    def changed_roles(self) -> tuple[PlannedRole, ...]:
        """The roles that enforcing would change."""
        return tuple(role for role in self.roles if role.changes)

    @property
    @shown_as("policies")
    def policy_changes(self) -> dict[str, str]:
        """The change to each policy, by name."""
        return {policy.name: policy.change for policy in self.policies}

    @property
    @shown_as("shared_roles")
    def shared_roles(self) -> tuple[SharedRole, ...]:
        """The user profiles that share their domain's role and do not get their assignment."""
        return self.shared

    @property
    @shown
    def has_changes(self) -> bool:
        """Whether enforcing would write anything."""
        return bool(self.changed_policies or self.changed_roles)

    @property
    def unprotected(self) -> tuple[str, ...]:
        """Names of the roles and user profiles that enforcing would leave without a guardrail that they need."""
        roles = (role.outcome.role for role in self.roles if role.outcome.verdict is Verdict.UNENFORCEABLE)
        lacking = (shared for shared in self.shared if shared.guardrails)
        profiles = (f"{shared.domain_name or shared.domain_id}/{shared.user_profile}" for shared in lacking)
        return (*roles, *profiles)

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition of `rolewarden plan` holds, by name."""
        return {
            "changes": bool(self.has_changes or self.next[0]),
            "unprotected": bool(self.unprotected),
            "doubts": bool(self.doubts),
            "denials": False,
            "unread": bool(self.unread or self.outside),
            "observed": any(role.outcome.remediation == "observed" for role in self.roles),
            "warnings": bool(self.unmatched or self.loosened),
        }

    @property
    def with_surplus(self) -> tuple[PlannedRole, ...]:
        """The roles from which `rolewarden detach` detaches a policy or boundary."""
        return tuple(role for role in self.roles if role.detachable)

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of policies that Rolewarden published and that belong to no guardrail of the file."""
        return tuple(policy.name for policy in self.policies if policy.change in {RETIRED, KEPT})

    def with_policy(self, name: str) -> tuple[PlannedRole, ...]:
        """The roles that keep the policy `name`, although they do not need it."""
        return tuple(role for role in self.roles if name in role.surplus)

    @property
    def next(self) -> tuple[str, str]:
        """The command to run next, and its effect; both are empty if nothing is left to do."""
        if self.stack is StackRules.OTHER:
            return DEPLOY, "deploys the rules of this file: the deployed stack has other rules"
        if self.stack is StackRules.UNKNOWN:
            return DEPLOY, "deploys the rules of this file: a stack covers this account and its rules are not known"
        gains = any(role.outcome.has_written for role in self.roles)
        if not gains and {policy.change for policy in self.policies} <= {UNCHANGED, RETIRED, KEPT}:
            if self.with_surplus or self.unused:
                return "rolewarden detach", "removes the policies that no role needs"
            return "", ""
        if self.stack is StackRules.SAME:
            return "rolewarden sweep", "lets the stack make these changes; `rolewarden enforce` makes them from here"
        return "rolewarden enforce", "makes these changes"

    @property
    @shown_as("next")
    def next_command(self) -> dict[str, str] | None:
        """The command to run next as an object; None if nothing is left to do."""
        command, does = self.next
        return {"command": command, "does": does} if command else None


@dataclass(frozen=True)
class PlanTotals:
    """The sums of all accounts.

    - `roles`: the governed roles. `changed_roles` are those that enforcing would change.
    - `changed_policies`: the policies that enforcing would write or delete.
    - `unprotected`: the roles and user profiles that cannot be protected.
    - `unread`: the parts that AWS did not let the caller read.
    - `done`: the accounts without anything left to do.
    """

    accounts: int
    unreached: int
    done: int
    roles: int
    changed_roles: int
    changed_policies: int
    unprotected: int
    unread: int


@dataclass(frozen=True)
class AllPlans:
    """The plans of all accounts of the stack."""

    accounts: tuple[Plan, ...]
    unreached: tuple[UnreachedAccount, ...] = ()

    @property
    @shown
    def totals(self) -> PlanTotals:
        """The sums of all accounts."""
        found = self.accounts
        return PlanTotals(
            len(found),
            len(self.unreached),
            sum(not is_open("plan", one.conditions) for one in found),
            sum(len(one.roles) for one in found),
            sum(len(one.changed_roles) for one in found),
            sum(len(one.changed_policies) for one in found),
            sum(len(one.unprotected) for one in found),
            sum(len(one.unread) for one in found),
        )

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition of `rolewarden plan` holds in any account, by name."""
        return held_anywhere("plan", [one.conditions for one in self.accounts], unread=bool(self.unreached))


def read_all_plans(
    connection: Connection, role: MemberRole, rules: Rules, today: date, progress: Progress = ignore_progress
) -> AllPlans:
    """Make the plan of each account of an `organized` connection, as `role` in the members. Raises RulesError."""
    return AllPlans(*read_accounts(connection, role.enter, lambda one: read_plan(one, rules, today)[1], progress))


def read_plan(
    connection: Connection, rules: Rules, today: date, progress: Progress = ignore_progress
) -> tuple[Inventory, Plan]:
    """Read the inventory of the account, and make the plan for `rules`. Raises as `inventory.take` and `make`."""
    found = take(connection, rules, progress)
    return found, with_other_regions(found, compared(connection, found, rules, today))


def compared(connection: Connection, found: Inventory, rules: Rules, today: date) -> Plan:
    """The plan for `rules` and the inventory `found`, compared with the deployed stack. Raises as `make`.

    Raises RulesError if the stack covers an organization and an exemption names no account.
    """
    is_organization = bool(connection.stack and connection.stack.parameters.get("OrganizationId"))
    if is_organization:
        rules.need_accounts()
    plan = make(
        connection.aws,
        found,
        rules,
        today,
        deployed=connection.tables is not None,
        stack=recorded(connection, rules),
        last_deployment=connection.stack.deployed if connection.stack else None,
    )
    loosened = _loosened(rules, found, several_accounts=is_organization or names_accounts(rules))
    unmatched = find_unmatched(found, rules, today, is_organization=is_organization)
    return replace(plan, loosened=tuple(loosened), unmatched=unmatched)


def with_other_regions(found: Inventory, plan: Plan) -> Plan:
    """The plan with the domains in regions that neither it nor the deployed stack covers. Raises RetryLater."""
    others = found.other_regions()
    outside = tuple(other.message for other in others if not other.refused)
    unread = tuple(": ".join(filter(None, (other.region, other.message))) for other in others if other.refused)
    return replace(plan, outside=outside, unread=(*plan.unread, *unread))


def make(
    aws: ListsPolicies,
    inventory: Inventory,
    rules: Rules,
    today: date,
    *,
    deployed: bool = False,
    stack: StackRules = StackRules.NONE,
    last_deployment: float | None = None,
) -> Plan:
    """Make the plan for `rules` and `inventory`. This reads the published policies and writes nothing.

    The verdicts come from `reconcile`, which here changes a copy of the inventory. `last_deployment` is the time of the
    stack's last deployment, None without a stack. Raises Refused, RetryLater and RulesError.
    """
    table = inventory.bound
    bound = table.by_role
    listed = ListedRoles(inventory)
    # Rules that the stack does not have yet exempt the roles that exist when they are deployed.
    at = last_deployment if stack is StackRules.SAME else None
    exemptions = Exemptions(listed, lambda: at)
    needs = Needs(rules, inventory.partition, table, inventory.account, exemptions, Clock(today=lambda: today))
    reconciler = Reconciler(Rehearsal(inventory, rules), needs, inventory.covers)
    roles = tuple(_role(reconciler, inventory, role, bound.get(role.path, ())) for role in _roles(inventory, bound))
    shared, told_apart = _users_of_shared_roles(needs, inventory.bindings)
    return Plan(
        inventory.account,
        inventory.regions,
        inventory.at,
        deployed,
        tuple(_policies(aws, inventory, needs, roles)),
        roles,
        shared,
        tuple(_ending(needs, bound)),
        tuple(_switches(inventory)),
        inventory.unread,
        stack,
        doubts=tuple(_doubts(replace(needs, exemptions=Exemptions(listed, lambda: last_deployment)), inventory)),
        named=tuple(_named(inventory, bound)),
        observed=rules.observed,
        banner=banner_of(rules),
        promotions=tuple(_promotions(inventory, needs, roles)),
        told_apart=told_apart,
    )


def _promotions(inventory: Inventory, needs: Needs, roles: Sequence[PlannedRole]) -> Iterator[Promotion]:
    """The changes that enforcing would make: of each guardrail in observe mode, and of all if there are several."""
    observed = needs.rules.observed
    if not observed:
        return
    for names in dict.fromkeys([*((name,) for name in observed), observed]):
        rules = promoted(needs.rules, names)
        then = Needs(rules, needs.partition, needs.bindings, needs.home, needs.exemptions, needs.clock)
        enforced = [
            name
            for name, guardrail in needs.guardrails.items()
            if name in then.guardrails and then.guardrails[name].mode is not guardrail.mode
        ]
        policies = {policy.name for name in enforced for policy in needs.policies(name)}
        reconciler = Reconciler(Rehearsal(inventory, rules), then, inventory.covers)
        concerned = [role.outcome for role in roles if policies & set(role.outcome.missing)]
        keys = [RoleKey(outcome.account, outcome.role) for outcome in concerned]
        after = [reconciler.reconcile(key, Origin(Trigger.OPERATOR)) for key in keys]
        yield promotion(names, zip(concerned, after, strict=True))


class ListedRoles:
    """The roles of the inventory, with which exemptions are compared."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def within(self, account: str, *, afresh: bool = False) -> ListedRoles:  # noqa: ARG002
        """The same roles. Raises Refused for another account, which the inventory does not have."""
        if account != self._inventory.account:
            raise Refused(Reason.NOT_ENTERED, f"this command does not read account {account}")
        return self

    def role(self, name: str) -> RoleDescription:
        """The role with this name, in any spelling. Raises Gone."""
        found = self._inventory.roles.get(self._inventory.spelled(name))
        if found is None:
            raise Gone(f"role {name} does not exist")
        return found


class Rehearsal:
    """A copy of the inventory that takes the place of IAM, so that reconcile can change it."""

    def __init__(self, inventory: Inventory, rules: Rules) -> None:
        self.partition = inventory.partition
        # `enforce` publishes the policies before it changes a role, so reconcile finds all of them.
        self._policies = {policy.name: policy for policy in compile_rules(rules, inventory.partition)}
        self._quota = inventory.policies_per_role
        self._roles = dict(inventory.roles)

    def within(self, account: str, *, afresh: bool = False) -> Rehearsal:  # noqa: ARG002
        """The same copy, because it has one account only."""
        return self

    def attached_policies(self, role: str) -> frozenset[str]:
        """The ARNs of the attached policies of a role."""
        return frozenset(self._of(role).attached)

    def role(self, name: str) -> RoleDescription:
        """The role with this name. Raises Refused."""
        return self._of(name)

    def policy(self, policy_arn: str, known: PublishedPolicy | None = None) -> PublishedPolicy | None:  # noqa: ARG002
        """The policy as `enforce` would publish it, whatever is `known`; None for a policy of another origin."""
        policy = self._policies.get(policy_arn.rpartition("/")[2])
        return PublishedPolicy("", policy.text) if policy else None

    def namesake(self, name: str) -> str:  # noqa: ARG002
        """No policy, because this copy has those of Rolewarden only."""
        return ""

    def attach(self, role: str, policy_arn: str, *, correlation_id: str) -> None:  # noqa: ARG002 - makes no call
        """Attach a policy within the quota, as IAM does. Raises Refused."""
        found = self._modifiable(role)
        if len(found.attached) >= self._quota:
            raise Refused(Reason.QUOTA, f"it has {len(found.attached)} policies of {self._quota}")
        self._roles[role] = replace(found, attached=(*found.attached, policy_arn))

    def set_boundary(self, role: str, policy_arn: str, *, correlation_id: str) -> None:  # noqa: ARG002 - makes no call
        """Set the boundary of a role. Raises Refused."""
        self._roles[role] = replace(self._modifiable(role), boundary=policy_arn)

    def remove_boundary(self, role: str, *, correlation_id: str) -> bool:
        """Remove the boundary of a role. Returns whether it had one. Raises Refused."""
        there = bool(self._of(role).boundary)
        self.set_boundary(role, "", correlation_id=correlation_id)
        return there

    def _of(self, role: str) -> RoleDetail:
        if role not in self._roles:
            raise Gone(f"role {role} does not exist")
        return self._roles[role]

    def _modifiable(self, role: str) -> RoleDetail:
        found = self._of(role)
        if found.path.startswith(UNTOUCHABLE_PATHS):
            raise Refused(Reason.PROTECTED, f"role {role} has the path {found.path}")
        return found


def _roles(inventory: Inventory, bound: Mapping[str, Sequence[Binding]]) -> list[RoleKey]:
    """The roles to evaluate: those with a binding, and those with a policy or boundary of Rolewarden."""
    bound_roles = {binding.role for bindings in bound.values() for binding in bindings if binding.role}
    # The stack evaluates these, and the command cannot read them.
    bound_roles -= {role for role in bound_roles if role.account in inventory.covered - {inventory.account}}
    with_ours = {RoleKey(inventory.account, role.name) for role in inventory.roles.values() if ours(inventory, role)}
    return sorted(bound_roles | with_ours, key=lambda role: role.path)


def ours(inventory: Inventory, role: RoleDetail) -> list[str]:
    """The names of the guardrails' policies that a role has attached or has as its boundary."""
    prefix = policy_arn("", inventory.partition, inventory.account)
    names = [arn.removeprefix(prefix) for arn in (*role.attached, role.boundary) if arn.startswith(prefix)]
    return [name for name in names if "/" not in name and not is_of_drills(name)]


def _role(reconciler: Reconciler, inventory: Inventory, key: RoleKey, bindings: tuple[Binding, ...]) -> PlannedRole:
    detail = inventory.roles.get(key.name) if key.account == inventory.account else None
    outcome = reconciler.reconcile(key, Origin(Trigger.OPERATOR))
    needs = reconciler.needs
    required = needs.of_role(key, bindings)
    surplus = [policy for policy in (ours(inventory, detail) if detail else ()) if needs.is_surplus(policy, required)]
    # Like a sweep: plan no detachment if something could not be read, because an unread subject may need the policy, or
    # if every guardrail is in observe mode.
    detaches = not (inventory.unread or needs.rules.observes)
    # A role that cannot be protected keeps all of its policies. A role that is never governed needs none of them.
    detaches &= outcome.verdict is not Verdict.UNENFORCEABLE or outcome.reason is Reason.NEVER_GOVERNED
    detached = tuple(policy for policy in surplus if detaches and needs.may_lose(policy, required))
    return PlannedRole(
        outcome,
        bindings,
        len(detail.attached) if detail else 0,
        inventory.policies_per_role,
        detached,
        tuple(policy for policy in surplus if policy not in detached),
        tuple(policy for policy in surplus if detaches and policy not in needs.observed()),
    )


def _policies(
    aws: ListsPolicies, inventory: Inventory, needs: Needs, roles: Iterable[PlannedRole]
) -> Iterator[PlannedPolicy]:
    for policy in compile_rules(needs.rules, inventory.partition):
        found = aws.policy(policy.arn(inventory.partition, inventory.account))
        same = found and digest(found.text) == digest(policy.document)
        yield PlannedPolicy(policy.name, UNCHANGED if same else REPLACED if found else CREATED)
    if inventory.unread or needs.rules.observes:
        return
    published, kept = needs.published(), {name for role in roles for name in role.surplus}
    for name in sorted(name for name in aws.own_policies() if not among(name, published)):
        if aws.policy_description(needs.arn(name, inventory.account)) == DESCRIPTION:
            yield PlannedPolicy(name, KEPT if among(name, kept) else RETIRED)


def _users_of_shared_roles(
    needs: Needs, bindings: Iterable[Binding]
) -> tuple[tuple[SharedRole, ...], tuple[ToldApart, ...]]:
    """The user profiles with another assignment than their domain's role: those that do not get it, and those that do.

    Without source identities, a profile with fewer guardrails than its domain is no finding, because it lacks nothing.
    """
    shared: list[SharedRole] = []
    told_apart: list[ToldApart] = []
    required: dict[str, Mapping[str, Guardrail]] = {}
    for one in shared_profiles(bindings):
        profile, role = one.profile, one.domain.role
        if role is None:
            continue
        if role.path not in required:
            required[role.path] = needs.required(needs.bindings.of_role(role))
        use = needs.shared_use(one, required[role.path])
        whose = (profile.account, profile.region, profile.domain_id, profile.domain_name, profile.user_profile)
        if use.lacking or (use.also and one.domain.identifies):
            why = needs.obstacle(one, use)
            how = recommendation(why, one.domain)
            shared.append(SharedRole(*whose, role.name, use.lacking, how, use.also, why.value))
        elif use.only or use.free_of:
            told_apart.append(ToldApart(*whose, role.name, use.only, use.free_of, limits(one, use)))
    return tuple(shared), tuple(told_apart)


def _ending(needs: Needs, bound: Mapping[str, Sequence[Binding]]) -> Iterator[EndingExemption]:
    today, rules = needs.clock.today(), needs.rules
    keys = [binding.role for bindings in bound.values() for binding in bindings[:1] if binding.role]
    for exemption in rules.exemptions:
        left = (exemption.until - today).days
        if 0 <= left <= ENDS_SOON:
            roles = tuple(
                key.name for key in keys if rules.exemption(key.account, key.name, today, home=needs.home) == exemption
            )
            yield EndingExemption(exemption.role, exemption.until, left, exemption.reason, roles)


def _doubts(needs: Needs, inventory: Inventory) -> Iterator[DoubtfulExemption]:
    for role in needs.exempt_roles(inventory.account):
        verified = needs.exemption(role, inventory.bound.of_role(role))
        if verified and (doubt := verified.doubt):
            recommendation = RECOMMENDATIONS.get(doubt.reason, "")
            yield DoubtfulExemption(role.name, doubt.ends, doubt.reason.value, doubt.message, recommendation)


def _loosened(rules: Rules, inventory: Inventory, *, several_accounts: bool) -> Iterator[LoosenedRule]:
    deciding = [(rules.deciding(binding.subject), binding.label) for binding in inventory.bindings]
    for found in loosenings(rules, several_accounts=several_accounts):
        subjects = tuple(dict.fromkeys(label for number, label in deciding if number == found.number))
        yield LoosenedRule(found.number + 1, found.why, subjects)


def _switches(inventory: Inventory) -> Iterator[OpenSwitch]:
    for binding in inventory.bindings:
        whose = (binding.account, binding.region, binding.domain_id, binding.domain_name, binding.user_profile)
        if binding.deploys:
            yield OpenSwitch(*whose, DIRECT_DEPLOYMENT)
        if binding.via == BEDROCK and binding.role:
            yield OpenSwitch(*whose, BEDROCK_ROLE, binding.role.name)


def _named(inventory: Inventory, bound: Mapping[str, Sequence[Binding]]) -> Iterator[NamedRole]:
    found: dict[tuple[str, str, str, str], dict[RoleKey, list[Binding]]] = {}
    for binding in inventory.bindings:
        of_the_stack = binding.role and binding.role.account in inventory.covered - {inventory.account}
        roles = [(binding.via, binding.role)] if binding.role and of_the_stack else []
        for via, role in (*roles, *binding.other_roles):
            place = (binding.region, binding.domain_name, binding.domain_id, via)
            found.setdefault(place, {}).setdefault(role, []).append(binding)
    for (region, domain_name, domain_id, via), roles_found in sorted(found.items()):
        for role, bindings in sorted(roles_found.items(), key=lambda entry: entry[0].path):
            here = role.account == inventory.account
            yield NamedRole(
                region,
                domain_id,
                domain_name,
                via,
                role.account,
                inventory.spelled(role.name) if here else role.name,
                tuple(binding.label for binding in bindings),
                role.path in bound if here or via in VIAS else None,
            )
