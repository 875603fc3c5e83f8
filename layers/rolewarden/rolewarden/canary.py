"""The canary: a role, a policy and a SageMaker resource of Rolewarden, on which drills make their calls.

template.yaml and forwarder.yaml create them. The role is outside of the path `/rolewarden/`, and its trust policy
denies every caller. Its only policy denies everything. A drill is not recognized by the names here: every caller can
use them. See `rolewarden.drill`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from rolewarden import POLICY_PATH
from rolewarden.names import folded, folded_arn

CANARY_ROLE = "rolewarden-canary"
"""The name of the canary role."""

CANARY_POLICY = "drill.canary"
"""The name of the canary's policy, under the path `/rolewarden/`. No guardrail can have this name."""

RESERVED_PREFIX = "drill."
"""The beginning of the names of policies under `/rolewarden/` that belong to drills and not to guardrails."""

CANARY_CONFIG = "rolewarden-canary"
"""The name of the canary's AppImageConfig, which every covered region has."""

CANARY_TAG = {"Key": "rolewarden:drill", "Value": "canary"}
"""The tag that the role and the AppImageConfig have. A pulse sets it to the value that it has."""

NOT_DRILLED = frozenset({"ap-south-2", "ap-southeast-4", "ca-west-1", "mx-central-1"})
"""The regions without the resource type AWS::SageMaker::AppImageConfig, by the schemas that cfn-lint ships. No subject
pulse is sent there."""

_POLICY_END = f":policy{POLICY_PATH}{CANARY_POLICY}"
_CONFIG_ARN = re.compile(rf"arn:[^:]+:sagemaker:[^:]*:[^:]*:app-image-config/(?i:{CANARY_CONFIG})")


class DrillKind(StrEnum):
    """The call of a drill, which decides the events that travel the event path."""

    ROLES = "role pulse"
    """TagRole on the canary role with the tag that it has: the path of the events about roles."""

    SUBJECTS = "subject pulse"
    """AddTags on the AppImageConfig with the tag that it has: the path of events about domains and user profiles."""

    FULL = "full drill"
    """DetachRolePolicy on the canary role: EnforceFunction must attach the policy again."""


DRILL_CALLS = {"TagRole": DrillKind.ROLES, "AddTags": DrillKind.SUBJECTS, "DetachRolePolicy": DrillKind.FULL}
"""The kind of a drill that makes each call."""


class DrillCall(NamedTuple):
    """A call on the canary, which a drill can have made.

    - `principal`: the ARN of its caller, without the name of its session.
    - `nonce`: the nonce at the end of its user agent; empty if it has none.
    - `event_id`: the ID that CloudTrail gave the call.
    """

    kind: DrillKind
    principal: str
    nonce: str
    event_id: str


_NONCE = re.compile(r"\brolewarden/((?:pulse|drill)\.[0-9]{10}\.[0-9a-f]{16})$")


def nonce_in(user_agent: str) -> str:
    """The nonce of a drill at the end of a user agent; empty if it has none."""
    found = _NONCE.search(user_agent)
    return found[1] if found else ""


def canary_call(call: str, parameters: Mapping[str, Any]) -> DrillKind | None:
    """The kind of drill that can have made a call, by its recorded parameters; None for calls that no drill makes."""
    kind = DRILL_CALLS.get(call)
    if kind is DrillKind.SUBJECTS:
        arn = parameters.get("resourceArn")
        return kind if isinstance(arn, str) and _CONFIG_ARN.fullmatch(arn) else None
    if kind is None or not is_canary(str(parameters.get("roleName", ""))):
        return None
    detached = str(parameters.get("policyArn", ""))
    return kind if kind is DrillKind.ROLES or folded_arn(detached).endswith(_POLICY_END) else None


def is_canary(role: str) -> bool:
    """Whether a role of this name is the canary role. IAM does not distinguish names by case."""
    return folded(role) == CANARY_ROLE


def is_of_drills(policy: str) -> bool:
    """Whether a policy of this name under `/rolewarden/` belongs to drills, so that it is no guardrail's."""
    return folded(policy).startswith(RESERVED_PREFIX)
