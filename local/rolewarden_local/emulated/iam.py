"""IAM's quotas, protected roles, checks of policies, pages of lists, and trust in AssumeRole.

MiniStack attaches any number of policies of any size to any role, even to one that only AWS can change. It checks the
syntax of a policy only in part, returns every list in one page, and lacks SetDefaultPolicyVersion. It assumes roles
that do not exist or do not trust the caller.

Error texts are those of AWS, copied from public reports. Quotas and sizes are those of
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, quote
from xml.sax.saxutils import escape

from rolewarden_local.emulated import access, names
from rolewarden_local.emulated._ministack import iam, sts
from rolewarden_local.emulated.limits import INLINE_SIZE, POLICY_SIZE
from rolewarden_local.emulated.patches import Patch

Response = tuple[int, dict[str, str], bytes]
Params = Mapping[str, Any]
Handler = Callable[[Params], Response]
Check = Callable[[Params], Response | None]
Entry = tuple[str, Callable[[], str]]

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
PROTECTED_PATHS: Final = ("/aws-service-role/", "/aws-reserved/sso.amazonaws.com/")


@dataclass
class Quotas:
    """The IAM quotas that AWS can raise for an account."""

    policies_per_role: int = 10


QUOTAS: Final = Quotas()


def install_iam() -> None:
    """Replace MiniStack's handlers with handlers that behave as IAM does. Call once a process."""
    handlers = iam._IAM_HANDLERS
    for operation in (
        "AttachRolePolicy",
        "DetachRolePolicy",
        "PutRolePolicy",
        "DeleteRolePolicy",
        "PutRolePermissionsBoundary",
        "DeleteRolePermissionsBoundary",
        "UpdateAssumeRolePolicy",
        "UpdateRole",
        "DeleteRole",
    ):
        checks: list[Check] = [_protected]
        if operation == "AttachRolePolicy":
            checks.append(_attachable)
        if operation == "PutRolePolicy":
            checks += [_well_formed, _inline_size]
        if operation == "PutRolePermissionsBoundary":
            checks.append(_known_boundary)
        if operation == "DeleteRolePermissionsBoundary":
            checks.append(_has_boundary)
        handlers[operation] = _checked(handlers[operation], checks)
    handlers["CreatePolicy"] = _checked(handlers["CreatePolicy"], [_new_name, _well_formed, _policy_size])
    handlers["CreatePolicyVersion"] = _checked(handlers["CreatePolicyVersion"], [_well_formed, _policy_size])
    for operation in ("CreateRole", "CreateUser", "PutUserPermissionsBoundary"):
        handlers[operation] = _checked(handlers[operation], [_known_boundary])
    handlers["DeletePolicy"] = _checked(handlers["DeletePolicy"], [_nobodys_boundary])
    handlers["AcquireRole"] = _acquire_role
    handlers["CreateServiceSpecificCredential"] = _create_service_specific_credential
    handlers["SetDefaultPolicyVersion"] = _set_default_policy_version
    handlers["ListRoles"] = _list_roles
    handlers["ListPolicies"] = _list_policies
    handlers["ListPolicyVersions"] = _list_policy_versions
    handlers["ListAttachedRolePolicies"] = _list_attached_role_policies
    handlers["ListRolePolicies"] = _list_role_policies
    handlers["ListEntitiesForPolicy"] = _list_entities_for_policy
    handlers["GetAccountAuthorizationDetails"] = _details(handlers["GetAccountAuthorizationDetails"])
    handlers["GetAccountSummary"] = _account_summary(handlers["GetAccountSummary"])
    for operation, handler in handlers.items():
        handlers[operation] = _however_spelled(handler)
    Patch(
        sts,
        "handle_request",
        _known_role_only(sts.handle_request),
        "MiniStack's STS assumes roles that do not exist, or that do not trust the caller.",
    ).install()


def _however_spelled(handler: Handler) -> Handler:
    """Find the entity of a call regardless of the name's case. The answer has the case that IAM stored."""

    @functools.wraps(handler)
    def spelled(params: Params) -> Response:
        return handler(names.as_stored(params))

    return spelled


def _error(status: int, code: str, message: str) -> Response:
    answer: Response = iam._error(status, code, escape(message), ns="iam")
    return answer


def _answer(operation: str, result: str) -> Response:
    inner = f"<{operation}Result>{result}</{operation}Result>" if result else ""
    answer: Response = iam._xml(200, f"{operation}Response", inner, ns="iam")
    return answer


def _param(params: Params, key: str) -> str:
    return str(iam._p(params, key) or "")


def _checked(handler: Handler, checks: Iterable[Check]) -> Handler:
    checks = tuple(checks)

    @functools.wraps(handler)
    def checked(params: Params) -> Response:
        for check in checks:
            if refusal := check(params):
                return refusal
        return handler(params)

    return checked


def _protected(params: Params) -> Response | None:
    name = _param(params, "RoleName")
    role = iam._roles.get(name)
    if role is None:
        return _error(404, "NoSuchEntity", f"The role with name {name} cannot be found.")
    if role["Path"].startswith(PROTECTED_PATHS):
        return _error(
            400,
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS",
        )
    return None


def _attachable(params: Params) -> Response | None:
    role, arn = iam._roles[_param(params, "RoleName")], _param(params, "PolicyArn")
    if not iam._policy_exists(arn):
        return _error(404, "NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
    if arn not in role["AttachedPolicies"] and len(role["AttachedPolicies"]) >= QUOTAS.policies_per_role:
        return _quota_exceeded("PoliciesPerRole", QUOTAS.policies_per_role)
    return None


# MiniStack checks boundaries only if it enforces policies.
def _known_boundary(params: Params) -> Response | None:
    arn = _param(params, "PermissionsBoundary")
    if not arn or iam._policy_exists(arn):
        return None
    if not re.fullmatch(r"arn:[\w-]+:iam::(\d{12}|aws):policy/.+", arn):
        return _error(400, "ValidationError", "Invalid ARN:  Could not be parsed!")
    return _error(404, "NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.")


def _has_boundary(params: Params) -> Response | None:
    role = iam._roles[_param(params, "RoleName")]
    if role.get("PermissionsBoundary"):
        return None
    return _error(404, "NoSuchEntity", f"Principal {role['RoleId']} does not have scope")


def _nobodys_boundary(params: Params) -> Response | None:
    if iam._boundary_usage_counts().get(_param(params, "PolicyArn")):
        return _error(409, "DeleteConflict", "Cannot delete a policy attached to entities.")
    return None


def _quota_exceeded(quota: str, limit: int) -> Response:
    return _error(409, "LimitExceeded", f"Cannot exceed quota for {quota}: {limit}")


def _new_name(params: Params) -> Response | None:
    # A policy's name is unique in an account, regardless of its path and case.
    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html
    name = _param(params, "PolicyName")
    if any(policy["PolicyName"].lower() == name.lower() for policy in iam._policies.values()):
        return _error(
            409, "EntityAlreadyExists", f"A policy called {name} already exists. Duplicate names are not allowed."
        )
    return None


TEMPLATES: Final = re.compile(r"arn:aws:iam::aws:role-template/([a-z.]+)/\w+:\d+")
"""The ARNs of role templates. The local AWS has no list of them: a template of each service creates a role that trusts
the service, with the name and path in the replacement values RoleName and Path."""


def role_of_template(params: Params) -> tuple[str, str]:
    """The path and name of the role that a call of AcquireRole creates."""
    values: dict[str, str] = {}
    while key := _param(params, f"ReplacementValues.entry.{len(values) + 1}.key"):
        values[key] = _param(params, f"ReplacementValues.entry.{len(values) + 1}.value.Values.member.1")
    return values.get("Path", "/"), values.get("RoleName", "FromTemplate")


def _acquire_role(params: Params) -> Response:
    template = TEMPLATES.fullmatch(_param(params, "TemplateArn"))
    if template is None:
        return _error(404, "NoSuchEntity", f"Role template {_param(params, 'TemplateArn')} cannot be found.")
    path, name = role_of_template(params)
    trusted = {"Effect": "Allow", "Principal": {"Service": template[1]}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    of_role = {"RoleName": [name], "Path": [path], "AssumeRolePolicyDocument": [document]}
    status, headers, body = iam._IAM_HANDLERS["CreateRole"](of_role)
    return status, headers, body.replace(b"CreateRole", b"AcquireRole")


def _create_service_specific_credential(params: Params) -> Response:
    """A credential of a service for a user, for example an API key of Amazon Bedrock. It works as the user.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateServiceSpecificCredential.html
    """
    name, service = _param(params, "UserName"), _param(params, "ServiceName")
    user, number = iam._users.get(name), iam._gen_id("ACCA")
    if user is None:
        return _error(404, "NoSuchEntity", f"The user with name {name} cannot be found.")
    user.setdefault("ServiceSpecificCredentials", []).append(number)
    made = (
        f"<UserName>{name}</UserName><ServiceName>{service}</ServiceName><Status>Active</Status>"
        f"<ServiceSpecificCredentialId>{number}</ServiceSpecificCredentialId>"
    )
    return _answer("CreateServiceSpecificCredential", f"<ServiceSpecificCredential>{made}</ServiceSpecificCredential>")


def _size(document: str) -> int:
    return len(re.sub(r"\s", "", document))


def _policy_size(params: Params) -> Response | None:
    return _quota_exceeded("PolicySize", POLICY_SIZE) if _size(_param(params, "PolicyDocument")) > POLICY_SIZE else None


def _inline_size(params: Params) -> Response | None:
    name = _param(params, "RoleName")
    inline = {**iam._roles[name]["InlinePolicies"], _param(params, "PolicyName"): _param(params, "PolicyDocument")}
    if sum(map(_size, inline.values())) > INLINE_SIZE:
        return _error(409, "LimitExceeded", f"Maximum policy size of {INLINE_SIZE} bytes exceeded for role {name}")
    return None


def _well_formed(params: Params) -> Response | None:
    """Reject a Null condition whose value is not true or false."""
    try:
        document = json.loads(_param(params, "PolicyDocument"))
    except ValueError:
        return None  # MiniStack's own validation has the text of this error.
    statements = document.get("Statement") if isinstance(document, dict) else None
    for statement in statements if isinstance(statements, list) else [statements]:
        conditions = statement.get("Condition") if isinstance(statement, dict) else None
        for operator, keys in (conditions or {}).items():
            if operator.lower() == "null" and not all(map(_is_boolean, keys.values())):
                return _error(400, "MalformedPolicyDocument", "Syntax errors in policy.")
    return None


def _is_boolean(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(str(item).lower() in {"true", "false"} for item in values)


def _account_summary(handler: Handler) -> Handler:
    quota = re.compile(rb"(<key>AttachedPoliciesPerRoleQuota</key><value>)\d+")

    def summary(params: Params) -> Response:
        status, headers, body = handler(params)
        return status, headers, quota.sub(rb"\g<1>%d" % QUOTAS.policies_per_role, body)

    return summary


def _set_default_policy_version(params: Params) -> Response:
    arn, version = _param(params, "PolicyArn"), _param(params, "VersionId")
    policy = iam._policies.get(arn)
    if policy is None:
        return _error(404, "NoSuchEntity", f"Policy {arn} was not found.")
    if version not in policy["Versions"]:
        return _error(404, "NoSuchEntity", f"Policy {arn} has no version {version}.")
    for name, kept in policy["Versions"].items():
        kept["IsDefaultVersion"] = name == version
    policy["DefaultVersionId"] = version
    policy["UpdateDate"] = iam._now()
    return _answer("SetDefaultPolicyVersion", "")


# Paging: the entries are sorted by key, and the Marker of a page is its last key. Entries that are added or deleted
# between two calls therefore do not repeat or hide others.
def _paged(operation: str, params: Params, entries: Iterable[Entry], lists: str) -> Response:
    """The page of `entries` (key, XML of the member) that `params` requests, under the single list element `lists`."""
    page = _ListPage(params, sorted(entries, key=lambda entry: entry[0]))
    if page.refusal:
        return page.refusal
    members = "".join(f"<member>{member()}</member>" for _, member in page.entries)
    return _answer(operation, f"<{lists}>{members}</{lists}>{page.ending}")


class _ListPage:
    def __init__(self, params: Params, entries: list[Entry]) -> None:
        asked, marker = _param(params, "MaxItems"), _param(params, "Marker")
        size = int(asked) if asked else PAGE
        self.refusal = None if 1 <= size <= LARGEST_PAGE else self._refuse(size)
        rest = [entry for entry in entries if entry[0] > marker] if marker else entries
        self.entries = rest[:size]
        if len(rest) > size:
            self.ending = f"<IsTruncated>true</IsTruncated><Marker>{escape(self.entries[-1][0])}</Marker>"
        else:
            self.ending = "<IsTruncated>false</IsTruncated>"

    def _refuse(self, size: int) -> Response:
        bound = "less than or equal to 1000" if size > LARGEST_PAGE else "greater than or equal to 1"
        return _error(
            400,
            "ValidationError",
            f"1 validation error detected: Value '{size}' at 'maxItems' failed to satisfy constraint: "
            f"Member must have value {bound}",
        )


def _under(path: str, entity: Mapping[str, Any]) -> bool:
    return str(entity.get("Path", "/")).startswith(path or "/")


def _list_roles(params: Params) -> Response:
    prefix = _param(params, "PathPrefix")
    roles = (
        (name, functools.partial(iam._role_xml, name, boundary=False))
        for name, role in iam._roles.items()
        if _under(prefix, role)
    )
    return _paged("ListRoles", params, roles, "Roles")


def _list_policies(params: Params) -> Response:
    scope, prefix = _param(params, "Scope") or "All", _param(params, "PathPrefix")
    stored = dict(iam._policies.items()) if scope != "AWS" else {}
    if scope != "Local":
        stored |= iam._aws_managed_policies
    if _param(params, "OnlyAttached") == "true":
        stored = {arn: policy for arn, policy in stored.items() if _attachments(arn, policy)}
    usage = iam._boundary_usage_counts()
    policies = (
        (arn, functools.partial(iam._managed_policy_xml, arn, usage))
        for arn, policy in stored.items()
        if _under(prefix, policy)
    )
    return _paged("ListPolicies", params, policies, "Policies")


def _attachments(arn: str, policy: Mapping[str, Any]) -> int:
    if iam._is_aws_managed_arn(arn):
        return int(iam._aws_managed_attachment_counts.get(arn, 0))
    return int(policy["AttachmentCount"])


def _list_policy_versions(params: Params) -> Response:
    arn = _param(params, "PolicyArn")
    policy = iam._lookup_policy(arn)
    if policy is None:
        return _error(404, "NoSuchEntity", f"Policy {arn} was not found.")

    def member(name: str, version: Mapping[str, Any]) -> str:
        default = "true" if version["IsDefaultVersion"] else "false"
        return (
            f"<VersionId>{name}</VersionId><IsDefaultVersion>{default}</IsDefaultVersion>"
            f"<CreateDate>{version['CreateDate']}</CreateDate>"
        )

    # The key is the number, because v10 must sort after v9. IAM lists the newest version first.
    versions = (
        (f"{10**6 - int(name[1:]):06d}", functools.partial(member, name, version))
        for name, version in policy["Versions"].items()
    )
    return _paged("ListPolicyVersions", params, versions, "Versions")


def _with_role(operation: str, params: Params, lists: str, entries: Callable[[Any], Iterable[Entry]]) -> Response:
    name = _param(params, "RoleName")
    role = iam._roles.get(name)
    if role is None:
        return _error(404, "NoSuchEntity", f"The role with name {name} cannot be found.")
    return _paged(operation, params, entries(role), lists)


def _list_attached_role_policies(params: Params) -> Response:
    def entries(role: Any) -> Iterable[Entry]:
        prefix = _param(params, "PathPrefix")
        for arn in role["AttachedPolicies"]:
            if _under(prefix, iam._lookup_policy(arn) or {}):
                yield arn, functools.partial(_attached_member, arn)

    return _with_role("ListAttachedRolePolicies", params, "AttachedPolicies", entries)


def _details(handler: Handler) -> Handler:
    """Answer GetAccountAuthorizationDetails for roles with boundaries and pages. Other answers have one page."""

    def details(params: Params) -> Response:
        if _param(params, "Filter.member.1") != "Role" or _param(params, "Filter.member.2"):
            return handler(params)
        roles = ((name, functools.partial(_role_detail, name)) for name in iam._roles.keys())  # noqa: SIM118
        return _paged("GetAccountAuthorizationDetails", params, roles, "RoleDetailList")

    return details


def _role_detail(name: str) -> str:
    role = iam._roles[name]
    inline = "".join(
        f"<member><PolicyName>{escape(policy)}</PolicyName>"
        f"<PolicyDocument>{quote(text, safe='')}</PolicyDocument></member>"
        for policy, text in role["InlinePolicies"].items()
    )
    attached = "".join(f"<member>{_attached_member(arn)}</member>" for arn in role["AttachedPolicies"])
    return (
        f"{iam._role_xml(name)}<RolePolicyList>{inline}</RolePolicyList>"
        f"<AttachedManagedPolicies>{attached}</AttachedManagedPolicies>"
    )


def _attached_member(arn: str) -> str:
    policy = iam._lookup_policy(arn) or {"PolicyName": arn.rsplit("/", 1)[-1]}
    return f"<PolicyName>{policy['PolicyName']}</PolicyName><PolicyArn>{arn}</PolicyArn>"


def _list_role_policies(params: Params) -> Response:
    def entries(role: Any) -> Iterable[Entry]:
        return ((name, functools.partial(escape, name)) for name in role["InlinePolicies"])

    return _with_role("ListRolePolicies", params, "PolicyNames", entries)


def _list_entities_for_policy(params: Params) -> Response:
    arn = _param(params, "PolicyArn")
    if not iam._policy_exists(arn):
        return _error(404, "NoSuchEntity", f"Policy {arn} was not found.")
    kind, prefix, usage = (_param(params, key) for key in ("EntityFilter", "PathPrefix", "PolicyUsageFilter"))

    def uses(entity: Mapping[str, Any]) -> bool:
        attached = usage != "PermissionsBoundary" and arn in entity.get("AttachedPolicies", ())
        return attached or (usage != "PermissionsPolicy" and entity.get("PermissionsBoundary") == arn)

    stores = {"Group": iam._groups, "Role": iam._roles, "User": iam._users}
    entries: list[Entry] = sorted(
        (f"{entity_kind}/{name}", functools.partial(_entity_member, entity_kind, entity))
        for entity_kind, store in stores.items()
        if kind in ("", entity_kind)
        for name, entity in store.items()
        if _under(prefix, entity) and uses(entity)
    )
    page = _ListPage(params, entries)
    if page.refusal:
        return page.refusal
    lists = "".join(
        f"<Policy{entity_kind}s>"
        + "".join(member() for key, member in page.entries if key.startswith(f"{entity_kind}/"))
        + f"</Policy{entity_kind}s>"
        for entity_kind in stores
    )
    return _answer("ListEntitiesForPolicy", lists + page.ending)


def _entity_member(kind: str, entity: Mapping[str, Any]) -> str:
    return (
        f"<member><{kind}Name>{entity[f'{kind}Name']}</{kind}Name><{kind}Id>{entity[f'{kind}Id']}</{kind}Id></member>"
    )


def _text(body: Any) -> str:
    return body.decode() if isinstance(body, bytes) else str(body)


def _known_role_only(handle_request: Callable[..., Any]) -> Callable[..., Any]:
    """Reject AssumeRole if the role is missing or does not trust the caller. MiniStack checks this only with AUTH.

    A session also keeps its source identity, which MiniStack ignores. A chained session has that of its caller, and
    cannot change it: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html
    """

    async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query: Params) -> Any:
        form = parse_qs(body.decode())
        arn = form.get("RoleArn", [""])[0]
        if form.get("Action") == ["AssumeRole"] and re.fullmatch(r"arn:[\w-]+:iam::\d{12}:role/.+", arn):
            caller = access.caller(headers, query)
            if not access.may_assume(caller, arn):
                message = f"User: {caller} is not authorized to perform: sts:AssumeRole on resource: {arn}"
                return iam._error(403, "AccessDenied", escape(message), ns="sts")
            carried = access.source_identity(headers, query)
            wanted = form.get("SourceIdentity", [carried])[0]
            if wanted and ((carried and carried != wanted) or not access.may_set_source_identity(caller, arn, wanted)):
                message = f"User: {caller} is not authorized to perform: sts:SetSourceIdentity on resource: {arn}"
                return iam._error(403, "AccessDenied", escape(message), ns="sts")
            answer = await handle_request(method, path, headers, body, query)
            if wanted and answer[0] == 200:
                key = re.search(r"<AccessKeyId>(\w+)</AccessKeyId>", _text(answer[2]))
                sts._sessions[key[1] if key else ""]["SourceIdentity"] = wanted
            return answer
        return await handle_request(method, path, headers, body, query)

    return handle
