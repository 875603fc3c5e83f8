"""The needs of roles by the rules: the policies that a role must have, the surplus, and the policies that it keeps.

This module writes nothing.

guardrails.yaml names an exempt role by its account and name. Every caller who can delete and create roles can give that
name to another role, and every caller who can change a domain can give the role to all its users. Each evaluation
therefore compares an exemption with AWS:

- If the exemption names the unique ID of the role, no other role is exempt. Otherwise the role must be older than the
  last deployment of the rules. IAM gives a role that is created again another unique ID and a later creation time, so
  this comparison detects the other ID without storing it.
- If the exemption names subjects, all uses of the role must be among them.
- A caller who creates a domain or user profile chooses its name. So unless the exemption names domains by ID, a subject
  counts as known at the deployment only if SageMaker has not changed it since then.

The deployment's time comes from CloudFormation, the role's from IAM, and the subject's from SageMaker: each sweep
compares the copy in the bindings table with SageMaker's list. A forged row therefore cannot extend an exemption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import NamedTuple

from rolewarden.bindings import ROLE, Binding, ReadsBindings, RoleKey, SharedProfile
from rolewarden.calls import DescribesRoles, FindsNamesakes, ReadsPolicies
from rolewarden.clock import Clock
from rolewarden.documents import digest
from rolewarden.errors import Gone, Refused
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails import EXCEPT, ONLY, Exemption, Fallback, Guardrail, Mode, Rules, SurplusPolicies
from rolewarden.history import NoHistory
from rolewarden.hold import Holds, ReadsHistory
from rolewarden.listed import PublishedPolicy, RoleDescription
from rolewarden.matching import names_ids
from rolewarden.names import among, folded
from rolewarden.placement import identities, is_compiled, statements_of
from rolewarden.policies import (
    Policy,
    compile_boundaries,
    compile_for_users,
    compile_guardrail,
    is_boundary,
    policy_arn,
)
from rolewarden.shared_roles import Obstacle, RoleUsers, SharedUse, obstacle
from rolewarden.verdicts import Doubt, Reason

EXEMPTION_OF = "exemption of "
"""The beginning of the message of each doubt, which the name of the role follows."""

NEVER_OF = "never_govern of "
"""As EXEMPTION_OF, for a role that `never_govern` names."""

SOME_USES = 5
"""The number of uses of a role that a doubt names."""


class Exemptions:
    """Compares exemptions with AWS.

    `deployed` gives the time at which the last deployment of the rules began, in seconds of the epoch. It gives None if
    the rules are not deployed yet: a deployment would exempt every role as it is now.
    """

    def __init__(self, aws: DescribesRoles, deployed: Callable[[], float | None]) -> None:
        self.aws = aws
        self._read_deployed = deployed
        self._deployed: float | None = None

    def verify(self, exemption: Exemption, role: RoleKey, bindings: Sequence[Binding]) -> VerifiedExemption:
        """Compare the exemption of `role` with AWS.

        `bindings` are all uses of the role. User profiles that inherit the role can be among them. Raises RetryLater.
        """
        name = f"{EXEMPTION_OF}{exemption.role}"
        try:
            found: RoleDescription | None = self.aws.within(role.account).role(role.name)
        except Gone:
            message = f"{name}: account {role.account} has no role of this name"
            return VerifiedExemption(exemption, Doubt(Reason.EXEMPT_ABSENT, message, ends=True))
        except Refused as refused:
            if refused.reason is not Reason.NOT_ENTERED:
                doubt = Doubt(refused.reason or Reason.REFUSED, f"{name}: {refused}", ends=True)
                return VerifiedExemption(exemption, doubt)
            # Without a way into the account, Rolewarden can attach nothing to the role, whether it is exempt or not.
            found = None
        of_role = self._of_identity(name, exemption, found) if found else None
        uses = [binding for binding in bindings if binding.kind != ROLE]
        return VerifiedExemption(exemption, of_role or self._of_uses(name, exemption, uses), found)

    def doubt_of_never_governed(self, role: RoleKey) -> Doubt | None:
        """The doubt about a role that `never_govern` names; None if there is none. Raises RetryLater.

        A role that IAM does not show can get no guardrail, so this is no doubt.
        """
        try:
            found = self.aws.within(role.account).role(role.name)
        except Refused:
            return None
        if deployed := self._before(found.created):
            message = f"{NEVER_OF}{role.name}: role {found.id} was created {_at(found.created)}, after the deployment"
            return Doubt(Reason.NEVER_NEWER, f"{message} {_at(deployed)}", ends=True)
        return None

    def _of_identity(self, name: str, exemption: Exemption, found: RoleDescription) -> Doubt | None:
        if exemption.role_id:
            message = f"{name}: the role has the ID {found.id}, and the exemption is for {exemption.role_id}"
            return Doubt(Reason.EXEMPT_OTHER, message, ends=True) if found.id != exemption.role_id else None
        if deployed := self._before(found.created):
            message = f"{name}: role {found.id} was created {_at(found.created)}, after the deployment {_at(deployed)}"
            return Doubt(Reason.EXEMPT_NEWER, message, ends=True)
        return None

    def _of_uses(self, name: str, exemption: Exemption, uses: Sequence[Binding]) -> Doubt | None:
        if exemption.names_subjects:
            # A user profile that inherits the role of its domain is covered with the domain's default user, or not.
            beyond = [use for use in uses if use.role and not exemption.covers(use.subject)]
            message = f"{name}: it does not name {_named(beyond)}"
            if beyond or names_ids(exemption.domains):
                return Doubt(Reason.EXEMPT_BEYOND, message, ends=True) if beyond else None
        # A subject without a time counts as changed now.
        gained = [use for use in uses if self._before(float(use.modified or "inf"))]
        message = f"{name}: since the last deployment, a caller changed {_named(gained)}"
        return Doubt(Reason.EXEMPT_GAINED, message, ends=False) if gained else None

    def deployed(self) -> float | None:
        """The time of the last deployment, read now; None if the rules are not deployed. Raises RetryLater."""
        self._deployed = self._read_deployed()
        return self._deployed

    def _before(self, time: float) -> float | None:
        """The time of the last deployment if it is before `time`; otherwise None."""
        if self._deployed is None or self._deployed < time:
            # A function can outlive a deployment that does not change it.
            self.deployed()
        return self._deployed if self._deployed is not None and self._deployed < time else None


class NeverGovernedRole(NamedTuple):
    """A role that `never_govern` names, and the doubt about it; None without one."""

    doubt: Doubt | None

    @property
    def holds(self) -> bool:
        """Whether the role gets no guardrail."""
        return self.doubt is None


class VerifiedExemption(NamedTuple):
    """An exemption that guardrails.yaml has for a role.

    - `doubt`: the first doubt about it; None without one.
    - `found`: the role in IAM. None if IAM does not show one.
    """

    exemption: Exemption
    doubt: Doubt | None
    found: RoleDescription | None = None

    @property
    def holds(self) -> bool:
        """Whether the role is exempt."""
        return not (self.doubt and self.doubt.ends)


def changed_trust(role: RoleKey, time: float) -> Doubt:
    """The doubt about an exempt role whose trust policy a caller changed at `time`, after the last deployment."""
    message = f"{EXEMPTION_OF}{role.name}: a caller changed its trust policy {_at(time)}, after the last deployment"
    return Doubt(Reason.EXEMPT_TRUST, message, ends=False)


def replaced(found: RoleDescription) -> Doubt:
    """The report that a deployment confirmed an exempt role which is not the one that was exempt before."""
    message = f"{EXEMPTION_OF}{found.name}: a deployment confirmed role {found.id}, created {_at(found.created)}"
    return Doubt(Reason.EXEMPT_REPLACED, f"{message}, and another role of this name was exempt before", ends=False)


def _named(uses: Sequence[Binding]) -> str:
    # SageMaker may answer with the name in the caller's spelling, and a finding is the same in each spelling.
    labels = sorted({folded(use.label) for use in uses})
    more = f" and {len(labels) - SOME_USES} more" if len(labels) > SOME_USES else ""
    return f"{', '.join(labels[:SOME_USES])}{more}"


def _at(time: float) -> str:
    return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Needs:
    """The needs of roles by `rules`, in an AWS partition, on the current day of `clock`.

    - `home`: the account in which exemptions without an account apply.
    - `exemptions`: compares exemptions with AWS.
    - `history`: the record of what happened to a role. None if no stack keeps one.
    """

    rules: Rules
    partition: str
    bindings: ReadsBindings
    home: str
    exemptions: Exemptions
    clock: Clock = field(default_factory=Clock)
    history: ReadsHistory | None = None
    _policies: dict[str, tuple[Policy, ...]] = field(default_factory=dict)
    _published: dict[str, PublishedPolicy] = field(default_factory=dict)
    _boundaries: tuple[Policy, ...] | None = None
    _variants: Mapping[str, Guardrail] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the rules."""
        return fingerprint(self.rules, self.partition)

    def of_role(self, role: RoleKey, bindings: Iterable[Binding] | None = None) -> dict[str, Guardrail]:
        """The policies that `role` must have, by name with their guardrail. Empty if the role is exempt.

        `bindings` are all bindings of the role; None means that the table is read. Raises RetryLater.
        """
        if (never := self.never(role)) and never.holds:
            return {}
        bound = tuple(self.bindings.of_role(role) if bindings is None else bindings)
        verified = self.exemption(role, bound)
        return {} if verified and verified.holds else self.required(bound)

    def exemption(self, role: RoleKey, bindings: Sequence[Binding]) -> VerifiedExemption | None:
        """The exemption that the rules have today for `role`, compared with AWS; None if they have none.

        `bindings` are all bindings of the role. Raises RetryLater.
        """
        found = self.rules.exemption(role.account, role.name, self.clock.today(), home=self.home)
        return self.exemptions.verify(found, role, bindings) if found else None

    def never(self, role: RoleKey) -> NeverGovernedRole | None:
        """Whether the rules never govern `role`, compared with AWS; None if they do not name it. Raises RetryLater."""
        if self.rules.never(role.account, role.name, home=self.home) is None:
            return None
        return NeverGovernedRole(self.exemptions.doubt_of_never_governed(role))

    @property
    def holds(self) -> Holds:
        """The decision about roles that may be somebody else's."""
        return Holds(self.rules, self.exemptions.deployed, self.history or NoHistory())

    def exempt_roles(self, account: str) -> list[RoleKey]:
        """The roles of `account` that the rules exempt today, whether they exist or not."""
        named = (RoleKey(account, exemption.role) for exemption in self.rules.exemptions)
        today = self.clock.today()
        in_force = (role for role in named if self.rules.exemption(account, role.name, today, home=self.home))
        return list(dict.fromkeys(in_force))

    def published(self) -> set[str]:
        """The names of all policies of all guardrails, and of the fallback boundaries."""
        guardrails = {policy.name for name in self.guardrails for policy in self.policies(name)}
        return guardrails | self.boundaries()

    def observed(self) -> set[str]:
        """The names of the policies of guardrails in observe mode."""
        observed = (name for name, guardrail in self.guardrails.items() if guardrail.mode is Mode.OBSERVE)
        return {policy.name for name in observed for policy in self.policies(name)}

    def is_surplus(self, policy: str, required: Mapping[str, Guardrail]) -> bool:
        """Whether a role that needs the policies `required` does not need `policy`, attached or as its boundary.

        With `fallback: boundary`, the result is False for the boundary of a role that needs a policy, because then the
        Reconciler sets and removes boundaries.
        """
        if is_boundary(policy) and required and self.rules.fallback is Fallback.BOUNDARY:
            return False
        return not among(policy, required)

    def may_lose(self, policy: str, required: Mapping[str, Guardrail]) -> bool:
        """Whether Rolewarden detaches `policy` by itself from a role that has all the policies `required`.

        With `surplus: keep`, the role keeps it, also if the guardrail was removed from guardrails.yaml or renamed. Only
        the boundary of a role that has its guardrails attached goes, if guardrails.yaml has no fallback any more. With
        `surplus: detach`, the role keeps the policies of guardrails in observe mode.
        """
        if not self.is_surplus(policy, required):
            return False
        if self.rules.surplus is SurplusPolicies.DETACH:
            return not among(policy, self.observed())
        return is_boundary(policy) and bool(required) and not among(policy, self.published())

    @property
    def for_users(self) -> Mapping[str, Guardrail]:
        """The guardrails of `Rules.for_users` that can be compiled, by name."""
        if self._variants is None:
            compiled = compile_for_users(self.rules, self.partition)
            self._policies.update(compiled)
            self._variants = {name: found for name, found in self.rules.for_users.items() if name in compiled}
        return self._variants

    @property
    def guardrails(self) -> Mapping[str, Guardrail]:
        """All guardrails that have policies, by name."""
        return {**self.rules.guardrails, **self.for_users}

    def shared_use(self, shared: SharedProfile, required: Mapping[str, Guardrail]) -> SharedUse:
        """The part of its assignment that a user profile without its own role gets.

        `required` are the policies that its domain's role needs, as `required` gives them.
        """
        profile, domain = shared.profile, shared.domain
        wanted = [one.name for one in self.rules.required(profile._replace(role=domain.role).subject)]
        of_default = [one.name for one in self.rules.required(domain.subject)]
        by_name, user = {one.name: one for one in required.values()}, folded(profile.user_profile)
        only, free_of = [], []
        if domain.identifies:
            only = [name for name in wanted if (found := by_name.get(ONLY + name)) and user in found.only_users]
            free_of = [
                name for name in of_default if (found := by_name.get(EXCEPT + name)) and user in found.except_users
            ]
        kept = () if shared.uses_bedrock_role else only
        return SharedUse(
            tuple(name for name in wanted if name not in of_default and name not in kept),
            tuple(only),
            tuple(name for name in free_of if name not in wanted),
            tuple(name for name in of_default if name not in wanted and name not in free_of),
        )

    def obstacle(self, shared: SharedProfile, use: SharedUse) -> Obstacle:
        """The reason why a user profile does not get its assignment. Raises RetryLater."""
        role = shared.domain.role
        return obstacle(self.rules, shared, use, variants=self.for_users, of_role=lambda: self._obstacle_of_role(role))

    def required(self, bindings: Iterable[Binding]) -> dict[str, Guardrail]:
        """The policies that the subjects of a role need together, by name with their guardrail.

        If users of the role can be told apart, some policies are for these users only, or for all others. Policies for
        some users are last, because the others must not lack the last free place. Raises RetryLater.
        """
        bound = tuple(bindings)
        found = self._for_everybody(bound)
        if self.for_users:
            users = RoleUsers(self.rules, bound, self.bindings.of_domain)
            # Several guardrails of a role can have exceptions.
            may_except = cache(lambda: self._obstacle_of_role(users.role) is None)
            found = users.told_apart(found, self.for_users, may_except)
        return self._policies_of(found)

    def required_for_everybody(self, bindings: Iterable[Binding]) -> dict[str, Guardrail]:
        """As `required`, but no user is told apart, and so no session of the role is an exception."""
        return self._policies_of(self._for_everybody(bindings))

    def _for_everybody(self, bindings: Iterable[Binding]) -> dict[str, Guardrail]:
        return {
            guardrail.name: guardrail
            for binding in bindings
            if binding.role
            for guardrail in self.rules.required(binding.subject)
        }

    def _policies_of(self, guardrails: Mapping[str, Guardrail]) -> dict[str, Guardrail]:
        ordered = sorted(guardrails.items(), key=lambda found: (found[0].startswith(ONLY), found[0]))
        return {policy.name: guardrail for name, guardrail in ordered for policy in self.policies(name)}

    @property
    def excepts(self) -> bool:
        """Whether the rules have a guardrail with exceptions for users of a shared role."""
        return any(name.startswith(EXCEPT) for name in self.for_users)

    def _obstacle_of_role(self, role: RoleKey | None) -> Obstacle | None:
        """The reason why the sessions of `role` can have no exception; None if they can. Raises RetryLater."""
        try:
            found = self.exemptions.aws.within(role.account).role(role.name) if role else None
        except Refused:
            found = None
        if role is None or found is None or not found.trust.lets_only_sagemaker_identify:
            return Obstacle.TRUST
        return None if self.bindings.covers_domains(role.account) else Obstacle.OUTSIDE

    def policies(self, guardrail: str) -> tuple[Policy, ...]:
        """The policies of a guardrail, which are compiled only once."""
        if guardrail not in self._policies:
            self._policies[guardrail] = compile_guardrail(self.guardrails[guardrail], self.partition)
        return self._policies[guardrail]

    def are_in_effect(self, required: Mapping[str, Guardrail], account: str, iam: ReadsPolicies) -> bool:
        """Whether the policies in IAM together contain every statement of the guardrails in enforce mode.

        During a rule change they may lack some (see `rolewarden.placement`). A role then keeps its other policies and
        its boundary, even if it has all policies that it needs. Raises Refused and RetryLater.
        """
        existing: set[str] = set()
        wanted: set[str] = set()
        for name, guardrail in required.items():
            if guardrail.mode is Mode.ENFORCE:
                [policy] = [policy for policy in self.policies(guardrail.name) if policy.name == name]
                wanted |= identities(statements_of(policy.document))
                found = iam.policy(policy.arn(self.partition, account))
                existing |= identities(statements_of(found.text)) if found else frozenset()
        return wanted <= existing

    def verify(self, policy: str, account: str, iam: FindsNamesakes) -> None:
        """Raise Refused if a policy in IAM is not one that Rolewarden writes for these rules.

        Every caller who can create a policy can take the name of a guardrail's policy before PublishFunction does, or
        can edit the policy. A role must not get such a policy. During a rule change the policy can have statements of
        the earlier rules (see `rolewarden.placement`). Each of those is a deny, so it gives no permission. Raises
        RetryLater.
        """
        arn = self.arn(policy, account)
        found = iam.policy(arn, self._published.get(arn))
        if found is None:
            if other := iam.namesake(policy):
                message = f"GetPolicy: {arn} does not exist, because {other} has its name: delete or rename that policy"
                raise Refused(Reason.NAME_TAKEN, message)
            raise Refused(Reason.POLICY_MISSING, f"GetPolicy: {arn} does not exist, or IAM does not show it yet")
        self._published[arn] = found
        if not is_compiled(found.text, self._target(policy).document):
            raise Refused(
                Reason.POLICY_EDITED,
                f"GetPolicyVersion: version {found.version} of {arn} has statements that Rolewarden does not write",
            )

    def is_in_iam(self, policy: str, account: str, iam: ReadsPolicies) -> bool:
        """Whether a policy of these rules is in IAM with exactly the document of the rules.

        Raises Refused and RetryLater.
        """
        found = iam.policy(self.arn(policy, account))
        return found is not None and digest(found.text) == digest(self._target(policy).document)

    def _target(self, policy: str) -> Policy:
        candidates = (found for name in self.guardrails for found in self.policies(name))
        return next(found for found in (*candidates, *self._compiled_boundaries()) if found.name == policy)

    def boundaries(self) -> frozenset[str]:
        """The names of the fallback boundaries. Empty without `fallback: boundary`."""
        return frozenset(policy.name for policy in self._compiled_boundaries())

    def _compiled_boundaries(self) -> tuple[Policy, ...]:
        """The fallback boundaries, which are compiled only once."""
        if self._boundaries is None:
            self._boundaries = tuple(compile_boundaries(self.rules, self.partition))
        return self._boundaries

    def arn(self, policy: str, account: str) -> str:
        """The ARN of a guardrail's policy in `account`."""
        return policy_arn(policy, self.partition, account)
