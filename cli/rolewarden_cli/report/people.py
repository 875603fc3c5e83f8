"""The models that people can use: the people of the accounts by the roles that they use.

A person is a user profile of a SageMaker domain. People with the same roles reach the same models.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from rolewarden.bindings import USER_PROFILE
from rolewarden.verdicts import Verdict

from rolewarden_cli.access import Row
from rolewarden_cli.models import Model
from rolewarden_cli.natural import natural_key
from rolewarden_cli.report.model import WORST, AccountReport, Report


class Reach(StrEnum):
    """The number of evaluated models that a person can use."""

    EVERY = "every model"
    SOME = "some models"
    NONE = "no model"


@dataclass(frozen=True)
class RoleUse:
    """The use of a role, or of two roles together, with everything that follows from it.

    - `sessions`: the roles in words, with the source identity of a session if the policies of the role ask for it.
    - `rows`: the user profiles, or the other subjects, that use the roles.
    - `guardrails`: the names of the policies that the roles need.
    - `models`: the models that the roles reach, of the `evaluated` ones.
    - `uncertain`: the number of models for which a live call could be decided in another way.
    - `exempt`: the roles whose exemption AWS confirms and that alone reach all of `models`.
    """

    account: str
    roles: tuple[str, ...]
    sessions: str
    rows: tuple[Row, ...]
    verdict: Verdict
    guardrails: tuple[str, ...]
    models: tuple[Model, ...]
    evaluated: int
    uncertain: int
    exempt: tuple[str, ...] = ()

    @property
    def cause(self) -> Verdict:
        """The verdict that explains the reach: an exemption if it suffices, because it lasts after a remediation."""
        return Verdict.EXEMPT if self.exempt else self.verdict

    @property
    def reach(self) -> Reach:
        """The number of evaluated models that the roles reach."""
        if not self.models:
            return Reach.NONE
        return Reach.EVERY if len(self.models) == self.evaluated else Reach.SOME

    def of_family(self, family: str) -> int:
        """The number of models of a family that the roles reach."""
        return sum(model.family == family for model in self.models)


@dataclass(frozen=True)
class People:
    """The people of all accounts of a report, and the other subjects."""

    report: Report

    @cached_property
    def uses(self) -> tuple[RoleUse, ...]:
        """The uses of roles by people, those with the most models first."""
        return self._ordered(is_person=True)

    @cached_property
    def others(self) -> tuple[RoleUse, ...]:
        """The other uses of roles: by default settings, shared spaces, and without a user profile."""
        return self._ordered(is_person=False)

    def number(self, *reaches: Reach) -> int:
        """The number of people with one of these reaches; of all people without one."""
        return sum(len(use.rows) for use in self.uses if not reaches or use.reach in reaches)

    def of(self, reach: Reach) -> tuple[RoleUse, ...]:
        """The uses with a reach."""
        return tuple(use for use in self.uses if use.reach is reach)

    def by_cause(self, *reaches: Reach) -> Counter[Verdict]:
        """The number of people with one of these reaches, by the verdict that explains it."""
        found: Counter[Verdict] = Counter()
        for use in self.uses:
            found[use.cause] += len(use.rows) if use.reach in reaches else 0
        return +found

    @cached_property
    def sets(self) -> dict[tuple[str, ...], int]:
        """The sets of models that are neither empty nor whole, each with its number, from 1."""
        found = dict.fromkeys(
            tuple(model.id for model in use.models)
            for use in (*self.uses, *self.others)
            if use.reach is Reach.SOME
        )  # fmt: skip
        return {models: number for number, models in enumerate(found, start=1)}

    def set_of(self, use: RoleUse) -> int:
        """The number of the set of models that a use reaches, which has some models."""
        return self.sets[tuple(model.id for model in use.models)]

    def _ordered(self, *, is_person: bool) -> tuple[RoleUse, ...]:
        found = (use for account in self.report.accounts for use in _uses(account, is_person=is_person))
        return tuple(
            sorted(
                found,
                key=lambda use: (
                    -len(use.models), -WORST.index(use.verdict), use.account, tuple(map(natural_key, use.roles)),
                ),
            )
        )  # fmt: skip


def _uses(account: AccountReport, *, is_person: bool) -> Iterator[RoleUse]:
    access = account.access
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in access.rows:
        if (row.kind == USER_PROFILE) is is_person:
            rows[row.session, row.bedrock_role].append(row)
    required = {role.outcome.role: role.outcome.required for role in account.plan.roles}
    for sessions, users in rows.items():
        cells = access.cells(users[0])
        reached = [model for model, cell in zip(access.models, cells, strict=True) if cell.allowed]
        by_session = dict(zip(sessions, (users[0].role, users[0].bedrock_role), strict=True))
        names = tuple(dict.fromkeys(filter(None, by_session.values())))
        yield RoleUse(
            account.account,
            names,
            " + ".join(filter(None, by_session)),
            tuple(sorted(users, key=lambda row: (row.domain_name, natural_key(row.user_profile)))),
            account.verdict(users[0]),
            tuple(dict.fromkeys(policy for role in names for policy in required.get(role, ()))),
            tuple(sorted(reached, key=lambda model: (model.family, natural_key(model.id)))),
            len(access.models),
            sum(bool(cell.undecided) for cell in cells),
            tuple(
                role
                for session, role in by_session.items()
                if reached and role and _is_enough(account, role, session, len(reached))
            ),
        )


def _is_enough(account: AccountReport, role: str, session: str, number: int) -> bool:
    """Whether a role is exempt and alone reaches so many models."""
    is_exempt = account.verdicts.get(role) is Verdict.EXEMPT
    return is_exempt and sum(decision.allowed for decision in account.access.decisions[session]) >= number


def listed(names: Iterable[str]) -> str:
    """Names with commas."""
    return ", ".join(names)
