"""Rereading: the bindings of a role as SageMaker and IAM have them now, for a decision that must not rest on the table.

A caller who can write to the bindings table can make a role look unused. DetachFunction therefore reads all subjects
again before it detaches a policy: those of the role's account, and of each other account that the stack covers, because
a subject can use the role of another account. StackSets says which accounts these are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rolewarden.aws import LONGEST_CALL
from rolewarden.bindings import Binding, RoleKey
from rolewarden.calls import RereadsSubjects
from rolewarden.clock import Clock
from rolewarden.discovery import SubjectReader, SubjectReading, other_regions
from rolewarden.errors import Gone, RetryLater

READING_KEPT_SECONDS = 300.0
"""Seconds for which a reading of an account counts as current. A recheck of the role follows each detachment."""


class ReadsSubjectsOfRoles(Protocol):
    """Finds the subjects of roles without the bindings table."""

    def of_role(self, role: RoleKey) -> tuple[Binding, ...]:
        """As `Rereader.of_role`."""

    def elsewhere(self, account: str) -> str:
        """As `Rereader.elsewhere`."""


class AlreadyRead:
    """Reads nothing: for commands, whose `needs` have just been read from SageMaker and IAM."""

    def of_role(self, role: RoleKey) -> tuple[Binding, ...]:  # noqa: ARG002
        """No binding."""
        return ()

    def elsewhere(self, account: str) -> str:  # noqa: ARG002
        """No domain."""
        return ""


@dataclass
class Rereader:
    """Reads the subjects of whole accounts in `regions`. A reading counts as current for `kept` seconds.

    `covered` gives the accounts that the stack covers.

    The memory of the function keeps each description with the LastModifiedTime of SageMaker's list, so that a later
    reading describes only what has changed. A change of tags does not change that time. Therefore each reading
    describes every subject if the rules refer to tags.
    """

    aws: RereadsSubjects
    reader: SubjectReader
    regions: tuple[str, ...]
    clock: Clock
    covered: Callable[[], Collection[str]]
    kept: float = READING_KEPT_SECONDS
    _described: dict[tuple[str, str, str, str], tuple[str, tuple[Binding, ...]]] = field(default_factory=dict)
    _accounts: dict[str, tuple[float, tuple[Binding, ...]]] = field(default_factory=dict)

    def of_role(self, role: RoleKey) -> tuple[Binding, ...]:
        """The bindings of `role` to the subjects of all covered accounts, and because of `also_govern`.

        The result also has the bindings without a role of the user profiles of its domains: see `shared_roles`.

        Raises Refused if an account or a subject cannot be read, because the subject may use the role. Raises
        RetryLater, also if time does not suffice for all subjects. The next reading then continues.
        """
        found: list[Binding] = []
        for account in dict.fromkeys((role.account, *sorted(self.covered()))):
            read = self._of_account(account)
            of_role = [binding for binding in read if binding.role == role]
            domains = {(binding.region, binding.domain_id) for binding in of_role}
            found += of_role
            found += [one for one in read if one.role is None and (one.region, one.domain_id) in domains]
        if self.reader.rules.also_govern:
            also = self.reader.also_governed(role.account, self.aws.within(role.account).role(role.name))
            found += [also] if also else []
        return tuple(found)

    def elsewhere(self, account: str) -> str:
        """The first region that the stack does not cover and that has domains, or cannot be read; empty without one.

        Raises Refused if the regions cannot be listed, and RetryLater.
        """
        return next((found.message for found in other_regions(self.aws.within(account), self.regions)), "")

    def _of_account(self, account: str) -> tuple[Binding, ...]:
        at, bindings = self._accounts.get(account, (0.0, ()))
        if not 0 <= self.clock.now() - at < self.kept:
            at, bindings = self.clock.now(), tuple(self._read(account))
            self._accounts[account] = at, bindings
        return bindings

    def _read(self, account: str) -> Iterator[Binding]:
        aws = self.aws.within(account)
        for region in self.regions:
            for domain in aws.domains(region):
                self.reader.take_name(region, domain.id, domain.name)
                yield from self._subject(account, region, domain.id, "", domain.modified)
                try:
                    profiles = aws.user_profiles(region, domain.id)
                except Gone:
                    continue
                for profile in profiles:
                    yield from self._subject(account, region, domain.id, profile.name, profile.modified)

    def _subject(self, account: str, region: str, domain: str, name: str, modified: str) -> tuple[Binding, ...]:
        """The bindings of a domain, or of a user profile with this `name`."""
        key = account, region, domain, name
        known = self._described.get(key)
        if known and modified and known[0] == modified and not self.reader.rules.asks_for_tags:
            return known[1]
        if self.clock.seconds_left() < 2 * LONGEST_CALL:
            raise RetryLater(f"time does not suffice to read the subjects of account {account} again")
        reading = self._describe(account, region, domain, name)
        if reading.refused:
            raise reading.refused
        if reading.may_change:
            self._described.pop(key, None)
        else:
            self._described[key] = modified, reading.bindings
        return reading.bindings

    def _describe(self, account: str, region: str, domain: str, name: str) -> SubjectReading:
        if name:
            return self.reader.profile(account, region, domain, name)
        return self.reader.read_domain(account, region, domain)
