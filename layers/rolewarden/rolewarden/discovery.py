"""Discovery: it reads SageMaker's domains and user profiles and IAM's roles, and writes their bindings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rolewarden import MEMBER_ROLES
from rolewarden.bindings import (
    BEDROCK,
    DEFAULT_USER,
    EMR,
    EMR_ACCESS,
    EMR_RUNTIME,
    EXECUTION,
    FORECAST,
    MODEL_REGISTER,
    ROLE,
    RSTUDIO,
    SHARED_SPACES,
    USER_PROFILE,
    VIAS,
    Binding,
    BindingsTable,
    OtherRole,
    RoleKey,
    binding_key,
)
from rolewarden.calls import ListsRegions, ReadsSubjects
from rolewarden.clock import Clock
from rolewarden.errors import Gone, Refused
from rolewarden.events import SubjectKey
from rolewarden.guardrails import Rules
from rolewarden.listed import CHANGING, RoleDescription, modified
from rolewarden.matching import matches_name
from rolewarden.names import among, same
from rolewarden.verdicts import Reason

UNTOUCHABLE_PATHS = ("/aws-service-role/", "/aws-reserved/")
"""The paths of roles that AWS owns: service-linked roles, and the roles of IAM Identity Center."""


class SubjectReading(NamedTuple):
    """The result of reading one subject: a domain, a user profile or a role.

    - `subject`: the domain or user profile; None for a role.
    - `bindings`: the bindings that were read. Empty if the subject exists and names no role, or if `gone` or `refused`
      is set.
    - `gone`: whether the subject no longer exists.
    - `refused`: the refusal, if AWS did not let the function read the subject. With bindings, AWS refused only the
      tags. None if AWS refused nothing.
    - `may_change`: whether the next reading may differ, because SageMaker is still changing the subject, or because IAM
      does not show a new role yet.
    """

    subject: SubjectKey | None
    bindings: tuple[Binding, ...] = ()
    gone: bool = False
    refused: Refused | None = None
    may_change: bool = False

    def with_known(self, known: Iterable[Binding]) -> SubjectReading:
        """The same reading, in which the `known` bindings or tags replace those that could not be read."""
        if self.refused is None:
            return self
        if not self.bindings:
            return self._replace(bindings=tuple(binding for binding in known if self._covers(binding)))
        tags = {binding.key: binding.tags for binding in known}
        return self._replace(bindings=tuple(b._replace(tags=tags.get(b.key, b.tags)) for b in self.bindings))

    def _covers(self, binding: Binding) -> bool:
        if self.subject is None or binding.domain_id != self.subject.domain_id:
            return False
        return same(binding.user_profile, self.subject.user_profile)


@dataclass
class SubjectReader:
    """Reads the roles of domains, user profiles and `also_govern`, and writes nothing.

    `own_roles` are the names of the functions' roles, which `also_govern` does not cover.
    """

    aws: ReadsSubjects
    rules: Rules
    own_roles: frozenset[str] = frozenset()
    _domain_names: dict[tuple[str, str], str] = field(default_factory=dict)

    def read_domain(self, account: str, region: str, domain_id: str) -> SubjectReading:
        """Read the roles of a domain's default user and shared spaces. Raises RetryLater."""
        subject = SubjectKey(domain_id)
        try:
            found = self.aws.within(account).domain(region, domain_id)
        except Refused as refused:
            return _unread(subject, refused)
        user = found.get("DefaultUserSettings") or {}
        spaces = found.get("DefaultSpaceSettings") or {}
        self._domain_names[(region, domain_id)] = found.get("DomainName", "")
        others = {
            DEFAULT_USER: (*_other_roles(user), *_rstudio_role(found.get("DomainSettings") or {})),
            SHARED_SPACES: _other_roles(spaces),
        }
        roles = [(DEFAULT_USER, via, arn) for via, arn in _roles(user)]
        roles.append((SHARED_SPACES, EXECUTION, spaces.get("ExecutionRole")))
        tags, tags_refused = self._tags(account, region, found.get("DomainArn", ""))
        bindings = tuple(
            Binding(
                account,
                region,
                domain_id,
                kind,
                via,
                RoleKey.of_arn(arn) if arn else None,
                domain_name=found.get("DomainName", ""),
                tags=tags,
                modified=modified(found),
                deploys=(kind, via) == (DEFAULT_USER, EXECUTION) and _deploys(user),
                other_roles=others[kind] if via == EXECUTION else (),
                identifies=_identifies(found.get("DomainSettings") or {}),
            )
            for kind, via, arn in roles
            if arn or (via == EXECUTION and others[kind])
        )
        refusal = tags_refused if bindings else None
        return SubjectReading(subject, bindings, refused=refusal, may_change=found.get("Status") in CHANGING)

    def profile(
        self, account: str, region: str, domain_id: str, name: str, *, tags: Mapping[str, str] | None = None
    ) -> SubjectReading:
        """Read the roles of a user profile. Raises RetryLater.

        `tags` are the tags of the profile, if the caller has them; None means that they are read. A profile without its
        own execution role has a binding without a role. The binding has the name as DescribeUserProfile returns it,
        because ARNs, and therefore events about tags, have it in lower case.
        """
        subject = SubjectKey(domain_id, name)
        try:
            found = self.aws.within(account).user_profile(region, domain_id, name)
            domain_name = self._domain_name(account, region, domain_id)
        except Refused as refused:
            return _unread(subject, refused)
        user = found.get("UserSettings") or {}
        tags_refused = None
        if tags is None:
            tags, tags_refused = self._tags(account, region, found.get("UserProfileArn", ""))
        roles = [(via, arn) for via, arn in _roles(user) if arn or via == EXECUTION]
        bindings = tuple(
            Binding(
                account,
                region,
                domain_id,
                USER_PROFILE,
                via,
                RoleKey.of_arn(arn) if arn else None,
                domain_name=domain_name,
                user_profile=found.get("UserProfileName") or name,
                tags=tags,
                modified=modified(found),
                deploys=via == EXECUTION and _deploys(user),
                other_roles=_other_roles(user) if via == EXECUTION else (),
            )
            for via, arn in roles
        )
        refusal = tags_refused if bindings else None
        return SubjectReading(subject, bindings, refused=refusal, may_change=found.get("Status") in CHANGING)

    def also_governed(self, account: str, role: RoleDescription) -> Binding | None:
        """The binding of a role that `also_govern` covers by name or by trust policy; None if it does not cover it.

        Rolewarden's own roles are excluded by name and not by path, because any administrator can create a role under
        `/rolewarden/`.
        """
        rules = self.rules.also_govern
        if not (matches_name(rules.roles, role.name) or any(map(role.trust.includes, rules.trusting))):
            return None
        own = self.own_roles if self.aws.is_home(account) else MEMBER_ROLES
        if among(role.name, own) or role.path.startswith(UNTOUCHABLE_PATHS):
            return None
        return Binding(account, "", "", ROLE, EXECUTION, RoleKey(account, role.name))

    def take_name(self, region: str, domain_id: str, name: str) -> None:
        """Remember the name of a domain that the caller has listed, so that it is not read again."""
        self._domain_names[(region, domain_id)] = name

    def _domain_name(self, account: str, region: str, domain_id: str) -> str:
        # A domain cannot be renamed, so one call is enough.
        if (region, domain_id) not in self._domain_names:
            found = self.aws.within(account).domain(region, domain_id)
            self._domain_names[(region, domain_id)] = found.get("DomainName", "")
        return self._domain_names[(region, domain_id)]

    def _tags(self, account: str, region: str, arn: str) -> tuple[Mapping[str, str], Refused | None]:
        if not self.rules.asks_for_tags or not arn:
            return {}, None
        try:
            return self.aws.within(account).sagemaker_tags(region, arn), None
        except Refused as refused:
            # Continue without tags: the subject's roles still need the guardrails of the other assignments.
            return {}, refused


@dataclass
class Discovery:
    """Reads subjects and updates the bindings table."""

    reader: SubjectReader
    bindings: BindingsTable
    clock: Clock = field(default_factory=Clock)

    def refresh(self, account: str, region: str, key: SubjectKey) -> SubjectReading:
        """Read a subject and update the table. Raises RetryLater.

        If AWS refuses the subject or its tags, the known bindings or tags stay.
        """
        at = self.clock.now()
        reading = (
            self.reader.profile(account, region, key.domain_id, key.user_profile)
            if key.user_profile
            else self.reader.read_domain(account, region, key.domain_id)
        )
        if reading.refused:
            known = reading.with_known(self.bindings.of_domain(account, region, key.domain_id))
            if not reading.bindings:
                return known
            reading = known
        bindings = reading.bindings
        if key.user_profile:
            keys = slots(account, region, key.domain_id, key.user_profile)
        else:
            keys = slots(account, region, key.domain_id)
            if reading.gone:
                # SageMaker has deleted the user profiles of the domain, too.
                gone = [binding.key for binding in self.bindings.of_domain(account, region, key.domain_id)]
                self.bindings.write((), gone, at=at)
                return reading
        self.bindings.write(bindings, keys, at=at)
        return reading

    def refresh_role(self, account: str, name: str) -> SubjectReading:
        """Read whether `also_govern` covers a role, and update the table. Without `also_govern`, read nothing.

        Raises RetryLater.
        """
        if not self.reader.rules.also_govern:
            return SubjectReading(None)
        at = self.clock.now()
        try:
            found = self.reader.aws.within(account).role(name)
        except Refused as refused:
            return _unread(None, refused)._replace(may_change=isinstance(refused, Gone))
        binding = self.reader.also_governed(account, found)
        bindings = (binding,) if binding else ()
        self.bindings.write(bindings, [binding_key(account, "", "", ROLE, name, EXECUTION)], at=at)
        return SubjectReading(None, bindings)


def slots(account: str, region: str, domain_id: str, user_profile: str = "") -> list[tuple[str, str]]:
    """The keys of all bindings that a subject can have. A key under which nothing is written has no binding any more.

    `user_profile` is empty for a domain.
    """
    own = (USER_PROFILE, user_profile) if user_profile else (DEFAULT_USER, "")
    kinds = [(*own, via) for via in VIAS]
    if not user_profile:
        kinds.append((SHARED_SPACES, "", EXECUTION))
    return [binding_key(account, region, domain_id, *kind) for kind in kinds]


def _unread(subject: SubjectKey | None, refused: Refused) -> SubjectReading:
    return SubjectReading(subject, gone=True) if isinstance(refused, Gone) else SubjectReading(subject, refused=refused)


def _deploys(settings: Mapping[str, Any]) -> bool:
    """Whether user settings let Canvas deploy JumpStart models by itself.

    The settings of a user profile take precedence over those of its domain.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DirectDeploySettings.html
    """
    return ((settings.get("CanvasAppSettings") or {}).get("DirectDeploySettings") or {}).get("Status") == "ENABLED"


def _identifies(settings: Mapping[str, Any]) -> bool:
    """Whether the settings of a domain set the name of the user profile as the source identity of its sessions.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DomainSettings.html
    """
    return settings.get("ExecutionRoleIdentityConfig") == "USER_PROFILE_NAME"


def _roles(settings: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The roles that user settings name: the execution role, and the roles that Canvas uses for other services.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CanvasAppSettings.html
    """
    canvas = settings.get("CanvasAppSettings") or {}
    return [
        (EXECUTION, settings.get("ExecutionRole")),
        (BEDROCK, (canvas.get("GenerativeAiSettings") or {}).get("AmazonBedrockRoleArn")),
        (EMR, (canvas.get("EmrServerlessSettings") or {}).get("ExecutionRoleArn")),
        (FORECAST, (canvas.get("TimeSeriesForecastingSettings") or {}).get("AmazonForecastRoleArn")),
    ]


def _other_roles(settings: Mapping[str, Any]) -> tuple[OtherRole, ...]:
    """The roles of OTHER_VIAS that the settings of a user or of shared spaces name.

    Only JupyterLab has settings for EMR.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelRegisterSettings.html
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_EmrSettings.html
    """
    register = (settings.get("CanvasAppSettings") or {}).get("ModelRegisterSettings") or {}
    emr = (settings.get("JupyterLabAppSettings") or {}).get("EmrSettings") or {}
    named = [
        (MODEL_REGISTER, register.get("CrossAccountModelRegisterRoleArn")),
        *((EMR_ACCESS, arn) for arn in emr.get("AssumableRoleArns") or ()),
        *((EMR_RUNTIME, arn) for arn in emr.get("ExecutionRoleArns") or ()),
    ]
    return tuple(OtherRole(via, RoleKey.of_arn(arn)) for via, arn in named if arn)


def _rstudio_role(settings: Mapping[str, Any]) -> tuple[OtherRole, ...]:
    """The role of RStudio's app, which only the settings of a domain name.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RStudioServerProDomainSettings.html
    """
    arn = (settings.get("RStudioServerProDomainSettings") or {}).get("DomainExecutionRoleArn")
    return (OtherRole(RSTUDIO, RoleKey.of_arn(arn)),) if arn else ()


SOME_DOMAINS = 3
"""The number of domains that `OtherRegion.message` names."""


class OtherRegion(NamedTuple):
    """A region that is not covered: the names of its domains, or the refusal to list them.

    `region` is empty for a refusal to list the regions.
    """

    region: str
    names: tuple[str, ...]
    refused: Refused | None = None

    @property
    def message(self) -> str:
        """The finding in words."""
        if self.refused:
            return f"the {'region' if self.region else 'list of regions'} could not be read: {self.refused}"
        more = f" and {len(self.names) - SOME_DOMAINS} more" if len(self.names) > SOME_DOMAINS else ""
        return f"domains in {self.region}: {', '.join(self.names[:SOME_DOMAINS])}{more}"


def other_regions(aws: ListsRegions, covered: Collection[str]) -> Iterator[OtherRegion]:
    """The enabled regions that are not in `covered` and have domains, or cannot be read.

    A region without an endpoint of SageMaker has no domains. Raises Refused if the regions cannot be listed, and
    RetryLater.
    """
    for region in aws.enabled_regions():
        if region in covered:
            continue
        try:
            names = aws.domain_names(region)
        except Refused as refused:
            if refused.reason is not Reason.UNREACHABLE:
                yield OtherRegion(region, (), refused)
            continue
        if names:
            yield OtherRegion(region, names)
