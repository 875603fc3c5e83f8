"""Guardrails off the roles that no longer need them, and policies away that no role carries.

The only place that detaches. Nothing reaches it from an event: the sweep asks, for roles that a person has detached
(`surplus: detach` in guardrails.yaml) and for guardrails that are no longer in the file, and the stack's deletion
where `OnDelete` is `remove` and CloudFormation says that the stack is being deleted.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol, Self

from rolewarden.aws import LONGEST_CALL
from rolewarden.bindings import RoleKey
from rolewarden.calls import DetachesPolicies, ReadsStacks
from rolewarden.clock import Clock
from rolewarden.cloudformation import OwnStack
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.events import ACCOUNT, POLICY_NAME, ROLE_NAME, mapping, matched
from rolewarden.names import among, folded_arn
from rolewarden.needs import Needs
from rolewarden.origin import DEPLOYMENT, SWEEP, Origin
from rolewarden.policies import DESCRIPTION, is_boundary, policy_arn
from rolewarden.record import Recorder, logger
from rolewarden.runtime import Runtime
from rolewarden.settings import DetachSettings
from rolewarden.verdicts import Reason
from rolewarden.work import Rechecks, SchedulesRechecks, Work

PAUSE = 15.0
"""Seconds after which a removal that AWS could not do is tried again. Lambda brings a request back twice only, and
CloudFormation waits an hour for who has given up."""


@dataclass
class Detacher:
    """Detaches and deletes, because of `origin`. Decides by the same `needs` as the Reconciler."""

    aws: DetachesPolicies
    recorder: Recorder
    needs: Needs
    rechecks: SchedulesRechecks
    origin: Origin = SWEEP

    @classmethod
    def of(cls, runtime: Runtime, settings: DetachSettings) -> Self:
        """Put a Detacher together."""
        rechecks = Rechecks(runtime.aws, settings.work_queue_url, settings.recheck_seconds)
        return cls(runtime.aws, runtime.recorder, runtime.needs, rechecks)

    def handle_message(self, body: Any) -> dict[str, Any]:
        """Work on one message: a role with the policies that it may lose, or a policy that may go.

        What has to wait is said and left: the next sweep asks again; what is no such message is named and dropped.
        Raises Refused and RetryLater.
        """
        fields = mapping(body)
        account, policies = matched(ACCOUNT, fields.get("account")), fields.get("policies")
        role, policy = matched(ROLE_NAME, fields.get("role")), matched(POLICY_NAME, fields.get("policy"))
        if account and role and isinstance(policies, list) and all(matched(POLICY_NAME, name) for name in policies):
            return self.detach_from(account, role, policies)
        if account and policy:
            return self.retire(account, policy)
        logger.error("a message of DetachQueue is no work", extra={"body": str(body)[:200]})
        return {"ignored": "no detach message"}

    def detach_from(self, account: str, role: str, policies: list[str]) -> dict[str, Any]:
        """Take off those of `policies` that `role` does not need. Nothing, as long as it lacks one that it needs.

        The role is looked at again afterwards: it may have got another subject in between. Raises Refused, RetryLater.
        """
        aws = self.aws.within(account)
        required = self.needs.of_role(RoleKey(account, role))
        try:
            carried = frozenset(map(folded_arn, aws.attached_policies(role)))
        except Gone:
            return {"role": role, "detached": []}
        observed = self.needs.observed()
        arns = {name: folded_arn(self.needs.arn(name, account)) for name in required}
        lacking = [name for name, arn in arns.items() if name not in observed and arn not in carried]
        if lacking:
            return {"role": role, "detached": [], "waits": f"lacks {', '.join(lacking)}"}
        kept = self.needs.kept()
        losing = [name for name in policies if self.needs.may_lose(name, required, kept)]
        if losing and not self.needs.are_in_effect(required, account, aws):
            return {"role": role, "detached": [], "waits": "a rule change has not reached all the policies it needs"}
        correlation_id = self.origin.new_correlation_id()
        taken_off: dict[str, bool] = {}
        try:
            for name in losing:
                taken_off[name] = _take_off(aws, role, name, self.needs.arn(name, account), carried, correlation_id)
        finally:
            detached = [name for name, was_there in taken_off.items() if was_there]
            if losing:
                # Also where nothing was found to take off: an unanswered call may have done it.
                self.rechecks.schedule(Work(RoleKey(account, role), account, self.origin))
            # The next try finds off what this one has taken off, and would say nothing of it.
            if detached:
                self.recorder.record_detachment(account, role, detached, self.origin, correlation_id)
        return {"role": role, "detached": detached}

    def retire(self, account: str, policy: str) -> dict[str, Any]:
        """Delete a policy that no guardrail or boundary stands for and no role has. Raises Refused and RetryLater."""
        aws, arn = self.aws.within(account), self.needs.arn(policy, account)
        if among(policy, self.needs.published()) or aws.policy_description(arn) != DESCRIPTION:
            return {"policy": policy, "retired": False}
        if carriers := aws.roles_with_policy(arn):
            return {"policy": policy, "retired": False, "waits": f"still attached to {len(carriers)} roles"}
        if is_boundary(policy) and (bounded := aws.roles_with_boundary(arn)):
            return {"policy": policy, "retired": False, "waits": f"still the boundary of {len(bounded)} roles"}
        aws.delete_policy(arn)
        return {"policy": policy, "retired": True}


def _take_off(
    aws: DetachesPolicies, role: str, policy: str, arn: str, carried: Collection[str], correlation_id: str
) -> bool:
    """Take a policy off, or a boundary, whichever it is; whether it was there, which IAM may show longer than it is.

    `attached_policies` are ARNs in the form of `folded_arn`.
    """
    if is_boundary(policy):
        return folded_arn(aws.role(role).boundary) == folded_arn(arn) and aws.remove_boundary(
            role, correlation_id=correlation_id
        )
    return folded_arn(arn) in carried and aws.detach(role, arn, correlation_id=correlation_id)


class RemovesStack(DetachesPolicies, ReadsStacks, Protocol):
    """What the deletion of the stack needs."""


def stack(
    aws: RemovesStack,
    account: str,
    request: str,
    *,
    own: OwnStack,
    recorder: Recorder,
    clock: Clock,
) -> dict[str, Any]:
    """What a request of CloudFormation asks for: on Delete, every guardrail is taken off, or said to be left.

    Needs no guardrails.yaml: a stack whose rules cannot be used can be deleted. Raises RetryLater where time runs out
    before everything is off, and Refused for what AWS does not let go, after all the rest is off. Raises
    ForgedRequestError if guardrails are to be removed while CloudFormation does not delete the stack.
    """
    if request != "Delete":
        return {}
    while own.removes:
        try:
            # In each try: a deletion can end, or fail, between two.
            own.need_deletion(aws)
            return _remove(aws, account, recorder, clock)
        except RetryLater:
            if clock.seconds_left() < LONGEST_CALL + PAUSE:
                raise
            time.sleep(PAUSE)
    try:
        left = {
            name: sorted(_users(aws, name, policy_arn(name, aws.partition, account))) for name in aws.own_policies()
        }
    except (Refused, RetryLater) as error:
        # Only the list is missing: everything stays attached all the same.
        logger.error("guardrails stay attached, and cannot be listed", extra={"why": str(error)})
        return {}
    logger.info("guardrails stay attached", extra={"left": left})
    return {"left": {name: len(roles) for name, roles in left.items()}}


def _remove(aws: RemovesStack, account: str, recorder: Recorder, clock: Clock) -> dict[str, Any]:
    with recorder.together():
        return _remove_all(aws, account, recorder, clock)


def _remove_all(aws: RemovesStack, account: str, recorder: Recorder, clock: Clock) -> dict[str, Any]:
    detached, deleted, refused = 0, 0, []
    correlation_id = DEPLOYMENT.new_correlation_id()
    for name in aws.own_policies():
        arn = policy_arn(name, aws.partition, account)
        if aws.policy_description(arn) != DESCRIPTION:
            continue
        for role in sorted(aws.roles_with_policy(arn)):
            if clock.seconds_left() < LONGEST_CALL:
                raise RetryLater(f"{detached} guardrails are taken off, and there are more")
            try:
                if aws.detach(role, arn, correlation_id=correlation_id):
                    detached += 1
                    recorder.record_detachment(account, role, [name], DEPLOYMENT, correlation_id)
            except Refused as error:
                refused.append(f"{name} stays on {role}: {error}")
        for role in sorted(aws.roles_with_boundary(arn)) if is_boundary(name) else ():
            if clock.seconds_left() < LONGEST_CALL:
                raise RetryLater(f"{detached} guardrails are taken off, and there are more")
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
    """The roles that carry a guardrail, or that have a boundary."""
    return aws.roles_with_boundary(arn) if is_boundary(policy) else aws.roles_with_policy(arn)
