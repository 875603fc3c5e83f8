"""Access between accounts: the trust policies of roles, and the policies of event buses.

MiniStack enforces policies for a whole process or not at all (AUTH). Without AUTH it assumes every role, even one that
does not exist.

The evaluator in `judge` makes the decisions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rolewarden_local.emulated import names
from rolewarden_local.emulated._ministack import evaluator, iam, sts
from rolewarden_local.emulated.judge import Values, current_time, judge
from rolewarden_local.emulated.organization import ORGANIZATION
from rolewarden_local.emulated.scps import organizations_decision


def role(arn: str) -> Mapping[str, Any] | None:
    """The role with this ARN, or None if it does not exist."""
    account, name = arn.split(":")[4], arn.rsplit("/", 1)[-1]
    found: Mapping[str, Any] | None = names.entity(iam._roles, account, name)
    path = arn.rpartition("/")[0]
    return found if found and found["Arn"].rpartition("/")[0] == path else None


def may_assume(caller: str, arn: str) -> bool:
    """Whether the principal with the ARN `caller`, a session or a user, can assume a role.

    If the role is in another account, both accounts must allow it. In the same account, a trust policy that names the
    caller is enough.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
    """
    target = role(arn)
    if target is None or not evaluator.evaluate_trust_policy(target["AssumeRolePolicyDocument"], caller):
        return False
    session = issuer(caller)
    if session is None or session["Arn"].split(":")[4] == arn.split(":")[4]:
        return True
    functions = (found.get("SourceFunctionArn") for found in sts._sessions.values() if found["Arn"] == caller)
    context = {
        "aws:ResourceOrgID": ORGANIZATION.of(arn.split(":")[4]),
        "aws:ResourceAccount": arn.split(":")[4],
        "lambda:SourceFunctionArn": next(filter(None, functions), ""),
    }
    return role_may(session, "sts:AssumeRole", arn, context)


def may_set_source_identity(caller: str, arn: str, source_identity: str) -> bool:
    """Whether the principal `caller` can set this source identity in a session of a role.

    Both the trust policy of the role and, for a session of a role, the policies of the caller must allow
    sts:SetSourceIdentity: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html
    """
    target = role(arn)
    context = evaluator.EvalContext(
        principal_arn=caller,
        principal_type="AssumedRole" if ":assumed-role/" in caller else "User",
        principal_account=caller.split(":")[4],
        action="sts:SetSourceIdentity",
        resource_arn=arn,
        region="",
        service_context={"sts:sourceidentity": source_identity},
    )
    if target is None or not evaluator.evaluate_trust_policy(target["AssumeRolePolicyDocument"], caller, context):
        return False
    session = issuer(caller)
    return session is None or role_may(session, "sts:SetSourceIdentity", arn, {"sts:SourceIdentity": source_identity})


def role_may(role: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]) -> bool:
    """Whether the policies of a role, its permissions boundary and service control policies allow a request.

    An empty context key counts as absent.
    """
    documents = {name: _document(text) for name, text in role["InlinePolicies"].items()}
    documents |= {arn: document for arn in role["AttachedPolicies"] if (document := _managed(role, arn))}
    keys = {key: value for key, value in context.items() if value}
    account = role["Arn"].split(":")[4]
    keys = {"aws:PrincipalArn": role["Arn"], "aws:PrincipalAccount": account, **current_time(), **keys}
    if organizations_decision(role["Arn"], action, resource, keys) != "allowed":
        return False
    # If the boundary's policy is unknown here, it allows nothing.
    carried = role.get("PermissionsBoundary")
    boundary = _managed(role, carried) or {"Version": "2012-10-17", "Statement": []} if carried else None
    return judge(documents, action, resource, keys, boundary=boundary).allowed


def _managed(role: Mapping[str, Any], arn: str) -> Any:
    policy = iam._policies.get_scoped(role["Arn"].split(":")[4], None, arn) or iam._aws_managed_policies.get(arn)
    return _document(policy["Versions"][policy["DefaultVersionId"]]["Document"]) if policy else None


def service_may_assume(service: str, arn: str, context: Mapping[str, str]) -> bool:
    """Whether the trust policy of a role allows an AWS service to assume it. `context` has the keys of the request."""
    return service_may("sts:AssumeRole", service, arn, context)


def service_may(action: str, service: str, arn: str, context: Mapping[str, str]) -> bool:
    """Whether the trust policy of a role allows an AWS service an action, such as sts:SetSourceIdentity."""
    found = role(arn)
    statements = [
        {
            **{key: value for key, value in statement.items() if key not in {"Principal", "NotPrincipal"}},
            "Resource": arn,
        }
        for statement in (_document(found["AssumeRolePolicyDocument"])["Statement"] if found else ())
        if _names(statement, service)
    ]
    document = {"Version": "2012-10-17", "Statement": statements}
    return judge({"trust": document}, action, arn, context).allowed


def resource_allows(
    policy: Mapping[str, Any] | None, action: str, resource: str, context: Mapping[str, Values]
) -> bool:
    """Whether a resource policy allows a request. Only statements with the principal `*` count."""
    if policy is None:
        return False
    statements = [
        {key: value for key, value in statement.items() if key != "Principal"}
        for statement in policy["Statement"]
        if statement.get("Principal") in ("*", {"AWS": "*"})
    ]
    return (
        bool(statements)
        and judge(
            {"resource": {"Version": "2012-10-17", "Statement": statements}},
            action,
            resource,
            {key: value for key, value in context.items() if value},
        ).allowed
    )


def issuer(caller: str) -> Mapping[str, Any] | None:
    """The role of the session with this ARN, or None if the ARN is not a session's."""
    if ":assumed-role/" not in caller:
        return None
    account, name = caller.split(":")[4], caller.split("/")[1]
    found: Mapping[str, Any] | None = names.entity(iam._roles, account, name)
    return found


def is_void(access_key: str) -> bool:
    """Whether this is the key of an assumed role that no longer exists. AWS rejects such a key.

    A role that is created again under the same name is another role, with another ID:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    """
    session = sts._sessions.get(access_key, {})
    if "SourceAccessKeyId" not in session or ":assumed-role/" not in session["Arn"]:
        return False
    role = issuer(session["Arn"])
    return role is None or role["RoleId"] != session["UserId"].partition(":")[0]


def taken_by(service: str, arn: str) -> Mapping[str, Any] | None:
    """The role with this ARN, or None if it does not exist or the service cannot assume it."""
    found = role(arn)
    statements = _document(found["AssumeRolePolicyDocument"])["Statement"] if found else []
    trusts = any(_names(statement, service) for statement in statements)
    return found if trusts else None


def caller(headers: Mapping[str, str], query: Mapping[str, Any]) -> str:
    """The ARN of the caller that signed a request."""
    return str(sts._caller_identity(headers, query)["userArn"])


def source_identity(headers: Mapping[str, str], query: Mapping[str, Any]) -> str:
    """The source identity of the session that signed a request, or ""."""
    key = sts._caller_identity(headers, query).get("accessKey", "")
    return str(sts._sessions.get(key, {}).get("SourceIdentity", ""))


def _names(statement: Mapping[str, Any], service: str) -> bool:
    """Whether a statement of a trust policy is about a service. `*` stands for all principals, services included.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    if "NotPrincipal" in statement:
        return not _names({"Principal": statement["NotPrincipal"]}, service)
    principal = statement.get("Principal", {})
    if not isinstance(principal, Mapping):
        return bool(principal == "*")
    return service in _listed(principal.get("Service", [])) or "*" in _listed(principal.get("AWS", []))


def _document(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
