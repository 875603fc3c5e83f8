"""Bindings: the table of the roles that each subject uses. If the table is lost, a sweep writes it again."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from rolewarden.calls import ReadsItems, WritesItems
from rolewarden.clock import CLOCK_SKEW, Clock
from rolewarden.guardrails import Subject
from rolewarden.listed import ListedDomain
from rolewarden.names import about, account_and_name, folded

_logger = logging.getLogger("rolewarden")
"""The logger of `rolewarden.record`, which imports this module."""

BY_ROLE = "by-role"
"""The index by which the table finds the subjects of a role. It lags behind the table, so callers pass `fresh` bindings
to `BindingsTable.of_role`."""

BY_ROLE_ACCOUNT = "by-role-account"
"""The index by which the table finds the bindings of an account's roles to subjects of other accounts. It has only
these bindings, and lags behind the table as the other index does."""

DEFAULT_USER = "default-user"
SHARED_SPACES = "shared-spaces"
USER_PROFILE = "user-profile"
ROLE = "role"
_KINDS = (DEFAULT_USER, SHARED_SPACES, USER_PROFILE, ROLE)

EXECUTION = "execution"
BEDROCK = "bedrock"
EMR = "emr-serverless"
FORECAST = "forecast"
VIAS = (EXECUTION, BEDROCK, EMR, FORECAST)
"""The settings of a subject that name a role: the execution role, or a role that Canvas uses for another service."""

MODEL_REGISTER = "model-register"
EMR_ACCESS = "emr-assumable"
EMR_RUNTIME = "emr-runtime"
RSTUDIO = "rstudio"
OTHER_VIAS = (MODEL_REGISTER, EMR_ACCESS, EMR_RUNTIME, RSTUDIO)
"""The settings that name a role to which Rolewarden attaches nothing because of the setting.

In this order: the role by which Canvas registers models in another account, the roles that JupyterLab assumes to work
with EMR, the roles of jobs of EMR, and the role of RStudio's app. Canvas calls no model by these roles, so only
`also_govern` covers them.
"""

Tags = Mapping[str, Mapping[str, str]]
"""The tags of subjects, by the key that `tagged` gives."""


class RoleKey(NamedTuple):
    """A role, identified by its account and its name, which is unique in the account regardless of case.

    Two keys are equal if they name the same role. `name` keeps the original spelling.
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
        """The account and the name in one text, which is the same for every spelling of the name."""
        return about(self.account, self.name)

    @classmethod
    def of_arn(cls, arn: str) -> RoleKey:
        """The role with this ARN. The path of the role does not matter."""
        return cls(arn.split(":")[4], arn.rsplit("/", 1)[-1])


class OtherRole(NamedTuple):
    """A role that a subject names, and that gets no guardrails because of it. `via` is one of OTHER_VIAS."""

    via: str
    role: RoleKey


READ_AHEAD = 100
"""The number of rows to read at once from the row that a message names."""


AHEAD_SECONDS = 60.0
"""Seconds for which rows that were read ahead count as current."""


LOOK_COUNTS_SECONDS = 50 * 3600.0
"""Seconds for which a look at the regions that the stack does not cover counts: two of the longest time between sweeps,
and two hours. A look that AWS could not answer once must not end the exceptions of shared roles."""


class NamedRow(NamedTuple):
    """A row of the table as a message names it: its partition and sort key, and the digest of its binding."""

    scope: str
    item: str
    digest: str


class Binding(NamedTuple):
    """One role of one subject.

    - `region`, `domain_id`, `domain_name`: the region and domain of the subject. Empty for a role that `also_govern`
      covers.
    - `kind`: default-user, shared-spaces or user-profile, or role for a role that `also_govern` covers.
    - `via`: the setting that names the role, one of VIAS.
    - `role`: the role; None for a subject without an execution role of its own. A user profile then runs as its
      domain's role.
    - `user_profile`: the name of the user profile. Empty for other kinds.
    - `tags`: the subject's own tags.
    - `modified`: the LastModifiedTime of the subject. Empty if it is unknown, or if SageMaker was still changing the
      subject.
    - `deploys`: whether the subject's own settings let Canvas deploy JumpStart models by itself.
    - `other_roles`: the roles of OTHER_VIAS that the subject's own settings name. Empty if `via` is not `execution`.
    - `identifies`: whether the domain sets the name of the user profile as the source identity of sessions. False for
      a user profile, because only the domain has this setting.
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
    other_roles: tuple[OtherRole, ...] = ()
    identifies: bool = False

    @property
    def place(self) -> tuple[str, str, str]:
        """The account, the region and the ID of the subject's domain."""
        return self.account, self.region, self.domain_id

    @property
    def key(self) -> tuple[str, str]:
        """The partition key (the account) and the sort key (region, domain, kind, name and setting) of its row."""
        name = self.role.name if self.kind == ROLE and self.role else self.user_profile
        return binding_key(self.account, self.region, self.domain_id, self.kind, name, self.via)

    @property
    def digest(self) -> str:
        """A digest of the binding, by which a reader recognizes an older one."""
        return hashlib.sha256(json.dumps(self.as_row(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The subject as people read it, for example `research/rosa` or `analytics default-user (bedrock)`."""
        if self.kind == ROLE:
            return "also_govern"
        name = "/".join(filter(None, (self.domain_name or self.domain_id, self.user_profile)))
        kind = "" if self.kind == USER_PROFILE else f" {self.kind}"
        home = f" of account {self.account}" if self.is_foreign else ""
        return f"{name}{kind}{'' if self.via == EXECUTION else f' ({self.via})'}{home}"

    @property
    def is_foreign(self) -> bool:
        """Whether the role belongs to another account than the subject."""
        return self.role is not None and self.role.account != self.account

    @property
    def subject(self) -> Subject:
        """The subject as assignments match it."""
        return Subject(
            account=self.account,
            role=self.role.name if self.role else "",
            domain_id=self.domain_id,
            domain_name=self.domain_name,
            user_profile=self.user_profile,
            tags=self.tags,
        )

    def as_row(self) -> dict[str, Any]:
        """The binding as a row of the table."""
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
        # A row without the attribute is not in the index, so that a profile without its own role adds no guardrails to
        # its domain's role.
        if self.role:
            row["role"] = self.role.path
            row["role_name"] = self.role.name
            if self.is_foreign:
                # Only a row with the attribute is in the index.
                row["role_account"] = self.role.account
        if self.deploys:
            row["deploys"] = True
        if self.identifies:
            row["identifies"] = True
        if self.other_roles:
            row["other_roles"] = [[via, f"{role.account}/{role.name}"] for via, role in self.other_roles]
        return row

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Binding:
        """The binding of a row, the inverse of `as_row`.

        Raises KeyError, TypeError or ValueError if `row` is not exactly what `as_row` gives for a subject: for example
        if its key belongs to another subject, or if an attribute for an index is missing or names another role.
        """
        texts = [row[key] for key in ("account", "region", "domain_id", "kind", "via", "domain_name", "user_profile")]
        texts += [*(row.get(key, "") for key in ("modified", "role", "role_name")), *row["tags"].values()]
        others = row.get("other_roles", [])
        if not isinstance(others, list) or any(not isinstance(other, list) or len(other) != 2 for other in others):
            raise TypeError("the other roles of a binding are not pairs")
        texts += [text for other in others for text in other]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("an attribute of a binding is not a text")
        account, name = account_and_name(row.get("role", ""))
        spelled = row.get("role_name", "")
        if folded(spelled) == name:
            name = spelled
        binding = cls(
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
            identifies=row.get("identifies") is True,
            other_roles=tuple(OtherRole(via, RoleKey(*account_and_name(role))) for via, role in others),
        )
        # No reading of a subject gives such a binding. No sweep would find its subject and correct it.
        is_role = binding.kind == ROLE
        has_home = bool(binding.region and binding.domain_id)
        if binding.kind not in _KINDS or binding.via not in VIAS or has_home is is_role:
            raise ValueError("a binding of no subject")
        if is_role and (binding.role is None or binding.is_foreign or binding.via != EXECUTION):
            raise ValueError("a binding of no role")
        if binding.identifies and binding.kind not in {DEFAULT_USER, SHARED_SPACES}:
            raise ValueError("a binding of no domain that sets source identities")
        if bool(binding.user_profile) is not (binding.kind == USER_PROFILE):
            raise ValueError("a binding with the name of another subject")
        if {name: value for name, value in row.items() if name != "read_at"} != binding.as_row():
            raise ValueError("the attributes of a binding contradict each other, or are more than it has")
        return binding


class SharedProfile(NamedTuple):
    """A user profile without its own role.

    - `domain`: the binding of the default user of its domain, whose role it uses.
    - `uses_bedrock_role`: whether Canvas uses another role of the domain for its calls to Bedrock. AWS does not say
      whether sessions of that role carry the source identity.
    """

    profile: Binding
    domain: Binding
    uses_bedrock_role: bool


def shared_profiles(bindings: Iterable[Binding]) -> Iterator[SharedProfile]:
    """The user profiles of `bindings` that use their domain's role."""
    bindings = list(bindings)
    roles = {(one.place, one.via): one for one in bindings if one.kind == DEFAULT_USER and one.role}
    own_bedrock = {
        (one.place, folded(one.user_profile)) for one in bindings if one.kind == USER_PROFILE and one.via == BEDROCK
    }
    for one in bindings:
        domain, bedrock = (roles.get((one.place, via)) for via in (EXECUTION, BEDROCK))
        if one.kind == USER_PROFILE and one.role is None and domain:
            has_own = (one.place, folded(one.user_profile)) in own_bedrock
            yield SharedProfile(one, domain, bool(bedrock and bedrock.role != domain.role and not has_own))


def sort_key_prefix(region: str = "", domain_id: str = "") -> str:
    """The beginning of the sort keys of all bindings of a domain. Empty for roles that `also_govern` covers."""
    return f"{region}/{domain_id}/" if domain_id else ""


def binding_key(account: str, region: str, domain_id: str, kind: str, name: str, via: str) -> tuple[str, str]:
    """The partition and sort key of a binding. `name` is that of a user profile or role, and empty for other kinds."""
    return account, sort_key_prefix(region, domain_id) + "#".join(filter(None, (kind, folded(name), via)))


def tagged(domain_id: str, user_profile: str = "") -> str:
    """The end of a subject's ARN, in lower case, because SageMaker writes names in ARNs so.

    `user_profile` is empty for a domain.
    """
    kind = "user-profile" if user_profile else "domain"
    return "/".join(filter(None, (kind, domain_id, user_profile))).lower()


def has_changed(known: Iterable[Binding], modified: str, *, domain: ListedDomain, name: str = "") -> bool:
    """Whether a subject has to be described: it has no known binding, or one that differs from the list.

    Each subject has a binding for its execution role, even if it has none of its own. A binding also differs if it
    spells the user profile's `name` in another way, which an event's caller can cause.
    """
    known = list(known)
    return not any(binding.via == EXECUTION and binding.kind != SHARED_SPACES for binding in known) or any(
        not binding.modified
        or binding.modified != modified
        or binding.user_profile != name
        or (domain.name and binding.domain_name != domain.name)
        for binding in known
    )


def retagged(bindings: Iterable[Binding], tags: Tags | None) -> list[Binding]:
    """The bindings whose tags have changed, with the new tags; empty if `tags` is None."""
    if tags is None:
        return []
    now = ((binding, tags.get(tagged(binding.domain_id, binding.user_profile), {})) for binding in bindings)
    return [binding._replace(tags=found) for binding, found in now if found != binding.tags]


def tags_by_name(domain: ListedDomain, names: Iterable[str], tags: Tags | None) -> dict[str, Mapping[str, str] | None]:
    """The tags of user profiles by name. None for each if the tags are unknown."""
    return {name: None if tags is None else tags.get(tagged(domain.id, name), {}) for name in names}


def look_key(account: str) -> dict[str, str]:
    """The attributes that identify the row of the last look at the regions that the stack does not cover."""
    return {"scope": f"regions/{account}", "item": "at"}


def as_number(value: Any) -> float:
    """A number of a row; 0 if the row has none, or has a value of another kind."""
    return float(value) if isinstance(value, Decimal | int | float) and not isinstance(value, bool) else 0.0


def row_key(key: tuple[str, str]) -> dict[str, str]:
    """The attributes that identify a row, by its partition and sort key."""
    partition, sort = key
    return {"scope": partition, "item": sort}


def bindings_in(rows: Iterable[Mapping[str, Any]]) -> Iterator[Binding]:
    """The bindings in rows of the table.

    A row that is not a binding counts as missing, so that the sweep reads its subject again and replaces the row. It
    must not stop the evaluation of other subjects.
    """
    for row in rows:
        try:
            yield Binding.of_row(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if "via" in row:
                key = {name: str(row.get(name))[:200] for name in ("scope", "item")}
                _logger.error(
                    "a row of the bindings table is no binding and counts as missing", extra=key | {"why": repr(error)}
                )


class ReadsBindings(Protocol):
    """Finds the bindings of roles, in the bindings table or in an inventory that was just read."""

    def of_role(self, role: RoleKey, fresh: Iterable[Binding] = ()) -> tuple[Binding, ...]:
        """As `BindingsTable.of_role`."""

    def named(self, role: RoleKey, rows: Sequence[NamedRow]) -> tuple[Binding, ...]:
        """As `BindingsTable.named`."""

    def of_domain(self, account: str, region: str, domain_id: str) -> tuple[Binding, ...]:
        """As `BindingsTable.of_domain`."""

    def of_account(self, account: str) -> tuple[Binding, ...]:
        """As `BindingsTable.of_account`."""

    def of_foreign_subjects(self, account: str) -> tuple[Binding, ...]:
        """As `BindingsTable.of_foreign_subjects`."""

    def covers_domains(self, account: str) -> bool:
        """As `BindingsTable.covers_domains`."""


class StoredBindings:
    """The bindings in the table, by role and by domain, to read only. Methods raise RetryLater.

    `covers` says whether the stack covers an account. A subject of another account counts for a role only if the stack
    covers that account. Otherwise its administrator could choose the guardrails of the role, and no sweep would correct
    the row.

    The table has rows of other kinds, too: see `rolewarden.progress`, `rolewarden.reported` and `rolewarden.published`.
    """

    def __init__(self, aws: ReadsItems, table: str, covers: Callable[[str], bool], clock: Clock | None = None) -> None:
        self.aws = aws
        self._table = table
        self._covers = covers
        self._clock = clock or Clock()
        self._ahead: dict[NamedRow, Binding] = {}
        self._ahead_read = 0.0

    def of_role(self, role: RoleKey, fresh: Iterable[Binding] = ()) -> tuple[Binding, ...]:
        """The bindings of `role`.

        `fresh` are bindings that the caller has just read from SageMaker and written to the table. They take precedence
        over the index, which may not show them yet.
        """
        found = {
            binding.key: binding
            for binding in bindings_in(self.aws.query(self._table, {"role": role.path}, index=BY_ROLE))
        }
        found.update({binding.key: binding for binding in fresh})
        return tuple(sorted(self._counting(b for b in found.values() if b.role == role), key=lambda one: one.key))

    def named(self, role: RoleKey, rows: Sequence[NamedRow]) -> tuple[Binding, ...]:
        """The bindings of `role` that a message names, if the table has them all; otherwise none.

        The index may not show them yet, so this reads the table itself. A message can leave a binding out, so these may
        be only some of the role's bindings.
        """
        named = (binding for row in rows if (binding := self._as_named(row)) and binding.role == role)
        bindings = tuple(self._counting(named))
        return bindings if len(bindings) == len(rows) else ()

    def _as_named(self, row: NamedRow) -> Binding | None:
        """The binding of a row, if the table has it with this digest."""
        known = self._ahead.get(row) if time.monotonic() - self._ahead_read < AHEAD_SECONDS else None
        if known is None:
            # The next messages name the rows that follow, because a sweep sends its work in order.
            read = self.aws.query(self._table, {"scope": row.scope}, least=("item", row.item), most=READ_AHEAD)
            self._ahead_read = time.monotonic()
            self._ahead = {NamedRow(*binding.key, binding.digest): binding for binding in bindings_in(read)}
            known = self._ahead.get(row)
        return known

    def of_domain(self, account: str, region: str, domain_id: str) -> tuple[Binding, ...]:
        """The bindings of a domain and its user profiles."""
        return self._beginning(account, sort_key_prefix(region, domain_id))

    def of_region(self, account: str, region: str) -> tuple[Binding, ...]:
        """The bindings of a region, sorted by domain."""
        return self._beginning(account, f"{region}/")

    def also_governed(self, account: str) -> tuple[Binding, ...]:
        """The bindings of roles that `also_govern` covers."""
        return self._beginning(account, f"{ROLE}#")

    def of_account(self, account: str) -> tuple[Binding, ...]:
        """All bindings of an account's subjects."""
        return self._beginning(account, "")

    def of_foreign_subjects(self, account: str) -> tuple[Binding, ...]:
        """The bindings of an account's roles to subjects of other accounts."""
        return tuple(self._counting(self._foreign(account)))

    def covers_domains(self, account: str) -> bool:
        """Whether the last look found that all domains of `account` are in regions that the stack covers.

        False without a look that counts, and if the look could not read a region. So a deleted row ends an exception,
        and a forged row lasts until the next look.
        """
        rows = self.aws.query(self._table, {"scope": look_key(account)["scope"]})
        age = self._clock.now() - (as_number(rows[0].get("at")) if rows else 0.0)
        return bool(rows) and rows[0].get("covered") is True and -CLOCK_SKEW <= age < LOOK_COUNTS_SECONDS

    def _foreign(self, account: str) -> list[Binding]:
        rows = self.aws.query(self._table, {"role_account": account}, index=BY_ROLE_ACCOUNT)
        return sorted(bindings_in(rows), key=lambda binding: binding.key)

    def _counting(self, bindings: Iterable[Binding]) -> Iterator[Binding]:
        """The bindings without those of an uncovered account's subject to a role of another account."""
        return (binding for binding in bindings if not binding.is_foreign or self._covers(binding.account))

    def all(self) -> Iterator[Binding]:
        """All bindings of all accounts."""
        return bindings_in(self.aws.scan(self._table))

    def _beginning(self, account: str, subject: str) -> tuple[Binding, ...]:
        rows = self.aws.query(self._table, {"scope": account}, begins=("item", subject))
        return tuple(bindings_in(rows))


class BindingsTable(StoredBindings):
    """The bindings in the table, to read and to write. Methods raise RetryLater."""

    aws: WritesItems

    def __init__(self, aws: WritesItems, table: str, covers: Callable[[str], bool], clock: Clock | None = None) -> None:
        super().__init__(aws, table, covers, clock)

    def forget_account(self, account: str) -> None:
        """Delete the bindings of an account that is no longer swept."""
        self.write((), [binding.key for binding in self.of_account(account)])

    def forget_strays(self, account: str) -> tuple[Binding, ...]:
        """Delete the bindings of an account's roles to subjects of accounts that the stack does not cover.

        Return the others, as `of_foreign_subjects` does.
        """
        found = self._foreign(account)
        strays = [binding.key for binding in found if not self._covers(binding.account)]
        if strays:
            self.write((), strays)
        return tuple(self._counting(found))

    def write(
        self, bindings: Iterable[Binding], gone: Iterable[tuple[str, str]] = (), *, at: float | None = None
    ) -> None:
        """Write bindings, and delete others.

        - `bindings`: the bindings to write.
        - `gone`: the keys of the bindings to delete. A key that is also in `bindings` is not deleted.
        - `at`: the time at which they were read, in seconds of the epoch. None means now. A row that was read later
          stays, so that of two concurrent readers the later one decides.
        """
        kept = {binding.key: binding for binding in bindings}
        self.aws.write_newer(
            self._table,
            (binding.as_row() for binding in kept.values()),
            (row_key(key) for key in dict.fromkeys(gone) if key not in kept),
            at=self._clock.now() if at is None else at,
        )
