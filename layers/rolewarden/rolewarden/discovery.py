"""From SageMaker's domains and user profiles, and IAM's roles, to bindings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rolewarden import POLICY_PATH
from rolewarden.aws import GONE, Aws, RoleDescription
from rolewarden.bindings import (
    BEDROCK,
    DEFAULT_USER,
    EXECUTION,
    ROLE,
    SHARED_SPACES,
    USER_PROFILE,
    Binding,
    BindingsTable,
    RoleKey,
    scope,
)
from rolewarden.errors import Refused
from rolewarden.events import SubjectKey
from rolewarden.guardrails import Rules, matches

UNTOUCHABLE_PATHS = ("/aws-service-role/", "/aws-reserved/", POLICY_PATH)
"""Roles that AWS owns (service-linked ones, those of IAM Identity Center), and Rolewarden's own."""


@dataclass
class Discovery:
    """Reads what SageMaker says of a subject and keeps the table in step with it."""

    aws: Aws
    table: BindingsTable
    rules: Rules
    _domain_names: dict[tuple[str, str], str] = field(default_factory=dict)

    def refresh(self, account: str, region: str, key: SubjectKey) -> tuple[Binding, ...]:
        """What is bound to the subject now; empty where it no longer exists. Raises Refused and RetryLater."""
        if key.user_profile:
            bindings = self.profile(account, region, key.domain_id, key.user_profile)
            names = {key.user_profile, *(binding.user_profile for binding in bindings)}
            slots = [(USER_PROFILE, name, via) for name in names for via in (EXECUTION, BEDROCK)]
        else:
            bindings = self.domain(account, region, key.domain_id)
            slots = [(DEFAULT_USER, "", EXECUTION), (DEFAULT_USER, "", BEDROCK), (SHARED_SPACES, "", EXECUTION)]
            if not bindings:
                gone = [binding.key for binding in self.table.of_domain(account, region, key.domain_id)]
                self.table.write((), gone)
                return ()
        partition = scope(account, region, key.domain_id)
        self.table.write(bindings, [(partition, "#".join(filter(None, slot))) for slot in slots])
        return bindings

    def domain(self, account: str, region: str, domain_id: str) -> tuple[Binding, ...]:
        """The roles of a domain's default user and shared spaces; empty where there is no such domain."""
        try:
            found = self.aws.domain(region, domain_id)
        except Refused as refused:
            if refused.reason == GONE:
                return ()
            raise
        user = found.get("DefaultUserSettings") or {}
        spaces = found.get("DefaultSpaceSettings") or {}
        self._domain_names[(region, domain_id)] = found.get("DomainName", "")
        roles = (
            (DEFAULT_USER, EXECUTION, user.get("ExecutionRole")),
            (DEFAULT_USER, BEDROCK, _bedrock_role(user)),
            (SHARED_SPACES, EXECUTION, spaces.get("ExecutionRole")),
        )
        tags = self._tags(region, found.get("DomainArn", ""))
        return tuple(
            Binding(
                account,
                region,
                domain_id,
                kind,
                via,
                RoleKey.of_arn(arn),
                domain_name=found.get("DomainName", ""),
                tags=tags,
            )
            for kind, via, arn in roles
            if arn
        )

    def profile(self, account: str, region: str, domain_id: str, name: str) -> tuple[Binding, ...]:
        """The roles of a user profile; empty where there is no such profile.

        A profile without an execution role of its own has a binding without a role. It is bound by the name that
        SageMaker gives it: ARNs, and so the events of tags, have it in lower case.
        """
        try:
            found = self.aws.user_profile(region, domain_id, name)
        except Refused as refused:
            if refused.reason == GONE:
                return ()
            raise
        user = found.get("UserSettings") or {}
        tags = self._tags(region, found.get("UserProfileArn", ""))
        execution, bedrock = user.get("ExecutionRole"), _bedrock_role(user)
        roles = [(EXECUTION, execution)] + ([(BEDROCK, bedrock)] if bedrock else [])
        return tuple(
            Binding(
                account,
                region,
                domain_id,
                USER_PROFILE,
                via,
                RoleKey.of_arn(arn) if arn else None,
                domain_name=self._domain_name(region, domain_id),
                user_profile=found.get("UserProfileName") or name,
                tags=tags,
            )
            for via, arn in roles
        )

    def role(self, account: str, name: str) -> tuple[Binding, ...]:
        """What `also_govern` makes of a role, kept in the table; asks nobody where the rules have none."""
        if not self.rules.also_govern:
            return ()
        try:
            found = self.aws.role(name)
        except Refused as refused:
            if refused.reason == GONE:
                return ()
            raise
        binding = self.also_governed(account, found)
        bindings = (binding,) if binding else ()
        self.table.write(bindings, [(scope(account), "#".join((ROLE, name, EXECUTION)))])
        return bindings

    def also_governed(self, account: str, role: RoleDescription) -> Binding | None:
        """The binding of a role that `also_govern` covers by name or by trust."""
        rules = self.rules.also_govern
        named = any(matches(pattern, role.name) for pattern in rules.roles)
        if not (named or role.trusted & set(rules.trusting)) or role.path.startswith(UNTOUCHABLE_PATHS):
            return None
        return Binding(account, "", "", ROLE, EXECUTION, RoleKey(account, role.name))

    def everything(self, account: str, region: str) -> Iterator[Binding]:
        """Every binding of an account and region, asked for one by one."""
        for domain_id in self.aws.domains(region):
            yield from self.domain(account, region, domain_id)
            for name in self.aws.user_profiles(region, domain_id):
                yield from self.profile(account, region, domain_id, name)
        if self.rules.also_govern:
            for role in self.aws.roles():
                if binding := self.also_governed(account, role):
                    yield binding

    def _domain_name(self, region: str, domain_id: str) -> str:
        # A domain cannot be renamed, so its name is asked for once.
        if (region, domain_id) not in self._domain_names:
            self._domain_names[(region, domain_id)] = self.aws.domain(region, domain_id).get("DomainName", "")
        return self._domain_names[(region, domain_id)]

    def _tags(self, region: str, arn: str) -> Mapping[str, str]:
        return self.aws.sagemaker_tags(region, arn) if self.rules.asks_for_tags and arn else {}


def _bedrock_role(settings: Mapping[str, Any]) -> str | None:
    """The role that Canvas uses for Amazon Bedrock, where it is not the execution role."""
    canvas = settings.get("CanvasAppSettings") or {}
    role: str | None = (canvas.get("GenerativeAiSettings") or {}).get("AmazonBedrockRoleArn")
    return role
