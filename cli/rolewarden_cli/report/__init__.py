"""The report: one HTML file that tells an auditor and a team lead who reaches which model, and what was done about it.

`Report` is what it shows, `render` makes the page of it. Nothing here talks to AWS.
"""

from rolewarden_cli.report.model import Finding, FindingKind, Provenance, Report
from rolewarden_cli.report.render import render

__all__ = ["Finding", "FindingKind", "Provenance", "Report", "render"]
