"""reconcile(role): the only place that decides whether a role has drifted and what is done about it.

Events, the sweep, rechecks and the command line all come here with no more than a role. What is the case is read from
the bindings and from IAM each time; without a difference nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rolewarden.bindings import Binding, RoleKey
from rolewarden.calls import AttachesPolicies
from rolewarden.errors import Gone, PartlyDone, Refused, RetryLater
from rolewarden.guardrails import Fallback, Guardrail, Mode
from rolewarden.names import folded_arn
from rolewarden.needs import Needs
from rolewarden.origin import Origin
from rolewarden.policies import BOUNDARY, boundary_name
from rolewarden.verdicts import Outcome, Reason, Remediation, Verdict


@dataclass
class Reconciler:
    """Compares what a role needs with what it carries, and attaches what is missing.

    With `observe`, every guardrail is in observe mode, whatever its own mode is: a role that lacks a policy is drifted
    and is reported, and nothing is written to IAM.
    """

    aws: AttachesPolicies
    needs: Needs
    observe: bool = False

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
        bindings = bindings or self.needs.bindings.of_role(role, fresh)
        # The name in the request can be in the caller's spelling; the binding has the spelling of the settings.
        role = next((binding.role for binding in bindings if binding.role), role)
        required = self.needs.required(bindings)
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
        if exemption := self.needs.exemption(role):
            return _verdict(outcome, Verdict.EXEMPT, message=f"until {exemption.until}: {exemption.reason}")
        if not required:
            return outcome
        if role.account != account:
            return _verdict(outcome, Verdict.UNENFORCEABLE, Reason.OTHER_ACCOUNT)
        return self._remediate(role, required, outcome, unsettled=unsettled)

    def _remediate(
        self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome, *, unsettled: bool
    ) -> Outcome:
        try:
            carried = self.aws.within(role.account).attached_policies(role.name)
        except Gone:
            # It is still named by SageMaker: when somebody makes it again, CreateRole brings it back here.
            return _verdict(outcome, Verdict.OUT_OF_SCOPE, Reason.ROLE_GONE)
        except Refused as refused:
            return _verdict(outcome, Verdict.UNENFORCEABLE, refused.reason, str(refused))
        # By ARN: anybody may own a policy of the same name under another path.
        there = frozenset(map(folded_arn, carried))
        missing = tuple(policy for policy in required if folded_arn(self.needs.arn(policy, role.account)) not in there)
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
            now = carried.union(self.needs.arn(policy, role.account) for policy in outcome.attached)
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
                    role.name, self.needs.arn(policy, role.account), correlation_id=outcome.correlation_id
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
        if self.needs.rules.fallback is not Fallback.BOUNDARY:
            return _unenforceable(outcome, full)
        name = boundary_name(_enforced(required))
        if name not in self.needs.boundaries():
            return _unenforceable(outcome, full, f"{full}; {self._why_no_boundary(name, required)}")
        wanted = self.needs.arn(name, role.account)
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
        if name in map(boundary_name, self.needs.rules.enforced_together):
            return "the boundary for its guardrails is longer than an IAM policy may be, see `rolewarden check`"
        together = ", ".join(_enforced(required))
        return f"there is no boundary for {together}: its subjects need them together, and no assignment does"

    def _observed(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome) -> Outcome:
        """Without writing, a role that lacks policies, which a boundary may stand in for."""
        observed = outcome._replace(remediation=Remediation.OBSERVED)
        if self.needs.rules.fallback is not Fallback.BOUNDARY:
            return observed
        wanted = self.needs.arn(boundary_name(_enforced(required)), role.account)
        try:
            holds = folded_arn(self.aws.within(role.account).role(role.name).boundary) == folded_arn(wanted)
        except Refused as refused:
            return observed._replace(message=str(refused))
        return _held(outcome, required, wanted) if holds else observed

    def _remove_boundary(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome) -> Outcome:
        """Take our boundary off a role that carries all it needs: before it had none, else ours had not been set."""
        if self.observe or self.needs.rules.fallback is not Fallback.BOUNDARY or not _enforced(required):
            return outcome
        try:
            aws = self.aws.within(role.account)
            boundary = aws.role(role.name).boundary
            if not self._is_ours(boundary, role.account) or not self.needs.are_in_effect(required, role.account, aws):
                return outcome
            removed = aws.remove_boundary(role.name, correlation_id=outcome.correlation_id)
        except Gone:
            return outcome._replace(verdict=Verdict.OUT_OF_SCOPE, reason=Reason.ROLE_GONE)
        except Refused as refused:
            return outcome._replace(reason=refused.reason, message=str(refused))
        except RetryLater as error:
            raise _partly(outcome, error) from error
        return outcome._replace(boundary_removed=boundary) if removed else outcome

    def _is_ours(self, boundary: str, account: str) -> bool:
        return folded_arn(boundary).startswith(self.needs.arn(BOUNDARY, account))


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
