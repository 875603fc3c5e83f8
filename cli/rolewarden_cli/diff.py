"""`rolewarden diff`: what another guardrails.yaml changes in terms of access, in general and in one account."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rolewarden.bindings import DEFAULT_USER, EXECUTION, ROLE, USER_PROFILE, Binding, RoleKey
from rolewarden.changes import AccessChange, Effects, RulesChange, compare_rules, digest_of_rules
from rolewarden.clock import Clock
from rolewarden.discovery import SubjectReader
from rolewarden.errors import RulesError
from rolewarden.guardrails import AlsoGovern, Guardrail, Rules
from rolewarden.guardrails_file import read_document
from rolewarden.needs import Exemptions, Needs
from rolewarden.yamltext import YamlTextError, parse_yaml

from rolewarden_cli.answers import HIDDEN, merged, shown, shown_as
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Bound, Inventory, Progress, ignore_progress, take
from rolewarden_cli.options import UsageError
from rolewarden_cli.plan import ListedRoles

STANDARD_INPUT = "-"
"""The name of a file that stands for standard input."""

PARTITION = "aws"
"""The partition of the ARNs in the compiled policies if no account is read. The difference does not depend on it."""


@dataclass(frozen=True)
class RulesText:
    """A guardrails.yaml that was read: its rules, and the digest of its content without comments and layout."""

    name: str
    rules: Rules = field(metadata=HIDDEN)
    digest: str


@dataclass(frozen=True)
class RoleChange:
    """The gains and losses of the subjects of a role in an account.

    - `subjects`: the subjects that use the role, in words. A user profile without a role of its own is among those of
      its domain's role.
    - `before`, `guardrails`: the names of the guardrails that the role needs before and after the change.
    - `was_exempt`, `is_exempt`: whether an exemption or `never_govern` takes all guardrails from it.
    - `kept`: guardrails that stay attached until `rolewarden detach` detaches them, although the role does not need
      them. Until then, the role does not gain what they deny.
    """

    account: str
    role: str
    subjects: tuple[str, ...]
    before: tuple[str, ...]
    guardrails: tuple[str, ...]
    was_exempt: bool
    is_exempt: bool
    kept: tuple[str, ...]
    access: AccessChange


@dataclass(frozen=True)
class AccountChange:
    """The changes in an account: `roles` are those that gain or lose something."""

    account: str
    regions: tuple[str, ...]
    roles: tuple[RoleChange, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """The difference between two files. `in_account` is None if no account was read."""

    old: RulesText
    new: RulesText
    change: RulesChange = field(metadata=merged("guardrails", "assignments", "scope", "settings", "summary"))
    in_account: AccountChange | None = field(metadata=HIDDEN)

    @property
    @shown
    def changes_access(self) -> bool:
        """Whether a subject or a role gains or loses something."""
        return self.change.changes_access or bool(self.in_account and self.in_account.roles)

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition of `rolewarden diff` holds, by name. At least one holds if access changes."""
        roles = self.in_account.roles if self.in_account else ()
        changes = [*(one.access for one in self.change.assignments), *(one.access for one in roles)]
        gained, lost = any(one.gained for one in changes), any(one.lost for one in changes)
        is_other = self.change.scope or self.change.settings or any(one.other for one in changes)
        return {
            "gained": gained,
            "lost": lost,
            "scope": bool(is_other or (self.changes_access and not (gained or lost))),
        }

    @property
    @shown_as("account")
    def account_change(self) -> AccountChange | None:
        """The changes in the account."""
        return self.in_account


def read_rules(path: Path, today: date) -> RulesText:
    """Read a guardrails.yaml from a file, or from standard input if its name is `-`.

    Raises UsageError if it is unreadable, and RulesError if it has errors.
    """
    is_input = str(path) == STANDARD_INPUT
    name = "standard input" if is_input else path.name
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig") if is_input else path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a guardrails.yaml, or `-` for standard input") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}: name a readable guardrails.yaml") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text: name a guardrails.yaml") from None
    try:
        document, lines = parse_yaml(text)
    except YamlTextError as error:
        raise RulesError(f"{name}:{error.line}: {error}") from None
    reading = read_document(document, lines, file=name, today=today)
    if reading.rules is None:
        raise RulesError("\n".join(map(str, reading.errors)))
    return RulesText(str(path), reading.rules, digest_of_rules(document))


def compare_files(
    old: RulesText,
    new: RulesText,
    today: date,
    connection: Connection | None = None,
    progress: Progress = ignore_progress,
) -> Difference:
    """Compare two files, and their effect in the account of `connection`. Raises Refused, RetryLater and RulesError."""
    if connection is None:
        return Difference(old, new, compare_rules(old.rules, new.rules, PARTITION, today), None)
    partition, home = connection.aws.partition, connection.account
    change = compare_rules(old.rules, new.rules, partition, today, home=home)
    return Difference(old, new, change, _in_account(connection, old.rules, new.rules, today, progress))


def _in_account(connection: Connection, old: Rules, new: Rules, today: date, progress: Progress) -> AccountChange:
    # The account is read once, with everything that the old or the new rules need to know of it.
    also = AlsoGovern(
        (*old.also_govern.roles, *new.also_govern.roles), (*old.also_govern.trusting, *new.also_govern.trusting)
    )
    inventory = take(
        connection, new._replace(assignments=(*old.assignments, *new.assignments), also_govern=also), progress
    )
    effects = Effects((old, new), inventory.partition)
    before, after = (_Needed(connection, inventory, rules, today) for rules in (old, new))
    keys = {key.path: key for one in (before, after) for key in one.roles}
    found = (_role_change(effects, inventory, before, after, keys[path]) for path in sorted(keys))
    return AccountChange(
        inventory.account, inventory.regions, tuple(one for one in found if one.access), inventory.unread
    )


class _Needed:
    """The guardrails that the roles of an account need by some rules."""

    def __init__(self, connection: Connection, inventory: Inventory, rules: Rules, today: date) -> None:
        reader = SubjectReader(connection.aws, rules, connection.own_roles)
        also = (reader.also_governed(inventory.account, role) for role in inventory.roles.values())
        subjects = (binding for binding in (*inventory.bindings, *inventory.foreign) if binding.kind != ROLE)
        bound = Bound((*subjects, *(found for found in also if found)), inventory.other_regions)
        self.rules = rules
        self.bindings = bound.by_role
        exemptions = Exemptions(ListedRoles(inventory), lambda: None)
        self._needs = Needs(
            rules, inventory.partition, bound, inventory.account, exemptions, Clock(today=lambda: today)
        )

    @property
    def roles(self) -> Iterator[RoleKey]:
        for bindings in self.bindings.values():
            yield from (binding.role for binding in bindings[:1] if binding.role)

    def guardrails(self, role: RoleKey) -> list[Guardrail]:
        found = self._needs.of_role(role, self.bindings.get(role.path, ()))
        return list({guardrail.name: guardrail for guardrail in found.values()}.values())

    def is_exempt(self, role: RoleKey) -> bool:
        bindings = self.bindings.get(role.path, ())
        return bool(bindings and self._needs.required(bindings)) and not self.guardrails(role)


def _role_change(effects: Effects, inventory: Inventory, before: _Needed, after: _Needed, role: RoleKey) -> RoleChange:
    was, now = before.guardrails(role), after.guardrails(role)
    names, later = (tuple(sorted(guardrail.name for guardrail in some)) for some in (was, now))
    kept = [name for name in names if name not in later]
    bindings = after.bindings.get(role.path) or before.bindings.get(role.path, ())
    return RoleChange(
        role.account,
        role.name,
        tuple(_subjects(inventory, bindings)),
        names,
        later,
        before.is_exempt(role),
        after.is_exempt(role),
        tuple(kept) if after.rules.surplus == "keep" else (),
        effects.change(was, now),
    )


def _subjects(inventory: Inventory, bindings: Sequence[Binding]) -> Iterator[str]:
    for binding in bindings:
        yield binding.label
        if binding.kind == DEFAULT_USER and binding.via == EXECUTION:
            place: Any = (binding.region, binding.domain_id)
            yield from (
                other.label
                for other in inventory.bindings
                if (other.region, other.domain_id) == place and other.kind == USER_PROFILE and other.role is None
            )
