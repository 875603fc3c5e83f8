"""Bindings: which role works for which subject, as a table that can be lost and is found again by a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from rolewarden.calls import WritesItems
from rolewarden.clock import Clock
from rolewarden.guardrails import Subject
from rolewarden.names import about, account_and_name, folded

BY_ROLE = "by-role"
"""The index that answers which subjects a role works for. It lags behind the table, hence `fresh` below."""

DEFAULT_USER = "default-user"
SHARED_SPACES = "shared-spaces"
USER_PROFILE = "user-profile"
ROLE = "role"

EXECUTION = "execution"
BEDROCK = "bedrock"
EMR = "emr-serverless"
FORECAST = "forecast"
VIAS = (EXECUTION, BEDROCK, EMR, FORECAST)
"""How a subject's settings name a role: as the execution role, or as the one that Canvas uses for another service."""


class RoleKey(NamedTuple):
    """A role, by the account it lives in and its name, which is unique there in whatever case.

    Two keys are equal if they name the same role; `name` keeps the spelling.
    """

    account: str
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RoleKey) and self.path == other.path

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def path(self) -> str:
        """Account and name in one text, the same for every spelling, as the table has it."""
        return about(self.account, self.name)

    @classmethod
    def of_arn(cls, arn: str) -> RoleKey:
        """The role with this ARN, whatever its path."""
        return cls(arn.split(":")[4], arn.rsplit("/", 1)[-1])


class Binding(NamedTuple):
    """One role of one subject.

    `kind` is default-user, shared-spaces or user-profile, or role where `also_govern` names the role itself; `via` is
    one of VIAS. `role` is None for a user profile that runs as its domain's role. `tags` are the subject's own.
    `modified` is SageMaker's LastModifiedTime of what was read, empty where it is not known or was still being changed.
    `deploys` where the subject's own settings let Canvas deploy JumpStart models by itself.
    """

    account: str
    region: str
    domain_id: str
    kind: str
    via: str
    role: RoleKey | None
    domain_name: str = ""
    user_profile: str = ""
    tags: Mapping[str, str] = MappingProxyType({})
    modified: str = ""
    deploys: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The table's partition and sort key: whose it is; where it is, and which subject's which role."""
        name = self.role.name if self.kind == ROLE and self.role else self.user_profile
        return binding_key(self.account, self.region, self.domain_id, self.kind, name, self.via)

    @property
    def label(self) -> str:
        """The subject in words, for people: `research/rosa`, `analytics default-user (bedrock)`."""
        if self.kind == ROLE:
            return "also_govern"
        name = "/".join(filter(None, (self.domain_name or self.domain_id, self.user_profile)))
        kind = "" if self.kind == USER_PROFILE else f" {self.kind}"
        return f"{name}{kind}{'' if self.via == EXECUTION else f' ({self.via})'}"

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

    def as_row(self) -> dict[str, Any]:
        """Plain values, for the table and for messages."""
        partition, sort = self.key
        row: dict[str, Any] = {
            "scope": partition,
            "item": sort,
            "account": self.account,
            "region": self.region,
            "domain_id": self.domain_id,
            "domain_name": self.domain_name,
            "kind": self.kind,
            "via": self.via,
            "user_profile": self.user_profile,
            "tags": dict(self.tags),
            "modified": self.modified,
        }
        # A row without the attribute is not in the index: a profile that inherits puts nothing on its domain's role.
        if self.role:
            row["role"] = self.role.path
            row["role_name"] = self.role.name
        if self.deploys:
            row["deploys"] = True
        return row

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Binding:
        """The inverse. Raises KeyError and TypeError for what is no such row."""
        texts = [row[key] for key in ("account", "region", "domain_id", "kind", "via", "domain_name", "user_profile")]
        texts += [*(row.get(key, "") for key in ("modified", "role", "role_name")), *row["tags"].values()]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a binding's attributes are texts")
        account, name = account_and_name(row.get("role", ""))
        spelled = row.get("role_name", "")
        if folded(spelled) == name:
            name = spelled
        return cls(
            account=row["account"],
            region=row["region"],
            domain_id=row["domain_id"],
            kind=row["kind"],
            via=row["via"],
            role=RoleKey(account, name) if name else None,
            domain_name=row["domain_name"],
            user_profile=row["user_profile"],
            tags=row["tags"],
            modified=row.get("modified", ""),
            deploys=row.get("deploys") is True,
        )


def sort_key_prefix(region: str = "", domain_id: str = "") -> str:
    """How the sort keys of everything bound in a domain begin; of roles that `also_govern` covers, with nothing."""
    return f"{region}/{domain_id}/" if domain_id else ""


def binding_key(account: str, region: str, domain_id: str, kind: str, name: str, via: str) -> tuple[str, str]:
    """The partition and sort key of a binding; `name` is a user profile's or role's, empty for other kinds."""
    return account, sort_key_prefix(region, domain_id) + "#".join(filter(None, (kind, folded(name), via)))


def tagged(domain_id: str, user_profile: str = "") -> str:
    """The end of a subject's ARN, in lower case: SageMaker writes the names in ARNs so."""
    kind = "user-profile" if user_profile else "domain"
    return "/".join(filter(None, (kind, domain_id, user_profile))).lower()


def row_key(key: tuple[str, str]) -> dict[str, str]:
    """The attributes that identify a row, by its partition and sort key."""
    partition, sort = key
    return {"scope": partition, "item": sort}


class ReadsBindings(Protocol):
    """Finds the bindings of roles: the bindings table, or an inventory that was just read."""

    def of_role(self, role: RoleKey, fresh: Iterable[Binding] = ()) -> tuple[Binding, ...]:
        """As `BindingsTable.of_role`."""

    def of_account(self, account: str) -> tuple[Binding, ...]:
        """As `BindingsTable.of_account`."""


class BindingsTable:
    """The bindings in the table, by role and by domain. Methods raise RetryLater.

    The table has rows of other kinds, too: see `rolewarden.progress` and `rolewarden.reported`.
    """

    def __init__(self, aws: WritesItems, table: str, clock: Clock | None = None) -> None:
        self.aws = aws
        self._table = table
        self._clock = clock or Clock()

    def of_role(self, role: RoleKey, fresh: Iterable[Binding] = ()) -> tuple[Binding, ...]:
        """What `role` works for.

        `fresh` is what the caller has just read from SageMaker and written here: the index may not show it yet, and
        it stands above what the index says.
        """
        found = {
            binding.key: binding
            for binding in map(Binding.of_row, self.aws.query(self._table, {"role": role.path}, index=BY_ROLE))
        }
        found.update({binding.key: binding for binding in fresh})
        return tuple(sorted((b for b in found.values() if b.role == role), key=lambda binding: binding.key))

    def of_domain(self, account: str, region: str, domain_id: str) -> tuple[Binding, ...]:
        """Everything bound in a domain."""
        return self._beginning(account, sort_key_prefix(region, domain_id))

    def of_region(self, account: str, region: str) -> tuple[Binding, ...]:
        """Everything bound in a region, domain by domain."""
        return self._beginning(account, f"{region}/")

    def also_governed(self, account: str) -> tuple[Binding, ...]:
        """What `also_govern` has bound."""
        return self._beginning(account, f"{ROLE}#")

    def of_account(self, account: str) -> tuple[Binding, ...]:
        """Everything bound in an account."""
        return self._beginning(account, "")

    def forget_account(self, account: str) -> None:
        """Delete the bindings of an account that is no longer swept."""
        self.write((), [binding.key for binding in self.of_account(account)])

    def all(self) -> Iterator[Binding]:
        """Every binding there is."""
        return (Binding.of_row(row) for row in self.aws.scan(self._table) if "via" in row)

    def _beginning(self, account: str, subject: str) -> tuple[Binding, ...]:
        rows = self.aws.query(self._table, {"scope": account}, begins=("item", subject))
        return tuple(map(Binding.of_row, rows))

    def write(
        self, bindings: Iterable[Binding], gone: Iterable[tuple[str, str]] = (), *, at: float | None = None
    ) -> None:
        """Put `bindings`, take out what has one of the keys `gone`.

        `at` (seconds of the epoch) is when they were read, now where it is not given. What was read later and is there
        already stays: two who read at once leave what is true.
        """
        kept = {binding.key: binding for binding in bindings}
        self.aws.write_newer(
            self._table,
            (binding.as_row() for binding in kept.values()),
            (row_key(key) for key in dict.fromkeys(gone) if key not in kept),
            at=self._clock.now() if at is None else at,
        )
