"""SageMaker's apps, the sessions of the users who work in them, and the sessions of jobs.

moto does not have apps. An app works as the execution role of its user profile, and a job as the role that it names.

A domain with `ExecutionRoleIdentityConfig: USER_PROFILE_NAME` sets the name of the user profile as the source identity
of the sessions of apps. The trust policy of the role must then allow sts:SetSourceIdentity. Sessions of shared spaces
have no source identity. Versions of the same page differ about training and processing jobs, so `JOBS` decides:
https://docs.aws.amazon.com/sagemaker/latest/dg/monitor-user-access.html

SageMaker changes the setting only without apps in the status InService or Pending (botocore,
`sagemaker DomainSettingsForUpdate`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import boto3
from moto.sagemaker.exceptions import AWSValidationException, ResourceInUseException, ResourceNotFound
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends

from rolewarden_local.emulated._ministack import sts
from rolewarden_local.emulated.service_sessions import begin_session

_SERVICE: Final = "sagemaker.amazonaws.com"
_SESSION: Final = "SageMaker"
"""The name of the sessions that SageMaker begins. AWS does not document it, and its sample policies have
`*:SageMaker`."""

_KEY: Final = ("DomainId", "UserProfileName", "SpaceName", "AppType", "AppName")
_Key = tuple[str, ...]


@dataclass
class Jobs:
    """Behavior on which AWS's pages differ: whether a job has the source identity of the session that creates it."""

    carry: bool = False


JOBS: Final = Jobs()


def of_apps() -> dict[str, Callable[[Any], dict[str, Any]]]:
    """The calls of the service, by the names of moto's methods."""
    return {"create_app": _create, "describe_app": _describe, "delete_app": _delete, "list_apps": _list}


def is_running(backend: SageMakerModelBackend, domain_id: str) -> bool:
    """Whether an app of a domain runs."""
    return any(key[0] == domain_id and status == "InService" for key, status in _apps(backend).items())


def user_session(region: str, account: str, domain_id: str, user_profile: str) -> boto3.Session:
    """A session as a user has it in Canvas or Studio. Raises NotTrustedError if SageMaker cannot begin it."""
    return _session(_begin(region, account, domain_id, user_profile), region)


def open_profile(url: str) -> str:
    """Begin the session that SageMaker gives to a caller who opens a presigned URL, and return its access key.

    Raises NotTrustedError.
    """
    arn = base64.urlsafe_b64decode(url.partition("token=")[2]).decode()
    _, _, _, region, account, resource = arn.split(":")
    _, domain_id, user_profile = resource.split("/")
    return _begin(region, account, domain_id, user_profile)


def job_session(region: str, role: str, creator: boto3.Session | None = None) -> boto3.Session:
    """A session of a job that works as the role with this ARN. `creator` is the session of its creator.

    Raises NotTrustedError.
    """
    credentials = creator.get_credentials() if creator else None
    given = sts._sessions.get(credentials.access_key, {}) if credentials else {}
    carried = given.get("SourceIdentity", "") if JOBS.carry else ""
    return _session(begin_session(_SERVICE, role, _SESSION, carried), region)


def _begin(region: str, account: str, domain_id: str, user_profile: str) -> str:
    """Begin a session as the role of a user profile: its own, or that of its domain."""
    backend = sagemaker_backends[account][region]
    domain = backend.domains[domain_id]
    profile = backend.__dict__["rolewarden_user-profile"][domain_id, user_profile.lower()]
    role = profile.settings.get("ExecutionRole") or (domain.default_user_settings or {}).get("ExecutionRole", "")
    sets_identity = (domain.domain_settings or {}).get("ExecutionRoleIdentityConfig") == "USER_PROFILE_NAME"
    return begin_session(_SERVICE, role, _SESSION, profile.name if sets_identity else "")


def _session(access_key: str, region: str) -> boto3.Session:
    return boto3.Session(access_key, "-", "-", region)


def _apps(backend: SageMakerModelBackend) -> dict[_Key, str]:
    # They are in the backend's own __dict__, because moto clears it on a reset.
    found: dict[_Key, str] = backend.__dict__.setdefault("rolewarden_apps", {})
    return found


def _named(params: Mapping[str, Any]) -> _Key:
    return tuple(params.get(name, "") for name in _KEY)


def _create(response: Any) -> dict[str, Any]:
    backend, key = response.sagemaker_backend, _named(response.params)
    if key[0] not in backend.domains:
        raise ResourceNotFound(f"RecordNotFound: Domain {key[0]} does not exist")
    if bool(key[1]) is bool(key[2]):
        raise AWSValidationException("Exactly one of UserProfileName and SpaceName is required")
    apps = _apps(backend)
    if apps.get(key) == "InService":
        raise ResourceInUseException(f"App {key[-1]} already exists")
    apps[key] = "InService"
    return {"AppArn": _arn(response, key)}


def _describe(response: Any) -> dict[str, Any]:
    key = _named(response.params)
    status = _apps(response.sagemaker_backend).get(key)
    if status is None:
        raise ResourceNotFound(f"RecordNotFound: App {key[-1]} does not exist")
    return {"AppArn": _arn(response, key), "Status": status, **{n: v for n, v in zip(_KEY, key, strict=True) if v}}


def _delete(response: Any) -> dict[str, Any]:
    _describe(response)
    _apps(response.sagemaker_backend)[_named(response.params)] = "Deleted"
    return {}


def _list(response: Any) -> dict[str, Any]:
    domain = response.params.get("DomainIdEquals")
    found = _apps(response.sagemaker_backend).items()
    return {
        "Apps": [
            {"Status": status, **{name: value for name, value in zip(_KEY, key, strict=True) if value}}
            for key, status in found
            if domain in (None, key[0])
        ]
    }


def _arn(response: Any, key: _Key) -> str:
    place = f"arn:aws:sagemaker:{response.region}:{response.current_account}:app"
    return f"{place}/{key[0]}/{(key[1] or key[2]).lower()}/{key[3].lower()}/{key[4]}"
