"""What roles need by the rules: the policies that a role must have, can lose and keeps. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rolewarden.bindings import Binding, ReadsBindings, RoleKey
from rolewarden.calls import ReadsPolicies
from rolewarden.clock import Clock
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails import Exemption, Fallback, Guardrail, Mode, Rules, SurplusPolicies
from rolewarden.names import among
from rolewarden.placement import identities, statements_of
from rolewarden.policies import Policy, compile_boundaries, compile_guardrail, is_boundary, policy_arn


@dataclass
class Needs:
    """The needs of roles by `rules`, in an AWS partition, on the day that `clock` tells."""

    rules: Rules
    partition: str
    bindings: ReadsBindings
    clock: Clock = field(default_factory=Clock)
    _policies: dict[str, tuple[Policy, ...]] = field(default_factory=dict)
    _boundaries: frozenset[str] | None = None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the rules."""
        return fingerprint(self.rules, self.partition)

    def of_role(self, role: RoleKey, bindings: Iterable[Binding] | None = None) -> dict[str, Guardrail]:
        """The policies that `role` has to carry: none where it is exempt. Without `bindings` the table is asked."""
        if self.exemption(role):
            return {}
        return self.required(self.bindings.of_role(role) if bindings is None else bindings)

    def exemption(self, role: RoleKey) -> Exemption | None:
        """The exemption of `role` that is in force today."""
        return self.rules.exemption(role.name, self.clock.today())

    def published(self) -> set[str]:
        """Names of all policies of all guardrails, and of the boundaries that may stand in for them."""
        guardrails = {policy.name for name in self.rules.guardrails for policy in self.policies(name)}
        return guardrails | self.boundaries()

    def observed(self) -> set[str]:
        """Names of the policies of guardrails that are only observed."""
        observed = (name for name, guardrail in self.rules.guardrails.items() if guardrail.mode is Mode.OBSERVE)
        return {policy.name for name in observed for policy in self.policies(name)}

    def kept(self) -> set[str]:
        """Names of the policies that stay on a role which does not need them, attached or as its boundary.

        All of the file's, or with `surplus: detach` those that are only observed.
        """
        return self.published() if self.rules.surplus is SurplusPolicies.KEEP else self.observed()

    def may_lose(self, policy: str, required: Mapping[str, Guardrail], kept: Collection[str]) -> bool:
        """Whether a role that carries all it needs, `required`, is to lose `policy`; `kept` is what `kept` gives.

        A boundary of a role that needs something is reconcile's to take off, as long as it is reconcile's to set.
        """
        if is_boundary(policy) and required and self.rules.fallback is Fallback.BOUNDARY:
            return False
        return not (among(policy, required) or among(policy, kept))

    def out_of_reach(self, profile: Binding, domain: Binding) -> tuple[str, ...]:
        """Guardrails that a user profile without a role of its own needs and its domain's default user does not.

        Nobody can keep them: it runs as its domain's role.
        """
        asked = profile._replace(role=domain.role).subject
        kept = {guardrail.name for guardrail in self.rules.required(domain.subject)}
        return tuple(guardrail.name for guardrail in self.rules.required(asked) if guardrail.name not in kept)

    def required(self, bindings: Iterable[Binding]) -> dict[str, Guardrail]:
        """The union of what the subjects of a role need: names of policies, each with the guardrail it belongs to."""
        guardrails = {
            guardrail.name: guardrail for binding in bindings for guardrail in self.rules.required(binding.subject)
        }
        return {policy.name: g for name, g in sorted(guardrails.items()) for policy in self.policies(name)}

    def policies(self, guardrail: str) -> tuple[Policy, ...]:
        """The compiled policies of a guardrail, compiled once."""
        if guardrail not in self._policies:
            self._policies[guardrail] = compile_guardrail(self.rules.guardrails[guardrail], self.partition)
        return self._policies[guardrail]

    def are_in_effect(self, required: Mapping[str, Guardrail], account: str, iam: ReadsPolicies) -> bool:
        """Whether these policies together deny in IAM all that their enforced guardrails deny.

        During a rule change they may not (see `rolewarden.placement`). A role that has them all then keeps its other
        policies and its boundary. Raises Refused and RetryLater.
        """
        said: set[str] = set()
        wanted: set[str] = set()
        for name, guardrail in required.items():
            if guardrail.mode is Mode.ENFORCE:
                [policy] = [policy for policy in self.policies(guardrail.name) if policy.name == name]
                wanted |= identities(statements_of(policy.document))
                found = iam.policy(policy.arn(self.partition, account))
                said |= identities(statements_of(found.text)) if found else frozenset()
        return wanted <= said

    def boundaries(self) -> frozenset[str]:
        """Names of the boundaries there are, compiled once: none without `fallback: boundary`."""
        if self._boundaries is None:
            self._boundaries = frozenset(policy.name for policy in compile_boundaries(self.rules, self.partition))
        return self._boundaries

    def arn(self, policy: str, account: str) -> str:
        """The ARN of a guardrail's policy in `account`."""
        return policy_arn(policy, self.partition, account)
