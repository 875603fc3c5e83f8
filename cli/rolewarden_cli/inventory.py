"""The inventory of an account: domains and user profiles, their roles, and the policies of these roles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property

from rolewarden.bindings import Binding, NamedRow, RoleKey, StoredBindings, tagged
from rolewarden.calls import ReadsAccount
from rolewarden.discovery import OtherRegion, SubjectReader, SubjectReading, other_regions
from rolewarden.errors import Refused, RetryLater
from rolewarden.guardrails import Rules
from rolewarden.listed import ListedDomain
from rolewarden.names import folded
from rolewarden.progress import CoveredAccounts, RecordedProgress

from rolewarden_cli.account import RoleDetail
from rolewarden_cli.connect import Connection

Progress = Callable[[str, int, int], None]
"""A function that takes the name of a step, the number of parts that are done, and the number of all parts."""


def ignore_progress(_step: str, _done: int, _total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Inventory:
    """The state of an account that `plan` and `access` evaluate, read at `at` (UTC).

    - `bindings`: the bindings of the account's subjects.
    - `roles`: all roles of the account by name.
    - `policies_per_role`: the quota of managed policies that can be attached to a role.
    - `unread`: a line for each part of the account that AWS did not let the caller read.
    - `foreign`: the bindings of the account's roles to subjects of other accounts, from the table of the stack. Without
      a stack they are unknown.
    - `covered`: the other accounts that the stack covers. Empty if no subject uses a role of another account.
    - `other_regions`: gives the regions that neither the command nor the deployed stack covers, and that have domains
      or cannot be read. The first call reads them, and raises RetryLater.
    """

    account: str
    partition: str
    regions: tuple[str, ...]
    at: datetime
    bindings: tuple[Binding, ...]
    roles: Mapping[str, RoleDetail]
    policies_per_role: int
    unread: tuple[str, ...] = ()
    foreign: tuple[Binding, ...] = ()
    covered: frozenset[str] = frozenset()
    other_regions: Callable[[], tuple[OtherRegion, ...]] = tuple

    @cached_property
    def bound(self) -> Bound:
        """All bindings of the account's roles, and of its subjects to roles of other accounts."""
        return Bound((*self.bindings, *self.foreign), self.other_regions)

    def covers(self, account: str) -> bool:
        """Whether a command can evaluate the roles of `account`: it works in the account of its caller only."""
        return account == self.account

    def spelled(self, role: str) -> str:
        """The name of a role as IAM spells it, or `role` itself if the account has no such role."""
        return _spelled(self.roles).get(folded(role), role)


def take(
    connection: Connection,
    rules: Rules,
    progress: Progress = ignore_progress,
    *,
    known: Iterable[Binding] | None = None,
) -> Inventory:
    """Read the inventory of an account.

    If a stack is deployed, its bindings table saves the description of each user profile that has not changed since.
    Otherwise each user profile is described. If `known` is given, it takes the place of the table. Raises Refused if
    the roles of IAM cannot be read, and RetryLater.
    """
    roles = {role.name: role for role in connection.calls.role_details()}
    reader = _InventoryReader(connection, rules, progress, known)
    for region in connection.regions:
        reader.read_region(region)
    also = (reader.reader.also_governed(connection.account, role) for role in roles.values())
    return Inventory(
        connection.account,
        connection.aws.partition,
        connection.regions,
        datetime.now(UTC),
        tuple(_as_iam_spells(connection.account, roles, [*reader.bindings, *(found for found in also if found)])),
        roles,
        connection.calls.policies_per_role(),
        tuple(reader.unread),
        tuple(_as_iam_spells(connection.account, roles, reader.foreign)),
        reader.covered(),
        cache(lambda: tuple(_other_regions(connection))),
    )


def _other_regions(connection: Connection) -> Iterator[OtherRegion]:
    covered = {*connection.regions, *(connection.stack.regions if connection.stack else ())}
    try:
        yield from other_regions(connection.aws, covered)
    except Refused as refused:
        yield OtherRegion("", (), refused)


def _spelled(roles: Iterable[str]) -> dict[str, str]:
    return {folded(name): name for name in roles}


def _as_iam_spells(account: str, roles: Iterable[str], bindings: Iterable[Binding]) -> Iterator[Binding]:
    """`bindings` with IAM's own spelling of their roles, because a subject's settings can have another one."""
    spelled = _spelled(roles)
    for binding in bindings:
        role = binding.role
        if role and role.account == account:
            yield binding._replace(role=RoleKey(account, spelled.get(folded(role.name), role.name)))
        else:
            yield binding


@dataclass
class _InventoryReader:
    """A reader of the regions that works as a sweep does, but writes nothing to the bindings table."""

    connection: Connection
    rules: Rules
    progress: Progress
    given: Iterable[Binding] | None = None
    bindings: list[Binding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    foreign: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        tables = self.connection.tables
        self.reader = SubjectReader(self.aws, self.rules, self.connection.own_roles)
        self.known: dict[tuple[str, str, str], list[Binding]] = defaultdict(list)
        stored = StoredBindings(self.connection.stored, tables.bindings, self._covers) if tables else None
        from_table = stored.of_account(self.connection.account) if stored else ()
        for binding in from_table if self.given is None else self.given:
            if binding.account == self.connection.account:
                self.known[binding.region, binding.domain_id, folded(binding.user_profile)].append(binding)
        if stored:
            # A forged row can only add a need, and so make a command detach less.
            self.foreign = stored.of_foreign_subjects(self.connection.account)

    def _covers(self, account: str) -> bool:
        """Whether the stack covers an account."""
        tables, home = self.connection.tables, self.connection.account
        if self.connection.covered is not None:
            return account in self.connection.covered
        return tables is not None and CoveredAccounts(self.connection.stored, tables.bindings, home)(account)

    @property
    def aws(self) -> ReadsAccount:
        return self.connection.aws

    def covered(self) -> frozenset[str]:
        """The member accounts of the stack. Empty if no subject uses a role of another account."""
        tables = self.connection.tables
        if tables is None or not any(binding.is_foreign for binding in self.bindings):
            return frozenset()
        if self.connection.covered is not None:
            return self.connection.covered - {self.connection.account}
        return frozenset(RecordedProgress(self.connection.stored, tables.bindings).member_accounts())

    def read_region(self, region: str) -> None:
        try:
            listed = sorted(self.aws.domains(region), key=lambda domain: domain.id)
            tags = self.aws.subject_tags(region) if self.rules.asks_for_tags else {}
        except (Refused, RetryLater) as error:
            self.unread.append(f"{region}: {error}")
            return
        for domain in listed:
            self._read_domain(region, domain, tags)

    def _read_domain(self, region: str, domain: ListedDomain, tags: Mapping[str, Mapping[str, str]]) -> None:
        account, where = self.connection.account, f"{region} {domain.name or domain.id}"
        self.reader.take_name(region, domain.id, domain.name)
        try:
            reading = self.reader.read_domain(account, region, domain.id)
            self._read(where, reading.with_known(self.known[region, domain.id, ""]))
            profiles = self.aws.user_profiles(region, domain.id)
        except (Refused, RetryLater) as error:
            self.unread.append(f"{where}: {error}")
            return
        for number, profile in enumerate(profiles):
            self.progress(f"user profiles of {domain.name or domain.id}", number, len(profiles))
            own = tags.get(tagged(domain.id, profile.name), {})
            known = self.known[region, domain.id, folded(profile.name)]
            if known and all(binding.modified and binding.modified == profile.modified for binding in known):
                retagged = (binding._replace(tags=own) if self.rules.asks_for_tags else binding for binding in known)
                self.bindings += retagged
                continue
            try:
                reading = self.reader.profile(account, region, domain.id, profile.name, tags=own)
            except RetryLater as error:
                self.unread.append(f"{where}/{profile.name}: {error}")
                continue
            self._read(f"{where}/{profile.name}", reading.with_known(known))
        self.progress(f"user profiles of {domain.name or domain.id}", len(profiles), len(profiles))

    def _read(self, where: str, reading: SubjectReading) -> None:
        if reading.refused:
            self.unread.append(f"{where}: {reading.refused}")
        self.bindings += reading.bindings


class Bound:
    """The bindings of an inventory, in place of the bindings table. `other_regions` is that of the inventory."""

    def __init__(self, bindings: Iterable[Binding], other_regions: Callable[[], tuple[OtherRegion, ...]]) -> None:
        self._all = tuple(bindings)
        self._other_regions = other_regions
        self.by_role = by_role(self._all)

    def of_role(self, role: RoleKey, fresh: Iterable[Binding] = ()) -> tuple[Binding, ...]:  # noqa: ARG002
        """The bindings of `role`."""
        return self.by_role.get(role.path, ())

    def named(self, role: RoleKey, rows: Sequence[NamedRow]) -> tuple[Binding, ...]:  # noqa: ARG002
        """No binding, because no message reaches a command."""
        return ()

    def of_domain(self, account: str, region: str, domain_id: str) -> tuple[Binding, ...]:
        """The bindings of a domain and its user profiles."""
        return tuple(self._by_domain.get((account, region, domain_id), ()))

    @cached_property
    def _by_domain(self) -> dict[tuple[str, str, str], list[Binding]]:
        found: dict[tuple[str, str, str], list[Binding]] = defaultdict(list)
        for binding in self._all:
            found[binding.place].append(binding)
        return found

    def of_account(self, account: str) -> tuple[Binding, ...]:
        """The bindings of all roles of an account."""
        return tuple(b for bound in self.by_role.values() for b in bound if b.account == account)

    def of_foreign_subjects(self, account: str) -> tuple[Binding, ...]:
        """The bindings of an account's roles to subjects of other accounts."""
        return tuple(
            b for bound in self.by_role.values() for b in bound if b.is_foreign and b.role and b.role.account == account
        )

    def covers_domains(self, account: str) -> bool:  # noqa: ARG002
        """Whether all domains of the account are in covered regions. Raises RetryLater."""
        return not self._other_regions()


def by_role(bindings: Iterable[Binding]) -> dict[str, tuple[Binding, ...]]:
    """The bindings of each role, by the role's `path` (account and name, the same for every spelling)."""
    found: dict[str, list[Binding]] = defaultdict(list)
    for binding in bindings:
        if binding.role:
            found[binding.role.path].append(binding)
    return {path: tuple(sorted(bound, key=lambda binding: binding.key)) for path, bound in sorted(found.items())}
