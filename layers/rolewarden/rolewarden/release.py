"""Guardrails off the roles that no longer need them, and policies away that no role carries.

The only place that detaches. Nothing reaches it from an event: the sweep asks, for roles that a person has released
(`release: detach` in guardrails.yaml) and for guardrails that are no longer in the file, and the stack's deletion
where `OnDelete` is `remove`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rolewarden.aws import GONE, Aws
from rolewarden.bindings import RoleKey
from rolewarden.errors import Refused, RetryLater
from rolewarden.events import SWEEP
from rolewarden.guardrails import Release, Rules
from rolewarden.policies import compile_rules, policy_arn
from rolewarden.publish import DESCRIPTION
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder, logger

ENOUGH = 20.0
"""Seconds that are left unused, to come back for the rest."""


@dataclass
class Releaser:
    """Detaches and deletes in one account; decides with the same `reconciler` that attaches."""

    aws: Aws
    recorder: Recorder
    rules: Rules
    reconciler: Reconciler

    def message(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Work on one message: a role with the policies that it may lose, or a policy that may go.

        Raises RetryLater where the role still lacks what it needs, or the policy is still attached.
        """
        account = str(body.get("account", ""))
        if body.get("role"):
            return self.role(account, str(body["role"]), [str(name) for name in body.get("policies", ())])
        if body.get("policy"):
            return self.retire(account, str(body["policy"]))
        logger.error("a message of the release queue is no work", extra={"body": str(body)[:200]})
        return {"ignored": "no release message"}

    def role(self, account: str, role: str, policies: list[str]) -> dict[str, Any]:
        """Take off those of `policies` that `role` does not need. Nothing, as long as it lacks one that it needs.

        Raises RetryLater and Refused.
        """
        required = self.reconciler.needs(RoleKey(account, role))
        try:
            carried = self.aws.attached_policies(role)
        except Refused as refused:
            if refused.reason == GONE:
                return {"role": role, "released": []}
            raise
        observed = self.reconciler.observed()
        lacking = [n for n in required if n not in observed and self._arn(n, account) not in carried]
        if lacking:
            raise RetryLater(f"{role} lacks {', '.join(lacking)}: nothing is taken off it before it has them")
        kept = {*required, *observed, *(self._published() if self.rules.release is Release.KEEP else ())}
        released = []
        for name in policies:
            if name not in kept and self._arn(name, account) in carried:
                self.aws.detach(role, self._arn(name, account))
                released.append(name)
        if released:
            self.recorder.released(account, role, released, SWEEP)
        return {"role": role, "released": released}

    def retire(self, account: str, policy: str) -> dict[str, Any]:
        """Delete a policy that no guardrail stands for and no role carries. Raises RetryLater while one does."""
        arn = self._arn(policy, account)
        if policy in self._published() or self.aws.policy_description(arn) != DESCRIPTION:
            return {"policy": policy, "retired": False}
        if carriers := self.aws.roles_with_policy(arn):
            raise RetryLater(f"{policy} is still attached to {len(carriers)} roles")
        self.aws.delete_policy(arn)
        return {"policy": policy, "retired": True}

    def stack(self, account: str, request: str, *, removes: bool, seconds_left: Callable[[], float]) -> dict[str, Any]:
        """What a request of CloudFormation asks for: on Delete, everything is taken off, or said to be left.

        Raises RetryLater where time runs out before everything is taken off.
        """
        if request != "Delete":
            return {}
        if not removes:
            left = self.carriers(account)
            logger.info("guardrails stay attached", extra={"left": left})
            return {"left": {name: len(roles) for name, roles in left.items()}}
        done = self.everything(account, lambda: seconds_left() > ENOUGH)
        if not done["done"]:
            raise RetryLater(f"{done['detached']} guardrails are taken off, and there are more")
        return done

    def everything(self, account: str, in_time: Callable[[], bool]) -> dict[str, Any]:
        """Take every policy of Rolewarden off every role and delete it; `done` is false where time ran out before.

        Raises RetryLater and Refused.
        """
        detached = deleted = 0
        for name in self.aws.own_policies():
            arn = self._arn(name, account)
            if self.aws.policy_description(arn) != DESCRIPTION:
                continue
            for role in sorted(self.aws.roles_with_policy(arn)):
                if not in_time():
                    return {"detached": detached, "deleted": deleted, "done": False}
                self.aws.detach(role, arn)
                detached += 1
            self.aws.delete_policy(arn)
            deleted += 1
        return {"detached": detached, "deleted": deleted, "done": True}

    def carriers(self, account: str) -> dict[str, list[str]]:
        """Which roles carry which policy of Rolewarden. Raises RetryLater and Refused."""
        names = self.aws.own_policies()
        return {name: sorted(self.aws.roles_with_policy(self._arn(name, account))) for name in names}

    def _published(self) -> set[str]:
        return {policy.name for policy in compile_rules(self.rules, self.aws.partition)}

    def _arn(self, policy: str, account: str) -> str:
        return policy_arn(policy, self.aws.partition, account)
