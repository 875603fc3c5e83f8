"""The permissions of the functions' roles, in the template or in a deployed stack, and IAM's decisions on them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import boto3
from rolewarden.packing import Document
from rolewarden_local.emulated.authorization import Judged
from rolewarden_local.emulated.judge import judge


@dataclass(frozen=True)
class Rights:
    """The policies of one function's role: inline policies by name, and managed policies by ARN."""

    function: str
    role: str
    policies: Mapping[str, Document]
    managed: tuple[str, ...]

    def statements(self) -> Iterator[Mapping[str, Any]]:
        for document in self.policies.values():
            yield from document["Statement"]

    def may(self, action: str, resource: str, context: Mapping[str, str]) -> bool:
        """Whether the code of the function can do this."""
        own = {"lambda:SourceFunctionArn": next(self._sources(), "")}
        return judge(self.policies, action, resource, {**own, **context}).allowed

    def _sources(self) -> Iterator[str]:
        for statement in self.statements():
            if statement.get("Sid") == "OnlyThisFunction":
                yield statement["Condition"]["ArnNotEquals"]["lambda:SourceFunctionArn"]


def who_may(rights: Iterable[Rights], action: str, resource: str, context: Mapping[str, str]) -> set[str]:
    """The functions with permission for an action on a resource."""
    return {of_one.function for of_one in rights if of_one.may(action, resource, context)}


Right = tuple[str, str, str]
"""Function, action, resource: "DetachFunction", "iam:DetachRolePolicy", "role/*"."""


def unused(rights: Iterable[Rights], judged: Iterable[Judged]) -> set[Right]:
    """The permissions that no call needed."""
    calls = [call for call in judged if call.allowed]
    return {
        (of_one.function, action, short(pattern))
        for of_one in rights
        for statement in of_one.statements()
        if statement["Effect"] == "Allow"
        for action in actions(statement)
        for pattern in resources(statement)
        if not any(
            (call.principal, call.action) == (of_one.role, action) and fnmatchcase(call.resource, pattern)
            for call in calls
        )
    }


Line = tuple[str, str, str, str, str]
"""One permission as in docs/reference/permissions.md: function, effect, action, resource, condition."""


def lines(rights: Iterable[Rights]) -> set[Line]:
    """All permissions, one by one."""
    rights = list(rights)
    own = {short(of_one.role) for of_one in rights}
    found: set[Line] = set()
    for of_one in rights:
        logs = f"log-group:{of_one.function.replace('Function', 'Logs')}:*"
        for statement in of_one.statements():
            # The deny is the same for all functions, except that each names itself.
            itself = f"function:{of_one.function}"
            targets = {short(target) for target in resources(statement)}
            if own <= targets:
                targets = targets - own | {"the functions' roles"}
            if logs in targets:
                targets = targets - {logs} | {"its own log group"}
            found |= {
                (of_one.function, statement["Effect"], action, target, _condition(statement, itself))
                for action in actions(statement)
                for target in targets
            }
    return found


def _condition(statement: Mapping[str, Any], itself: str) -> str:
    return " and ".join(
        f"{operator} {key} {' or '.join(map(short, _list(values)))}".replace(itself, "the function itself")
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )


def short(resource: str) -> str:
    """The resource part of an ARN. For a deployed resource, its logical ID."""
    for form, name in _PHYSICAL:
        resource = re.sub(form, name, resource)
    return resource.split(":", 5)[-1]


_PHYSICAL = (
    (r"\brolewarden-(\w+)-[0-9A-F]{13}\b", r"\1"),
    (r"\brolewarden-(\w+Queue)-[0-9a-f]{8}\b", r"\1"),  # These names end in a part of the ID of the stack.
    (r"/aws/cloudformation/rolewarden/(\w+)", r"\1"),  # MiniStack names log groups in this way.
    (r":stack/rolewarden/[0-9a-f-]+$", ":stack/rolewarden"),
    (r":key/[0-9a-f-]{36}$", ":key/AlarmKey"),
)


def actions(statement: Mapping[str, Any]) -> list[str]:
    return _list(statement["Action"])


def resources(statement: Mapping[str, Any]) -> list[str]:
    return _list(statement["Resource"])


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def of_template(template: Any) -> list[Rights]:
    """The permissions of the functions as SAM's translator and CloudFormation make them."""
    roles = template.resources("AWS::IAM::Role")
    apart = template.resources("AWS::IAM::Policy").values()
    rights = []
    for function, properties in template.resources("AWS::Lambda::Function").items():
        name = properties["Role"].rsplit("/", 1)[-1]
        policies = [*roles[name].get("Policies", ()), *(policy for policy in apart if name in policy["Roles"])]
        documents = {policy["PolicyName"]: policy["PolicyDocument"] for policy in policies}
        rights.append(Rights(function, properties["Role"], documents, tuple(roles[name].get("ManagedPolicyArns", ()))))
    return rights


STACK_SET_ROLES = ("ForwardersAdministrationRole", "ForwardersExecutionRole", "ForwardRole")
"""The roles that do not belong to a function."""


def of_stack_sets(template: Any) -> list[Rights]:
    """The permissions of the roles that StackSets and its rules use in this account, by the name of the role."""
    roles = template.resources("AWS::IAM::Role")
    apart = template.resources("AWS::IAM::Policy").values()
    rights = []
    for name in STACK_SET_ROLES:
        policies = [*roles[name].get("Policies", ()), *(policy for policy in apart if name in policy["Roles"])]
        # The execution role is the one role without a path.
        text = json.dumps({policy["PolicyName"]: policy["PolicyDocument"] for policy in policies})
        documents = json.loads(text.replace("role/rolewarden/ForwardersExecutionRole", "role/ForwardersExecutionRole"))
        rights.append(Rights(name, name, documents, tuple(roles[name].get("ManagedPolicyArns", ()))))
    return rights


def of_stack(stack: str) -> list[Rights]:
    """The permissions of the functions of a deployed stack, read from IAM."""
    # In boto3's types a policy document is a string or a mapping, but a client always returns a mapping.
    iam: Any = boto3.client("iam")
    functions = boto3.client("lambda")
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    rights = []
    for resource in (each for page in pages for each in page["StackResourceSummaries"]):
        if resource["ResourceType"] != "AWS::Lambda::Function":
            continue
        role = functions.get_function_configuration(FunctionName=resource["PhysicalResourceId"])["Role"]
        name = role.rsplit("/", 1)[-1]
        documents = {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        }
        managed = [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]]
        rights.append(Rights(resource["LogicalResourceId"], role, documents, tuple(managed)))
    return rights
