"""The page of a `Report`: one HTML file that has its style, script and charts, and loads nothing."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import cached_property
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from rolewarden.documents import digest
from rolewarden.own_events import (
    AccountFinding,
    FindingResolved,
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

from rolewarden_cli.report.access_paths import AccessPath, access_path
from rolewarden_cli.report.answer import NOT_DEPLOYED, ReportAnswer
from rolewarden_cli.report.charts import Chart
from rolewarden_cli.report.evidence import Evidence, moment
from rolewarden_cli.report.matrix import Matrix
from rolewarden_cli.report.model import Report, short_actor
from rolewarden_cli.report.people import People, Reach
from rolewarden_cli.report.sections import SECTION_TITLES, VERDICT_WORDS, Sections
from rolewarden_cli.report.snapshot import DATA_ID, DATA_TYPE, embedded, snapshot_of
from rolewarden_cli.report.tables import TableCell

MOST_ACTORS = 12
"""Number of callers that have a bar of their own; the others share one."""

KINDS = (
    RoleRemediated.detail_type,
    RoleFinding.detail_type,
    PolicyRestored.detail_type,
    RoleContested.detail_type,
    SurplusDetached.detail_type,
    SubjectFinding.detail_type,
    AccountFinding.detail_type,
    FindingResolved.detail_type,
    "another kind",
)
"""The kinds of history entries, in the order of their colors in report.css. The last one is for all other kinds."""

NAV = {
    "answer": "Answer", "questions": "Questions", "people": "People", "exceptions": "Exceptions",
    "findings": "Findings", "access": "Matrix", "unprotected": "Unprotected", "tampering": "Tampering",
    "rules": "Rules", "scope": "Scope", "alive": "At work", "scps": "SCPs", "gaps": "Gaps", "since": "Changes",
    "policies": "Policies", "controls": "Controls", "provenance": "Provenance",
}  # fmt: skip
"""The short titles of the sections, for the links at the top of the page."""

OF_THE_STACK = frozenset({"unprotected", "tampering", "alive"})
"""The sections that only the records of a deployed stack can fill."""


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
        page=page, report=report, security_policy=policy, css=Markup(css), script=Markup(script),  # noqa: S704 - ours
        data=Markup(embedded(snapshot_of(report))), data_id=DATA_ID, data_type=DATA_TYPE,  # noqa: S704 - escaped
        titles=SECTION_TITLES, not_deployed=NOT_DEPLOYED, reaches=tuple(Reach), words=VERDICT_WORDS,
    )  # fmt: skip


@dataclass(frozen=True)
class _Page:
    """The counts, groups and texts that the template needs in addition to the report."""

    report: Report

    @cached_property
    def people(self) -> People:
        """The people of the report."""
        return People(self.report)

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence of the history."""
        return Evidence(self.report)

    @cached_property
    def sections(self) -> Sections:
        """The tables of the sections."""
        return Sections(self.report, self.people, self.evidence)

    @cached_property
    def answer(self) -> ReportAnswer:
        """The headline and the answers."""
        return ReportAnswer(self.report, self.people, self.evidence, self.sections)

    @cached_property
    def matrix(self) -> Matrix:
        """The access matrix."""
        return Matrix(self.report)

    @property
    def nav(self) -> dict[str, str]:
        """The short titles of the sections that the page has."""
        absent = frozenset() if self.sections.is_deployed else OF_THE_STACK
        return {section: title for section, title in NAV.items() if section not in absent}

    @property
    def accounts(self) -> str:
        """The accounts in words."""
        names = [account.account for account in self.report.accounts]
        several = f"{len(names) + len(self.report.unreached)} accounts"
        return f"account {names[0]}" if not self.report.is_of_several else several

    @property
    def regions(self) -> str:
        """The regions of all accounts."""
        return ", ".join(dict.fromkeys(region for account in self.report.accounts for region in account.access.regions))

    @property
    def measures(self) -> str:
        """The part of the style sheet that depends on the report: the matrix, and the footer of each printed page."""
        account = re.sub("[^0-9]", "", self.report.accounts[0].account)
        footer = self.accounts if self.report.is_of_several else f"account {account}"
        return (
            f"{self.matrix.measures}"
            f'@page {{ @bottom-left {{ content: "Rolewarden, {footer}, {moment(self.report.at)}" }} }}\n'
        )

    @property
    def observing(self) -> str:
        """The line about observe mode, with the figures of each account; empty if no guardrail observes."""
        banners = dict.fromkeys(account.plan.banner for account in self.report.accounts if account.plan.banner)
        of_several = self.report.is_of_several
        figures = [
            f"Account {account.account}: {account.observing}" if of_several else account.observing
            for account in self.report.accounts
            if account.observing
        ]
        return " ".join((*banners, *figures))

    @property
    def number_of_findings(self) -> int:
        """The number of all findings."""
        return len(self.sections.all_findings)

    @property
    def by_domain(self) -> Chart:
        """Rows of the matrix by domain and verdict."""
        counted: dict[str, Counter[Verdict]] = {}
        for one in (one for one in self.matrix.rows if one.row.is_subject):
            counted.setdefault(self.matrix.domain(one), Counter())[one.verdict] += 1
        domains = sorted(counted, key=lambda domain: (-counted[domain].total(), domain))
        series = {verdict.value: [counted[domain][verdict] for domain in domains] for verdict in VERDICT_WORDS}
        return Chart("Users of roles by domain and verdict", _all_shown(domains), series, horizontal=True)

    @property
    def over_time(self) -> Chart:
        """The history by day, or by week if it is long."""
        first = self.report.provenance.history_since.astimezone(UTC).date()
        last = self.report.at.astimezone(UTC).date()
        days = [entry.at.astimezone(UTC).date() for _, entry in self.sections.entries]
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
            short_actor(entry.actor) + (" (not verified)" if entry.unverified else "")
            for _, entry in self.sections.entries
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
        for (_, entry), place in zip(self.sections.entries, places, strict=True):
            series[entry.kind if entry.kind in series else KINDS[-1]][place] += 1
        return series

    @property
    def charts(self) -> tuple[Chart, ...]:
        """The charts of the history that have data."""
        found = (self.over_time, *([self.by_actor] if self.report.provenance.has_actors else ()))
        return tuple(chart for chart in found if chart.total)

    def policies(self) -> Iterator[tuple[Policy, str, bool, int, list[tuple[Mapping[str, Any], AccessPath]]]]:
        """Each policy with its digest, whether IAM has it unchanged everywhere, its number of roles, and its paths."""
        changes = [{policy.name: policy.change for policy in account.plan.policies} for account in self.report.accounts]
        outcomes = [planned.outcome for account in self.report.accounts for planned in account.plan.roles]
        # An exempt role, and a role that IAM did not return, have no missing policies, because these were not compared.
        compared = [outcome for outcome in outcomes if outcome.before is Verdict.COMPLIANT or outcome.missing]
        on = Counter(name for outcome in compared for name in {*outcome.required} - {*outcome.missing})
        for policy in self.report.policies:
            statements = [
                (statement, access_path(str(statement.get("Sid", "")))) for statement in policy.document["Statement"]
            ]
            is_published = all(found.get(policy.name) == UNCHANGED for found in changes)
            yield policy, digest(policy.document), is_published, on[policy.name], statements


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["moment"] = moment
    environment.filters["pretty"] = lambda document: Markup(escape(json.dumps(document, indent=2)))  # noqa: S704 - escaped
    environment.filters["lines"] = _lines
    environment.filters["number"] = "{:,}".format
    environment.filters["with_code"] = _with_code
    environment.filters["content"] = _content
    environment.filters["breakable"] = _breakable
    return environment


def _shown(value: Any) -> Any:
    """The text with each invisible character as its code, because such characters can hide or reverse other text."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible(value)


def _with_code(text: str) -> Markup:
    """The text as HTML, with the parts between backticks as code."""
    parts = [escape(part) for part in visible(text).split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(parts))


def _content(cell: TableCell) -> Markup:
    """The text of a cell as HTML: a line break for each line, and code if the text is ours."""
    if cell.is_coded:
        return _with_code(cell.text)
    return Markup("<br>").join(escape(visible(line)) for line in cell.text.split("\n"))


def _lines(text: str) -> Markup:
    """A text of several lines with each other invisible character as its code."""
    return Markup("\n").join(escape(visible(line)) for line in text.split("\n"))


def _breakable(name: str) -> Markup:
    """A name in CamelCase that a browser can break before each of its words."""
    return Markup("<wbr>").join(re.sub(r"(?<=[a-z])(?=[A-Z])", "\n", visible(name)).split("\n"))


def _all_shown(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(visible, texts))


def _asset(name: str) -> str:
    return files("rolewarden_cli.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
