"""The access matrix of the page: a row for each subject of all accounts, a column for each model, and the reasons."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from markupsafe import Markup
from rolewarden.bindings import ROLE
from rolewarden.plaintext import visible
from rolewarden.verdicts import Verdict

from rolewarden_cli.access import Decision, Row
from rolewarden_cli.console import BY_SCP, undecided_text
from rolewarden_cli.models import Model
from rolewarden_cli.natural import natural_key
from rolewarden_cli.report.model import WORST, AccountReport, Report
from rolewarden_cli.report.sections import FAMILY_NAMES

MOST_COLUMNS = 120
"""With more models than this, models of a provider share a column if every role reaches them alike."""

PLAIN_CELLS = 4000
"""A browser lays out a matrix with at most this many cells at once, and a larger one row by row when visible."""

ROOMY_COLUMNS = 60
"""With at most this many columns, a cell on A4 has room for a number next to its sign."""

ALLOWED, DENIED, NOT_ALLOWED, NOT_EVALUATED = "allowed", "denied", "not allowed", "not evaluated"
"""The texts of a cell: a route is open, statements deny every route, no statement allows one, or the model is not in
the list of the account. The fifth text is `BY_SCP`: every route is closed, and a service control policy closes one."""

_CLASSES = {ALLOWED: "a", DENIED: "d", BY_SCP: "s", NOT_ALLOWED: "n", NOT_EVALUATED: "u"}

_Roles = tuple[str, str, str]
"""The account of a row, and the sessions of its two roles. All rows with the same ones have the same decisions."""


@dataclass(frozen=True)
class MatrixColumn:
    """A column: one model, or several if every role reaches them alike. `place` is that of the first model."""

    place: int
    models: tuple[Model, ...]

    @property
    def label(self) -> str:
        """The head of the column."""
        first = self.models[0]
        return first.id if len(self.models) == 1 else f"{first.provider}: {len(self.models)} models"

    @property
    def ids(self) -> str:
        """The IDs of all its models."""
        return ", ".join(model.id for model in self.models)


@dataclass(frozen=True)
class MatrixRow:
    """A row: a subject with its account, its verdict and its cells."""

    account: AccountReport
    row: Row

    @property
    def subject(self) -> str:
        """The name of the subject within its domain."""
        return self.row.user_profile or (self.row.role if self.row.kind == ROLE else self.row.kind)

    @property
    def roles(self) -> str:
        """The roles, as text."""
        return " + ".join(dict.fromkeys(filter(None, (self.row.session, self.row.bedrock_role))))

    @property
    def verdict(self) -> Verdict:
        """The verdict on the roles."""
        return self.account.verdict(self.row)

    @property
    def key(self) -> _Roles:
        """The account and the roles."""
        return self.account.account, self.row.session, self.row.bedrock_role


@dataclass(frozen=True)
class Matrix:
    """The access matrix of a report."""

    report: Report

    @property
    def verdicts(self) -> str:
        """The verdicts with a blank between them, the worst first, by which the page sorts."""
        return " ".join(verdict.value for verdict in reversed(WORST))

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """The models of all accounts, each once: by family, and then in the natural order of their IDs."""
        found = {model for account in self.report.accounts for model in account.access.models}
        order = [*FAMILY_NAMES, *sorted({model.family for model in found} - FAMILY_NAMES.keys())]
        return tuple(sorted(found, key=lambda model: (order.index(model.family), natural_key(model.id))))

    @cached_property
    def rows(self) -> tuple[MatrixRow, ...]:
        """The rows of all accounts, by domain and subject."""
        found = (MatrixRow(account, row) for account in self.report.accounts for row in account.access.rows)
        return tuple(
            sorted(
                found,
                key=lambda one: (
                    one.account.account, one.row.kind == ROLE, self.domain(one), natural_key(one.subject),
                ),
            )
        )  # fmt: skip

    def domain(self, one: MatrixRow) -> str:
        """The head of the group that a row belongs to."""
        row = one.row
        name = "governed by name or trust" if row.kind == ROLE else row.domain_name or row.domain_id
        region = row.region if row.kind != ROLE and len(one.account.access.regions) > 1 else ""
        account = f"account {one.account.account}" if self.report.is_of_several else ""
        return ", ".join(filter(None, (name, region, account)))

    @cached_property
    def _decided(self) -> dict[_Roles, tuple[Decision | None, ...]]:
        """The decisions of each pair of roles, None for a model that is not in the list of the account."""
        found: dict[_Roles, tuple[Decision | None, ...]] = {}
        for account in self.report.accounts:
            access = account.access
            places = {model: place for place, model in enumerate(access.models)}
            ordered = [places.get(model) for model in self.models]
            for row in {(row.session, row.bedrock_role): row for row in access.rows}.values():
                cells = access.cells(row)
                decided = tuple(None if place is None else cells[place] for place in ordered)
                found[access.account, row.session, row.bedrock_role] = decided
        return found

    @cached_property
    def _texts(self) -> dict[_Roles, tuple[tuple[str, str], ...]]:
        """The text and the reason of each decision. The same object is worded once."""
        by_identity: dict[int, tuple[str, str]] = {}
        found = {}
        for roles, decided in self._decided.items():
            texts = []
            for decision in decided:
                if id(decision) not in by_identity:
                    by_identity[id(decision)] = (_text(decision), _reason(decision))
                texts.append(by_identity[id(decision)])
            found[roles] = tuple(texts)
        return found

    @cached_property
    def columns(self) -> tuple[MatrixColumn, ...]:
        """The columns: one for each model, or for models that every role reaches alike if there are very many."""
        alike: dict[object, list[int]] = defaultdict(list)
        for place, model in enumerate(self.models):
            texts = tuple(texts[place] for texts in self._texts.values()) if len(self.models) > MOST_COLUMNS else place
            alike[(model.family, model.provider, texts) if len(self.models) > MOST_COLUMNS else place].append(place)
        return tuple(
            MatrixColumn(places[0], tuple(self.models[place] for place in places)) for places in alike.values()
        )

    @property
    def families(self) -> tuple[tuple[str, str, int], ...]:
        """The families of the columns in their order: the family, its name, and its number of columns."""
        counted = Counter(column.models[0].family for column in self.columns)
        return tuple((family, FAMILY_NAMES.get(family, family), number) for family, number in counted.items())

    @property
    def kinds(self) -> str:
        """The CSS classes of the matrix: whether its layout is row by row, and whether printed cells have numbers."""
        large = len(self.rows) * len(self.columns) > PLAIN_CELLS
        found = {"large": large, "roomy": len(self.columns) <= ROOMY_COLUMNS}
        return " ".join(kind for kind, is_one in found.items() if is_one)

    @property
    def measures(self) -> str:
        """The part of the style sheet with the width of the matrix, in columns and characters."""
        subject = max([9, *(len(one.subject) for one in self.rows)])
        role = max([8, *(len(one.roles) for one in self.rows)])
        label = max([8, *(len(column.label) for column in self.columns)])
        spans = "".join(
            f"#matrix .of-{place} {{ grid-column: span {number} }}\n"
            for place, (_, _, number) in enumerate(self.families)
        )
        return (
            f":root {{ --columns: {max(1, len(self.columns))}; --subject: {min(subject, 24)}; --role: {min(role, 46)}; "
            f"--label: {min(label, 80)} }}\n{spans}"
        )

    @cached_property
    def decisions(self) -> dict[str, int]:
        """The number of cells with each text."""
        of_roles = {roles: Counter(text for text, _ in texts) for roles, texts in self._texts.items()}
        counted: Counter[str] = Counter()
        for one in self.rows:
            counted.update(of_roles[one.key])
        return {text: counted[text] for text in _CLASSES}

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of all cells, each once. A cell has the position of its reason."""
        return tuple(sorted({reason for texts in self._texts.values() for _, reason in texts if reason}))

    def groups(self) -> Iterator[tuple[str, list[tuple[MatrixRow, Markup]]]]:
        """The rows by domain, each with its cells."""
        places = {reason: place for place, reason in enumerate(self.reasons, start=1)}
        cells = {
            roles: _cells((texts[column.place] for column in self.columns), places)
            for roles, texts in self._texts.items()
        }
        for domain, rows in groupby(self.rows, key=self.domain):
            yield domain, [(one, cells[one.key]) for one in rows]


def _text(decision: Decision | None) -> str:
    if decision is None:
        return NOT_EVALUATED
    if decision.allowed:
        return ALLOWED
    if decision.denied_by_scp:
        return BY_SCP
    return DENIED if decision.statements else NOT_ALLOWED


def _reason(decision: Decision | None) -> str:
    """The open route with its statements, else the denies of all routes, with undecided keys; empty without any."""
    if decision is None:
        return ""
    by = ", ".join(statement.name for statement in decision.statements)
    also = "and by" if decision.denied_by_scp else "by"
    undecided = undecided_text(decision.undecided)
    prevention = "the prevention SCP" if decision.by_prevention else ""
    deciding = ", ".join(filter(None, (decision.route, prevention, f"{also} {by}" if by else "")))
    return visible(" ".join(filter(None, (deciding, f"({undecided})" if undecided else ""))))


def _cells(texts: Iterable[tuple[str, str]], places: Mapping[str, int]) -> Markup:
    """The cells of a row. They are made once for all rows with the same roles, because a matrix has very many cells."""
    made = []
    for text, reason in texts:
        made.append(f'<td class="{_CLASSES[text]}"{f" data-by={places[reason]}" if reason else ""}>{text}</td>')
    return Markup("".join(made))  # noqa: S704 - only fixed words and numbers
