"""SageMaker Studio: domains with updates, user profiles and spaces.

MiniStack does not have SageMaker. moto has domains, but lacks UpdateDomain, user profiles, spaces and presigned URLs.

`install_sagemaker` adds them to moto itself, so `LocalAws` and a plain `moto.mock_aws` both have them. moto's backends,
one for each account and region, hold the state, and it is deleted when moto resets them. Requests and answers follow
botocore's service model and https://docs.aws.amazon.com/sagemaker/latest/APIReference/. A settings block in an update
replaces the stored block, and the other blocks stay.
"""

import base64
import functools
import json
import random
import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import EndpointConnectionError
from moto.core import responses
from moto.core.request import Request
from moto.core.utils import get_service_model, utcnow
from moto.sagemaker.exceptions import AWSValidationException, ResourceInUseException, ResourceNotFound
from moto.sagemaker.models import Domain, SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.utilities.utils import get_partition

from rolewarden_local.emulated import app_images, apps
from rolewarden_local.emulated.patches import Patch

STUDIO_PAGE: Final = (
    10  # "The default value for MaxResults is 10": API_ListDomains, API_ListUserProfiles, API_ListSpaces
)
TAGS_PAGE: Final = 50

_fixed_domain_ids: Final[dict[str, str]] = {}


@dataclass
class Answers:
    """Behavior that AWS does not document: whether DescribeUserProfile returns a name in the request's spelling."""

    as_asked: bool = False


ANSWERS: Final = Answers()


@dataclass
class Member:
    """A user profile or a space of a domain."""

    arn: str
    domain_id: str
    name: str
    settings: dict[str, Any]
    tags: list[dict[str, str]]
    extra: dict[str, Any]
    status: str = "InService"
    created: datetime = field(default_factory=utcnow)
    modified: datetime = field(default_factory=utcnow)


@dataclass(frozen=True)
class Kind:
    """The API's names for one kind of member."""

    noun: str
    resource_type: str
    extra: tuple[str, ...]
    updatable: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The parameter with a member's name."""
        return f"{self.noun}Name"

    @property
    def arn(self) -> str:
        """The answer's key for a member's ARN."""
        return f"{self.noun}Arn"

    @property
    def settings(self) -> str:
        """The parameter with a member's settings."""
        return "UserSettings" if self.noun == "UserProfile" else f"{self.noun}Settings"


PROFILE: Final = Kind("UserProfile", "user-profile", ("SingleSignOnUserIdentifier", "SingleSignOnUserValue"))
SPACE: Final = Kind(
    "Space", "space", ("OwnershipSettings", "SpaceSharingSettings", "SpaceDisplayName"), ("SpaceDisplayName",)
)
KINDS: Final = (PROFILE, SPACE)
Members = dict[tuple[str, str], Member]
Reply = dict[str, Any]
Operation = Callable[[Any], Reply]


def install_sagemaker() -> None:
    """Add Studio's calls to moto's SageMaker. A second call changes nothing."""
    operations: dict[str, Operation] = {
        "create_domain": _create_domain,
        "describe_domain": _describe_domain,
        "update_domain": _update_domain,
        "delete_domain": _delete_domain,
        "list_domains": _list_domains,
        "add_tags": _add_tags,
        "list_tags": _list_tags,
        "delete_tags": _delete_tags,
        "create_presigned_domain_url": _create_presigned_domain_url,
        **app_images.operations(),
        **apps.of_apps(),
    }
    for kind in KINDS:
        snake = re.sub(r"(?<=.)(?=[A-Z])", "_", kind.noun).lower()
        operations |= {
            f"create_{snake}": functools.partial(_create_member, kind),
            f"describe_{snake}": functools.partial(_describe_member, kind),
            f"update_{snake}": functools.partial(_update_member, kind),
            f"delete_{snake}": functools.partial(_delete_member, kind),
            f"list_{snake}s": functools.partial(_list_members, kind),
        }
    for name, operation in operations.items():
        why = "moto lacks the call, or its answer is incomplete."
        Patch(SageMakerResponse, name, _method(operation), why, may_be_new=True).install()
    names = functools.cache(responses.method_names_from_class)
    Patch(responses, "method_names_from_class", names, "Each call would inspect the methods again.").install()


def fix_domain_id(name: str, domain_id: str) -> None:
    """Give the next domain with this name this ID instead of a random one."""
    _fixed_domain_ids[name] = domain_id


def reset_sagemaker() -> None:
    """Delete every SageMaker resource of every account and region."""
    _fixed_domain_ids.clear()
    ANSWERS.as_asked = Answers.as_asked
    apps.JOBS.carry = apps.Jobs.carry
    for account in sagemaker_backends.values():
        account.reset()


def state() -> dict[tuple[str, str], dict[str, Any]]:
    """The state of the accounts and regions in use, for `restore`. To keep it, copy it."""
    return {
        (account_id, region): vars(backend)
        for account_id, account in sagemaker_backends.items()
        for region, backend in account.items()
    }


def restore(kept: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    """Restore a result of `state` after a reset."""
    for (account_id, region), content in kept.items():
        vars(sagemaker_backends[account_id][region]).update(content)


def _method(operation: Operation) -> Callable[[Any], tuple[int, dict[str, str], str]]:
    # moto searches the class for plain functions and would not find a partial.
    def call(self: Any) -> tuple[int, dict[str, str], str]:
        _validate(get_service_model("sagemaker").operation_model(self._get_action()).input_shape, self.params)
        answer = {name: value for name, value in operation(self).items() if value is not None}
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer, default=_timestamp)

    return call


def _timestamp(moment: datetime) -> float:
    return round(moment.replace(tzinfo=UTC).timestamp(), 3)  # moto's times are UTC, but have no time zone.


def _validate(shape: Any, value: Any, path: str = "") -> None:
    """Validate a request against the patterns, lengths and enumerations of botocore's model, as SageMaker does.

    Raises:
        AWSValidationException: The request violates one of them.
    """
    if shape.type_name == "structure":
        for name, member in value.items():
            _validate(shape.members[name], member, f"{path}.{name[0].lower()}{name[1:]}".lstrip("."))
    elif shape.type_name == "list":
        if "max" in shape.metadata and len(value) > shape.metadata["max"]:
            raise AWSValidationException(
                f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
                f"Member must have length less than or equal to {shape.metadata['max']}"
            )
        for index, member in enumerate(value, start=1):
            _validate(shape.member, member, f"{path}.{index}.member")
    elif complaint := _complaint(shape, value):
        raise AWSValidationException(
            f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: "
            f"Member must {complaint}"
        )


def _complaint(shape: Any, value: Any) -> str | None:
    limits = shape.metadata
    if shape.type_name == "string":
        if limits.get("enum") and value not in limits["enum"]:
            return f"satisfy enum value set: [{', '.join(limits['enum'])}]"
        if "max" in limits and len(value) > limits["max"]:
            return f"have length less than or equal to {limits['max']}"
        if "min" in limits and len(value) < limits["min"]:
            return f"have length greater than or equal to {limits['min']}"
        if "pattern" in limits and not _java_pattern(limits["pattern"]).fullmatch(value):
            return f"satisfy regular expression pattern: {limits['pattern']}"
    if shape.type_name == "integer":
        if "max" in limits and value > limits["max"]:
            return f"have value less than or equal to {limits['max']}"
        if "min" in limits and value < limits["min"]:
            return f"have value greater than or equal to {limits['min']}"
    return None


@functools.cache
def _java_pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error:  # The model's patterns are Java's, and Python's `re` does not know \p{...}.
        return re.compile(".*", re.DOTALL)


def _given(response: Any, *names: str) -> dict[str, Any]:
    """The named parameters that the request has."""
    return {name: response.params[name] for name in names if name in response.params}


def _page(response: Any, entries: list[dict[str, Any]], key: str, default: int = STUDIO_PAGE) -> Reply:
    token, size = response.params.get("NextToken"), response.params.get("MaxResults", default)
    try:
        start = int(base64.b64decode(token)) if token else 0
    except ValueError:
        raise AWSValidationException("Invalid pagination token") from None
    answer: Reply = {key: entries[start : start + size]}
    if start + size < len(entries):
        answer["NextToken"] = base64.b64encode(str(start + size).encode()).decode()
    return answer


def _sorted(response: Any, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    by = response.params.get("SortBy", "CreationTime")
    return sorted(entries, key=lambda entry: entry[by], reverse=response.params.get("SortOrder") == "Descending")


# Domains


def _domain(response: Any) -> Domain:
    domain_id = response.params["DomainId"]
    try:
        return response.sagemaker_backend.domains[domain_id]
    except KeyError:
        raise ResourceNotFound(f"RecordNotFound: Domain {domain_id} does not exist") from None


def _create_domain(response: Any) -> Reply:
    backend, params = response.sagemaker_backend, response.params
    name = params["DomainName"]
    if any(domain.domain_name == name for domain in backend.domains.values()):
        raise ResourceInUseException(f"Domain with name {name} already exists.")
    domain = Domain(
        domain_name=name,
        auth_mode=params["AuthMode"],
        default_user_settings=params["DefaultUserSettings"],
        subnet_ids=params.get("SubnetIds"),
        vpc_id=params.get("VpcId"),
        account_id=response.current_account,
        region_name=response.region,
        domain_settings=params.get("DomainSettings"),
        tags=list(params.get("Tags", [])),
        app_network_access_type=params.get("AppNetworkAccessType"),
        home_efs_file_system_kms_key_id=params.get("HomeEfsFileSystemKmsKeyId"),
        kms_key_id=params.get("KmsKeyId"),
        app_security_group_management=params.get("AppSecurityGroupManagement"),
        default_space_settings=params.get("DefaultSpaceSettings"),
    )
    domain.id = _fixed_domain_ids.pop(name, None) or _random_domain_id()
    domain.arn = _arn(response, f"domain/{domain.id}")
    domain.url = f"https://{domain.id}.studio.{response.region}.sagemaker.aws"
    backend.domains[domain.id] = domain
    return {"DomainArn": domain.arn, "DomainId": domain.id, "Url": domain.url}


def _random_domain_id() -> str:
    return "d-" + "".join(random.choices(string.ascii_lowercase + string.digits, k=12))


def _arn(response: Any, resource: str) -> str:
    partition = get_partition(response.region)
    return f"arn:{partition}:sagemaker:{response.region}:{response.current_account}:{resource}"


def _describe_domain(response: Any) -> Reply:
    described: Reply = _domain(response).describe()
    return described


def _update_domain(response: Any) -> Reply:
    domain, params = _domain(response), response.params
    _require_stopped_apps(response, domain)
    for parameter, attribute in (
        ("DefaultUserSettings", "default_user_settings"),
        ("DefaultSpaceSettings", "default_space_settings"),
        ("DomainSettingsForUpdate", "domain_settings"),
    ):
        if parameter in params:
            # DomainSettingsForUpdate has blocks with names of their own: RStudioServerProDomainSettingsForUpdate.
            blocks = {name.removesuffix("ForUpdate"): block for name, block in params[parameter].items()}
            setattr(domain, attribute, {**(getattr(domain, attribute) or {}), **blocks})
    for parameter, attribute in (
        ("AppSecurityGroupManagement", "app_security_group_management"),
        ("AppNetworkAccessType", "app_network_access_type"),
        ("SubnetIds", "subnet_ids"),
        ("VpcId", "vpc_id"),
    ):
        if parameter in params:
            setattr(domain, attribute, params[parameter])
    domain.last_modified_time = utcnow()
    return {"DomainArn": domain.arn}


def _require_stopped_apps(response: Any, domain: Domain) -> None:
    """Raise ResourceInUse if an app of the domain runs and the request changes ExecutionRoleIdentityConfig."""
    wanted = response.params.get("DomainSettingsForUpdate", {}).get("ExecutionRoleIdentityConfig")
    has = (domain.domain_settings or {}).get("ExecutionRoleIdentityConfig", "DISABLED")
    if wanted not in (None, has) and apps.is_running(response.sagemaker_backend, domain.id):
        raise ResourceInUseException(
            f"Domain {domain.id} has apps in the status InService or Pending, so ExecutionRoleIdentityConfig cannot be "
            "changed"
        )


def _delete_domain(response: Any) -> Reply:
    domain, backend = _domain(response), response.sagemaker_backend
    for kind in KINDS:
        if any(domain_id == domain.id for domain_id, _ in _members(backend, kind)):
            raise ResourceInUseException(
                f"Unable to delete Domain {domain.id} because {kind.noun}(s) are associated with it."
            )
    del backend.domains[domain.id]
    return {}


def _list_domains(response: Any) -> Reply:
    domains = response.sagemaker_backend.domains.values()
    return _page(response, [domain.summary() for domain in domains], "Domains")


# User profiles and spaces


def members_of(backend: SageMakerModelBackend) -> list[Member]:
    """All user profiles and spaces of an account and region."""
    return [member for kind in KINDS for member in _members(backend, kind).values()]


def _members(backend: SageMakerModelBackend, kind: Kind) -> Members:
    # The members are in the backend's own __dict__, because moto clears it on a reset.
    members: Members = backend.__dict__.setdefault(f"rolewarden_{kind.resource_type}", {})
    return members


def put_member(backend: SageMakerModelBackend, kind: Kind, domain_id: str, name: str, settings: dict[str, Any]) -> None:
    """Make a user profile or space without an API call."""
    arn = (
        f"arn:aws:sagemaker:{backend.region_name}:{backend.account_id}:{kind.resource_type}/{domain_id}/{name.lower()}"
    )
    _members(backend, kind)[domain_id, name.lower()] = Member(arn, domain_id, name, settings, [], {})


def _member(response: Any, kind: Kind) -> Member:
    domain, name = _domain(response), response.params[kind.name]
    try:
        return _members(response.sagemaker_backend, kind)[domain.id, name.lower()]
    except KeyError:
        raise ResourceNotFound(f"RecordNotFound: {kind.noun} {name} does not exist in Domain {domain.id}") from None


def _create_member(kind: Kind, response: Any) -> Reply:
    domain, params = _domain(response), response.params
    name = params[kind.name]
    members = _members(response.sagemaker_backend, kind)
    # The ARN is in lower case, so two names that differ only in case are one resource.
    key = domain.id, name.lower()
    if key in members:
        raise ResourceInUseException(f"{kind.noun} {name} already exists in Domain {domain.id}")
    member = Member(
        arn=_arn(response, f"{kind.resource_type}/{'/'.join(key)}"),
        domain_id=domain.id,
        name=name,
        settings=params.get(kind.settings, {}),
        tags=list(params.get("Tags", [])),
        extra=_given(response, *kind.extra),
    )
    members[key] = member
    return {kind.arn: member.arn}


def _describe_member(kind: Kind, response: Any) -> Reply:
    member = _member(response, kind)
    name = response.params[kind.name] if ANSWERS.as_asked else member.name
    described = {kind.arn: member.arn, kind.settings: member.settings, **member.extra}
    return {**_summary(kind, member), kind.name: name, **described}


def _summary(kind: Kind, member: Member) -> dict[str, Any]:
    return {
        "DomainId": member.domain_id,
        kind.name: member.name,
        "Status": member.status,
        "CreationTime": member.created,
        "LastModifiedTime": member.modified,
    }


def _update_member(kind: Kind, response: Any) -> Reply:
    member = _member(response, kind)
    member.settings = {**member.settings, **response.params.get(kind.settings, {})}
    member.extra |= _given(response, *kind.updatable)
    member.modified = utcnow()
    return {kind.arn: member.arn}


def _delete_member(kind: Kind, response: Any) -> Reply:
    member = _member(response, kind)
    del _members(response.sagemaker_backend, kind)[member.domain_id, member.name.lower()]
    return {}


def _list_members(kind: Kind, response: Any) -> Reply:
    params = response.params
    domain_id, contains = params.get("DomainIdEquals"), params.get(f"{kind.name}Contains", "").lower()
    found = (
        member
        for member in _members(response.sagemaker_backend, kind).values()
        if domain_id in (None, member.domain_id) and contains in member.name.lower()
    )
    return _page(response, _sorted(response, (_summary(kind, member) for member in found)), f"{kind.noun}s")


def _create_presigned_domain_url(response: Any) -> Reply:
    member, domain = _member(response, PROFILE), _domain(response)
    token = base64.urlsafe_b64encode(member.arn.encode()).decode()
    return {"AuthorizedUrl": f"{domain.url}/auth?token={token}"}


# Tags


def _tagged(response: Any) -> Any:
    """The object with `tags` that has the request's ResourceArn."""
    arn, backend = response.params["ResourceArn"], response.sagemaker_backend
    for kind in KINDS:
        if f":{kind.resource_type}/" in arn:
            domain_id, _, name = arn.partition("/")[2].partition("/")
            if member := _members(backend, kind).get((domain_id, name.lower())):
                return member
            raise AWSValidationException(f"{kind.noun} {arn} does not exist")
    if f":{app_images.RESOURCE_TYPE}/" in arn:
        return app_images.of_arn(backend, arn)
    return backend._get_resource_from_arn(arn)


def _add_tags(response: Any) -> Reply:
    resource, added = _tagged(response), response.params["Tags"]
    kept = [tag for tag in resource.tags if tag["Key"] not in {new["Key"] for new in added}]
    resource.tags = kept + list(added)
    return {"Tags": resource.tags}


def _list_tags(response: Any) -> Reply:
    return _page(response, list(_tagged(response).tags), "Tags", default=TAGS_PAGE)


def _delete_tags(response: Any) -> Reply:
    resource, gone = _tagged(response), set(response.params["TagKeys"])
    resource.tags = [tag for tag in resource.tags if tag["Key"] not in gone]
    return {}


def dispatch(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Answer one SageMaker request outside of a `mock_aws` block.

    The header `x-moto-account-id` names the account, and the request's signature names the region.
    """
    try:
        status, answered, content = SageMakerResponse.dispatch(Request.from_primitives(method, url, headers, body))
    except KeyError as unknown:
        # moto does not know this region, so the service does not have an address in it.
        raise EndpointConnectionError(endpoint_url=url) from unknown
    except NotImplementedError as missing:
        content = f'{{"__type": "UnknownOperationException", "message": "{missing}"}}'
        status, answered = 400, {"Content-Type": "application/x-amz-json-1.1"}
    answer = {name: str(value) for name, value in answered.items() if name != "status"}
    return int(status), answer, content.encode() if isinstance(content, str) else content
