"""Sessions that an AWS service begins with a role: SageMaker for a user profile, or a service for a job or function.

MiniStack and moto store such a role and never assume it. A service is no principal of an account, so no identity
policy and no service control policy decides whether it assumes a role. The trust policy of the role does:
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from typing import Any, Final

from moto.sagemaker.models import sagemaker_backends
from rolewarden.errors import RolewardenError

from rolewarden_local.emulated import access, sagemaker
from rolewarden_local.emulated._ministack import sts
from rolewarden_local.emulated.apps import SERVICE, SESSION
from rolewarden_local.emulated.judge import current_time

_NUMBERS: Final = itertools.count(1)


class NotTrustedError(RolewardenError):
    """The role does not exist, or its trust policy does not allow the service."""


def begin_session(service: str, role_arn: str, name: str) -> str:
    """Begin a session of a role as a service, and return its access key. `name` is the name of the session.

    Raises NotTrustedError.
    """
    role = access.role(role_arn)
    if role is None or not access.service_may_assume(service, role_arn, current_time()):
        raise NotTrustedError(f"{service} cannot assume {role_arn}: it is missing or does not trust the service")
    account, key = role_arn.split(":")[4], f"ASIASERVICE{next(_NUMBERS):09}"
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{name}",
            "UserId": f"{role['RoleId']}:{name}",
            "AccountId": account,
            "PrincipalType": "AssumedRole",
            "SourceAccessKeyId": service,
        },
    )
    return key


def open_profile(url: str, account: str, region: str) -> str:
    """Begin the session that SageMaker gives to a caller who opens a presigned URL, and return its access key.

    Raises NotTrustedError.
    """
    arn = base64.urlsafe_b64decode(url.partition("token=")[2]).decode()
    return begin_session(SERVICE, profile_role(arn, account, region), SESSION)


def profile_role(profile_arn: str, account: str, region: str) -> str:
    """The ARN of the role of a user profile: its own, or that of its domain."""
    backend = sagemaker_backends[account][region]
    [profile] = [found for found in sagemaker.members_of(backend) if found.arn == profile_arn]
    of_domain: Mapping[str, Any] = backend.domains[profile.domain_id].default_user_settings or {}
    return str(profile.settings.get("ExecutionRole") or of_domain.get("ExecutionRole", ""))
