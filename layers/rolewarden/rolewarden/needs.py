"""The needs of roles by the rules: the policies that a role must have, the surplus, and the policies that it keeps.

This module writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rolewarden.bindings import Binding, ReadsBindings, RoleKey
from rolewarden.calls import ReadsPolicies
from rolewarden.clock import Clock
from rolewarden.errors import Refused
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails import Exemption, Fallback, Guardrail, Mode, Rules, SurplusPolicies
from rolewarden.listed import PublishedPolicy
from rolewarden.names import among
from rolewarden.placement import identities, is_compiled, statements_of
from rolewarden.policies import Policy, compile_boundaries, compile_guardrail, is_boundary, policy_arn
from rolewarden.verdicts import Reason


@dataclass
class Needs:
    """The needs of roles by `rules`, in an AWS partition, on the current day of `clock`."""

    rules: Rules
    partition: str
    bindings: ReadsBindings
    clock: Clock = field(default_factory=Clock)
    _policies: dict[str, tuple[Policy, ...]] = field(default_factory=dict)
    _published: dict[str, PublishedPolicy] = field(default_factory=dict)
    _boundaries: tuple[Policy, ...] | None = None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the rules."""
        return fingerprint(self.rules, self.partition)

    def of_role(self, role: RoleKey, bindings: Iterable[Binding] | None = None) -> dict[str, Guardrail]:
        """The policies that `role` must have, by name with their guardrail. Empty if the role is exempt.

        `bindings` are all bindings of the role; None means that the table is read.
        """
        if self.exemption(role):
            return {}
        return self.required(self.bindings.of_role(role) if bindings is None else bindings)

    def exemption(self, role: RoleKey) -> Exemption | None:
        """The exemption of `role` that applies today; None if the role is not exempt."""
        return self.rules.exemption(role.name, self.clock.today())

    def published(self) -> set[str]:
        """The names of all policies of all guardrails, and of the fallback boundaries."""
        guardrails = {policy.name for name in self.rules.guardrails for policy in self.policies(name)}
        return guardrails | self.boundaries()

    def observed(self) -> set[str]:
        """The names of the policies of guardrails in observe mode."""
        observed = (name for name, guardrail in self.rules.guardrails.items() if guardrail.mode is Mode.OBSERVE)
        return {policy.name for name in observed for policy in self.policies(name)}

    def kept(self) -> set[str]:
        """The names of the policies that a role keeps even if it does not need them, attached or as its boundary.

        With `surplus: detach`, these are the policies of guardrails in observe mode. Otherwise they are all policies of
        guardrails.yaml and the fallback boundaries.
        """
        return self.published() if self.rules.surplus is SurplusPolicies.KEEP else self.observed()

    def may_lose(self, policy: str, required: Mapping[str, Guardrail], kept: Collection[str]) -> bool:
        """Whether `policy` is to be detached from a role that has all the policies that it needs.

        - `required`: the policies that the role needs.
        - `kept`: the result of `kept`. Empty to find every surplus policy.

        With `fallback: boundary`, the result is False for the boundary of a role that needs a policy, because then the
        Reconciler sets and removes boundaries.
        """
        if is_boundary(policy) and required and self.rules.fallback is Fallback.BOUNDARY:
            return False
        return not (among(policy, required) or among(policy, kept))

    def out_of_reach(self, profile: Binding, domain: Binding) -> tuple[str, ...]:
        """The guardrails that a user profile without its own role needs, and that its domain's default user does not.

        Rolewarden cannot attach them for this user profile only, because it runs as its domain's role.
        """
        subject = profile._replace(role=domain.role).subject
        attachable = {guardrail.name for guardrail in self.rules.required(domain.subject)}
        return tuple(guardrail.name for guardrail in self.rules.required(subject) if guardrail.name not in attachable)

    def required(self, bindings: Iterable[Binding]) -> dict[str, Guardrail]:
        """The policies that the subjects of a role need together, by name with their guardrail."""
        guardrails = {
            guardrail.name: guardrail for binding in bindings for guardrail in self.rules.required(binding.subject)
        }
        return {policy.name: g for name, g in sorted(guardrails.items()) for policy in self.policies(name)}

    def policies(self, guardrail: str) -> tuple[Policy, ...]:
        """The policies of a guardrail, which are compiled only once."""
        if guardrail not in self._policies:
            self._policies[guardrail] = compile_guardrail(self.rules.guardrails[guardrail], self.partition)
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

    def verify(self, policy: str, account: str, iam: ReadsPolicies) -> None:
        """Raise Refused if a policy in IAM is not one that Rolewarden writes for these rules.

        Every caller who can create a policy can take the name of a guardrail's policy before PublishFunction does, or
        can edit the policy. A role must not get such a policy. During a rule change the policy can have statements of
        the earlier rules (see `rolewarden.placement`). Each of those is a deny, so it gives no permission. Raises
        RetryLater.
        """
        arn = self.arn(policy, account)
        found = iam.policy(arn, self._published.get(arn))
        if found is None:
            raise Refused(Reason.POLICY_MISSING, f"GetPolicy: {arn} does not exist, or IAM does not show it yet")
        self._published[arn] = found
        if not is_compiled(found.text, self._target(policy).document):
            raise Refused(
                Reason.POLICY_EDITED,
                f"GetPolicyVersion: version {found.version} of {arn} has statements that Rolewarden does not write",
            )

    def _target(self, policy: str) -> Policy:
        candidates = (found for name in self.rules.guardrails for found in self.policies(name))
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
