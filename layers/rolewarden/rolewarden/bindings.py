"""Bindings: which role works for which subject, as a table that can be lost and is found again by a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rolewarden.aws import Aws
from rolewarden.guardrails import Subject

BY_ROLE = "by-role"
"""The index that answers which subjects a role works for. It lags behind the table, hence `fresh` below."""

DEFAULT_USER = "default-user"
SHARED_SPACES = "shared-spaces"
USER_PROFILE = "user-profile"
ROLE = "role"

EXECUTION = "execution"
BEDROCK = "bedrock"


@dataclass(frozen=True)
class RoleKey:
    """A role, by the account it lives in and its name, which is unique there."""

    account: str
    name: str

    @classmethod
    def of_arn(cls, arn: str) -> RoleKey:
        """The role with this ARN, whatever its path."""
        return cls(arn.split(":")[4], arn.rsplit("/", 1)[-1])


@dataclass(frozen=True)
class Binding:
    """One role of one subject.

    `kind` is default-user, shared-spaces or user-profile, or role where `also_govern` names the role itself; `via` is
    execution, or bedrock for the role that Canvas uses for Amazon Bedrock. `role` is None for a user profile that
    runs as its domain's role. `tags` are the subject's own.
    """

    account: str
    region: str
    domain_id: str
    kind: str
    via: str
    role: RoleKey | None
    domain_name: str = ""
    user_profile: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The table's partition and sort key: where it is, and which subject's which role."""
        name = self.role.name if self.kind == ROLE and self.role else self.user_profile
        return scope(self.account, self.region, self.domain_id), "#".join(filter(None, (self.kind, name, self.via)))

    @property
    def label(self) -> str:
        """The subject in words, for people: `research/rosa`, `analytics default-user (bedrock)`."""
        if self.kind == ROLE:
            return "also_govern"
        name = "/".join(filter(None, (self.domain_name or self.domain_id, self.user_profile)))
        kind = "" if self.kind == USER_PROFILE else f" {self.kind}"
        return f"{name}{kind}{' (bedrock)' if self.via == BEDROCK else ''}"

    @property
    def subject(self) -> Subject:
        """What assignments ask about."""
        return Subject(
            account=self.account,
            role=self.role.name if self.role else "",
            domain_id=self.domain_id,
            domain_name=self.domain_name,
            user_profile=self.user_profile,
            tags=self.tags,
        )


def scope(account: str, region: str = "", domain_id: str = "") -> str:
    """The partition key of everything bound in a domain; of roles that `also_govern` covers it is the account alone."""
    return "/".join(filter(None, (account, region, domain_id)))


class BindingsTable:
    """The table, by role and by domain."""

    def __init__(self, aws: Aws, table: str) -> None:
        self._aws = aws
        self._table = table

    def of_role(self, role: RoleKey, fresh: Iterable[Binding] = ()) -> tuple[Binding, ...]:
        """What `role` works for.

        `fresh` is what the caller has just read from SageMaker and written here: the index may not show it yet, and
        it stands above what the index says.
        """
        found = {
            binding.key: binding
            for binding in map(_binding, self._aws.query(self._table, {"role": _role(role)}, index=BY_ROLE))
        }
        found.update({binding.key: binding for binding in fresh})
        return tuple(sorted((b for b in found.values() if b.role == role), key=lambda binding: binding.key))

    def of_domain(self, account: str, region: str, domain_id: str) -> tuple[Binding, ...]:
        """Everything bound in a domain."""
        return tuple(map(_binding, self._aws.query(self._table, {"scope": scope(account, region, domain_id)})))

    def all(self) -> Iterator[Binding]:
        """Every binding there is."""
        return map(_binding, self._aws.scan(self._table))

    def write(self, bindings: Iterable[Binding], gone: Iterable[tuple[str, str]] = ()) -> None:
        """Put `bindings`, take out what has one of the keys `gone`."""
        kept = {binding.key: binding for binding in bindings}
        self._aws.write(
            self._table,
            map(_row, kept.values()),
            ({"scope": partition, "subject": sort} for partition, sort in gone if (partition, sort) not in kept),
        )


def _role(role: RoleKey) -> str:
    return f"{role.account}/{role.name}"


def _row(binding: Binding) -> dict[str, Any]:
    partition, sort = binding.key
    row: dict[str, Any] = {
        "scope": partition,
        "subject": sort,
        "account": binding.account,
        "region": binding.region,
        "domain_id": binding.domain_id,
        "domain_name": binding.domain_name,
        "kind": binding.kind,
        "via": binding.via,
        "user_profile": binding.user_profile,
        "tags": dict(binding.tags),
    }
    # A row without the attribute is not in the index: a profile that inherits puts nothing on its domain's role.
    if binding.role:
        row["role"] = _role(binding.role)
    return row


def _binding(row: Mapping[str, Any]) -> Binding:
    account, _, name = row.get("role", "").partition("/")
    return Binding(
        account=row["account"],
        region=row["region"],
        domain_id=row["domain_id"],
        kind=row["kind"],
        via=row["via"],
        role=RoleKey(account, name) if name else None,
        domain_name=row["domain_name"],
        user_profile=row["user_profile"],
        tags=row["tags"],
    )
