"""reconcile(role): the only place that decides whether a role has drifted and what is done about it.

Events, the sweep, rechecks and the command line all come here with no more than a role. What is the case is read from
the bindings and from IAM each time; without a difference nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from rolewarden.aws import GONE, Aws
from rolewarden.bindings import Binding, BindingsTable, RoleKey
from rolewarden.errors import PartlyDone, Refused, RetryLater
from rolewarden.events import Cause
from rolewarden.guardrails import Exemption, Guardrail, Mode, Release, Rules
from rolewarden.policies import Policy, compile_guardrail, policy_arn
from rolewarden.verdicts import Outcome, Reason, Remedy, Verdict


def today() -> date:
    """The day by which exemptions end (UTC)."""
    return datetime.now(UTC).date()


@dataclass
class Reconciler:
    """Compares what a role needs with what it carries, and attaches what is missing.

    With `observe` every guardrail is only looked at, whatever its mode: the same verdicts, nothing written to IAM.
    """

    aws: Aws
    table: BindingsTable
    rules: Rules
    today: Callable[[], date] = today
    observe: bool = False
    _policies: dict[str, tuple[Policy, ...]] = field(default_factory=dict)

    def reconcile(
        self,
        role: RoleKey,
        cause: Cause,
        *,
        account: str,
        fresh: Iterable[Binding] = (),
        bindings: tuple[Binding, ...] = (),
    ) -> Outcome:
        """Bring `role` to what its subjects need; `account` is the one worked in.

        `fresh` are bindings that were read a moment ago (see `BindingsTable.of_role`), `bindings` all that there are,
        where the caller has just read them. Raises RetryLater, as
        PartlyDone where something was attached before; what AWS refuses for good is an `unenforceable` outcome.
        """
        bindings = bindings or self.table.of_role(role, fresh)
        required = self.required(bindings)
        outcome = Outcome(
            role.account,
            role.name,
            Verdict.COMPLIANT,
            Verdict.COMPLIANT,
            cause,
            required=tuple(required),
            subjects=tuple(binding.label for binding in bindings),
        )
        if not bindings:
            return _verdict(outcome, Verdict.UNGOVERNED)
        if exemption := self.exemption(role):
            return _verdict(outcome, Verdict.EXEMPT, message=f"until {exemption.until}: {exemption.reason}")
        if not required:
            return outcome
        if role.account != account:
            return _verdict(outcome, Verdict.UNENFORCEABLE, Reason.OTHER_ACCOUNT)
        return self._mend(role, required, outcome)

    def needs(self, role: RoleKey, bindings: Iterable[Binding] | None = None) -> dict[str, Guardrail]:
        """The policies that `role` has to carry: none where it is exempt. Without `bindings` the table is asked."""
        if self.exemption(role):
            return {}
        return self.required(self.table.of_role(role) if bindings is None else bindings)

    def exemption(self, role: RoleKey) -> Exemption | None:
        """The exemption of `role` that is in force today."""
        return self.rules.exemption(role.name, self.today())

    def published(self) -> set[str]:
        """Names of all policies of all guardrails."""
        return {policy.name for name in self.rules.guardrails for policy in self.policies(name)}

    def observed(self) -> set[str]:
        """Names of the policies of guardrails that are only observed."""
        observed = (name for name, guardrail in self.rules.guardrails.items() if guardrail.mode is Mode.OBSERVE)
        return {policy.name for name in observed for policy in self.policies(name)}

    def kept(self) -> set[str]:
        """Names of the policies that stay on a role which does not need them.

        All of the file's, or with `release: detach` those that are only observed.
        """
        return self.published() if self.rules.release is Release.KEEP else self.observed()

    def out_of_reach(self, profile: Binding, domain: Binding) -> tuple[str, ...]:
        """Guardrails that a user profile without a role of its own needs and its domain's default user does not.

        Nobody can keep them: it runs as its domain's role.
        """
        asked = replace(profile, role=domain.role).subject
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

    def arn(self, policy: str, account: str) -> str:
        """The ARN of a guardrail's policy in `account`."""
        return policy_arn(policy, self.aws.partition, account)

    def _mend(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome) -> Outcome:
        try:
            carried = self.aws.attached_policies(role.name)
        except Refused as refused:
            if refused.reason == GONE:
                # It is still named by SageMaker: when somebody makes it again, CreateRole brings it back here.
                return _verdict(outcome, Verdict.UNGOVERNED, Reason.ROLE_GONE)
            return _verdict(outcome, Verdict.UNENFORCEABLE, _reason(refused), str(refused))
        # By ARN: anybody may own a policy of the same name under another path.
        missing = [policy for policy in required if self.arn(policy, role.account) not in carried]
        if not missing:
            return outcome
        outcome = replace(outcome, before=Verdict.DRIFTED, verdict=Verdict.DRIFTED, missing=tuple(missing))
        enforced = [] if self.observe else [p for p in missing if required[p].mode is Mode.ENFORCE]
        if not enforced:
            return replace(outcome, remedy=Remedy.OBSERVED)
        attached: list[str] = []
        refusals: list[Refused] = []
        for policy in enforced:
            try:
                self.aws.attach(role.name, self.arn(policy, role.account))
            except Refused as refused:
                # What stands in the way of one policy seldom stands in the way of the next.
                refusals.append(refused)
                if refused.reason in {GONE, Reason.QUOTA}:
                    break
            except RetryLater as error:
                if not attached:
                    raise
                partly = replace(outcome, remedy=Remedy.ATTACHED, attached=tuple(attached), message=str(error))
                raise PartlyDone(partly, str(error)) from error
            else:
                attached.append(policy)
        if refusals:
            outcome = replace(outcome, attached=tuple(attached), remedy=_remedy(attached))
            if refusals[-1].reason == GONE:
                return replace(outcome, verdict=Verdict.UNGOVERNED, reason=Reason.ROLE_GONE)
            first = refusals[0]
            return replace(outcome, verdict=Verdict.UNENFORCEABLE, reason=_reason(first), message=str(first))
        # What is only observed stays as it is, and the role with it.
        verdict = Verdict.COMPLIANT if attached == missing else Verdict.DRIFTED
        return replace(outcome, verdict=verdict, remedy=Remedy.ATTACHED, attached=tuple(attached))


def _verdict(outcome: Outcome, verdict: Verdict, reason: Reason | None = None, message: str = "") -> Outcome:
    return replace(outcome, before=verdict, verdict=verdict, reason=reason, message=message)


def _remedy(attached: list[str]) -> Remedy:
    return Remedy.ATTACHED if attached else Remedy.NONE


def _reason(refused: Refused) -> Reason:
    return Reason(refused.reason)
