"""The time at which CloudFormation published the guardrails of a stack, in the local AWS of this process."""

from datetime import datetime

from rolewarden import GUARDRAILS_RESOURCE as GUARDRAILS
from rolewarden_local.aws import ACCOUNT_ID, REGION
from rolewarden_local.emulated._ministack import cloudformation


def publish_at(stack: str, at: datetime) -> None:
    """Record that an operation of the stack `stack` published the guardrails at this time, and changed nothing else."""
    found = cloudformation._stacks.get_scoped(ACCOUNT_ID, REGION, stack)
    time = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    known = found.get("_resources", {})
    resource = {"LogicalResourceId": GUARDRAILS, "ResourceType": "Custom::RolewardenGuardrails", "Timestamp": time}
    changed = {"LastUpdatedTime": time, "_resources": {**known, GUARDRAILS: {**known.get(GUARDRAILS, {}), **resource}}}
    cloudformation._stacks.set_scoped(ACCOUNT_ID, REGION, stack, {**found, **changed})
