"""The report: one HTML file for auditors and team leads with access to models, findings and remediations.

`Report` has the data, and `render` makes the page. Only `gather` calls AWS.
"""

from rolewarden_cli.report.model import Finding, FindingKind, Provenance, Report
from rolewarden_cli.report.render import render

__all__ = ["Finding", "FindingKind", "Provenance", "Report", "render"]
