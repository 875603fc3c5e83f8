"""From SageMaker's domains and user profiles, and IAM's roles, to bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rolewarden import MEMBER_ROLES
from rolewarden.aws import RoleDescription, modified
from rolewarden.bindings import (
    BEDROCK,
    DEFAULT_USER,
    EMR,
    EXECUTION,
    FORECAST,
    ROLE,
    SHARED_SPACES,
    USER_PROFILE,
    VIAS,
    Binding,
    BindingsTable,
    RoleKey,
    binding_key,
)
from rolewarden.calls import ReadsSubjects
from rolewarden.clock import Clock
from rolewarden.errors import Gone, Refused
from rolewarden.events import SubjectKey
from rolewarden.guardrails import Rules, matches_name
from rolewarden.names import among, same

UNTOUCHABLE_PATHS = ("/aws-service-role/", "/aws-reserved/")
"""Roles that AWS owns: service-linked ones, and those of IAM Identity Center."""


class SubjectReading(NamedTuple):
    """What could be read of one subject: a domain, a user profile, or (`subject` is None) a role.

    `gone` where it no longer exists; without that and without `bindings` it is there and names no role. `refused` is
    what AWS did not let us read: with bindings it is no more than their tags, without them it is the subject itself.
    `unsettled` where the next look may see something else: SageMaker is still at work on it, or IAM does not show the
    role that an event has just told of.
    """

    subject: SubjectKey | None
    bindings: tuple[Binding, ...] = ()
    gone: bool = False
    refused: Refused | None = None
    unsettled: bool = False

    def with_known(self, known: Iterable[Binding]) -> SubjectReading:
        """The same, with what could not be read as it was `known` before."""
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


UNSETTLED = frozenset({"Pending", "Updating", "Deleting"})
"""Statuses in which a domain or user profile may still show its settings from before, or show itself at all."""


@dataclass
class SubjectReader:
    """Reads the roles of domains, user profiles and `also_govern`, and writes nothing.

    `own_roles` are the names of the functions' roles, which `also_govern` leaves out.
    """

    aws: ReadsSubjects
    rules: Rules
    own_roles: frozenset[str] = frozenset()
    _domain_names: dict[tuple[str, str], str] = field(default_factory=dict)

    def read_domain(self, account: str, region: str, domain_id: str) -> SubjectReading:
        """The roles of a domain's default user and shared spaces. Raises RetryLater."""
        subject = SubjectKey(domain_id)
        try:
            found = self.aws.within(account).domain(region, domain_id)
        except Refused as refused:
            return _unread(subject, refused)
        user = found.get("DefaultUserSettings") or {}
        spaces = found.get("DefaultSpaceSettings") or {}
        self._domain_names[(region, domain_id)] = found.get("DomainName", "")
        roles = [(DEFAULT_USER, via, arn) for via, arn in _roles(user)]
        roles.append((SHARED_SPACES, EXECUTION, spaces.get("ExecutionRole")))
        tags, untagged = self._tags(account, region, found.get("DomainArn", ""))
        bindings = tuple(
            Binding(
                account,
                region,
                domain_id,
                kind,
                via,
                RoleKey.of_arn(arn),
                domain_name=found.get("DomainName", ""),
                tags=tags,
                modified=modified(found),
                deploys=(kind, via) == (DEFAULT_USER, EXECUTION) and _deploys(user),
            )
            for kind, via, arn in roles
            if arn
        )
        unread = untagged if bindings else None
        unsettled = found.get("Status") in UNSETTLED
        return SubjectReading(subject, bindings, refused=unread, unsettled=unsettled)

    def profile(
        self, account: str, region: str, domain_id: str, name: str, *, tags: Mapping[str, str] | None = None
    ) -> SubjectReading:
        """The roles of a user profile; its `tags` are asked for where they are not given. Raises RetryLater.

        A profile without an execution role of its own has a binding without a role. The binding has the name as
        SageMaker gives it: ARNs, and so the events of tags, have it in lower case.
        """
        subject = SubjectKey(domain_id, name)
        try:
            found = self.aws.within(account).user_profile(region, domain_id, name)
            domain_name = self._domain_name(account, region, domain_id)
        except Refused as refused:
            return _unread(subject, refused)
        user = found.get("UserSettings") or {}
        untagged = None
        if tags is None:
            tags, untagged = self._tags(account, region, found.get("UserProfileArn", ""))
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
            )
            for via, arn in roles
        )
        unread = untagged if bindings else None
        return SubjectReading(subject, bindings, refused=unread, unsettled=found.get("Status") in UNSETTLED)

    def also_governed(self, account: str, role: RoleDescription) -> Binding | None:
        """The binding of a role that `also_govern` covers by name or by trust.

        Rolewarden's own are left out by name, not by path: anybody may make a role under `/rolewarden/`.
        """
        rules = self.rules.also_govern
        if not (matches_name(rules.roles, role.name) or role.trusted & set(rules.trusting)):
            return None
        own = self.own_roles if self.aws.is_home(account) else MEMBER_ROLES
        if among(role.name, own) or role.path.startswith(UNTOUCHABLE_PATHS):
            return None
        return Binding(account, "", "", ROLE, EXECUTION, RoleKey(account, role.name))

    def take_name(self, region: str, domain_id: str, name: str) -> None:
        """Take a domain's name from who has listed it."""
        self._domain_names[(region, domain_id)] = name

    def _domain_name(self, account: str, region: str, domain_id: str) -> str:
        # A domain cannot be renamed, so its name is asked for once.
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
            # No reason to leave its roles alone.
            return {}, refused


@dataclass
class Discovery:
    """Reads subjects again and updates the bindings table."""

    reader: SubjectReader
    bindings: BindingsTable
    clock: Clock = field(default_factory=Clock)

    def refresh(self, account: str, region: str, key: SubjectKey) -> SubjectReading:
        """Read a subject and bring the table in step; what cannot be read stays as it is known. Raises RetryLater."""
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
                # Its profiles went with it.
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
            return _unread(None, refused)._replace(unsettled=isinstance(refused, Gone))
        binding = self.reader.also_governed(account, found)
        bindings = (binding,) if binding else ()
        self.bindings.write(bindings, [binding_key(account, "", "", ROLE, name, EXECUTION)], at=at)
        return SubjectReading(None, bindings)


def slots(account: str, region: str, domain_id: str, user_profile: str = "") -> list[tuple[str, str]]:
    """The keys of all bindings that a subject can have: what is not written anew under them is gone."""
    own = (USER_PROFILE, user_profile) if user_profile else (DEFAULT_USER, "")
    kinds = [(*own, via) for via in VIAS]
    if not user_profile:
        kinds.append((SHARED_SPACES, "", EXECUTION))
    return [binding_key(account, region, domain_id, *kind) for kind in kinds]


def _unread(subject: SubjectKey | None, refused: Refused) -> SubjectReading:
    return SubjectReading(subject, gone=True) if isinstance(refused, Gone) else SubjectReading(subject, refused=refused)


def _deploys(settings: Mapping[str, Any]) -> bool:
    """Whether user settings let Canvas deploy JumpStart models by itself; those of a profile stand above its domain's.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DirectDeploySettings.html
    """
    return ((settings.get("CanvasAppSettings") or {}).get("DirectDeploySettings") or {}).get("Status") == "ENABLED"


def _roles(settings: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The roles that user settings name: the execution role, and those by which Canvas works with other services.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CanvasAppSettings.html
    """
    canvas = settings.get("CanvasAppSettings") or {}
    return [
        (EXECUTION, settings.get("ExecutionRole")),
        (BEDROCK, (canvas.get("GenerativeAiSettings") or {}).get("AmazonBedrockRoleArn")),
        (EMR, (canvas.get("EmrServerlessSettings") or {}).get("ExecutionRoleArn")),
        (FORECAST, (canvas.get("TimeSeriesForecastingSettings") or {}).get("AmazonForecastRoleArn")),
    ]
