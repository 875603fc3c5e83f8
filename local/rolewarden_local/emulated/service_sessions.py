"""Sessions that an AWS service begins with a role: SageMaker for a user profile, or a service for a job or function.

MiniStack and moto store such a role and never assume it. A service is no principal of an account, so no identity
policy and no service control policy decides whether it assumes a role. The trust policy of the role does:
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
"""

from __future__ import annotations

import itertools
from typing import Final

from rolewarden.errors import RolewardenError

from rolewarden_local.emulated import access
from rolewarden_local.emulated._ministack import sts
from rolewarden_local.emulated.judge import current_time

_NUMBERS: Final = itertools.count(1)


class NotTrustedError(RolewardenError):
    """The role does not exist, or its trust policy does not let the service begin this session."""


def begin_session(service: str, role_arn: str, name: str, source_identity: str = "") -> str:
    """Begin a session of a role as a service, and return its access key.

    - `name`: the name of the session.
    - `source_identity`: the source identity that the service sets; empty for none. The trust policy of the role must
      then also allow sts:SetSourceIdentity.

    Raises NotTrustedError.
    """
    role = access.role(role_arn)
    if role is None:
        raise NotTrustedError(f"{service} cannot assume {role_arn}: it is missing")
    for action in ("sts:AssumeRole", *(("sts:SetSourceIdentity",) if source_identity else ())):
        if not access.service_may(action, service, role_arn, current_time()):
            raise NotTrustedError(f"{service} is not authorized to perform: {action} on resource: {role_arn}")
    account, key = role_arn.split(":")[4], f"ASIASERVICE{next(_NUMBERS):09}"
    session = {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{name}",
        "UserId": f"{role['RoleId']}:{name}",
        "AccountId": account,
        "PrincipalType": "AssumedRole",
        "SourceAccessKeyId": service,
    }
    sts.register_session(key, {**session, **({"SourceIdentity": source_identity} if source_identity else {})})
    return key
