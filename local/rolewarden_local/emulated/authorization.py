"""Authorization: the caller's policies and boundary, and service control policies, decide every call.

MiniStack has such a check (AUTH), but one setting applies to the whole process. The check omits moto's SageMaker, and
does not know iam:PolicyARN and events:source. It also decides on operators that no test compares with AWS.

The policies of SQS queues and SNS topics decide next to those of the caller, see `queue_policies`. Other resource
policies do not.

`judge` rejects everything outside of its tables: such a call fails with InternalFailure and a reason. This module
evaluates the action, the resource and the condition keys of a principal's request. Only service control policies
restrict the root user. This module does not evaluate requests without a signature (presigned ones), and calls that AWS
makes with a function's role: Lambda polls queues, sends failed events to a queue and writes logs.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from rolewarden.packing import Document

from rolewarden_local.emulated import faults, names, passing, queue_policies, tables
from rolewarden_local.emulated._ministack import cloudformation, iam, iam_actions, sts
from rolewarden_local.emulated.faults import Answer
from rolewarden_local.emulated.iam import role_of_template
from rolewarden_local.emulated.judge import BOUNDARY, Judgement, Unsupported, Values, current_time, judge
from rolewarden_local.emulated.managed import MANAGED
from rolewarden_local.emulated.organization import NOT_DELEGATED, ORGANIZATION
from rolewarden_local.emulated.scps import organizations_decision

_OPEN: Final = frozenset({"sts:GetCallerIdentity"})
"""A call without permissions: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html"""

# MiniStack invents any other attached policy on request, with a document that allows everything.
_MANAGED: Final = frozenset(iam._aws_managed_policies) | MANAGED


@dataclass(frozen=True)
class Request:
    """One call at the endpoint. `parameters` are those of its query and of a form in its body."""

    service: str
    operation: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    parameters: Mapping[str, Any]
    access_key: str
    account: str
    region: str
    request_id: str

    def parameter(self, name: str) -> str:
        """A parameter of a call of the query protocol, or "" if it is missing."""
        return str(iam._p(self.parameters, name) or "")

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in the caller's account and the call's region."""
        region = "" if service == "iam" else self.region
        return f"arn:aws:{service}:{region}:{self.account}:{resource}"


@dataclass(frozen=True)
class Judged:
    """A principal's request (with the ARN of the role or user), and the Sids of the statements that decided."""

    principal: str
    action: str
    resource: str
    allowed: bool
    sids: frozenset[str]


@dataclass(frozen=True)
class _Principal:
    arn: str
    """The caller's ARN in messages. A role's session has its own ARN."""
    identity: str
    """The ARN of the role or user."""
    policies: Mapping[str, Document]
    boundary: Document | None
    keys: Mapping[str, str]

    @property
    def is_root(self) -> bool:
        """Whether it is the root user, whom only service control policies restrict."""
        return self.identity.endswith(":root")

    @property
    def is_judged(self) -> bool:
        """Whether a policy could deny it something."""
        return not self.is_root or ORGANIZATION.is_restricted(self.identity.split(":")[4])


@dataclass(frozen=True)
class _Ask:
    """One action on one resource. A call can need several of them."""

    action: str
    resource: str = "*"
    keys: Mapping[str, Values] = field(default_factory=lambda: MappingProxyType({}))
    refusal: tuple[str, str] | None = None
    """Code and message of a denial, if AWS does not use the message "is not authorized". Otherwise None."""


class Authorization:
    """The decisions on all calls while a block runs, and their record.

    Sources differ about iam:PassRole in UpdateDomain and UpdateUserProfile. With `updates_pass_roles`, these calls need
    it. Without it, they do not, which is the case that helps an attacker.
    """

    def __init__(self, *, updates_pass_roles: bool = False) -> None:
        self.judged: set[Judged] = set()
        self._updates_pass_roles = updates_pass_roles

    def refusal(self, request: Request) -> Answer | None:
        """The answer to a denied call, or None if the call is allowed."""
        if not request.access_key:
            return None
        try:
            caller = _caller(request)
            if caller is None:
                return self._unknown(request)
            is_judged = caller.is_judged or request.service == "dynamodb"
            asks = [*_asked(request), *_of_passed_roles(request), *self._of_updates(request)]
            for ask in asks if is_judged else ():
                keys = {**caller.keys, **_keys(request, ask), **ask.keys}
                if _denied_by_table(request, ask, keys):
                    return _denied(request, _by_table(caller, ask))
                judgement = self._judge(caller, ask, keys) if caller.is_judged else Judgement("allowed")
                if not judgement.allowed and ask.refusal:
                    code, message = ask.refusal
                    return faults.refusal(request.service, code, message, 400)
                if not judgement.allowed:
                    return _denied(request, _message(caller, ask, keys, judgement))
        except Unsupported as unsupported:
            _, headers, body = _denied(
                request, f"the local AWS cannot evaluate this call: {unsupported}", "InternalFailure"
            )
            return 500, headers, body
        return None

    def _of_updates(self, request: Request) -> Iterator[_Ask]:
        if self._updates_pass_roles and request.operation in {"UpdateDomain", "UpdateUserProfile"}:
            yield from _roles_in(json.loads(request.body or b"{}"))

    def allows(self, request: Request, action: str) -> bool:
        """Whether the caller can also do `action` on `*`, a permission that AWS requires next to that of the call."""
        caller = _caller(request) if request.access_key else None
        if caller is None or not caller.is_judged:
            return not request.access_key or caller is not None
        ask = _Ask(action)
        return self._judge(caller, ask, {**caller.keys, **_keys(request, ask)}).allowed

    def refusal_of(self, request: Request, ask: _Ask) -> str | None:
        """The message of the error if the caller of a request cannot do something further; None if it can."""
        caller = _caller(request) if request.access_key else None
        if caller is None:
            return "The security token included in the request is invalid." if request.access_key else None
        if not caller.is_judged:
            return None
        keys = {**caller.keys, **_keys(request, ask), **ask.keys}
        judgement = self._judge(caller, ask, keys)
        return None if judgement.allowed else _message(caller, ask, keys, judgement)

    def _judge(self, caller: _Principal, ask: _Ask, keys: Mapping[str, Values]) -> Judgement:
        by_scps = organizations_decision(caller.identity, ask.action, ask.resource, keys)
        if by_scps != "allowed" or caller.is_root:
            judgement = Judgement(by_scps)
        else:
            judgement = judge(caller.policies, ask.action, ask.resource, keys, boundary=caller.boundary)
            judgement = _with_resource_policy(judgement, caller, ask, keys)
        sids = frozenset(matched.sid for matched in judgement.matched)
        self.judged.add(Judged(caller.identity, ask.action, ask.resource, judgement.allowed, sids))
        return judgement

    @staticmethod
    def _unknown(request: Request) -> Answer:
        return _denied(request, "The security token included in the request is invalid.", "InvalidClientTokenId")


def _with_resource_policy(judgement: Judgement, caller: _Principal, ask: _Ask, keys: Mapping[str, Values]) -> Judgement:
    """The decision together with the policy of the resource, if this module knows its kind of policies."""
    if not ask.resource.startswith(("arn:aws:sqs:", "arn:aws:sns:")):
        return judgement
    policy = queue_policies.policy_of(ask.resource)
    by_resource = (
        queue_policies.decision(policy, caller.identity, ask.action, ask.resource, keys) if policy else "implicitDeny"
    )
    is_same_account = ask.resource.split(":")[4] == caller.identity.split(":")[4]
    if "explicitDeny" in {judgement.decision, by_resource}:
        return judgement if judgement.decision == "explicitDeny" else Judgement("explicitDeny", ())
    if is_same_account and by_resource == "allowed" and caller.boundary is None:
        return Judgement("allowed")
    if not is_same_account and by_resource != "allowed":
        return Judgement("implicitDeny")
    return judgement


def _denied_by_table(request: Request, ask: _Ask, keys: Mapping[str, Values]) -> bool:
    is_item = request.service == "dynamodb" and ask.resource != "*"
    return is_item and tables.is_denied(request.account, request.region, ask.resource, ask.action, keys)


def _by_table(caller: _Principal, ask: _Ask) -> str:
    why = "with an explicit deny in a resource-based policy"
    return f"User: {caller.arn} is not authorized to perform: {ask.action} on resource: {ask.resource} {why}"


def _root(account: str) -> _Principal:
    arn = f"arn:aws:iam::{account}:root"
    keys = {
        "aws:PrincipalArn": arn,
        "aws:PrincipalAccount": account,
        "aws:PrincipalType": "Account",
        **current_time(),
    }
    return _Principal(arn, arn, {}, None, keys)


_CALL: Final = contextvars.ContextVar[tuple[Authorization, Request] | None]("call", default=None)
"""The call that CloudFormation works on, if calls are authorized. Its tasks and threads inherit the value."""


@contextlib.contextmanager
def made_by(authorization: Authorization | None, request: Request) -> Iterator[None]:
    """Run CloudFormation's work with the permissions of this call's caller while the block runs."""
    token = _CALL.set((authorization, request) if authorization else None)
    try:
        yield
    finally:
        _CALL.reset(token)
        if request.service == "cloudformation" and (role := request.parameter("RoleARN")) and (of := _stack(request)):
            of["RoleARN"] = role


def _stack(request: Request) -> Any:
    name = request.parameter("StackName").partition(":stack/")[2].partition("/")[0] or request.parameter("StackName")
    return cloudformation._stacks.get_scoped(request.account, request.region, name)


def service_role_of_stack() -> str:
    """The role as which CloudFormation works on the stack of the current call; "" if it works as the caller.

    The stack keeps its role for later calls:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
    """
    call = _CALL.get()
    if call is None:
        return ""
    return call[1].parameter("RoleARN") or str((_stack(call[1]) or {}).get("RoleARN", ""))


def deployer_refusal(action: str, resource: str, keys: Mapping[str, str]) -> str | None:
    """The reason why the caller of CloudFormation cannot do `action` on a resource; None if the caller can."""
    call = _CALL.get()
    return call[0].refusal_of(call[1], _Ask(action, resource, {k: v for k, v in keys.items() if v})) if call else None


def deployer_may(action: str) -> bool:
    """Whether the caller of CloudFormation can do `action` on `*`."""
    call = _CALL.get()
    return call is None or call[0].allows(call[1], action)


def _caller(request: Request) -> _Principal | None:
    """The caller: the root user, or a role or user with its policies. None if the access key is not valid."""
    if session := sts._sessions.get(request.access_key):
        if session.get("SessionPolicies") or session["PrincipalType"] not in {"AssumedRole", "User"}:
            raise Unsupported(f"session {session['Arn']}: neither a role's nor a user's without its own policies")
        kind, name = session["PrincipalType"], session["Arn"].split("/")[1 if ":sts:" in session["Arn"] else -1]
        arn, user_id = session["Arn"], session["UserId"]
        source_identity, function = session.get("SourceIdentity", ""), session.get("SourceFunctionArn", "")
    elif key := iam._access_keys.get_scoped(request.account, None, request.access_key):
        kind, name = "User", key["UserName"]
        arn = user_id = source_identity = function = ""
    else:
        # An account's ID and "test" mean its root. An unknown key in the form of an issued one was revoked.
        return None if request.access_key.startswith(("AKIA", "ASIA")) else _root(request.account)
    store = iam._users if kind == "User" else iam._roles
    entity = names.entity(store, request.account, name)
    if entity is None:
        return None
    identity = entity["Arn"]
    keys = {
        "aws:PrincipalArn": identity,
        "aws:PrincipalAccount": request.account,
        "aws:PrincipalType": kind,
        "aws:userid": user_id or entity["UserId"],
        **({"aws:username": name} if kind == "User" else {}),
        **({"aws:SourceIdentity": source_identity} if source_identity else {}),
        **({"lambda:SourceFunctionArn": function} if function else {}),
        **current_time(),
    }
    carried = entity.get("PermissionsBoundary")
    boundary = _document(request.account, carried) if carried else None
    return _Principal(arn or identity, identity, _policies(request.account, kind, entity), boundary, keys)


def _policies(account: str, kind: str, entity: Mapping[str, Any]) -> dict[str, Document]:
    carriers = [(entity, _inline(account, kind, entity))]
    if kind == "User":
        groups = [group for name in iam._groups if (group := iam._groups.get_scoped(account, None, name))]
        carriers += [
            (group, iam._group_inline_policies.get_scoped(account, None, group["GroupName"]) or {})
            for group in groups
            if entity["UserName"] in group["Users"]
        ]
    policies: dict[str, Document] = {}
    for number, (carrier, inline) in enumerate(carriers):
        policies |= {f"{number}/{name}": json.loads(text) for name, text in inline.items()}
        policies |= {arn: _document(account, arn) for arn in carrier.get("AttachedPolicies", ())}
    return policies


def _inline(account: str, kind: str, entity: Mapping[str, Any]) -> Mapping[str, str]:
    if kind == "User":
        return iam._user_inline_policies.get_scoped(account, None, entity["UserName"]) or {}
    inline: Mapping[str, str] = entity["InlinePolicies"]
    return inline


def _document(account: str, arn: str) -> Document:
    policy = iam._aws_managed_policies.get(arn) if iam._is_aws_managed_arn(arn) else None
    if policy is None:
        policy = iam._policies.get_scoped(account, None, arn)
    if policy is None or (iam._is_aws_managed_arn(arn) and arn not in _MANAGED):
        raise Unsupported(f"policy {arn}: its content is unknown here")
    document: Document = json.loads(policy["Versions"][policy["DefaultVersionId"]]["Document"])
    return document


def _keys(request: Request, ask: _Ask) -> dict[str, str]:
    """The condition keys of every request that a local call has."""
    owner = ask.resource.split(":")[4] if ask.resource != "*" else ""
    account = owner if owner.isdigit() else request.account
    organizations = {
        "aws:ResourceOrgID": ORGANIZATION.of(account),
        "aws:PrincipalOrgID": ORGANIZATION.of(request.account),
    }
    return {
        # A service that calls with its own identity has no access key here.
        "aws:PrincipalIsAWSService": "false",
        "aws:RequestedRegion": request.region,
        "aws:ResourceAccount": account,
        **{key: organization for key, organization in organizations.items() if organization},
    }


_FUNCTION: Final = re.compile(r"/[\d-]+/functions/(?P<name>[\w-]+)/(?P<what>concurrency|configuration|policy)")
_MAPPING: Final = re.compile(r"/[\d-]+/event-source-mappings/(?P<name>[\w-]+)/?")
_OF_LAMBDA: Final = {
    ("DELETE", "concurrency"): "lambda:DeleteFunctionConcurrency",
    ("GET", "concurrency"): "lambda:GetFunctionConcurrency",
    ("GET", "configuration"): "lambda:GetFunctionConfiguration",
    ("GET", "event-source-mapping"): "lambda:GetEventSourceMapping",
    ("GET", "policy"): "lambda:GetPolicy",
    ("PUT", "concurrency"): "lambda:PutFunctionConcurrency",
    ("PUT", "event-source-mapping"): "lambda:UpdateEventSourceMapping",
}
"""The actions of calls about one function or mapping, by the method and the part of the path."""


def _asked(request: Request) -> Iterable[_Ask]:
    """The permissions that a call needs. If this module does not know an operation's resource, it is `*`."""
    if request.service == "sagemaker":
        action = f"sagemaker:{request.operation}"
    else:
        action = (
            iam_actions.extract_iam_action(
                request.service, request.method, request.path, request.headers, request.body, request.parameters
            )
            or f"{request.service}:{request.operation}"
        )
        # MiniStack does not know every call to a REST API, see `transport.operation_name`.
        action = f"{request.service}:{request.operation}" if "." in action else action
    if action in _OPEN:
        return ()
    if request.service in {"iam", "sts"}:
        return _of_iam(request, action)
    if request.service == "sns":
        # A call about a subscription is authorized on its topic, whose ARN the ARN of the subscription begins with.
        topic = request.parameter("TopicArn") or request.parameter("ResourceArn")
        topic = topic or request.parameter("SubscriptionArn").rpartition(":")[0]
        return [_Ask(action, topic or "*")]
    if request.service == "dynamodb":
        return _of_dynamodb(request, action)
    if request.service == "cloudformation" and (name := request.parameter("StackSetName")):
        return _of_stack_set(request, action, name)
    about_stack = ("DescribeStacks", "DescribeStackEvents", "DescribeStackResource", "ListStackResources")
    if action in {f"cloudformation:{each}" for each in about_stack} and (name := request.parameter("StackName")):
        return [_Ask(action, _stack_arn(request, name))]
    if request.service == "lambda":
        return [_of_lambda(request) or _Ask(action)]
    if action == "cloudwatch:DescribeAlarms":
        return [_Ask(action, request.arn("cloudwatch", "alarm:*"))]
    if action == "cloudwatch:ListAlarmMuteRules":
        return [_Ask(action, request.arn("cloudwatch", "alarm-mute-rule:*"))]
    named = {
        "cloudtrail": _of_cloudtrail,
        "events": _of_events,
        "kms": _of_kms,
        "sagemaker": _of_sagemaker,
        "sqs": _of_sqs,
    }.get(request.service)
    return named(request, action, json.loads(request.body or b"{}")) if named else [_Ask(action)]


def _of_lambda(request: Request) -> _Ask | None:
    for path, kind in ((_FUNCTION, "function"), (_MAPPING, "event-source-mapping")):
        if found := path.fullmatch(request.path):
            action = _OF_LAMBDA.get((request.method, found.groupdict().get("what", kind)))
            return _Ask(action, request.arn("lambda", f"{kind}:{found['name']}")) if action else None
    return None


def _of_kms(request: Request, action: str, given: Mapping[str, Any]) -> list[_Ask]:
    """A call about a key is authorized on the ARN of the key. A name of an alias is not resolved."""
    key = str(given.get("KeyId", ""))
    return [_Ask(action, key if key.startswith("arn:") or not key else request.arn("kms", f"key/{key}"))]


def _of_stack_set(request: Request, action: str, name: str) -> list[_Ask]:
    """A delegated administrator's StackSets belong to the management account.

    Each of its calls, including reads, lists the delegated administrators. Without permission, it gives a wrong reason:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-orgs-delegated-admin.html
    https://github.com/hashicorp/terraform-provider-aws/pull/37069
    """
    name = name.partition(":")[0]
    delegated = request.parameter("CallAs") == "DELEGATED_ADMIN"
    owner = ORGANIZATION.management if delegated else request.account
    arn = f"arn:aws:cloudformation:{request.region}:{owner}:stackset/{name}:{uuid.UUID(int=0)}"
    asks = [_Ask(action, arn)]
    if delegated:
        asks.append(_Ask("organizations:ListDelegatedAdministrators", refusal=("ValidationError", NOT_DELEGATED)))
    return asks


def _stack_arn(request: Request, name: str) -> str:
    """The ARN of the stack with this name. An ARN is returned unchanged."""
    if name.startswith("arn:"):
        return name
    stack = cloudformation._stacks.get_scoped(request.account, request.region, name) or {}
    return str(stack.get("StackId") or request.arn("cloudformation", f"stack/{name}/{uuid.UUID(int=0)}"))


_ENTITIES: Final = (
    ("RoleName", "role", iam._roles),
    ("UserName", "user", iam._users),
    ("GroupName", "group", iam._groups),
)


def _of_passed_roles(request: Request) -> Iterator[_Ask]:
    for role in passing.passed_roles(request.service, request.operation, request.parameters, request.body):
        name = role.rsplit("/", 1)[-1]
        known = names.entity(iam._roles, request.account, name) or {}
        arn = role if role.startswith("arn:") else known.get("Arn") or request.arn("iam", f"role/{name}")
        yield _Ask("iam:PassRole", arn, {"iam:PassedToService": passing.receiver(request.service)})


_OF_CONTAINERS: Final = {
    "AddRoleToInstanceProfile": ("InstanceProfileName", "instance-profile"),
    "AddUserToGroup": ("GroupName", "group"),
    "RemoveRoleFromInstanceProfile": ("InstanceProfileName", "instance-profile"),
    "RemoveUserFromGroup": ("GroupName", "group"),
}
"""Operations with a role or user that IAM authorizes on something else: the parameter with its name, and its kind.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
"""


def _of_iam(request: Request, action: str) -> list[_Ask]:
    policy = names.stored(iam._policies, request.parameter("PolicyArn"), request.account)
    if request.operation == "AcquireRole":
        path, name = role_of_template(request.parameters)
        template = {"iam:RoleTemplateARN": request.parameter("TemplateArn")}
        return [_Ask("iam:CreateRole", request.arn("iam", f"role{path}{name}"), template)]
    if arn := request.parameter("RoleArn"):  # AssumeRole
        return [_Ask(action, arn)]
    if container := _OF_CONTAINERS.get(request.operation):
        parameter, kind = container
        return [_Ask(action, request.arn("iam", f"{kind}/{request.parameter(parameter)}"))]
    for parameter, kind, store in _ENTITIES:
        if name := request.parameter(parameter):
            # The decision is about the entity that the call reaches, regardless of the caller's spelling.
            entity = names.entity(store, request.account, name) or {}
            path = request.parameter("Path") or "/"
            # This is the requested boundary, or else the one that the role has:
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
            boundary = request.parameter("PermissionsBoundary") or entity.get("PermissionsBoundary")
            keys = {"iam:PolicyARN": policy, "iam:PermissionsBoundary": boundary}
            asks = [
                _Ask(
                    action,
                    entity.get("Arn") or request.arn("iam", f"{kind}{path}{name}"),
                    {key: value for key, value in keys.items() if value} | _tags_of_query(request),
                )
            ]
            return [*asks, *_of_renaming(request, action, kind, entity)]
    # A simulation is authorized on its entity, which can be a user, a group or a role.
    if provider := _provider(request) or request.parameter("PolicySourceArn"):
        return [_Ask(action, provider)]
    if name := request.parameter("PolicyName"):
        return [_Ask(action, request.arn("iam", f"policy{request.parameter('Path') or '/'}{name}"))]
    return [_Ask(action, policy or "*")]


def _tags_of_query(request: Request) -> dict[str, Values]:
    """The condition keys of the tags in a call of the query protocol."""
    pairs: list[tuple[str, str]] = []
    while key := request.parameter(f"Tags.member.{len(pairs) + 1}.Key"):
        pairs.append((key, request.parameter(f"Tags.member.{len(pairs) + 1}.Value")))
    return _tag_keys(pairs)


def _tag_keys(pairs: Iterable[tuple[str, str]], removed: Iterable[str] = ()) -> dict[str, Values]:
    """The condition keys of the tags in a call. `pairs` are keys and values; a removed tag has only a key.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    tags = dict(pairs)
    values: dict[str, Values] = {f"aws:RequestTag/{key}": value for key, value in tags.items() if value}
    named = list(tags) or list(removed)
    return values | {"aws:TagKeys": named} if named else values


def _provider(request: Request) -> str:
    """The ARN of the identity provider that a call is about, or ""."""
    if request.operation == "CreateSAMLProvider":
        return request.arn("iam", f"saml-provider/{request.parameter('Name')}")
    if request.operation == "CreateOpenIDConnectProvider":
        return request.arn("iam", f"oidc-provider/{request.parameter('Url').removeprefix('https://')}")
    return request.parameter("SAMLProviderArn") or request.parameter("OpenIDConnectProviderArn")


def _of_renaming(request: Request, action: str, kind: str, entity: Mapping[str, Any]) -> Iterator[_Ask]:
    """To rename a user or group, the caller also needs permission on the new name.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateUser.html
    """
    name, path = request.parameter(f"New{kind.title()}Name"), request.parameter("NewPath")
    if name or path:
        name = name or request.parameter(f"{kind.title()}Name")
        yield _Ask(action, request.arn("iam", f"{kind}{path or entity.get('Path', '/')}{name}"))


def _of_dynamodb(request: Request, action: str) -> list[_Ask]:
    """A transaction needs the permissions of each of its items.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    """
    place = request.body, request.region, request.account
    statements = list(tables.partiql(request.operation, json.loads(request.body or b"{}")))
    if statements:
        return [_Ask(of_item, request.arn("dynamodb", f"table/{name}")) for of_item, name in statements]
    checks = iam_actions.dynamodb_transaction_checks(action, *place) or [
        (action, table) for table in iam_actions.dynamodb_resource_arns(*place)
    ]
    return [_Ask(of_item, table) for of_item, table in checks] or [_Ask(action)]


def _of_events(request: Request, action: str, body: Mapping[str, Any]) -> list[_Ask]:
    if request.operation != "PutEvents":
        name = body.get("Name" if request.operation == "DescribeRule" else "Rule")
        if request.operation == "DescribeEventBus":
            return [_Ask(action, request.arn("events", f"event-bus/{body.get('Name', 'default')}"))]
        bus = body.get("EventBusName") or "default"
        place = f"{bus}/" if bus != "default" and not bus.startswith("arn:") else ""
        return [_Ask(action, request.arn("events", f"rule/{place}{name}") if name else "*")]
    return [
        _Ask(
            action,
            bus if bus.startswith("arn:") else request.arn("events", f"event-bus/{bus}"),
            {"events:source": entry["Source"], "events:detail-type": entry["DetailType"]},
        )
        for entry in body["Entries"]
        for bus in [entry.get("EventBusName") or "default"]
    ]


def _of_cloudtrail(_request: Request, action: str, body: Mapping[str, Any]) -> list[_Ask]:
    trail = str(body.get("TrailName") or body.get("Name", ""))
    return [_Ask(action, trail if trail.startswith("arn:") else "*")]


def _of_sagemaker(request: Request, action: str, body: Mapping[str, Any]) -> list[_Ask]:
    """The permissions of the call itself, and iam:PassRole for each role that the new resource works as.

    SageMaker's service model says so of CreateTrainingJob and others. For UpdateDomain and UpdateUserProfile, see
    `Authorization`.
    """
    return [_of_subject(request, action, body), *_passed(request, body)]


_PASSING: Final = re.compile(r"Create(?!Hub|Presigned|Action|Artifact|Context|Experiment|Trial)\w+")
_ROLE_FIELDS: Final = ("RoleArn", "ExecutionRoleArn", "ExecutionRole")


def _passed(request: Request, body: Mapping[str, Any]) -> Iterator[_Ask]:
    if _PASSING.fullmatch(request.operation):
        yield from _roles_in(body)


def _roles_in(body: Mapping[str, Any]) -> Iterator[_Ask]:
    settings = (body.get(key) or {} for key in ("DefaultUserSettings", "DefaultSpaceSettings", "UserSettings"))
    for fields in (body, *settings):
        for role in (fields[key] for key in _ROLE_FIELDS if isinstance(fields.get(key), str)):
            yield _Ask("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})


def _of_subject(request: Request, action: str, body: Mapping[str, Any]) -> _Ask:
    domain, profile = body.get("DomainId"), body.get("UserProfileName")
    tags = ((tag["Key"], tag["Value"]) for tag in body.get("Tags") or ())
    keys = _tag_keys(tags, removed=body.get("TagKeys") or ())
    if domain and profile:
        return _Ask(action, request.arn("sagemaker", f"user-profile/{domain}/{profile.lower()}"), keys)
    if domain:
        return _Ask(action, request.arn("sagemaker", f"domain/{domain}"), keys)
    return _Ask(action, body.get("ResourceArn") or "*", keys)


def _of_sqs(request: Request, action: str, body: Mapping[str, Any]) -> list[_Ask]:
    # A batch needs the action of its entries.
    owner, _, name = str(body.get("QueueUrl") or body.get("QueueName") or "").rpartition("/")
    owner = owner.rpartition("/")[2]
    # The address of a queue names the account to which it belongs.
    arn = f"arn:aws:sqs:{request.region}:{owner if owner.isdigit() else request.account}:{name}"
    return [_Ask(action.removesuffix("Batch"), arn if name else "*")]


def _message(caller: _Principal, ask: _Ask, keys: Mapping[str, Values], judgement: Judgement) -> str:
    """The message in https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html."""
    by_scps = organizations_decision(caller.identity, ask.action, ask.resource, keys)
    of_boundary = judgement.matched and all(matched.policy == BOUNDARY for matched in judgement.matched)
    if by_scps == "explicitDeny":
        why = "with an explicit deny in a service control policy"
    elif by_scps == "implicitDeny":
        why = f"because no service control policy allows the {ask.action} action"
    elif judgement.decision == "explicitDeny" and not judgement.matched:
        why = "with an explicit deny in a resource-based policy"
    elif judgement.decision == "explicitDeny":
        why = f"with an explicit deny in {'a permissions boundary' if of_boundary else 'an identity-based policy'}"
    elif caller.boundary is not None and not judge({"": caller.boundary}, ask.action, ask.resource, keys).allowed:
        why = f"because no permissions boundary allows the {ask.action} action"
    else:
        why = f"because no identity-based policy allows the {ask.action} action"
    return f"User: {caller.arn} is not authorized to perform: {ask.action} on resource: {ask.resource} {why}"


def _denied(request: Request, message: str, code: str = "") -> Answer:
    answer: Answer = iam_actions.access_denied_response(
        request.service, "", "", request.request_id, error_code=code, message=message, headers=request.headers
    )
    return answer
