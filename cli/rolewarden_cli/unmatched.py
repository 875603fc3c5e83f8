"""The names in guardrails.yaml that match nothing in an account, each with the most similar name that exists there.

A name that matches nothing is often a mistake: the subjects for which it was written get the guardrails of a later
assignment. It can also be meant for another account or region, so these findings are warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from rolewarden.bindings import DEFAULT_USER, EXECUTION, USER_PROFILE, Binding
from rolewarden.changes import criteria
from rolewarden.guardrails import Assignment, Exemption, Rules, Subject
from rolewarden.matching import is_of_ids, matches, matches_any, matches_name
from rolewarden.names import same
from rolewarden.problems import where_of

from rolewarden_cli.inventory import Inventory
from rolewarden_cli.suggestions import nearest

Matches = Callable[[str, str], bool]


@dataclass(frozen=True)
class UnmatchedName:
    """A name or an entry of guardrails.yaml that matches nothing in the account.

    - `place`: its place in the file, for example `assignments[1].domains[2]`.
    - `name`: the name or pattern; empty if the whole entry is meant.
    - `problem`: the problem in words.
    - `nearest`: the most similar name that exists; empty if none is similar.
    """

    place: str
    name: str
    problem: str
    nearest: str = ""

    @property
    def line(self) -> str:
        """The problem and the recommended action in one line."""
        hint = f"did you mean `{self.nearest}`?" if self.nearest else "correct it, or remove it if it is not for later"
        return f"{f'`{self.name}` ' if self.name else ''}{self.problem}: {hint}"


def find_unmatched(
    inventory: Inventory, rules: Rules, today: date, *, is_organization: bool = False
) -> tuple[UnmatchedName, ...]:
    """The names of `rules` that match nothing in the account of `inventory`, in the order of the file.

    Empty if something could not be read, because a name can match that. `is_organization` says that the stack covers
    further accounts, which the inventory does not have.
    """
    if inventory.unread:
        return ()
    here = _Names(inventory, is_organization=is_organization)
    deciding = _deciding(here, rules)
    found = list(_of_guardrails(here, rules, deciding))
    for number, assignment in enumerate(rules.assignments):
        found += _of_assignment(here, rules, number, assignment, deciding)
    for number, exemption in enumerate(rules.exemptions):
        if today <= exemption.until:
            found += _of_exemption(here, number, exemption)
    for number, name in enumerate(rules.also_govern.roles):
        found += here.unmatched(("also_govern", "roles", number), name, here.roles, "role", same_name)
    for number, principal in enumerate(rules.also_govern.trusting):
        if not any(role.trust.includes(principal) for role in inventory.roles.values()):
            place = where_of(("also_govern", "trusting", number))
            found.append(UnmatchedName(place, principal, f"can assume no role of account {inventory.account}"))
    for number, entry in enumerate(rules.never_govern):
        spot = ("never_govern", number)
        if here.is_here(entry.account):
            found += here.unmatched((*spot, "role"), entry.role, here.roles, "role", same_name)
        else:
            found += here.unmatched_account((*spot, "account"), entry.account)
    return tuple(found)


def same_name(pattern: str, name: str) -> bool:
    """Whether a pattern matches the name of a role or user profile."""
    return matches_name([pattern], name)


@dataclass
class _Names:
    """The names of an account, by their kind."""

    inventory: Inventory
    is_organization: bool
    subjects: tuple[Subject, ...] = ()

    def __post_init__(self) -> None:
        self.subjects = tuple(_subjects((*self.inventory.bindings, *self.inventory.foreign)))
        self.domains = _distinct(name for one in self.subjects for name in (one.domain_name, one.domain_id))
        self.user_profiles = _distinct(one.user_profile for one in self.subjects)
        self.roles = tuple(self.inventory.roles)
        self.used_roles = _distinct(one.role for one in self.subjects)
        self.accounts = _distinct((self.inventory.account, *(one.account for one in self.subjects)))

    def is_here(self, account: str) -> bool:
        """Whether an entry for `account` is about this account. An entry without an account is."""
        return account in {"", self.inventory.account}

    def is_domain(self, pattern: str, domain: str) -> bool:
        """Whether a pattern of domains matches one of `domains`. It matches IDs or names, and never both."""
        is_id = any(domain == one.domain_id for one in self.subjects)
        return is_of_ids(pattern) is is_id and matches(pattern, domain)

    def is_about(self, assignment: Assignment) -> bool:
        """Whether an assignment can match a subject of this account, by its accounts alone."""
        return matches_any(assignment.accounts, *self.accounts)

    def unmatched(
        self,
        place: tuple[str | int, ...],
        pattern: str,
        names: Collection[str],
        kind: str,
        matching: Matches = matches,
        *,
        where: str = "",
    ) -> Iterator[UnmatchedName]:
        """The finding about a pattern that matches none of `names`; nothing if it matches one."""
        if not any(matching(pattern, name) for name in names):
            where = where or f"of account {self.inventory.account}"
            yield UnmatchedName(where_of(place), pattern, f"matches no {kind} {where}", nearest(pattern, names))

    def unmatched_account(self, place: tuple[str | int, ...], pattern: str) -> Iterator[UnmatchedName]:
        """The finding about the ID of an account that is not at hand."""
        if not self.is_organization and not any(matches(pattern, account) for account in self.accounts):
            near = nearest(pattern, self.accounts)
            problem = f"is not account {self.inventory.account}, the only one that the rules are for here"
            yield UnmatchedName(where_of(place), pattern, problem, near)


def _subjects(bindings: Sequence[Binding]) -> Iterator[Subject]:
    """The subjects of an account. A user profile without a role of its own has its domain's."""
    default = {
        (one.account, one.region, one.domain_id): one.role
        for one in bindings
        if one.kind == DEFAULT_USER and one.via == EXECUTION
    }
    for one in bindings:
        inherits = one.kind == USER_PROFILE and one.role is None
        role = default.get((one.account, one.region, one.domain_id)) if inherits else one.role
        yield one._replace(role=role).subject


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, names)))


def _of_guardrails(here: _Names, rules: Rules, deciding: Mapping[int, set[int]]) -> Iterator[UnmatchedName]:
    winners = {winner for numbers in deciding.values() for winner in numbers}
    for name, guardrail in rules.guardrails.items():
        for number, pattern in enumerate(guardrail.pass_roles):
            place = ("guardrails", name, "pass_roles", number)
            yield from here.unmatched(place, pattern, here.roles, "role", same_name)
        having = {n for n, one in enumerate(rules.assignments) if name in one.guardrails and here.is_about(one)}
        is_in_last = name in rules.assignments[-1].guardrails
        if having and not is_in_last and not winners & having:
            yield UnmatchedName(where_of(("guardrails", name)), "", "no subject here gets this guardrail")


def _deciding(here: _Names, rules: Rules) -> Mapping[int, set[int]]:
    """For each assignment, the numbers of the assignments that decide for the subjects that match it."""
    found: dict[int, set[int]] = {}
    for subject in here.subjects:
        matching = [number for number, one in enumerate(rules.assignments) if one.matches(subject)]
        for number in matching:
            found.setdefault(number, set()).add(matching[0])
    return found


def _of_assignment(
    here: _Names, rules: Rules, number: int, assignment: Assignment, deciding: Mapping[int, set[int]]
) -> Iterator[UnmatchedName]:
    place = ("assignments", number)
    accounts = [[*here.unmatched_account((*place, "accounts", at), one)] for at, one in enumerate(assignment.accounts)]
    yield from (finding for findings in accounts for finding in findings)
    if not here.is_about(assignment):
        return  # the assignment is about other accounts, and so are its other names
    named = [*_of_names(here, place, assignment), *_of_tags(here, place, assignment)]
    yield from named
    if assignment.matches_everyone:
        return  # every file needs one at its end, whether or not a subject is left for it
    if number in deciding:
        winners = sorted(deciding[number] - {number})
        if winners and number not in deciding[number]:
            who = " and ".join(f"{winner + 1} ({criteria(rules.assignments[winner])})" for winner in winners)
            problem = f"decides for no subject here, because an earlier assignment always wins: {who}"
            yield UnmatchedName(where_of(place), "", problem)
    elif not named:
        yield UnmatchedName(where_of(place), "", "matches no subject here, because no subject meets all its criteria")


def _of_names(here: _Names, place: tuple[str | int, ...], one: Assignment | Exemption) -> Iterator[UnmatchedName]:
    """The findings about the names of subjects in an assignment or exemption."""
    where = f"in {', '.join(here.inventory.regions)}"
    for at, pattern in enumerate(one.domains):
        yield from here.unmatched((*place, "domains", at), pattern, here.domains, "domain", here.is_domain, where=where)
    for at, pattern in enumerate(one.user_profiles):
        spot = (*place, "user_profiles", at)
        yield from here.unmatched(spot, pattern, here.user_profiles, "user profile", same_name, where=where)
    if isinstance(one, Assignment):
        for at, pattern in enumerate(one.roles):
            spot = (*place, "roles", at)
            for finding in here.unmatched(spot, pattern, here.used_roles, "role that a subject uses", same_name):
                # A role that exists is not a spelling mistake, so no other name is suggested.
                exists = any(same_name(pattern, role) for role in here.roles)
                yield replace(finding, nearest="" if exists else nearest(pattern, here.roles))


def _of_tags(here: _Names, place: tuple[str | int, ...], assignment: Assignment) -> Iterator[UnmatchedName]:
    for key, pattern in assignment.tags.items():
        values = [subject.tags[key] for subject in here.subjects if key in subject.tags]
        spot = (*place, "tags", key)
        if not values:
            keys = _distinct(name for subject in here.subjects for name in subject.tags)
            yield UnmatchedName(where_of(spot), key, "is a tag that no subject has", nearest(key, keys))
        else:
            yield from here.unmatched(spot, pattern, values, f"value of the tag `{key}`")


def _of_exemption(here: _Names, number: int, exemption: Exemption) -> Iterator[UnmatchedName]:
    place = ("exemptions", number)
    if not here.is_here(exemption.account):
        yield from here.unmatched_account((*place, "account"), exemption.account)
        return
    yield from here.unmatched((*place, "role"), exemption.role, here.roles, "role", same)
    yield from _of_names(here, place, exemption)
