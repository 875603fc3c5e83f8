"""The findings of the report and of the plan, for the formats of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rolewarden_cli.formats import Format, csv_text
from rolewarden_cli.ocsf import ocsf_lines, severity_of
from rolewarden_cli.organization import UnreachedAccount
from rolewarden_cli.plan import Plan
from rolewarden_cli.report.model import Finding, FindingKind, Report, ResourceKind, findings_of_plan
from rolewarden_cli.sarif import SarifLevel, SarifResult, sarif_text


@dataclass(frozen=True)
class FindingRow:
    """A finding as a row of CSV. The fields are those of `Finding`, and the severity of its kind."""

    account: str
    about: str
    kind: FindingKind
    severity: str
    why: str
    recommendation: str
    aside: str


def findings_of_report(report: Report) -> Iterator[Finding]:
    """The findings of all accounts, and one for each account that could not be read."""
    yield from report.findings()
    yield from map(_unreached, report.unreached)


def findings_of_plans(plans: Iterable[Plan], unreached: Iterable[UnreachedAccount] = ()) -> Iterator[Finding]:
    """The findings that the report has because of the plan, and one for each account that could not be read."""
    for plan in plans:
        for finding in findings_of_plan(plan):
            yield replace(finding, account=plan.account)
    yield from map(_unreached, unreached)


def _unreached(one: UnreachedAccount) -> Finding:
    kind, account = FindingKind.UNREAD, one.account
    return Finding(ResourceKind.ACCOUNT, account, kind, one.why, one.recommendation, account=account)


def findings_text(findings: Iterable[Finding], form: Format, at: datetime, file: Path) -> str:
    """The findings in a format. `file` is the guardrails.yaml, which is their place in SARIF."""
    if form is Format.OCSF:
        return ocsf_lines(findings, at)
    if form is Format.SARIF:
        return sarif_text(_sarif(finding, file) for finding in findings)
    return csv_text(FindingRow, map(_row, findings))


def _row(one: Finding) -> FindingRow:
    _, severity = severity_of(one.kind)
    return FindingRow(one.account, one.about, one.kind, severity, one.why, one.recommendation, one.aside)


def _sarif(finding: Finding, file: Path) -> SarifResult:
    _, severity = severity_of(finding.kind)
    level = {"High": SarifLevel.ERROR, "Informational": SarifLevel.NOTE}.get(severity, SarifLevel.WARNING)
    details = "; ".join(filter(None, (finding.why, finding.aside)))
    message = f"{finding.about}: {details}. Recommended action: {finding.recommendation}"
    about = f"{finding.account}/{finding.about}"
    return SarifResult(f"finding/{finding.kind.value.replace(' ', '-')}", level, message, file, about=about)
