"""DetachFunction: it detaches surplus guardrails from roles, and deletes policies that no role has.

Only this module detaches. An event never triggers a detachment. The sweep does, for surplus guardrails if
guardrails.yaml has `surplus: detach`. So does the deletion of the stack, if `OnDelete` is `remove` and CloudFormation
confirms that it is deleting the stack. The command line uses the same Detacher.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from rolewarden.aws import IAM_HOME_REGIONS, LONGEST_CALL
from rolewarden.bindings import Binding, RoleKey
from rolewarden.calls import DetachesPolicies, ReadsStacks
from rolewarden.canary import is_of_drills
from rolewarden.clock import Clock
from rolewarden.cloudformation import OwnStack
from rolewarden.discovery import SubjectReader
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.events import ACCOUNT, POLICY_NAME, ROLE_NAME, mapping, matched
from rolewarden.names import among, folded_arn
from rolewarden.needs import Needs
from rolewarden.origin import DEPLOYMENT, SWEEP, Origin
from rolewarden.policies import DESCRIPTION, is_boundary, policy_arn
from rolewarden.record import Recorder, logger
from rolewarden.reread import ReadsSubjectsOfRoles, Rereader
from rolewarden.runtime import Runtime
from rolewarden.settings import DetachSettings
from rolewarden.verdicts import Reason
from rolewarden.work import Rechecks, SchedulesRechecks, Work

PAUSE = 15.0
"""Seconds before the next attempt at a removal that AWS could not do. Lambda retries a request only twice, and
CloudFormation waits an hour if the function does not respond."""


@dataclass
class Detacher:
    """Detaches surplus policies and deletes unused ones. It decides by the same `needs` as the Reconciler.

    - `subjects`: finds the subjects of a role again before a detachment, because `needs` may rest on the table.
    - `origin`: the trigger and the cause of each detachment, for the record.
    """

    aws: DetachesPolicies
    recorder: Recorder
    needs: Needs
    rechecks: SchedulesRechecks
    subjects: ReadsSubjectsOfRoles
    origin: Origin = SWEEP

    @classmethod
    def of(cls, runtime: Runtime, settings: DetachSettings) -> Self:
        """Create a Detacher and its parts."""
        rechecks = Rechecks(runtime.aws, settings.work_queue_url, settings.recheck_seconds)
        reader = SubjectReader(runtime.aws, runtime.rules, settings.own_roles)
        stack_set, home = settings.member_stack_set, IAM_HOME_REGIONS.get(runtime.aws.partition, runtime.aws.region)

        def covered() -> frozenset[str]:
            members = runtime.aws.stack_set_accounts(stack_set, home, settings.call_as) if stack_set else ()
            return frozenset({settings.account, *members})

        subjects = Rereader(runtime.aws, reader, settings.regions, runtime.clock, covered)
        return cls(runtime.aws, runtime.recorder, runtime.needs, rechecks, subjects)

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Handle one message of DetachQueue: a role with its surplus policies, or an unused policy.

        If the detachment has to wait, the result says why, and the next sweep sends the message again. A message of
        another shape is logged as an error and dropped. Raises Refused and RetryLater.
        """
        fields = mapping(body)
        account, policies = matched(ACCOUNT, fields.get("account")), fields.get("policies")
        role, policy = matched(ROLE_NAME, fields.get("role")), matched(POLICY_NAME, fields.get("policy"))
        if account and role and isinstance(policies, list) and all(matched(POLICY_NAME, name) for name in policies):
            return self.detach_from(account, role, policies)
        if account and policy:
            return self.retire(account, policy)
        logger.error("message of DetachQueue dropped: not a detachment", extra={"body": str(body)[:200]})
        return {"ignored": "no detach message"}

    def detach_from(self, account: str, role: str, policies: list[str]) -> dict[str, Any]:
        """Detach those of `policies` that `role` does not need. Detach nothing while the role lacks one that it needs.

        Before a detachment, this reads the subjects of all covered accounts from SageMaker again. A policy stays if the
        bindings table or SageMaker says that the role needs it, or if it is not Rolewarden's. A recheck follows,
        because the role may have got another subject meanwhile. Raises Refused and RetryLater.
        """
        aws, key = self.aws.within(account), RoleKey(account, role)
        bindings = self.needs.bindings.of_role(key)
        try:
            attached = frozenset(map(folded_arn, aws.attached_policies(role)))
            policies = [name for name in policies if self._is_own(aws, account, name)]
            surplus, waits = self._surplus(key, bindings, policies, attached)
            if surplus and not waits:
                # A row of the table alone must not unprotect a role.
                read = (*bindings, *self.subjects.of_role(key))
                surplus, waits = self._surplus(key, read, policies, attached, is_last=True)
        except Gone:
            return {"role": role, "detached": []}
        except Refused as refused:
            return {"role": role, "detached": [], "waits": f"not everything could be read again: {refused}"}
        if waits:
            return {"role": role, "detached": [], "waits": waits}
        correlation_id = self.origin.new_correlation_id()
        had_policy: dict[str, bool] = {}
        try:
            for name in surplus:
                had_policy[name] = _detach(aws, role, name, self.needs.arn(name, account), attached, correlation_id)
        finally:
            detached = [name for name, had in had_policy.items() if had]
            if surplus:
                # A recheck follows even if nothing was detached, because a call without a response may have done it.
                self.rechecks.schedule(Work(RoleKey(account, role), account, self.origin))
            # Record the detachments also after an error, because the next attempt does not find these policies.
            if detached:
                self.recorder.record_detachment(account, role, detached, self.origin, correlation_id)
        return {"role": role, "detached": detached}

    def _surplus(
        self,
        role: RoleKey,
        bindings: Iterable[Binding],
        policies: Iterable[str],
        attached: Collection[str],
        *,
        is_last: bool = False,
    ) -> tuple[list[str], str]:
        """Those of `policies` that a role with these bindings does not need, and why the detachment has to wait.

        The reason is empty if the role has everything attached that it needs. `attached` are the ARNs of the role's
        policies in the form of `folded_arn`. With `is_last`, this also looks for domains in regions that the stack does
        not cover, if the role has exceptions. Raises Refused and RetryLater.
        """
        required, observed = self.needs.of_role(role, bindings), self.needs.observed()
        arns = {name: folded_arn(self.needs.arn(name, role.account)) for name in required}
        if lacking := [name for name, arn in arns.items() if name not in observed and arn not in attached]:
            return [], f"lacks {', '.join(lacking)}"
        surplus = [name for name in policies if self.needs.may_lose(name, required)]
        if surplus and not self.needs.are_in_effect(required, role.account, self.aws.within(role.account)):
            return surplus, "a rule change has not reached all the policies it needs"
        if surplus and is_last and any(one.except_users for one in required.values()):
            # A row of the table alone must not make an exception either.
            return surplus, self.subjects.elsewhere(role.account)
        return surplus, ""

    def _is_own(self, aws: DetachesPolicies, account: str, policy: str) -> bool:
        """Whether a policy under Rolewarden's path is one of the rules or has its description, as a sweep requires."""
        return among(policy, self.needs.published()) or (
            aws.policy_description(self.needs.arn(policy, account)) == DESCRIPTION
        )

    def retire(self, account: str, policy: str) -> dict[str, Any]:
        """Delete a policy that the rules do not contain and no role has. Raises Refused and RetryLater."""
        aws, arn = self.aws.within(account), self.needs.arn(policy, account)
        if among(policy, self.needs.published()) or not self._is_own(aws, account, policy):
            return {"policy": policy, "retired": False}
        if users := aws.roles_with_policy(arn):
            return {"policy": policy, "retired": False, "waits": f"still attached to {len(users)} roles"}
        if is_boundary(policy) and (bounded := aws.roles_with_boundary(arn)):
            return {"policy": policy, "retired": False, "waits": f"still the boundary of {len(bounded)} roles"}
        aws.delete_policy(arn)
        return {"policy": policy, "retired": True}


def _detach(
    aws: DetachesPolicies, role: str, policy: str, arn: str, attached: Collection[str], correlation_id: str
) -> bool:
    """Detach a policy, or remove a boundary if `policy` is one. Gives whether the role had it.

    `attached` holds the role's policies, as ARNs in the form of `folded_arn`. These may be a stale read.
    """
    if is_boundary(policy):
        return folded_arn(aws.role(role).boundary) == folded_arn(arn) and aws.remove_boundary(
            role, correlation_id=correlation_id
        )
    return folded_arn(arn) in attached and aws.detach(role, arn, correlation_id=correlation_id)


class RemovesStack(DetachesPolicies, ReadsStacks, Protocol):
    """Reads the status of the stack, and removes every policy of Rolewarden."""


def stack(
    aws: RemovesStack,
    account: str,
    request: str,
    *,
    own: OwnStack,
    recorder: Recorder,
    clock: Clock,
) -> dict[str, Any]:
    """Handle a request of CloudFormation: on Delete, remove every guardrail, or list those that stay attached.

    - `account`: the account of the stack.
    - `request`: the type of the request. Only "Delete" has an effect.
    - `own`: the function's own stack, and whether it removes guardrails.

    If CloudFormation rolls back the creation of the stack, this function removes the guardrails of that creation even
    if `OnDelete` is `keep`, because no stack would keep them up to date. The guardrails of an earlier stack stay.

    This function does not need guardrails.yaml, so that a stack with unusable rules can be deleted. Raises RetryLater
    if time runs out before everything is removed. Raises Refused if AWS refuses some removals, after all others. Raises
    ForgedRequestError if the request asks for a removal although CloudFormation is not deleting the stack.
    """
    if request != "Delete":
        return {}
    since = 0.0 if own.removes else _failed_creation(own, aws)
    while own.removes or since:
        try:
            # Check in each attempt, because the deletion of the stack can end or fail between two attempts.
            own.need_deletion(aws)
            return _remove(aws, account, recorder, clock, since)
        except RetryLater:
            if clock.seconds_left() < LONGEST_CALL + PAUSE:
                raise
            time.sleep(PAUSE)
    try:
        left = {
            name: sorted(_users(aws, name, policy_arn(name, aws.partition, account)))
            for name in aws.own_policies()
            if not is_of_drills(name)
        }
    except (Refused, RetryLater) as error:
        # Only the list is missing. The guardrails stay attached, as intended.
        logger.error("guardrails stay attached, but Rolewarden cannot list them", extra={"why": str(error)})
        return {}
    logger.info("guardrails stay attached", extra={"left": left})
    return {"left": {name: len(roles) for name, roles in left.items()}}


def _failed_creation(own: OwnStack, aws: ReadsStacks) -> float:
    """As `OwnStack.failed_creation`; 0 if CloudFormation does not answer: a stack that keeps its guardrails can go."""
    try:
        return own.failed_creation(aws)
    except RetryLater as error:
        logger.error("guardrails stay attached, as CloudFormation does not answer", extra={"why": str(error)})
        return 0.0


def _remove(aws: RemovesStack, account: str, recorder: Recorder, clock: Clock, since: float) -> dict[str, Any]:
    with recorder.together():
        return _remove_all(aws, account, recorder, clock, since)


def _remove_all(aws: RemovesStack, account: str, recorder: Recorder, clock: Clock, since: float) -> dict[str, Any]:
    """Take off and delete every guardrail that was created at `since` or later, in seconds of the epoch."""
    detached, deleted, refused = 0, 0, []
    correlation_id = DEPLOYMENT.new_correlation_id()
    for name in aws.own_policies():
        arn = policy_arn(name, aws.partition, account)
        # IAM gives whole seconds.
        if aws.policy_description(arn) != DESCRIPTION or aws.policy_created(arn) < int(since):
            continue
        for role in sorted(aws.roles_with_policy(arn)):
            if clock.seconds_left() < LONGEST_CALL:
                raise RetryLater(f"{detached} guardrails are detached so far, and others remain")
            try:
                if aws.detach(role, arn, correlation_id=correlation_id):
                    detached += 1
                    recorder.record_detachment(account, role, [name], DEPLOYMENT, correlation_id)
            except Refused as error:
                refused.append(f"{name} stays on {role}: {error}")
        for role in sorted(aws.roles_with_boundary(arn)) if is_boundary(name) else ():
            if clock.seconds_left() < LONGEST_CALL:
                raise RetryLater(f"{detached} guardrails are detached so far, and others remain")
            try:
                if aws.remove_boundary(role, correlation_id=correlation_id):
                    detached += 1
                    recorder.record_detachment(account, role, [name], DEPLOYMENT, correlation_id)
            except Refused as error:
                refused.append(f"{name} stays the boundary of {role}: {error}")
        try:
            aws.delete_policy(arn)
            deleted += 1
        except Refused as error:
            refused.append(f"{name} stays: {error}")
    if refused:
        raise Refused(Reason.REFUSED, "; ".join(refused))
    return {"detached": detached, "deleted": deleted}


def _users(aws: DetachesPolicies, policy: str, arn: str) -> frozenset[str]:
    """The names of the roles that have a policy attached, or whose permissions boundary it is."""
    return aws.roles_with_boundary(arn) if is_boundary(policy) else aws.roles_with_policy(arn)
