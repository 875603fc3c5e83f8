"""From a `Report` to one HTML file: style, script and charts are in it, and nothing is loaded."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
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
from rolewarden.policies import Policy
from rolewarden.verdicts import UNCHANGED, Verdict

from rolewarden_cli.access import Decision, Row
from rolewarden_cli.console import BY_SCP, undecided_text
from rolewarden_cli.history import Entry
from rolewarden_cli.models import Model
from rolewarden_cli.report.access_paths import Door, door
from rolewarden_cli.report.charts import Chart
from rolewarden_cli.report.model import Finding, FindingKind, Report, short_actor

MOST_ACTORS = 12
"""So many actors have a bar of their own; the others share one."""

MOST_ENTRIES = 200
"""So many of the newest rows of the history are listed; the charts count them all."""

MOST_COLUMNS = 120
"""With more models, those of a provider that all roles reach alike share a column."""

PLAIN_CELLS = 4000
"""A matrix of up to so many cells is laid out at once, a larger one row by row as it comes into sight."""

ROOMY_COLUMNS = 60
"""With up to so many columns a cell on A4 has room for a number beside its sign."""

VERDICTS = (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE, Verdict.EXEMPT, Verdict.OUT_OF_SCOPE)
KINDS = (
    RoleRemediated.detail_type,
    RoleFinding.detail_type,
    PolicyRestored.detail_type,
    RoleContested.detail_type,
    SurplusDetached.detail_type,
    SubjectFinding.detail_type,
)
"""In the order in which a page shows them, which is that of their colours in report.css."""

ALLOWED, DENIED, NOT_ALLOWED = "allowed", "denied", "not allowed"
"""What a cell says: a route is open, a statement closes them all, or nothing opens one. The fourth is `BY_SCP`: no
route is open, and a service control policy closes one."""


def render(report: Report) -> str:
    """The page. The same report always gives the same bytes."""
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
    """A column of the matrix: one model, or several that all roles reach alike. `place` is that of the first."""

    place: int
    models: tuple[Model, ...]

    @property
    def label(self) -> str:
        """What stands above it."""
        first = self.models[0]
        return first.id if len(self.models) == 1 else f"{first.provider}: {len(self.models)} models"


@dataclass(frozen=True)
class _Page:
    """What the template needs beside the report: things counted, grouped and put in words."""

    report: Report

    @cached_property
    def verdicts(self) -> dict[Verdict, int]:
        """How many roles have each verdict, also none."""
        counted = Counter(self.report.verdicts.values())
        return {verdict: counted[verdict] for verdict in VERDICTS}

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What there is to see to, the worst first."""
        return tuple(sorted(self.report.findings(), key=lambda finding: list(FindingKind).index(finding.kind)))

    @property
    def governed(self) -> int:
        """Roles that need something."""
        return sum(self.verdicts[v] for v in (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE))

    @property
    def coverage(self) -> str:
        """The part of the governed roles that carries all it needs; rounded down, so that 100 % means all."""
        if not self.governed:
            return "none"
        return f"{1000 * self.verdicts[Verdict.COMPLIANT] // self.governed / 10:g} %"

    @property
    def kinds(self) -> str:
        """What the style makes of the matrix: laid out row by row, and on paper with numbers in the cells."""
        large = len(self.report.access.rows) * len(self.columns) > PLAIN_CELLS
        found = {"large": large, "roomy": len(self.columns) <= ROOMY_COLUMNS}
        return " ".join(kind for kind, is_one in found.items() if is_one)

    @cached_property
    def columns(self) -> tuple[_Column, ...]:
        """The models, a column each; of very many, those alike share one."""
        models = self.report.access.models
        alike: dict[object, list[int]] = {}
        for place, model in enumerate(models):
            said = tuple((_said(cells[place]), _reason(cells[place])) for cells in self._decided.values())
            key = (model.family, model.provider, said) if len(models) > MOST_COLUMNS else place
            alike.setdefault(key, []).append(place)
        return tuple(_Column(places[0], tuple(models[place] for place in places)) for places in alike.values())

    @property
    def measures(self) -> str:
        """What the style has to know of this very page.

        That is how wide the matrix is, in columns and characters, and what stands at the foot of each sheet of paper.
        """
        access = self.report.access
        subject = max([9, *(len(self.subject(row)) for row in access.rows)])
        role = max([8, *(len(self.roles(row)) for row in access.rows)])
        label = max([8, *(len(column.label) for column in self.columns)])
        account = "".join(filter(str.isdigit, access.account))
        return (
            f":root {{ --columns: {max(1, len(self.columns))}; --subject: {min(subject, 24)}; --role: {min(role, 46)}; "
            f"--label: {min(label, 48)} }}\n"
            f'@page {{ @bottom-left {{ content: "Rolewarden, account {account}, {_moment(access.at)}" }} }}\n'
        )

    @cached_property
    def _decided(self) -> dict[tuple[str, str], tuple[Decision, ...]]:
        """The cells of a row, which are the same for all rows of the same roles."""
        access = self.report.access
        places = range(len(access.models))
        rows = {(row.role, row.bedrock_role): row for row in access.rows}
        return {roles: tuple(access.cell(row, place) for place in places) for roles, row in rows.items()}

    @cached_property
    def decisions(self) -> dict[str, int]:
        """How many cells of the matrix say what."""
        of_roles = {roles: Counter(map(_said, decided)) for roles, decided in self._decided.items()}
        counted: Counter[str] = Counter()
        for row in self.report.access.rows:
            counted.update(of_roles[row.role, row.bedrock_role])
        return {said: counted[said] for said in (ALLOWED, DENIED, BY_SCP, NOT_ALLOWED)}

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """What decides some cell, each once; a cell names its own by its place here."""
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
            yield domain, [(row, self.report.verdict(row), cells[row.role, row.bedrock_role]) for row in rows]

    def domain(self, row: Row) -> str:
        """What a row stands under."""
        if row.kind == ROLE:
            return "governed by name or trust"
        name = row.domain_name or row.domain_id
        return f"{name}, {row.region}" if len(self.report.access.regions) > 1 else name

    @staticmethod
    def subject(row: Row) -> str:
        """What a row is called under its domain."""
        return row.user_profile or (row.role if row.kind == ROLE else row.kind)

    @staticmethod
    def roles(row: Row) -> str:
        """The roles of a row, as text."""
        return " + ".join(dict.fromkeys(filter(None, (row.role, row.bedrock_role))))

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the models, in the order of the columns."""
        return tuple(dict.fromkeys(model.family for model in self.report.access.models))

    @property
    def by_domain(self) -> Chart:
        """Rows of the matrix by domain and verdict."""
        counted: dict[str, Counter[Verdict]] = {}
        for row in self.report.access.rows:
            counted.setdefault(self.domain(row), Counter())[self.report.verdict(row)] += 1
        domains = sorted(counted, key=lambda domain: (-counted[domain].total(), domain))
        series = {verdict.value: [counted[domain][verdict] for domain in domains] for verdict in VERDICTS}
        return Chart("Subjects by domain and verdict", _all_shown(domains), series, horizontal=True)

    @property
    def over_time(self) -> Chart:
        """The history by day, or by week where it is long."""
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
        """The history by who caused it, who caused most first."""
        actors = [short_actor(entry.actor) for entry in self.report.history]
        counted = Counter(actors)
        ranked = sorted(counted, key=lambda actor: (-counted[actor], actor))
        labels, others = ranked[:MOST_ACTORS], ranked[MOST_ACTORS:]
        place = {actor: n for n, actor in enumerate(labels)} | dict.fromkeys(others, len(labels))
        if others:
            labels = [*labels, f"{len(others)} others"]
        series = self._by_kind([place[actor] for actor in actors], len(labels))
        return Chart("Drift by actor", _all_shown(labels), series, horizontal=True)

    def _by_kind(self, places: Sequence[int], width: int) -> dict[str, list[int]]:
        series = {kind: [0] * width for kind in KINDS}
        for entry, place in zip(self.report.history, places, strict=True):
            series.setdefault(entry.kind, [0] * width)[place] += 1
        return series

    @property
    def last_sweep(self) -> datetime | None:
        """When the newest sweep that came to its end began."""
        last = self.report.status.last_sweep if self.report.status else None
        return last.began if last else None

    @property
    def newest(self) -> tuple[Entry, ...]:
        """The newest rows of the history, newest first."""
        return tuple(sorted(self.report.history, key=lambda entry: entry.at, reverse=True)[:MOST_ENTRIES])

    def policies(self) -> Iterator[tuple[Policy, bool, int, list[tuple[Mapping[str, Any], Door]]]]:
        """Each policy, whether IAM has it so, how many roles it is in force on, and the door of each statement."""
        changes = {policy.name: policy.change for policy in self.report.plan.policies}
        outcomes = [planned.outcome for planned in self.report.plan.roles]
        on = Counter(name for outcome in outcomes for name in {*outcome.required} - {*outcome.missing})
        for policy in self.report.policies:
            statements = [
                (statement, door(str(statement.get("Sid", "")))) for statement in policy.document["Statement"]
            ]
            yield policy, changes.get(policy.name) == UNCHANGED, on[policy.name], statements


def _said(decision: Decision) -> str:
    if decision.allowed:
        return ALLOWED
    if decision.denied_by_scp:
        return BY_SCP
    return DENIED if decision.statements else NOT_ALLOWED


def _reason(decision: Decision) -> str:
    """The open route and what opens it, or what closes them all; and what could change that. Empty if nothing does."""
    by = ", ".join(statement.name for statement in decision.statements)
    also = "and by" if decision.denied_by_scp else "by"
    undecided = undecided_text(decision.undecided)
    deciding = ", ".join(filter(None, (decision.route, f"{also} {by}" if by else "")))
    return " ".join(filter(None, (deciding, f"({undecided})" if undecided else "")))


_CLASSES = {ALLOWED: "a", DENIED: "d", BY_SCP: "s", NOT_ALLOWED: "n"}


def _cells(decided: Iterable[Decision], places: Mapping[str, int]) -> Markup:
    """A row's cells; made once for all rows of the same roles, as there are very many."""
    made = []
    for decision in decided:
        said, reason = _said(decision), _reason(decision)
        made.append(f'<td class="{_CLASSES[said]}"{f" data-by={places[reason]}" if reason else ""}>{said}</td>')
    return Markup("".join(made))  # noqa: S704 - words of ours and numbers


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["moment"] = _moment
    environment.filters["pretty"] = lambda document: json.dumps(document, indent=2)
    environment.filters["number"] = "{:,}".format
    environment.filters["marked"] = _correlated
    environment.filters["short"] = short_actor
    environment.filters["parted"] = _parted
    return environment


def _shown(value: Any) -> Any:
    """Text without what would hide or turn round what stands beside it: such characters stand as their code."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in value)


def _correlated(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    parts = [escape(part) for part in _shown(text).split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(parts))


def _parted(name: str) -> Markup:
    """A name in CamelCase, which may go on in a new line at each of its words."""
    return Markup("<wbr>").join(re.sub(r"(?<=[a-z])(?=[A-Z])", "\n", _shown(name)).split("\n"))


def _all_shown(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_shown, texts))


def _moment(value: datetime | None) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if value else "not known"


def _asset(name: str) -> str:
    return files("rolewarden_cli.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
