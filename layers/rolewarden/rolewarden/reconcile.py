"""The Reconciler: the only code that decides whether a role has drifted, and that remediates the role.

Events, the sweep, rechecks and the command line pass only a role. Each call reads the current state from the bindings
table and from IAM, and writes to IAM only if that state differs from what the role needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rolewarden import MEMBER_ROLES
from rolewarden.bindings import ROLE, Binding, NamedRow, RoleKey
from rolewarden.calls import AttachesPolicies
from rolewarden.errors import Gone, PartlyDone, Refused, RetryLater
from rolewarden.events import ROLE_EVENTS
from rolewarden.guardrails import Fallback, Guardrail, Hold, Mode
from rolewarden.hold import FIRST_USE_OF, suspicion
from rolewarden.names import among, folded, folded_arn
from rolewarden.needs import SOME_USES, Needs
from rolewarden.origin import Origin, Trigger
from rolewarden.policies import boundary_name, is_boundary
from rolewarden.shared_reads import SharedReads
from rolewarden.verdicts import Doubt, Outcome, Reason, Remediation, Verdict

POLICIES_PER_ROLE = 10
"""The quota of managed policies per role that each account has at least (IAM and STS quotas, IAM User Guide)."""

FIRST_USE_SECONDS = 7 * 24 * 3600.0
"""Seconds after the last change of a subject in which its use of a role can be a first use: sweeps are a day apart at
most. Without this limit, the remediation of each role would cost one more call."""


@dataclass
class Reconciler:
    """Compares the policies that a role needs with its attached policies, and attaches those that are missing.

    `covers` says whether the stack covers an account. The Reconciler makes no call in an account that is not covered
    only because a subject of another account names a role of it. The verdict on such a role is `unenforceable`.

    With `observe`, the Reconciler writes nothing to IAM, whatever the mode of a guardrail is. A role that lacks
    policies is drifted and reported, even if its quota of policies is full, unless its fallback boundary takes their
    place.

    `own_roles` are the names of the functions' roles in the account of the stack, which get no guardrail.
    """

    aws: AttachesPolicies
    needs: Needs
    covers: Callable[[str], bool]
    observe: bool = False
    own_roles: frozenset[str] = frozenset()

    def reconcile(
        self,
        role: RoleKey,
        origin: Origin,
        *,
        fresh: Iterable[Binding] = (),
        rows: Sequence[NamedRow] = (),
        boundary_just_set: bool = False,
        shared: SharedReads | None = None,
    ) -> Outcome:
        """Evaluate `role`, and attach the missing policies that its subjects need.

        - `origin`: the trigger and the cause, for the outcome.
        - `fresh`: bindings that the caller has just read, which the index may not show yet (see
          `BindingsTable.of_role`).
        - `rows`: rows of the bindings table that a message names, because the index may not show them yet.
        - `boundary_just_set`: whether a caller of IAM has just set the role's permissions boundary, which IAM may not
          show yet.
        - `shared`: the reads that this evaluation shares with others; None if it makes its own.

        Raises RetryLater, or PartlyDone if the Reconciler attached something before. If AWS refuses for good, the
        verdict is `unenforceable`.
        """
        # A message may leave rows out. That does no harm if the evaluation only attaches policies. A boundary must deny
        # what all bindings need, so it depends on all of them.
        # An exception for a user depends on all of them, too.
        takes_named = bool(rows) and self.needs.rules.fallback is not Fallback.BOUNDARY and not self.needs.for_users
        bindings = self.needs.bindings.named(role, rows) if takes_named else ()
        bindings = bindings or self.needs.bindings.of_role(role, fresh)
        # An event has the role's name as its caller spelled it. The binding has the spelling of the subject's settings.
        role = next((binding.role for binding in bindings if binding.role), role)
        required, verified = self.needs.required(bindings), self.needs.exemption(role, bindings)
        doubt = verified.doubt if verified else None
        outcome = Outcome(
            role.account,
            role.name,
            Verdict.COMPLIANT,
            Verdict.COMPLIANT,
            origin,
            required=tuple(required),
            subjects=tuple(binding.label for binding in bindings),
            correlation_id=origin.new_correlation_id(),
            message=doubt.message if doubt else "",
            doubt=doubt,
        )
        if not bindings:
            return _verdict(outcome, Verdict.OUT_OF_SCOPE)
        if verified and verified.holds:
            until = f"until {verified.exemption.until}: {verified.exemption.reason}"
            return _verdict(outcome, Verdict.EXEMPT, message="; ".join(filter(None, (until, outcome.message))))
        if not required:
            return outcome
        never = self.needs.never(role)
        if self._is_own(role) or (never and never.holds):
            why = "it is one of Rolewarden's own roles" if self._is_own(role) else "`never_govern` names it"
            message = f"the role gets no guardrail, because {why}"
            return _verdict(outcome, Verdict.UNENFORCEABLE, Reason.NEVER_GOVERNED, message)
        if never and never.doubt:
            outcome = outcome._replace(doubt=never.doubt)
        if not self.covers(role.account):
            message = f"the role belongs to account {role.account}, which the stack does not cover"
            return _verdict(outcome, Verdict.UNENFORCEABLE, Reason.OTHER_ACCOUNT, message)
        done = self._remediate_by(shared, role, required, bindings, outcome) if shared else None
        return done or self._remediate(role, required, bindings, outcome, boundary_just_set=boundary_just_set)

    def _is_own(self, role: RoleKey) -> bool:
        own = self.own_roles if role.account == self.needs.home else MEMBER_ROLES
        return among(role.name, own)

    def _remediate_by(
        self,
        shared: SharedReads,
        role: RoleKey,
        required: dict[str, Guardrail],
        bindings: tuple[Binding, ...],
        outcome: Outcome,
    ) -> Outcome | None:
        """Attach the policies that `role` lacks by shared reads; None if the list of its policies has to decide.

        The list decides if the role seems to lack nothing, if IAM refuses a read or the first attachment, and under
        rules by which more than the required policies counts: the number of policies, the boundary or a hold.
        """
        rules, arn = self.needs.rules, partial(self.needs.arn, account=role.account)
        counts_more = self.needs.for_users or rules.fallback is Fallback.BOUNDARY or rules.hold is not Hold.NONE
        if self.observe or counts_more:
            return None
        try:
            missing = tuple(policy for policy in required if not shared.has_policy(role, arn(policy)))
            enforced = tuple(policy for policy in missing if required[policy].mode is Mode.ENFORCE)
            if not enforced:
                return None
            is_first = len(missing) == len(required) and self._may_be_first_use(role, bindings, outcome)
            is_first = is_first and not any(shared.has_policy(role, arn(name)) for name in self.needs.published())
        except (Refused, RetryLater):
            return None
        lacking = outcome._replace(before=Verdict.DRIFTED, verdict=Verdict.DRIFTED, missing=missing)
        done, refusals = self._attach(role, enforced, lacking, shared)
        for policy in done.attached:
            shared.add(role, arn(policy))
        if is_first:
            done = self._with_suspicion(role, bindings, done, shared)
        if refusals:
            return self._with_the_rest(role, required, bindings, outcome, done) if done.attached else None
        return done._replace(verdict=Verdict.COMPLIANT if done.attached == missing else Verdict.DRIFTED)

    def _with_the_rest(
        self,
        role: RoleKey,
        required: dict[str, Guardrail],
        bindings: tuple[Binding, ...],
        outcome: Outcome,
        done: Outcome,
    ) -> Outcome:
        """The outcome of `role`, which got some of its policies before IAM refused one. Its list decides on the rest.

        `outcome` is the outcome before the evaluation, and `done` the outcome so far.
        """
        try:
            rest = self._remediate(role, required, bindings, outcome, boundary_just_set=False)
        except RetryLater as error:
            more = error.outcome.attached if isinstance(error, PartlyDone) else ()
            raise _partly(done._replace(attached=(*done.attached, *more)), error) from error
        attached = (*done.attached, *rest.attached)
        return rest._replace(
            before=Verdict.DRIFTED,
            missing=done.missing,
            attached=attached,
            remediation=Remediation.ATTACHED,
            doubt=done.doubt or rest.doubt,
        )

    def _remediate(
        self,
        role: RoleKey,
        required: dict[str, Guardrail],
        bindings: tuple[Binding, ...],
        outcome: Outcome,
        *,
        boundary_just_set: bool,
    ) -> Outcome:
        try:
            attached = self.aws.within(role.account).attached_policies(role.name)
        except Gone:
            # SageMaker still names the role. The event of a call that creates it triggers an evaluation.
            return _verdict(outcome, Verdict.OUT_OF_SCOPE, Reason.ROLE_GONE)
        except Refused as refused:
            return _verdict(outcome, Verdict.UNENFORCEABLE, refused.reason, str(refused))
        # Compare ARNs, because a policy under another path can have the same name.
        arns = frozenset(map(folded_arn, attached))
        missing = self._missing(role, required, arns)
        if len(arns) + len(missing) > POLICIES_PER_ROLE:
            # The policies that tell users apart take more places. Those for everybody come first if room may be short.
            for_everybody = self.needs.required_for_everybody(bindings)
            if for_everybody != required and self._missing(role, for_everybody, arns):
                outcome = outcome._replace(required=tuple(for_everybody))
                return self._for_everybody(role, for_everybody, bindings, outcome, missing)
        enforced = tuple(policy for policy in missing if required[policy].mode is Mode.ENFORCE)
        if missing:
            outcome = outcome._replace(before=Verdict.DRIFTED, verdict=Verdict.DRIFTED, missing=missing)
        if not enforced:
            outcome = _with_attached(outcome, attached) if missing else outcome
            return self._remove_boundary(role, required, outcome)
        # Another caller can put a policy of another name under Rolewarden's path, or under a path below it.
        has_ours = any(folded_arn(self.needs.arn(name, role.account)) in arns for name in self.needs.published())
        if not has_ours and (held := self._held(role, bindings, outcome)):
            return held
        if self.observe:
            return self._observed(role, required, outcome)
        outcome, refusals = self._attach(role, enforced, outcome)
        if refusals and not isinstance(refusals[-1], Gone):
            outcome = self._attach_for_everybody(role, required, bindings, outcome, arns)
        outcome = outcome if has_ours else self._with_suspicion(role, bindings, outcome)
        if not refusals:
            # Policies in observe mode stay missing, and the role then stays drifted.
            verdict = Verdict.COMPLIANT if outcome.attached == missing else Verdict.DRIFTED
            return self._remove_boundary(role, required, outcome._replace(verdict=verdict))
        if isinstance(refusals[-1], Gone):
            return outcome._replace(verdict=Verdict.OUT_OF_SCOPE, reason=Reason.ROLE_GONE)
        if full := next((refused for refused in refusals if refused.reason is Reason.QUOTA), None):
            now = attached.union(self.needs.arn(policy, role.account) for policy in outcome.attached)
            outcome = outcome._replace(attached_policies=tuple(sorted(now)))
            return self._set_fallback(role, required, outcome, full, boundary_just_set=boundary_just_set)
        return _unenforceable(outcome, refusals[0])

    def _missing(self, role: RoleKey, required: Iterable[str], arns: frozenset[str]) -> tuple[str, ...]:
        return tuple(policy for policy in required if folded_arn(self.needs.arn(policy, role.account)) not in arns)

    def _attach_for_everybody(
        self,
        role: RoleKey,
        required: Mapping[str, Guardrail],
        bindings: tuple[Binding, ...],
        outcome: Outcome,
        arns: frozenset[str],
    ) -> Outcome:
        """Attach the guardrails for everybody from which users are exceptions, because a policy was refused.

        It may be one for these users. Without it, their sessions would have neither.
        """
        for_everybody = self.needs.required_for_everybody(bindings)
        instead = [name for name in self._missing(role, for_everybody, arns) if name not in required]
        enforced = [name for name in instead if for_everybody[name].mode is Mode.ENFORCE]
        if not enforced:
            return outcome
        done, _ = self._attach(role, enforced, outcome)
        attached = (*outcome.attached, *done.attached)
        return done._replace(attached=attached, remediation=Remediation.ATTACHED if attached else Remediation.NONE)

    def _for_everybody(
        self,
        role: RoleKey,
        required: dict[str, Guardrail],
        bindings: tuple[Binding, ...],
        outcome: Outcome,
        of_users: tuple[str, ...],
    ) -> Outcome:
        """Attach what the role needs if no user is told apart. The policies `of_users` may not fit in addition."""
        done = self._remediate(role, required, bindings, outcome, boundary_just_set=False)
        if done.verdict in {Verdict.UNENFORCEABLE, Verdict.OUT_OF_SCOPE}:
            return done
        message = f"the role has the guardrails for all users, because {', '.join(of_users)} may not fit its quota"
        return _unenforceable(done, Refused(Reason.QUOTA, message))

    def _held(self, role: RoleKey, bindings: tuple[Binding, ...], outcome: Outcome) -> Outcome | None:
        """The outcome of a role without a policy of Rolewarden that is held; None if it is not. Raises RetryLater.

        A role that IAM does not describe is not held.
        """
        if self.needs.rules.hold is Hold.NONE:
            return None
        try:
            found = self.aws.within(role.account).role(role.name)
        except Refused:
            return None
        why = suspicion(found)
        boundaries = {folded_arn(self.needs.arn(name, role.account)) for name in self.needs.boundaries()}
        if not why or folded_arn(found.boundary) in boundaries:
            return None
        if not self.needs.holds.is_held(found, role, bindings, outcome.origin):
            return None
        message = f"{why}, so Rolewarden attaches nothing until guardrails.yaml names it"
        return outcome._replace(verdict=Verdict.UNENFORCEABLE, reason=Reason.HELD, message=message)

    def _may_be_first_use(self, role: RoleKey, bindings: tuple[Binding, ...], outcome: Outcome) -> bool:
        """Whether the first policy of `role` may be because of a new use.

        The event of a change to the role itself is no first use, nor is a use by a subject that SageMaker has not
        changed for a week. An operator sees the role in the plan.
        """
        origin = outcome.origin
        is_first_use = origin.call not in ROLE_EVENTS and origin.trigger is not Trigger.OPERATOR
        is_known = outcome.doubt is not None or self.needs.rules.confirms(role.name)
        return is_first_use and not is_known and bool(self._new_uses(bindings))

    def _new_uses(self, bindings: Iterable[Binding]) -> list[Binding]:
        since = self.needs.clock.now() - FIRST_USE_SECONDS
        return [one for one in bindings if one.kind != ROLE and (not one.modified or float(one.modified) > since)]

    def _with_suspicion(
        self, role: RoleKey, bindings: tuple[Binding, ...], outcome: Outcome, shared: SharedReads | None = None
    ) -> Outcome:
        """The outcome of a role that just got its first policy, with a doubt if the role may be somebody else's."""
        if not outcome.attached or not self._may_be_first_use(role, bindings, outcome):
            return outcome
        uses = self._new_uses(bindings)
        try:
            listed = shared.role(role) if shared else None
            why = suspicion(listed or self.aws.within(role.account).role(role.name))
        except (Refused, RetryLater):
            # The role is protected, and the alert must not delay the record of this.
            return outcome
        users = ", ".join(sorted({folded(binding.label) for binding in uses})[:SOME_USES])
        message = f"{FIRST_USE_OF}{role.name}: {why}, and it got its first guardrail because {users} uses it"
        return outcome._replace(doubt=Doubt(Reason.FIRST_USE, message, ends=False)) if why else outcome

    def _attach(
        self, role: RoleKey, policies: Iterable[str], outcome: Outcome, shared: SharedReads | None = None
    ) -> tuple[Outcome, list[Refused]]:
        """Attach as many of `policies` as IAM accepts. Gives `outcome` with these, and the refusals of the others.

        With `shared`, a policy that another evaluation has just verified is not verified again.
        """
        attached: list[str] = []
        refusals: list[Refused] = []
        for policy in policies:
            try:
                aws = self.aws.within(role.account)
                verify = partial(self.needs.verify, policy, role.account, aws)
                shared.check(role.account, policy, verify) if shared else verify()
                aws.attach(role.name, self.needs.arn(policy, role.account), correlation_id=outcome.correlation_id)
            except Refused as refused:
                # Continue: the cause is usually specific to this policy. A deleted role or a full quota is not.
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
        self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome, full: Refused, *, boundary_just_set: bool
    ) -> Outcome:
        """Set the fallback boundary of a role whose quota of policies is `full`, if the rules and the role allow it."""
        if self.needs.rules.fallback is not Fallback.BOUNDARY:
            return _unenforceable(outcome, full)
        name = boundary_name(_enforced(required))
        if name not in self.needs.boundaries():
            return _unenforceable(outcome, full, f"{full}; {self._why_no_boundary(name, required)}")
        wanted = self.needs.arn(name, role.account)
        try:
            current = self.aws.within(role.account).role(role.name).boundary
            if folded_arn(current) == folded_arn(wanted):
                return _bounded(outcome, required, wanted)
            if current and not self._is_ours(current, role.account):
                message = f"{full}; the role has a permissions boundary that is not Rolewarden's"
                return _unenforceable(outcome, full, message)._replace(boundary=current)
            if boundary_just_set:
                # This may be a stale read. Setting a boundary now could replace one that is not Rolewarden's.
                message = f"{full}; its boundary has just changed, so Rolewarden checks it again before it sets one"
                return outcome._replace(message=message, attached_policies=())
            aws = self.aws.within(role.account)
            self.needs.verify(name, role.account, aws)
            aws.set_boundary(role.name, wanted, correlation_id=outcome.correlation_id)
        except Gone:
            return outcome._replace(verdict=Verdict.OUT_OF_SCOPE, reason=Reason.ROLE_GONE, attached_policies=())
        except Refused as refused:
            return _unenforceable(outcome, refused)
        except RetryLater as error:
            raise _partly(outcome, error) from error
        return _bounded(outcome, required, wanted)._replace(
            before=outcome.before, missing=outcome.missing, remediation=Remediation.BOUNDED
        )

    def _why_no_boundary(self, name: str, required: Mapping[str, Guardrail]) -> str:
        if name in map(boundary_name, self.needs.rules.enforced_together):
            return "the boundary for its guardrails is too long for an IAM policy, see `rolewarden check`"
        together = ", ".join(_enforced(required))
        return f"no boundary exists for {together}: its subjects need these together, but no assignment names them all"

    def _observed(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome) -> Outcome:
        """The outcome of a role that lacks policies, without a write. A boundary may take the place of the policies."""
        observed = outcome._replace(remediation=Remediation.OBSERVED)
        if self.needs.rules.fallback is not Fallback.BOUNDARY:
            return observed
        wanted = self.needs.arn(boundary_name(_enforced(required)), role.account)
        try:
            is_bounded = folded_arn(self.aws.within(role.account).role(role.name).boundary) == folded_arn(wanted)
        except Refused as refused:
            return observed._replace(message=str(refused))
        return _bounded(outcome, required, wanted) if is_bounded else observed

    def _remove_boundary(self, role: RoleKey, required: dict[str, Guardrail], outcome: Outcome) -> Outcome:
        """Remove Rolewarden's boundary from a role that has all the policies that it needs.

        The role had no boundary before it, because Rolewarden never replaces a boundary that is not its own.
        """
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
        name = folded_arn(boundary).removeprefix(self.needs.arn("", account))
        return is_boundary(name) and "/" not in name


def _with_attached(outcome: Outcome, attached: Iterable[str]) -> Outcome:
    """The outcome of a role that lacks only policies in observe mode, with all its policies.

    The record can then say whether the quota had room for the missing ones.
    """
    return outcome._replace(remediation=Remediation.OBSERVED, attached_policies=tuple(sorted(attached)))


def _enforced(required: Mapping[str, Guardrail]) -> list[str]:
    """The names of the guardrails in enforce mode, sorted."""
    return sorted({guardrail.name for guardrail in required.values() if guardrail.mode is Mode.ENFORCE})


def _bounded(outcome: Outcome, required: Mapping[str, Guardrail], boundary: str) -> Outcome:
    """The outcome of a role with this fallback boundary: the role lacks only policies in observe mode."""
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
    attached = outcome.attached_policies if reason is Reason.QUOTA else ()
    message = message or str(refused)
    return outcome._replace(verdict=Verdict.UNENFORCEABLE, reason=reason, message=message, attached_policies=attached)


def _partly(outcome: Outcome, error: RetryLater) -> RetryLater:
    """`error`, or a PartlyDone with the outcome so far if the Reconciler attached something."""
    if not outcome.attached:
        return error
    return PartlyDone(
        outcome._replace(remediation=Remediation.ATTACHED, message=str(error), attached_policies=()), str(error)
    )


def _verdict(outcome: Outcome, verdict: Verdict, reason: Reason | None = None, message: str = "") -> Outcome:
    return outcome._replace(before=verdict, verdict=verdict, reason=reason, message=message)
