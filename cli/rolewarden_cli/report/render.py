"""From a `Report` to one HTML file that needs nothing else: style, script and charts are in it, and nothing is loaded."""

from __future__ import annotations

import hashlib
import json
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
from markupsafe import Markup
from rolewarden.verdicts import Verdict

from rolewarden_cli.report.charts import Chart
from rolewarden_cli.report.doors import Door, door
from rolewarden_cli.report.model import Decision, Happening, Matrix, PolicyState, Report, Row

MOST_ACTORS = 12
"""So many actors have a bar of their own; the others share one."""

MOST_HAPPENINGS = 200
"""So many of the newest rows of the history are listed; the charts count them all."""

VERDICTS = (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE, Verdict.EXEMPT, Verdict.UNGOVERNED)
"""In the order in which a page shows them."""


def render(report: Report) -> str:
    """The page. The same report always gives the same bytes."""
    page = _Page(report)
    css = _asset("report.css") + f":root {{ --models: {max(1, len(report.matrix.models))} }}\n"
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
class _Page:
    """What the template needs beside the report: things counted, grouped and put in words."""

    report: Report

    @cached_property
    def verdicts(self) -> dict[Verdict, int]:
        """How many roles have each verdict, also none."""
        counted = Counter(self.report.roles.values())
        return {verdict: counted[verdict] for verdict in VERDICTS}

    @property
    def governed(self) -> int:
        """Roles that need something."""
        return sum(self.verdicts[v] for v in (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE))

    @property
    def coverage(self) -> str:
        """The part of the governed roles that carries all it needs; rounded down, so that 100 % means all."""
        if not self.governed:
            return "no governed role"
        return f"{1000 * self.verdicts[Verdict.COMPLIANT] // self.governed / 10:g} %"

    @cached_property
    def decisions(self) -> dict[Decision, int]:
        """How many cells of the matrix say what."""
        of_role = {role: Counter(c.decision for c in self.report.matrix.of(role)) for role in self._roles_of_rows}
        counted: Counter[Decision] = Counter()
        for row in self.report.matrix.rows:
            counted.update(of_role[row.role])
        return {decision: counted[decision] for decision in Decision}

    @property
    def _roles_of_rows(self) -> set[str]:
        return {row.role for row in self.report.matrix.rows}

    @property
    def reasons(self) -> tuple[str, ...]:
        """The statements that decide some cell, each once; a cell names its own by its place here."""
        cells = (cell for role in sorted(self._roles_of_rows) for cell in self.report.matrix.of(role))
        return tuple(sorted({cell.by for cell in cells if cell.by}))

    def groups(self) -> Iterator[tuple[str, list[tuple[Row, Markup]]]]:
        """The matrix's rows by domain, each with its cells."""
        numbers = {reason: number for number, reason in enumerate(self.reasons, 1)}
        cells = {role: _cells(self.report.matrix, role, numbers) for role in self._roles_of_rows}
        ordered = sorted(self.report.matrix.rows, key=lambda row: (row.domain, row.subject, row.role))
        for domain, rows in groupby(ordered, key=lambda row: row.domain):
            yield domain, [(row, cells[row.role]) for row in rows]

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the models, in the order of the columns."""
        return tuple(dict.fromkeys(model.family for model in self.report.matrix.models))

    @property
    def by_domain(self) -> Chart:
        """Rows of the matrix by domain and verdict."""
        counted: dict[str, Counter[Verdict]] = {}
        for row in self.report.matrix.rows:
            counted.setdefault(row.domain, Counter())[row.verdict] += 1
        domains = tuple(sorted(counted, key=lambda domain: (-counted[domain].total(), domain)))
        series = {verdict.value: [counted[domain][verdict] for domain in domains] for verdict in VERDICTS}
        return Chart("Subjects by domain and verdict", _all_shown(domains), series, horizontal=True)

    @property
    def over_time(self) -> Chart:
        """The history by day, or by week where it is long."""
        days = [happening.at.astimezone(UTC).date() for happening in self.report.happenings]
        if not days:
            return Chart("Drift over time", (), {})
        since = self.report.provenance.history_since
        first = min([*days, *([since.astimezone(UTC).date()] if since else [])])
        last = max([*days, self.report.provenance.generated.astimezone(UTC).date()])
        step = 1 if (last - first).days < 92 else 7
        labels = [first + timedelta(days=n) for n in range(0, (last - first).days + 1, step)]
        places = [(day - first).days // step for day in days]
        title = "Drift over time, by day" if step == 1 else "Drift over time, by week from its first day"
        return Chart(title, tuple(map(str, labels)), self._by_kind(places, len(labels)))

    @property
    def by_actor(self) -> Chart:
        """The history by who caused it, who caused most first."""
        counted = Counter(happening.actor or "not known" for happening in self.report.happenings)
        ranked = sorted(counted, key=lambda actor: (-counted[actor], actor))
        labels, others = ranked[:MOST_ACTORS], ranked[MOST_ACTORS:]
        place = {actor: n for n, actor in enumerate(labels)} | dict.fromkeys(others, len(labels))
        if others:
            labels = [*labels, f"{len(others)} others"]
        places = [place[happening.actor or "not known"] for happening in self.report.happenings]
        return Chart("Drift by actor", _all_shown(labels), self._by_kind(places, len(labels)), horizontal=True)

    def _by_kind(self, places: Sequence[int], width: int) -> dict[str, list[int]]:
        kinds = sorted({happening.kind for happening in self.report.happenings})
        series = {kind: [0] * width for kind in kinds}
        for happening, place in zip(self.report.happenings, places, strict=True):
            series[happening.kind][place] += 1
        return series

    @property
    def newest(self) -> tuple[Happening, ...]:
        """The newest rows of the history, newest first."""
        return tuple(sorted(self.report.happenings, key=lambda happening: happening.at, reverse=True)[:MOST_HAPPENINGS])

    @staticmethod
    def statements(policy: PolicyState) -> list[tuple[Mapping[str, Any], Door]]:
        """A policy's statements with the door that each closes."""
        return [(statement, door(str(statement.get("Sid", "")))) for statement in policy.document.get("Statement", ())]


def _cells(matrix: Matrix, role: str, numbers: Mapping[str, int]) -> Markup:
    """A role's cells; made once a role and put in for each of its subjects, as there are very many."""
    made = (
        f'<td class="{_CLASSES[cell.decision]}"{f" data-by={numbers[cell.by]}" if cell.by else ""}>'
        f"{cell.decision.value}</td>"
        for cell in matrix.of(role)
    )
    return Markup("".join(made))  # noqa: S704 - words of ours and numbers


_CLASSES = {
    Decision.ALLOWED: "a",
    Decision.DENIED: "d",
    Decision.NOT_ALLOWED: "n",
    Decision.UNKNOWN: "u",
}


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["moment"] = _moment
    environment.filters["pretty"] = lambda document: json.dumps(document, indent=2, ensure_ascii=True)
    return environment


def _shown(value: Any) -> Any:
    """Text from AWS without what would hide or turn round what stands beside it: such characters stand as their code."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in value)


def _all_shown(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_shown, texts))


def _moment(value: datetime | None) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if value else "not known"


def _asset(name: str) -> str:
    return files("rolewarden_cli.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
