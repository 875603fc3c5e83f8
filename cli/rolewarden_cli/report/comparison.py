"""The differences between two reports: what an auditor asks first of the second one.

A report has its data as a `Snapshot`, without callers, so that a later report can be compared with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from rolewarden.names import folded

from rolewarden_cli.console import counted
from rolewarden_cli.natural import natural_key


@dataclass(frozen=True)
class PersonSeen:
    """A user profile in a snapshot: its place, its roles, and the IDs of the models that it can use."""

    region: str
    domain: str
    name: str
    roles: tuple[str, ...]
    models: frozenset[str]

    @property
    def key(self) -> tuple[str, str, str]:
        """The identity of the user profile within its account."""
        return self.region, self.domain, self.name

    @property
    def label(self) -> str:
        """The user profile in words."""
        return f"{self.domain}/{self.name}"


@dataclass(frozen=True)
class ExemptionSeen:
    """An exemption in a snapshot. `until` is a day, and `approved_by` is empty if the report names no people."""

    account: str
    role: str
    until: str
    reason: str = ""
    ticket: str = ""
    approved_by: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The identity of the exemption."""
        return self.account, folded(self.role)


@dataclass(frozen=True)
class AccountSeen:
    """An account in a snapshot: its regions, the IDs of all models, its people, and the verdict on each role."""

    account: str
    regions: tuple[str, ...]
    models: tuple[str, ...]
    people: tuple[PersonSeen, ...]
    verdicts: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """The data of a report that a later report can be compared with.

    - `file_digest`: the SHA-256 of guardrails.yaml, and `rules_digest` the digest of its rules without comments.
    - `modes`: the mode of each guardrail, by name.
    - `unreached`: the accounts that the command could not read.
    - `names_approvers`: whether it has the approvers of exemptions.
    - `names_profiles`: whether it has the names of user profiles. Otherwise it has no people.
    """

    at: datetime
    version: str
    file_digest: str
    rules_digest: str
    modes: Mapping[str, str]
    exemptions: tuple[ExemptionSeen, ...]
    accounts: tuple[AccountSeen, ...]
    unreached: tuple[str, ...]
    names_approvers: bool
    names_profiles: bool


@dataclass(frozen=True)
class Change:
    """A difference: what changed, of whom or what, and its state before and now."""

    what: str
    about: str
    before: str
    now: str
    account: str = ""


@dataclass(frozen=True)
class Comparison:
    """The differences from an earlier report.

    - `file`, `digest`: the name and the SHA-256 of the earlier file.
    - `at`: the time of the earlier report.
    - `has_people`: whether both reports name user profiles, so that people could be compared.
    """

    file: str
    digest: str
    at: datetime
    changes: tuple[Change, ...]
    has_people: bool = True


NOTHING = "not there"


def compare_snapshots(before: Snapshot, now: Snapshot) -> tuple[Change, ...]:
    """The differences: of access first, then of roles, exemptions, rules and the scope of the report."""
    accounts = {one.account: one for one in before.accounts}
    both = [(accounts[one.account], one) for one in now.accounts if one.account in accounts]
    people = both if before.names_profiles and now.names_profiles else []
    return (
        *(change for pair in people for change in _people(*pair)),
        *(change for pair in both for change in _roles(*pair)),
        *_exemptions(before, now),
        *_rules(before, now),
        *_scope(before, now),
        *(change for pair in both for change in _lists(*pair)),
    )


def _people(before: AccountSeen, now: AccountSeen) -> Iterator[Change]:
    earlier, later = ({one.key: one for one in account.people} for account in (before, now))
    for key, person in later.items():
        if key not in earlier:
            yield Change("new person", person.label, NOTHING, _usable(person), now.account)
    for key, person in earlier.items():
        if key not in later:
            yield Change("person removed", person.label, _usable(person), NOTHING, now.account)
    common = frozenset(before.models) & frozenset(now.models)
    moved: dict[tuple[frozenset[str], frozenset[str]], list[str]] = defaultdict(list)
    for key in earlier.keys() & later.keys():
        was, has = earlier[key], later[key]
        gained, lost = (has.models - was.models) & common, (was.models - has.models) & common
        if gained or lost:
            moved[gained, lost].append(has.label)
    for (gained, lost), labels in sorted(moved.items(), key=lambda entry: sorted(entry[1])):
        about = ", ".join(sorted(labels))
        if gained:
            yield Change("people can use more models", about, "could not use", _named(gained), now.account)
        if lost:
            yield Change("people can use fewer models", about, _named(lost), "cannot use", now.account)
    for key in sorted(earlier.keys() & later.keys()):
        was, has = earlier[key], later[key]
        if was.roles != has.roles:
            yield Change("other role", has.label, " + ".join(was.roles), " + ".join(has.roles), now.account)


def _roles(before: AccountSeen, now: AccountSeen) -> Iterator[Change]:
    for role in sorted(before.verdicts.keys() | now.verdicts.keys()):
        was, has = before.verdicts.get(role, NOTHING), now.verdicts.get(role, NOTHING)
        if was != has:
            yield Change("state of a role", role, was, has, now.account)


def _exemptions(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    earlier, later = ({one.key: one for one in snapshot.exemptions} for snapshot in (before, now))
    with_people = before.names_approvers and now.names_approvers
    for key in sorted(earlier.keys() | later.keys()):
        was, has = earlier.get(key), later.get(key)
        was_text, has_text = (_exemption(one, with_people=with_people) for one in (was, has))
        if was_text != has_text:
            role = has.role if has else was.role if was else ""
            yield Change("exemption", role, was_text, has_text, key[0])


def _exemption(one: ExemptionSeen | None, *, with_people: bool) -> str:
    if one is None:
        return NOTHING
    approved = f"approved by {one.approved_by}" if one.approved_by and with_people else ""
    ticket = f"ticket {one.ticket}" if one.ticket else ""
    return ", ".join(filter(None, (f"until {one.until}", one.reason, ticket, approved)))


def _rules(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    if before.rules_digest != now.rules_digest:
        yield Change("rules", "guardrails.yaml", f"digest {before.rules_digest}", f"digest {now.rules_digest}")
    elif before.file_digest != now.file_digest:
        yield Change("text of the rules, not their content", "guardrails.yaml", before.file_digest, now.file_digest)
    for name in sorted(before.modes.keys() | now.modes.keys()):
        was, has = before.modes.get(name, NOTHING), now.modes.get(name, NOTHING)
        if was != has:
            yield Change("mode of a guardrail", name, was, has)
    if before.version != now.version:
        yield Change("version of Rolewarden", "the command", before.version, now.version)


def _scope(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    earlier = {one.account: ", ".join(one.regions) for one in before.accounts}
    later = {one.account: ", ".join(one.regions) for one in now.accounts}
    earlier |= dict.fromkeys(before.unreached, "could not be read")
    later |= dict.fromkeys(now.unreached, "could not be read")
    for account in sorted(earlier.keys() | later.keys()):
        was, has = earlier.get(account, "not in the report"), later.get(account, "not in the report")
        if was != has:
            yield Change("scope", f"account {account}", was, has, account)


def _lists(before: AccountSeen, now: AccountSeen) -> Iterator[Change]:
    new, old = frozenset(now.models) - frozenset(before.models), frozenset(before.models) - frozenset(now.models)
    if new:
        users = sum(bool(person.models & new) for person in now.people)
        about = f"{counted(users, 'person', 'people')} can use at least one of them" if now.people else ""
        yield Change("models that are new in the list", about, NOTHING, _named(new), now.account)
    if old:
        yield Change("models that are no longer in the list", "", _named(old), NOTHING, now.account)


def _usable(person: PersonSeen) -> str:
    return f"can use {counted(len(person.models), 'model')}"


def _named(models: Iterable[str]) -> str:
    return ", ".join(sorted(models, key=natural_key))
