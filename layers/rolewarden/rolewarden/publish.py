"""IAM's policies under `/rolewarden/`, kept to what the guardrails say.

Writes policies and attaches none. What a policy says is compared by digest, so that nothing is written where nothing
differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rolewarden.aws import Aws
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.events import DEPLOYMENT, Cause
from rolewarden.guardrails import Rules
from rolewarden.names import same
from rolewarden.policies import Policy, compile_rules, digest
from rolewarden.record import GUARDRAILS_PUBLISHED, Recorder, logger

DESCRIPTION = "A guardrail of Rolewarden: edit guardrails.yaml"
"""Marks a policy as one that Rolewarden made: no other is ever retired."""

CREATED, REPLACED, UNCHANGED = "created", "replaced", "unchanged"


@dataclass
class Publisher:
    """Brings the policies of accounts to what `rules` say."""

    aws: Aws
    recorder: Recorder
    rules: Rules

    def publish(self, account: str, cause: Cause, *, only: str = "", announces: bool = True) -> dict[str, str]:
        """All policies, or the one named `only`: what was done to each, "created", "replaced" or "unchanged".

        Empty where `only` is no guardrail's policy. A deployment is all or nothing: what it has done is taken back
        where a later policy cannot be written, and CloudFormation rolls back to guardrails that are in force. A change
        that no deployment asked for is a finding, and one policy that cannot be restored holds up no other. With
        `announces` whoever listens hears of a change. Raises Refused, RetryLater and RulesError.
        """
        deploys = cause == DEPLOYMENT
        mark = cause.mark()
        done: dict[str, str] = {}
        undo: list[Callable[[], None]] = []
        failed: list[RolewardenError] = []
        for policy in compile_rules(self.rules, self.aws.partition):
            if only and not same(only, policy.name):
                continue
            try:
                done[policy.name] = self._bring(policy, account, undo, mark)
            except RolewardenError as error:
                if deploys:
                    self._take_back(undo)
                    raise
                failed.append(error)
                continue
            if not deploys and done[policy.name] != UNCHANGED:
                self.recorder.policy(account, policy.name, done[policy.name], cause, mark)
        changed = deploys or (done and cause.event_name == "DeletePolicy") or set(done.values()) - {UNCHANGED}
        if changed and announces:
            # The sweep listens: a policy that was deleted is attached to nothing, also where somebody or an earlier try
            # has made it again. No deployment is rolled back for want of this.
            detail = {"account": account, "policies": done, "cause": cause.as_dict()}
            self.recorder.announce(GUARDRAILS_PUBLISHED, detail, needed=not deploys)
        if failed:
            raise failed[0]
        return done

    def _bring(self, policy: Policy, account: str, undo: list[Callable[[], None]], mark: str) -> str:
        aws, arn = self.aws.within(account), policy.arn(self.aws.partition, account)
        found = aws.policy(arn)
        if found is None:
            aws.create_policy(policy.name, policy.text, DESCRIPTION, mark=mark)
            undo.append(lambda: aws.delete_policy(arn))
            return CREATED
        if digest(found.text) == digest(policy.document):
            return UNCHANGED
        version = aws.replace_policy(arn, policy.text, mark=mark)
        undo.append(lambda: aws.set_default_version(arn, found.version, instead_of=version))
        return REPLACED

    def _take_back(self, undo: list[Callable[[], None]]) -> None:
        for step in reversed(undo):
            try:
                step()
            except (Refused, RetryLater) as error:
                # The rollback of the deployment publishes the old guardrails anyway.
                logger.error("a policy could not be taken back", extra={"why": str(error)})
