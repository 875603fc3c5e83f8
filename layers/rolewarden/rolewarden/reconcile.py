"""reconcile(role): the only place that decides whether a role has drifted and what is done about it.

Events, the sweep, rechecks and the command line all come here with no more than a role. What is the case is read from
the bindings and from IAM each time; without a difference nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Protocol

from rolewarden.aws import PublishedPolicy, RoleDescription
from rolewarden.bindings import Binding, BindingsTable, RoleKey
from rolewarden.errors import Gone, PartlyDone, Refused, RetryLater
from rolewarden.guardrails import Exemption, Fallback, Guardrail, Mode, Rules, SurplusPolicies
from rolewarden.names import among, folded_arn
from rolewarden.origin import Origin
from rolewarden.placement import identities, statements_of
from rolewarden.policies import (
    BOUNDARY,
    Policy,
    boundary_name,
    compile_boundaries,
    compile_guardrail,
    is_boundary,
    policy_arn,
)
from rolewarden.verdicts import Outcome, Reason, Remediation, Verdict


def today() -> date:
    """The day by which exemptions end (UTC)."""
    return datetime.now(UTC).date()


class Iam(Protocol):
    """What reconcile asks of IAM and does there: AWS, or who only wants to know what would be done."""

    @property
    def partition(self) -> str:
        """The first part of every ARN behind `arn:`."""

    def within(self, account: str) -> Iam:
        """As `Aws.within`."""

    def attached_policies(self, role: str) -> frozenset[str]:
        """As `Aws.attached_policies`."""

    def role(self, name: str) -> RoleDescription:
        """As `Aws.role`."""

    def policy(self, policy_arn: str) -> PublishedPolicy | None:
        """As `Aws.policy`."""

    def attach(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """As `Aws.attach`."""

    def set_boundary(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """As `Aws.set_boundary`."""

    def remove_boundary(self, role: str, *, correlation_id: str) -> bool:
        """As `Aws.remove_boundary`."""


@dataclass
class Reconciler:
    """Compares what a role needs with what it carries, and attaches what is missing.

    With `observe` every guardrail is only looked at, whatever its mode: the same verdicts, nothing written to IAM.
    """

    aws: Iam
    table: BindingsTable
    rules: Rules
    today: Callable[[], date] = today
    observe: bool = False
    _policies: dict[str, tuple[Policy, ...]] = field(default_factory=dict)
    _boundaries: frozenset[str] | None = None

    def reconcile(
        self,
        role: RoleKey,
        origin: Origin,
        *,
        account: str,
        fresh: Iterable[Binding] = (),
        bindings: tuple[Binding, ...] = (),
        unsettled: bool = False,
    ) -> Outcome:
        """Bring `role` to what its subjects need; `account` is the one worked in.

        `fresh` are bindings that were read a moment ago (see `BindingsTable.of_role`), `bindings` all that there are,
        where the caller has just read them. With `unsettled` somebody has just set the role's permissions boundary, and
        IAM may not show it yet. Raises RetryLater, as PartlyDone where something was attached before; what AWS refuses
        for good is an `unenforceable` outcome.
        """
        bindings = bindings or self.table.of_role(role, fresh)
        # The name in the request can be in the caller's spelling; the binding has the spelling of the settings.
        role = next((binding.role for binding in bindings if binding.role), role)
        required = self.required(bindings)
        outcome = Outcome(
            role.account,
            role.name,
            Verdict.COMPLIANT,
            Verdict.COMPLIANT,
            origin,
            required=tuple(required),
            subjects=tuple(binding.label for binding in bindings),
            correlation_id=origin.new_correlation_id(),
        )
        if not bindings:
            return _verdict(outcome, Verdict.OUT_OF_SCOPE)
        if exemption := self.exemption(role):
            return _verdict(outcome, Verdict.EXEMPT, message=f"until {exemption.until}: {exemption.reason}")
        if not required:
            return outcome
        if role.account != account:
            return _verdict(outcome, Verdict.UNENFORCEABLE, Reason.OTHER_ACCOUNT)
        return self._mend(role, required, outcome, unsettled=unsettled)

    def needs(self, role: RoleKey, bindings: Iterable[Binding] | None = None) -> dict[str, Guardrail]:
        """The policies that `role` has to carry: none where it is exempt. Without `bindings` the table is asked."""
        if self.exemption(role):
            return {}
        return self.required(self.table.of_role(role) if bindings is None else bindings)

    def exemption(self, role: RoleKey) -> Exemption | None:
        """The exemption of `role` that is in force today."""
        return self.rules.exemption(role.name, self.today())

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
            self._policies[guardrail] = compile_guardrail(self.rules.guardrails[guardrail], self.aws.partition)
        return self._policies[guardrail]

    def are_in_effect(self, required: Mapping[str, Guardrail], account: str) -> bool:
        """Whether these policies together deny in IAM all that their enforced guardrails deny.

        During a rule change they may not (see `rolewarden.placement`). A role that has them all then keeps its other
        policies and its boundary. Raises Refused and RetryLater.
        """
        aws = self.aws.within(account)
        said: set[str] = set()
        wanted: set[str] = set()
        for name, guardrail in required.items():
            if guardrail.mode is Mode.ENFORCE:
                [policy] = [policy for policy in self.policies(guardrail.name) if policy.name == name]
                wanted |= identities(statements_of(policy.document))
                found = aws.policy(policy.arn(self.aws.partition, account))
                said |= identities(statements_of(found.text)) if found else frozenset()
        return wanted <= said

    def boundaries(self) -> frozenset[str]:
        """Names of the boundaries there are, compiled once: none without `fallback: boundary`."""
        if self._boundaries is None:
            self._boundaries = frozenset(policy.name for policy in compile_boundaries(self.rules, self.aws.partition))
        return self._boundaries

    def arn(self, policy: str, account: str) -> str:
        """The ARN of a guardrail's policy in `account`."""
        return policy_arn(policy, self.aws.partition, account)

    def _mend(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome, *, unsettled: bool) -> Outcome:
        try:
            carried = self.aws.within(role.account).attached_policies(role.name)
        except Gone:
            # It is still named by SageMaker: when somebody makes it again, CreateRole brings it back here.
            return _verdict(outcome, Verdict.OUT_OF_SCOPE, Reason.ROLE_GONE)
        except Refused as refused:
            return _verdict(outcome, Verdict.UNENFORCEABLE, refused.reason, str(refused))
        # By ARN: anybody may own a policy of the same name under another path.
        there = frozenset(map(folded_arn, carried))
        missing = tuple(policy for policy in required if folded_arn(self.arn(policy, role.account)) not in there)
        enforced = tuple(policy for policy in missing if required[policy].mode is Mode.ENFORCE)
        if missing:
            outcome = outcome._replace(before=Verdict.DRIFTED, verdict=Verdict.DRIFTED, missing=missing)
        if not enforced:
            outcome = outcome._replace(remediation=Remediation.OBSERVED) if missing else outcome
            return self._remove_boundary(role, required, outcome)
        if self.observe:
            return self._observed(role, required, outcome)
        outcome, refusals = self._attach(role, enforced, outcome)
        if not refusals:
            # What is only observed stays as it is, and the role with it.
            verdict = Verdict.COMPLIANT if outcome.attached == missing else Verdict.DRIFTED
            return self._remove_boundary(role, required, outcome._replace(verdict=verdict))
        if isinstance(refusals[-1], Gone):
            return outcome._replace(verdict=Verdict.OUT_OF_SCOPE, reason=Reason.ROLE_GONE)
        if full := next((refused for refused in refusals if refused.reason is Reason.QUOTA), None):
            now = carried.union(self.arn(policy, role.account) for policy in outcome.attached)
            return self._set_fallback(
                role, required, outcome._replace(attached_policies=tuple(sorted(now))), full, unsettled=unsettled
            )
        return _unenforceable(outcome, refusals[0])

    def _attach(self, role: RoleKey, policies: Iterable[str], outcome: Outcome) -> tuple[Outcome, list[Refused]]:
        """Attach `policies`, as many as IAM takes; `outcome` with those, and why not the others."""
        attached: list[str] = []
        refusals: list[Refused] = []
        for policy in policies:
            try:
                self.aws.within(role.account).attach(
                    role.name, self.arn(policy, role.account), correlation_id=outcome.correlation_id
                )
            except Refused as refused:
                # What stands in the way of one policy seldom stands in the way of the next.
                refusals.append(refused)
                if isinstance(refused, Gone) or refused.reason is Reason.QUOTA:
                    break
            except RetryLater as error:
                raise _partly(outcome._replace(attached=tuple(attached)), error) from error
            else:
                attached.append(policy)
        remediation = Remediation.ATTACHED if attached else Remediation.NONE
        return outcome._replace(attached=tuple(attached), remediation=remediation), refusals

    def _set_fallback(
        self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome, full: Refused, *, unsettled: bool
    ) -> Outcome:
        """A role that may carry no more policies: a boundary denies what they would, where there is room for it."""
        if self.rules.fallback is not Fallback.BOUNDARY:
            return _unenforceable(outcome, full)
        name = boundary_name(_enforced(required))
        if name not in self.boundaries():
            return _unenforceable(outcome, full, f"{full}; {self._why_no_boundary(name, required)}")
        wanted = self.arn(name, role.account)
        try:
            current = self.aws.within(role.account).role(role.name).boundary
            if folded_arn(current) == folded_arn(wanted):
                return _held(outcome, required, wanted)
            if current and not self._is_ours(current, role.account):
                return _unenforceable(outcome, full, f"{full}; it has another boundary")._replace(boundary=current)
            if unsettled:
                # Over a boundary that IAM does not show yet none is set: it may be somebody else's.
                message = f"{full}; its boundary has just changed, so Rolewarden checks it again before it sets one"
                return outcome._replace(message=message, attached_policies=())
            self.aws.within(role.account).set_boundary(role.name, wanted, correlation_id=outcome.correlation_id)
        except Gone:
            return outcome._replace(verdict=Verdict.OUT_OF_SCOPE, reason=Reason.ROLE_GONE, attached_policies=())
        except Refused as refused:
            return _unenforceable(outcome, refused)
        except RetryLater as error:
            raise _partly(outcome, error) from error
        return _held(outcome, required, wanted)._replace(
            before=outcome.before, missing=outcome.missing, remediation=Remediation.BOUNDED
        )

    def _why_no_boundary(self, name: str, required: Mapping[str, Guardrail]) -> str:
        if name in map(boundary_name, self.rules.enforced_together):
            return "the boundary for its guardrails is longer than an IAM policy may be, see `rolewarden check`"
        together = ", ".join(_enforced(required))
        return f"there is no boundary for {together}: its subjects need them together, and no assignment does"

    def _observed(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome) -> Outcome:
        """Without writing, a role that lacks policies, which a boundary may stand in for."""
        observed = outcome._replace(remediation=Remediation.OBSERVED)
        if self.rules.fallback is not Fallback.BOUNDARY:
            return observed
        wanted = self.arn(boundary_name(_enforced(required)), role.account)
        try:
            holds = folded_arn(self.aws.within(role.account).role(role.name).boundary) == folded_arn(wanted)
        except Refused as refused:
            return observed._replace(message=str(refused))
        return _held(outcome, required, wanted) if holds else observed

    def _remove_boundary(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome) -> Outcome:
        """Take our boundary off a role that carries all it needs: before it had none, else ours had not been set."""
        if self.observe or self.rules.fallback is not Fallback.BOUNDARY or not _enforced(required):
            return outcome
        try:
            boundary = self.aws.within(role.account).role(role.name).boundary
            if not self._is_ours(boundary, role.account) or not self.are_in_effect(required, role.account):
                return outcome
            removed = self.aws.within(role.account).remove_boundary(role.name, correlation_id=outcome.correlation_id)
        except Gone:
            return outcome._replace(verdict=Verdict.OUT_OF_SCOPE, reason=Reason.ROLE_GONE)
        except Refused as refused:
            return outcome._replace(reason=refused.reason, message=str(refused))
        except RetryLater as error:
            raise _partly(outcome, error) from error
        return outcome._replace(boundary_removed=boundary) if removed else outcome

    def _is_ours(self, boundary: str, account: str) -> bool:
        return folded_arn(boundary).startswith(self.arn(BOUNDARY, account))


def _enforced(required: Mapping[str, Guardrail]) -> list[str]:
    """Names of the guardrails that have to be attached, sorted."""
    return sorted({guardrail.name for guardrail in required.values() if guardrail.mode is Mode.ENFORCE})


def _held(outcome: Outcome, required: Mapping[str, Guardrail], boundary: str) -> Outcome:
    """`outcome` of a role that this boundary holds: it lacks no more than what is only observed."""
    left = tuple(policy for policy in outcome.missing if required[policy].mode is Mode.OBSERVE)
    verdict = Verdict.DRIFTED if left else Verdict.COMPLIANT
    remediation = Remediation.OBSERVED if left and not outcome.attached else outcome.remediation
    missing = tuple(policy for policy in outcome.missing if policy in {*left, *outcome.attached})
    return outcome._replace(
        before=verdict,
        verdict=verdict,
        remediation=remediation,
        missing=missing,
        boundary=boundary,
        attached_policies=(),
    )


def _unenforceable(outcome: Outcome, refused: Refused, message: str = "") -> Outcome:
    reason = refused.reason
    carried = outcome.attached_policies if reason is Reason.QUOTA else ()
    message = message or str(refused)
    return outcome._replace(verdict=Verdict.UNENFORCEABLE, reason=reason, message=message, attached_policies=carried)


def _partly(outcome: Outcome, error: RetryLater) -> RetryLater:
    """`error`, with what had been done by then where that belongs on the record."""
    if not outcome.attached:
        return error
    return PartlyDone(
        outcome._replace(remediation=Remediation.ATTACHED, message=str(error), attached_policies=()), str(error)
    )


def _verdict(outcome: Outcome, verdict: Verdict, reason: Reason | None = None, message: str = "") -> Outcome:
    return outcome._replace(before=verdict, verdict=verdict, reason=reason, message=message)
