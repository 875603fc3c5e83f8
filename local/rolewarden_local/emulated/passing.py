"""The roles that a call gives to an AWS service: the caller needs iam:PassRole on each of them.

MiniStack stores such a role without a check. AWS checks it when the call names the role:
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

PARAMETERS: Final[Mapping[tuple[str, str], str]] = {
    ("cloudformation", "CreateChangeSet"): "RoleARN",
    ("cloudformation", "CreateStack"): "RoleARN",
    ("cloudformation", "DeleteStack"): "RoleARN",
    ("cloudformation", "UpdateStack"): "RoleARN",
    ("codebuild", "CreateProject"): "serviceRole",
    ("ecs", "RegisterTaskDefinition"): "taskRoleArn",
    ("events", "PutRule"): "RoleArn",
    ("events", "PutTargets"): "RoleArn",
    ("glue", "CreateJob"): "Role",
    ("iam", "AddRoleToInstanceProfile"): "RoleName",
    ("lambda", "CreateFunction"): "Role",
    ("lambda", "UpdateFunctionConfiguration"): "Role",
    ("states", "CreateStateMachine"): "roleArn",
    ("states", "UpdateStateMachine"): "roleArn",
}
"""The parameter with the role, by service and operation."""


def passed_roles(service: str, operation: str, parameters: Mapping[str, Any], body: bytes) -> Iterator[str]:
    """The ARNs or names of the roles that a call passes. `parameters` are those of its query and form."""
    if name := PARAMETERS.get((service, operation)):
        yield from dict.fromkeys(_named(name, {**_json(body), **parameters}))


def receiver(service: str) -> str:
    """The value of iam:PassedToService in the check."""
    return "ec2.amazonaws.com" if service == "iam" else f"{service}.amazonaws.com"


def _json(body: bytes) -> dict[str, Any]:
    if not body.lstrip().startswith(b"{"):
        return {}
    decoded: dict[str, Any] = json.loads(body)
    return decoded


def _named(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key == name and each:
                yield str(each[0] if isinstance(each, list) else each)
            else:
                yield from _named(name, each)
    elif isinstance(value, list):
        for each in value:
            yield from _named(name, each)
