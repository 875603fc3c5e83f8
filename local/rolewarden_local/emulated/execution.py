"""The identity with which CloudFormation makes, changes and deletes each resource of a stack.

MiniStack makes every resource with all permissions. AWS assumes the administration role, and with it the execution
role in the account of the stack. Each resource then needs the permissions of the execution role:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-prereqs-self-managed.html

For another stack, AWS uses the permissions of the caller, or of the stack's service role:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
If the local AWS authorizes calls, this module does so for `OF_CALLERS`, the types that decide who can use a role.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rolewarden.errors import RolewardenError

from rolewarden_local.emulated import access
from rolewarden_local.emulated._ministack import cfn_stacks, responses
from rolewarden_local.emulated.authorization import deployer_refusal, service_role_of_stack
from rolewarden_local.emulated.patches import Patch

HANDLERS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "AWS::CloudFormation::WaitConditionHandle": {},
    "AWS::Events::Rule": {
        "create": (
            "iam:PassRole",
            "events:DescribeRule",
            "events:PutRule",
            "events:PutTargets",
            "events:TagResource",
        ),
        "read": ("iam:PassRole", "events:DescribeRule", "events:ListTargetsByRule", "events:ListTagsForResource"),
        "update": (
            "iam:PassRole",
            "events:DescribeRule",
            "events:PutRule",
            "events:RemoveTargets",
            "events:PutTargets",
            "events:UntagResource",
            "events:TagResource",
        ),
        "delete": (
            "iam:PassRole",
            "events:DescribeRule",
            "events:DeleteRule",
            "events:RemoveTargets",
            "events:ListTargetsByRule",
        ),
    },
    "AWS::IAM::ManagedPolicy": {
        "create": (
            "iam:CreatePolicy",
            "iam:AttachGroupPolicy",
            "iam:AttachUserPolicy",
            "iam:AttachRolePolicy",
        ),
        "read": ("iam:GetPolicy", "iam:ListEntitiesForPolicy", "iam:GetPolicyVersion"),
        "update": (
            "iam:DetachRolePolicy",
            "iam:GetPolicy",
            "iam:ListPolicyVersions",
            "iam:DetachGroupPolicy",
            "iam:DetachUserPolicy",
            "iam:CreatePolicyVersion",
            "iam:DeletePolicyVersion",
            "iam:AttachGroupPolicy",
            "iam:AttachUserPolicy",
            "iam:AttachRolePolicy",
        ),
        "delete": (
            "iam:DetachRolePolicy",
            "iam:GetPolicy",
            "iam:ListPolicyVersions",
            "iam:DetachGroupPolicy",
            "iam:DetachUserPolicy",
            "iam:DeletePolicyVersion",
            "iam:DeletePolicy",
            "iam:ListEntitiesForPolicy",
        ),
    },
    "AWS::IAM::Role": {
        "create": (
            "iam:CreateRole",
            "iam:PutRolePolicy",
            "iam:AttachRolePolicy",
            "iam:GetRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:GetRole",
        ),
        "read": ("iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:GetRolePolicy"),
        "update": (
            "iam:UpdateRole",
            "iam:UpdateRoleDescription",
            "iam:UpdateAssumeRolePolicy",
            "iam:DetachRolePolicy",
            "iam:AttachRolePolicy",
            "iam:DeleteRolePermissionsBoundary",
            "iam:PutRolePermissionsBoundary",
            "iam:DeleteRolePolicy",
            "iam:PutRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
        ),
        "delete": (
            "iam:DeleteRole",
            "iam:DetachRolePolicy",
            "iam:DeleteRolePolicy",
            "iam:GetRole",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:TagRole",
            "iam:UntagRole",
        ),
    },
    "AWS::SageMaker::AppImageConfig": {
        "create": (
            "sagemaker:CreateAppImageConfig",
            "sagemaker:DescribeAppImageConfig",
            "sagemaker:AddTags",
            "sagemaker:ListTags",
        ),
        "read": ("sagemaker:DescribeAppImageConfig", "sagemaker:ListTags"),
        "update": (
            "sagemaker:UpdateAppImageConfig",
            "sagemaker:DescribeAppImageConfig",
            "sagemaker:AddTags",
            "sagemaker:ListTags",
            "sagemaker:DeleteTags",
        ),
        "delete": ("sagemaker:DeleteAppImageConfig", "sagemaker:DescribeAppImageConfig", "sagemaker:DeleteTags"),
    },
    "AWS::SQS::Queue": {
        "create": (
            "sqs:CreateQueue",
            "sqs:GetQueueUrl",
            "sqs:GetQueueAttributes",
            "sqs:ListQueueTags",
            "sqs:TagQueue",
        ),
        "read": ("sqs:GetQueueAttributes", "sqs:ListQueueTags"),
        "update": (
            "sqs:SetQueueAttributes",
            "sqs:GetQueueAttributes",
            "sqs:ListQueueTags",
            "sqs:TagQueue",
            "sqs:UntagQueue",
        ),
        "delete": ("sqs:DeleteQueue", "sqs:GetQueueAttributes"),
    },
    "AWS::SQS::QueuePolicy": {
        "create": ("sqs:SetQueueAttributes",),
        "update": ("sqs:SetQueueAttributes",),
        "delete": ("sqs:SetQueueAttributes",),
    },
}
"""The permissions that the handlers of resource types use, from the schemas of the types (`handlers.*.permissions`).

cfn-lint ships these schemas, and `tests/local/test_execution.py` compares them with this table.
"""

PASSED: Final[Mapping[str, tuple[str, str]]] = {
    "AWS::Lambda::Function": ("Role", "lambda.amazonaws.com"),
    "AWS::StepFunctions::StateMachine": ("RoleArn", "states.amazonaws.com"),
}
"""The property with the role of a resource, and the service to which the caller passes this role."""

OF_CALLERS: Final = frozenset({"AWS::IAM::Role", *PASSED})
"""The types that a stack makes with the permissions of its caller or service role. Of PASSED, only the role counts."""

TAGGED_BY_AWS: Final = frozenset({"AWS::Events::Rule"})
"""Types whose handlers also set the tags `aws:cloudformation:*` (`tagging.cloudFormationSystemTags` of the schema)."""

ENABLED_BY_DEFAULT: Final = frozenset(
    {
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ca-central-1",
        "eu-central-1",
        "eu-north-1",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    }
)
"""The Regions that a new account can use immediately. The list is final: an account must enable every newer Region.

https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html
"""


class NotAllowedError(RolewardenError):
    """A role lacks a permission that StackSets needs. MiniStack reports it as the reason why a resource failed."""


def principal(region: str) -> str:
    """The service principal that assumes an administration role for a stack in `region`.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-opt-in-regions.html
    """
    of_region = "" if region in ENABLED_BY_DEFAULT else f"{region}."
    return f"cloudformation.{of_region}amazonaws.com"


@dataclass(frozen=True)
class Execution:
    """A stack in a Region of an account, and the role that makes its resources."""

    account: str
    region: str
    role: Mapping[str, Any]

    @classmethod
    def begin(cls, place: tuple[str, str], administration: str, name: str, stack_set: str) -> Execution:
        """Assume the execution role `name` for a stack in a place (account and Region).

        Args:
            place: The account and Region of the stack.
            administration: The ARN of the administration role.
            name: The name of the execution role.
            stack_set: The ARN of the StackSet.

        Raises:
            NotAllowedError: One of the roles is missing, does not trust its caller, or lacks a permission.
        """
        account, region = place
        owner = administration.split(":")[4]
        arn = f"arn:aws:iam::{account}:role/{name}"
        session = f"arn:aws:sts::{owner}:assumed-role/{administration.rsplit('/', 1)[-1]}/{uuid.UUID(int=0)}"
        context = {"aws:SourceAccount": owner, "aws:SourceArn": stack_set}
        role = access.role(arn)
        administrator = access.role(administration)
        if (
            role is None
            or administrator is None
            or not access.service_may_assume(principal(region), administration, context)
            or not access.role_may(administrator, "sts:AssumeRole", arn, {})
            or not access.may_assume(session, arn)
        ):
            # https://repost.aws/knowledge-center/cfn-iam-best-practices-stackset-resources quotes this message.
            raise NotAllowedError(
                f"Account {account} should have '{name}' role with trust relationship to Role "
                f"'{administration.rsplit('/', 1)[-1]}'."
            )
        return cls(account, region, role)

    def require(self, action: str, resource: str = "*", context: Mapping[str, str] | None = None) -> None:
        """Raise NotAllowedError unless the role has the permission."""
        keys = {"aws:RequestedRegion": self.region, "aws:ResourceAccount": self.account, **(context or {})}
        if not access.role_may(self.role, action, resource, keys):
            session = f"arn:aws:sts::{self.account}:assumed-role/{self.role['RoleName']}/{uuid.UUID(int=0)}"
            raise NotAllowedError(
                f"User: {session} is not authorized to perform: "
                f"{action} on resource: {resource} because no identity-based policy allows the {action} action"
            )

    def require_stack_rights(self, operation: str) -> None:
        """Raise NotAllowedError unless the role has `cloudformation:*` on `*`, the minimum for working on stacks."""
        for action in (operation, "DescribeStacks", "DescribeStackEvents", "GetTemplateSummary"):
            self.require(f"cloudformation:{action}")

    def require_handler_rights(
        self, kind: str, operation: str, old: Mapping[str, Any], new: Mapping[str, Any], physical_id: str = ""
    ) -> None:
        """Raise NotAllowedError unless the role has every permission that the handler of a type uses for an operation.

        Args:
            kind: The type, such as "AWS::SQS::Queue".
            operation: "create", "update" or "delete". After the first two, the handler reads the resource.
            old: The current properties of the resource, empty on creation.
            new: The new properties of the resource, empty on deletion.
            physical_id: The resource's physical ID, empty on creation.
        """
        if kind not in HANDLERS:
            raise NotAllowedError(f"{kind}: the local AWS does not know the rights of its handler")
        handlers = HANDLERS[kind]
        actions = [*handlers.get(operation, ()), *(handlers.get("read", ()) if operation != "delete" else ())]
        for action in dict.fromkeys(actions):
            if not _is_needed(kind, action, old, new):
                continue
            for resource, context in self._resources(kind, action, old, new, physical_id):
                self.require(action, resource, context)

    def _resources(
        self, kind: str, action: str, old: Mapping[str, Any], new: Mapping[str, Any], physical_id: str
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """The ARNs that a handler's action affects, each with the condition keys specific to the action."""
        of_either = new or old
        if action == "iam:PassRole":
            for arn in _passed(of_either):
                yield arn, {"iam:PassedToService": "events.amazonaws.com"}
        elif kind == "AWS::IAM::Role":
            name = of_either.get("RoleName") or physical_id
            asks = action in {"iam:CreateRole", "iam:PutRolePermissionsBoundary"}
            boundary = str((new if asks else old or new).get("PermissionsBoundary", ""))
            yield (
                f"arn:aws:iam::{self.account}:role{of_either.get('Path', '/')}{name}",
                {"iam:PermissionsBoundary": boundary},
            )
        elif kind == "AWS::IAM::ManagedPolicy":
            name = of_either.get("ManagedPolicyName") or physical_id.rsplit("/", 1)[-1]
            yield f"arn:aws:iam::{self.account}:policy{of_either.get('Path', '/')}{name}", {}
        elif kind == "AWS::Events::Rule":
            yield self._arn("events", f"rule/{of_either.get('Name') or physical_id}"), {}
        elif kind == "AWS::SageMaker::AppImageConfig":
            yield self._arn("sagemaker", f"app-image-config/{of_either['AppImageConfigName']}"), {}
        elif kind == "AWS::SQS::QueuePolicy":
            for queue in of_either["Queues"]:
                yield self._arn("sqs", queue.rsplit("/", 1)[-1]), {}
        else:
            yield self._arn("sqs", of_either.get("QueueName") or physical_id.rsplit("/", 1)[-1]), {}

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


class OfCaller(Execution):
    """A stack that CloudFormation works on with the permissions of the caller."""

    def require(self, action: str, resource: str = "*", context: Mapping[str, str] | None = None) -> None:
        """Raise NotAllowedError unless the caller has the permission."""
        if refused := deployer_refusal(action, resource, context or {}):
            raise NotAllowedError(refused)


def _of_current_call() -> Execution:
    """The identity of the stack on which the current call works: its service role or the caller."""
    account, region, arn = responses.get_account_id(), responses.get_region(), service_role_of_stack()
    if not arn:
        return OfCaller(account, region, {})
    role = access.role(arn)
    if role is None or not access.service_may_assume("cloudformation.amazonaws.com", arn, {}):
        raise NotAllowedError(f"Role {arn} is invalid or cannot be assumed")
    return Execution(account, region, role)


def _passed(properties: Mapping[str, Any]) -> list[str]:
    return sorted({target["RoleArn"] for target in properties.get("Targets", ()) if target.get("RoleArn")})


def _is_needed(kind: str, action: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a handler uses a permission for these properties. True if this function has no rule for the action."""
    name = action.partition(":")[2]
    if name in {"AttachRolePolicy", "DetachRolePolicy"}:
        return bool(old.get("ManagedPolicyArns") or new.get("ManagedPolicyArns"))
    if name == "PutRolePermissionsBoundary":
        return bool(new.get("PermissionsBoundary")) and new.get("PermissionsBoundary") != old.get("PermissionsBoundary")
    if name == "DeleteRolePermissionsBoundary":
        return bool(old.get("PermissionsBoundary")) and not new.get("PermissionsBoundary")
    if name.startswith(("Tag", "Untag")):
        tags = [*old.get("Tags", ()), *new.get("Tags", ())]
        return kind in TAGGED_BY_AWS or any(not tag["Key"].startswith("aws:") for tag in tags)
    return True


_RUNNING: Final[dict[tuple[str, str, str], Execution]] = {}
"""Roles by account, Region and name of the stack."""


def install_execution() -> None:
    """Make the resources of stacks in `executed` with the permissions of their roles. Call once a process."""
    provision, update, delete = cfn_stacks._provision_resource, cfn_stacks._update_resource, cfn_stacks._delete_resource

    def provisioned(kind: str, logical: str, props: Mapping[str, Any], stack: str, *more: Any) -> Any:
        _require_handler_rights(stack, kind, "create", {}, props)
        return provision(kind, logical, props, stack, *more)

    def updated(
        kind: str, physical: str, old: Mapping[str, Any], new: Mapping[str, Any], stack: str, *more: Any
    ) -> Any:
        if old != new:
            _require_handler_rights(stack, kind, "update", old, new, physical)
        return update(kind, physical, old, new, stack, *more)

    def deleted(kind: str, physical: str, props: Mapping[str, Any], stack: str = "", *more: Any) -> Any:
        _require_handler_rights(stack, kind, "delete", props, {}, physical)
        return delete(kind, physical, props, stack, *more)

    why = "MiniStack makes every resource with all permissions. For a self-managed StackSet, AWS uses those of a role."
    Patch(cfn_stacks, "_provision_resource", provisioned, why).install()
    Patch(cfn_stacks, "_update_resource", updated, why).install()
    Patch(cfn_stacks, "_delete_resource", deleted, why).install()


def _require_handler_rights(stack: str, *arguments: Any) -> None:
    execution = _RUNNING.get((responses.get_account_id(), responses.get_region(), stack))
    kind, operation, _, new, *_ = arguments
    if execution:
        execution.require_handler_rights(*arguments)
    elif kind in PASSED:
        name, service = PASSED[kind]
        if operation != "delete" and isinstance(new.get(name), str):
            _of_current_call().require("iam:PassRole", new[name], {"iam:PassedToService": service})
    elif kind in OF_CALLERS:
        _of_current_call().require_handler_rights(*arguments)


@contextlib.contextmanager
def executed(stack: str, execution: Execution | None) -> Iterator[None]:
    """Work on a stack as a role while the block runs. None means StackSets itself, which has every permission."""
    if execution is None:
        yield
        return
    key = (execution.account, execution.region, stack)
    _RUNNING[key] = execution
    try:
        yield
    finally:
        _RUNNING.pop(key, None)


def reset_execution() -> None:
    """Forget every stack."""
    _RUNNING.clear()
