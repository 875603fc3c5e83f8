"""The page of a `Report`: one HTML file that has its style, script and charts, and loads nothing."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from rolewarden.bindings import ROLE
from rolewarden.own_events import (
    PolicyRestored,
    RoleContested,
    RoleFinding,
    RoleRemediated,
    SubjectFinding,
    SurplusDetached,
)
from rolewarden.plaintext import visible
from rolewarden.policies import Policy
from rolewarden.verdicts import UNCHANGED, Verdict

from rolewarden_cli.access import Decision, Row
from rolewarden_cli.console import BY_SCP, undecided_text
from rolewarden_cli.figures import Latency
from rolewarden_cli.history import Entry
from rolewarden_cli.models import Model
from rolewarden_cli.report.access_paths import AccessPath, access_path
from rolewarden_cli.report.charts import Chart
from rolewarden_cli.report.model import Finding, FindingKind, Report, short_actor

MOST_ACTORS = 12
"""Number of callers that have a bar of their own; the others share one."""

MOST_ENTRIES = 200
"""Number of the newest history entries that the page lists; the charts count all entries."""

MOST_COLUMNS = 120
"""With more models than this, models of a provider share a column if every role reaches them alike."""

PLAIN_CELLS = 4000
"""A browser lays out a matrix with at most this many cells at once, and a larger one row by row when visible."""

ROOMY_COLUMNS = 60
"""With at most this many columns, a cell on A4 has room for a number next to its sign."""

VERDICTS = (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE, Verdict.EXEMPT, Verdict.OUT_OF_SCOPE)
KINDS = (
    RoleRemediated.detail_type,
    RoleFinding.detail_type,
    PolicyRestored.detail_type,
    RoleContested.detail_type,
    SurplusDetached.detail_type,
    SubjectFinding.detail_type,
)
"""The kinds of history entries, in the order of their colors in report.css."""

ALLOWED, DENIED, NOT_ALLOWED = "allowed", "denied", "not allowed"
"""The texts of a cell: a route is open, statements deny every route, or no statement allows one. The fourth text is
`BY_SCP`: every route is closed, and a service control policy closes one."""


def render(report: Report) -> str:
    """Make the page. The same report always gives the same bytes."""
    page = _Page(report)
    css = _asset("report.css") + page.measures
    script = _asset("report.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(css)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return _environment().from_string(_asset("report.html.j2")).render(
        page=page, report=report, security_policy=policy, css=Markup(css), script=Markup(script)  # noqa: S704 - ours
    )  # fmt: skip


@dataclass(frozen=True)
class _Column:
    """A column of the matrix: one model, or several if every role reaches them alike. `place` is that of the first."""

    place: int
    models: tuple[Model, ...]

    @property
    def label(self) -> str:
        """The head of the column."""
        first = self.models[0]
        return first.id if len(self.models) == 1 else f"{first.provider}: {len(self.models)} models"


@dataclass(frozen=True)
class _Page:
    """The counts, groups and texts that the template needs in addition to the report."""

    report: Report

    @cached_property
    def verdicts(self) -> dict[Verdict, int]:
        """The number of roles with each verdict, 0 included."""
        counted = Counter(self.report.verdicts.values())
        return {verdict: counted[verdict] for verdict in VERDICTS}

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, the worst first."""
        return tuple(sorted(self.report.findings(), key=lambda finding: list(FindingKind).index(finding.kind)))

    @property
    def governed(self) -> int:
        """The number of roles that need a guardrail and are not exempt."""
        return sum(self.verdicts[v] for v in (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE))

    @property
    def coverage(self) -> str:
        """The percentage of governed roles that are compliant, rounded down, so that 100 % means all."""
        if not self.governed:
            return "none"
        return f"{1000 * self.verdicts[Verdict.COMPLIANT] // self.governed / 10:g} %"

    @property
    def kinds(self) -> str:
        """The CSS classes of the matrix: whether its layout is row by row, and whether printed cells have numbers."""
        large = len(self.report.access.rows) * len(self.columns) > PLAIN_CELLS
        found = {"large": large, "roomy": len(self.columns) <= ROOMY_COLUMNS}
        return " ".join(kind for kind, is_one in found.items() if is_one)

    @cached_property
    def columns(self) -> tuple[_Column, ...]:
        """The columns: one for each model, or for models that every role reaches alike if there are very many."""
        models = self.report.access.models
        alike: dict[object, list[int]] = {}
        for place, model in enumerate(models):
            texts = tuple((_text(cells[place]), _reason(cells[place])) for cells in self._decided.values())
            key = (model.family, model.provider, texts) if len(models) > MOST_COLUMNS else place
            alike.setdefault(key, []).append(place)
        return tuple(_Column(places[0], tuple(models[place] for place in places)) for places in alike.values())

    @property
    def measures(self) -> str:
        """The part of the style sheet that depends on the report.

        It has the width of the matrix in columns and characters, and the footer of each printed page.
        """
        access = self.report.access
        subject = max([9, *(len(self.subject(row)) for row in access.rows)])
        role = max([8, *(len(self.roles(row)) for row in access.rows)])
        label = max([8, *(len(column.label) for column in self.columns)])
        account = re.sub("[^0-9]", "", access.account)
        return (
            f":root {{ --columns: {max(1, len(self.columns))}; --subject: {min(subject, 24)}; --role: {min(role, 46)}; "
            f"--label: {min(label, 48)} }}\n"
            f'@page {{ @bottom-left {{ content: "Rolewarden, account {account}, {_moment(access.at)}" }} }}\n'
        )

    @cached_property
    def _decided(self) -> dict[tuple[str, str], tuple[Decision, ...]]:
        """The decisions of a row by its roles, because all rows with the same roles have the same decisions."""
        access = self.report.access
        places = range(len(access.models))
        rows = {(row.session, row.bedrock_role): row for row in access.rows}
        return {roles: tuple(access.cell(row, place) for place in places) for roles, row in rows.items()}

    @cached_property
    def decisions(self) -> dict[str, int]:
        """The number of cells with each text."""
        of_roles = {roles: Counter(map(_text, decided)) for roles, decided in self._decided.items()}
        counted: Counter[str] = Counter()
        for row in self.report.access.rows:
            counted.update(of_roles[row.session, row.bedrock_role])
        return {text: counted[text] for text in (ALLOWED, DENIED, BY_SCP, NOT_ALLOWED)}

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of all cells, each once. A cell has the position of its reason."""
        return tuple(
            sorted({reason for cells in self._decided.values() for cell in cells if (reason := _reason(cell))})
        )

    def groups(self) -> Iterator[tuple[str, list[tuple[Row, Verdict, Markup]]]]:
        """The matrix's rows by domain, each with its verdict and its cells."""
        places = {reason: place for place, reason in enumerate(self.reasons, start=1)}
        cells = {
            roles: _cells((decided[column.place] for column in self.columns), places)
            for roles, decided in self._decided.items()
        }
        ordered = sorted(
            self.report.access.rows, key=lambda row: (row.kind == ROLE, self.domain(row), self.subject(row))
        )
        for domain, rows in groupby(ordered, key=self.domain):
            yield domain, [(row, self.report.verdict(row), cells[row.session, row.bedrock_role]) for row in rows]

    def domain(self, row: Row) -> str:
        """The head of the group that a row belongs to."""
        if row.kind == ROLE:
            return "governed by name or trust"
        name = row.domain_name or row.domain_id
        return f"{name}, {row.region}" if len(self.report.access.regions) > 1 else name

    @staticmethod
    def subject(row: Row) -> str:
        """The name of a row within its domain."""
        return row.user_profile or (row.role if row.kind == ROLE else row.kind)

    @staticmethod
    def roles(row: Row) -> str:
        """The roles of a row, as text."""
        return " + ".join(dict.fromkeys(filter(None, (row.session, row.bedrock_role))))

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the models, in the order of the columns."""
        return tuple(dict.fromkeys(model.family for model in self.report.access.models))

    @property
    def by_domain(self) -> Chart:
        """Rows of the matrix by domain and verdict."""
        counted: dict[str, Counter[Verdict]] = {}
        for row in (row for row in self.report.access.rows if row.is_subject):
            counted.setdefault(self.domain(row), Counter())[self.report.verdict(row)] += 1
        domains = sorted(counted, key=lambda domain: (-counted[domain].total(), domain))
        series = {verdict.value: [counted[domain][verdict] for domain in domains] for verdict in VERDICTS}
        return Chart("Subjects by domain and verdict", _all_shown(domains), series, horizontal=True)

    @property
    def over_time(self) -> Chart:
        """The history by day, or by week if it is long."""
        first = self.report.provenance.history_since.astimezone(UTC).date()
        last = self.report.access.at.astimezone(UTC).date()
        days = [entry.at.astimezone(UTC).date() for entry in self.report.history]
        first, last = min([first, *days]), max([last, *days])
        step = 1 if (last - first).days < 92 else 7
        labels = [first + timedelta(days=n) for n in range(0, (last - first).days + 1, step)]
        title = "Drift over time, by day" if step == 1 else "Drift over time, by the week that begins"
        series = self._by_kind([(day - first).days // step for day in days], len(labels))
        return Chart(title, tuple(map(str, labels)), series)

    @property
    def by_actor(self) -> Chart:
        """The history by caller, those with the most entries first."""
        actors = [
            short_actor(entry.actor) + (" (not verified)" if entry.unverified else "") for entry in self.report.history
        ]
        counted = Counter(actors)
        ranked = sorted(counted, key=lambda actor: (-counted[actor], actor))
        labels, others = ranked[:MOST_ACTORS], ranked[MOST_ACTORS:]
        place = {actor: n for n, actor in enumerate(labels)} | dict.fromkeys(others, len(labels))
        if others:
            labels = [*labels, f"{len(others)} others"]
        series = self._by_kind([place[actor] for actor in actors], len(labels))
        return Chart("Drift by caller", _all_shown(labels), series, horizontal=True)

    def _by_kind(self, places: Sequence[int], width: int) -> dict[str, list[int]]:
        series = {kind: [0] * width for kind in KINDS}
        for entry, place in zip(self.report.history, places, strict=True):
            series.setdefault(entry.kind, [0] * width)[place] += 1
        return series

    @property
    def last_sweep(self) -> datetime | None:
        """The beginning of the newest sweep that has ended; None without one."""
        last = self.report.status.last_sweep if self.report.status else None
        return last.began if last else None

    @property
    def measured(self) -> tuple[Latency, ...]:
        """The time in which a role stays unprotected, by account and region."""
        return self.report.status.measured.rows if self.report.status else ()

    @property
    def newest(self) -> tuple[Entry, ...]:
        """The newest history entries, newest first."""
        return tuple(sorted(self.report.history, key=lambda entry: entry.at, reverse=True)[:MOST_ENTRIES])

    def policies(self) -> Iterator[tuple[Policy, bool, int, list[tuple[Mapping[str, Any], AccessPath]]]]:
        """Each policy, whether IAM has it unchanged, its number of roles, and the access path of each statement."""
        changes = {policy.name: policy.change for policy in self.report.plan.policies}
        outcomes = [planned.outcome for planned in self.report.plan.roles]
        # An exempt role, and a role that IAM did not return, have no missing policies, because these were not compared.
        compared = [outcome for outcome in outcomes if outcome.before is Verdict.COMPLIANT or outcome.missing]
        on = Counter(name for outcome in compared for name in {*outcome.required} - {*outcome.missing})
        for policy in self.report.policies:
            statements = [
                (statement, access_path(str(statement.get("Sid", "")))) for statement in policy.document["Statement"]
            ]
            yield policy, changes.get(policy.name) == UNCHANGED, on[policy.name], statements


def _text(decision: Decision) -> str:
    if decision.allowed:
        return ALLOWED
    if decision.denied_by_scp:
        return BY_SCP
    return DENIED if decision.statements else NOT_ALLOWED


def _reason(decision: Decision) -> str:
    """The open route with its statements, else the denies of all routes, with undecided keys; empty without any."""
    by = ", ".join(statement.name for statement in decision.statements)
    also = "and by" if decision.denied_by_scp else "by"
    undecided = undecided_text(decision.undecided)
    prevention = "the prevention SCP" if decision.by_prevention else ""
    deciding = ", ".join(filter(None, (decision.route, prevention, f"{also} {by}" if by else "")))
    return " ".join(filter(None, (deciding, f"({undecided})" if undecided else "")))


_CLASSES = {ALLOWED: "a", DENIED: "d", BY_SCP: "s", NOT_ALLOWED: "n"}


def _cells(decided: Iterable[Decision], places: Mapping[str, int]) -> Markup:
    """The cells of a row. They are made once for all rows with the same roles, because a matrix has very many cells."""
    made = []
    for decision in decided:
        text, reason = _text(decision), _reason(decision)
        made.append(f'<td class="{_CLASSES[text]}"{f" data-by={places[reason]}" if reason else ""}>{text}</td>')
    return Markup("".join(made))  # noqa: S704 - only fixed words and numbers


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["moment"] = _moment
    environment.filters["pretty"] = lambda document: Markup(escape(json.dumps(document, indent=2)))  # noqa: S704 - escaped
    environment.filters["number"] = "{:,}".format
    environment.filters["with_code"] = _with_code
    environment.filters["short"] = short_actor
    environment.filters["breakable"] = _breakable
    return environment


def _shown(value: Any) -> Any:
    """The text with each invisible character as its code, because such characters can hide or reverse other text."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible(value)


def _with_code(text: str) -> Markup:
    """The text as HTML, with the parts between backticks as code."""
    parts = [escape(part) for part in visible(text).split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(parts))


def _breakable(name: str) -> Markup:
    """A name in CamelCase that a browser can break before each of its words."""
    return Markup("<wbr>").join(re.sub(r"(?<=[a-z])(?=[A-Z])", "\n", visible(name)).split("\n"))


def _all_shown(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(visible, texts))


def _moment(value: datetime | None) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if value else "not known"


def _asset(name: str) -> str:
    return files("rolewarden_cli.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
