"""The guardrail policies that the seeded account has in IAM, and the ways to tamper with one of them."""

from __future__ import annotations

import json
from typing import Any

from rolewarden.policies import policy_arn
from rolewarden_local.aws import ACCOUNT_ID

from tests.world import World

PUBLISHED = {"no-generative-ai", "only-nova-and-sonnet"}
"""Names of the policies that the compiler makes of guardrails.yaml."""

GUARDRAIL_ARN = policy_arn("no-generative-ai", "aws", ACCOUNT_ID)
"""The policy that `tamper` changes."""

UNRELATED = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]})
"""A policy document without any deny of a guardrail."""


def tamper(world: World, kind: str) -> dict[str, Any]:
    """Edit or delete the policy at GUARDRAIL_ARN, and return the event.

    `kind` is "edited", "another version made default" or "deleted".
    """
    if kind == "deleted":
        world.iam.delete_policy(PolicyArn=GUARDRAIL_ARN)
        return world.event("DeletePolicy")
    is_default = kind == "edited"
    answer = world.iam.create_policy_version(PolicyArn=GUARDRAIL_ARN, PolicyDocument=UNRELATED, SetAsDefault=is_default)
    if is_default:
        return world.event("CreatePolicyVersion")
    world.iam.set_default_policy_version(PolicyArn=GUARDRAIL_ARN, VersionId=answer["PolicyVersion"]["VersionId"])
    return world.event("SetDefaultPolicyVersion")
