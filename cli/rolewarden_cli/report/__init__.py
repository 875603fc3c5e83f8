"""The report: one HTML file for auditors that says who can use which models, by which rules, and with which evidence.

`Report` has the data of one or more accounts, and `render` makes the page. Only `gather` calls AWS.
"""

from rolewarden_cli.report.model import AccountReport, Finding, FindingKind, Provenance, Report
from rolewarden_cli.report.render import render

__all__ = ["AccountReport", "Finding", "FindingKind", "Provenance", "Report", "render"]
