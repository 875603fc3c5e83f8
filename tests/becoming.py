"""The ways to become a principal that a service control policy exempts: a role, a permission set's role, or a user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

BY_POLICY = "with an explicit deny in a service control policy"
ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


def trust(**principal: Any) -> str:
    allowed = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})


TO_EVERYBODY, TO_LAMBDA = trust(AWS="*"), trust(Service="lambda.amazonaws.com")


def error_of(session: Any, service: str, call: str, **parameters: Any) -> str | None:
    """The message of the error of a call; None if the call succeeds."""
    try:
        getattr(session.client(service), call)(**parameters)
    except ClientError as error:
        return error.response["Error"]["Message"]
    return None


def attempts(role: str, set_role: str, user: str, other: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The ways to become a role, the role of a permission set, or a user: service, call and parameters.

    `other` is the name of a user of the caller.
    """
    iam = role.partition(":role")[0]
    for arn in (role, set_role):
        path, _, name = arn.partition(":role")[2].rpartition("/")
        path = f"{path}/"
        another = f"{name[:-1]}0"  # another suffix, that of a role that IAM Identity Center makes again
        yield "iam", "create_role", {"RoleName": name, "Path": path, "AssumeRolePolicyDocument": TO_EVERYBODY}
        if arn == set_role:
            yield "iam", "create_role", {"RoleName": another, "Path": path, "AssumeRolePolicyDocument": TO_EVERYBODY}
        of_role = {"RoleName": name}
        yield "iam", "delete_role", of_role
        yield "iam", "update_assume_role_policy", {**of_role, "PolicyDocument": TO_EVERYBODY}
        yield "iam", "update_assume_role_policy", {"RoleName": name.upper(), "PolicyDocument": TO_EVERYBODY}
        yield "iam", "put_role_policy", {**of_role, "PolicyName": "all", "PolicyDocument": ALLOW_ALL}
        yield "iam", "put_role_permissions_boundary", {**of_role, "PermissionsBoundary": "arn:aws:iam::aws:policy/x"}
        yield "iam", "delete_role_permissions_boundary", of_role
        yield "iam", "tag_role", {**of_role, "Tags": [{"Key": "team", "Value": other}]}
        yield "iam", "untag_role", {**of_role, "TagKeys": ["team"]}
        yield "iam", "update_role", {**of_role, "MaxSessionDuration": 43_200}
        yield "iam", "add_role_to_instance_profile", {**of_role, "InstanceProfileName": "build"}
        yield "lambda", "create_function", {
            "FunctionName": "f", "Runtime": "python3.13", "Handler": "a.b", "Role": arn, "Code": {"ZipFile": b"-"}
        }  # fmt: skip
        yield "events", "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": f"{iam}:x", "RoleArn": arn}]}
        yield "cloudformation", "create_stack", {"StackName": "s", "TemplateBody": "{}", "RoleARN": arn}
    path, _, name = user.partition(":user")[2].rpartition("/")
    yield "iam", "create_user", {"UserName": name, "Path": f"{path}/"}
    of_user = {"UserName": name}
    yield "iam", "create_access_key", of_user
    yield "iam", "create_login_profile", {**of_user, "Password": "correct horse battery staple"}
    yield "iam", "update_login_profile", {**of_user, "Password": "correct horse battery staple"}
    yield "iam", "delete_user", of_user
    yield "iam", "update_user", {**of_user, "NewUserName": "former"}
    yield "iam", "update_user", {"UserName": other, "NewUserName": name, "NewPath": f"{path}/"}


def of_provider(oidc: str, saml: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Calls after which a provider signs in a caller of the administrator's choice."""
    by_arn = {"OpenIDConnectProviderArn": oidc}
    yield "add_client_id_to_open_id_connect_provider", {**by_arn, "ClientID": "mallory"}
    yield "delete_open_id_connect_provider", by_arn
    yield "update_open_id_connect_provider_thumbprint", {**by_arn, "ThumbprintList": ["0" * 40]}
    url = f"https://{oidc.rpartition('/')[2]}"
    yield "create_open_id_connect_provider", {"Url": url, "ThumbprintList": ["0" * 40]}
    of_saml = {"SAMLProviderArn": saml}
    yield "update_saml_provider", {**of_saml, "SAMLMetadataDocument": "<" * 1000}
    yield "delete_saml_provider", of_saml
