"""Findings as events of the Open Cybersecurity Schema Framework (OCSF), one JSON object for each finding.

The class is Compliance Finding (2003), in the version of the schema in `SCHEMA_VERSION`:
https://schema.ocsf.io/1.3.0/classes/compliance_finding. The deployed stack itself sends findings to Security Hub in the
format of AWS, see `rolewarden.securityhub`. These events are for any other system that collects findings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rolewarden import __version__
from rolewarden.plaintext import visible

from rolewarden_cli.report.model import Finding, FindingKind, ResourceKind

SCHEMA_VERSION = "1.3.0"

STANDARD = "Rolewarden guardrails"
"""The name of the standard that a finding is about. The schema requires one."""

SEVERITIES: Mapping[FindingKind, tuple[int, str]] = {
    FindingKind.UNENFORCEABLE: (4, "High"),
    FindingKind.CONTESTED: (4, "High"),
    FindingKind.TAMPERED: (4, "High"),
}
"""The severities that differ from that of other findings. Security Hub gets the same severity for a verdict."""

MEDIUM, INFORMATIONAL = (3, "Medium"), (1, "Informational")

PASS, WARNING, FAIL, OTHER = (1, "Pass"), (2, "Warning"), (3, "Fail"), (99, "Noted")
"""The results of a compliance check in the schema: a warning lacks information. A noted finding is none of them."""

RESOURCE_TYPES: Mapping[ResourceKind, str] = {
    ResourceKind.ROLE: "AWS::IAM::Role",
    ResourceKind.POLICY: "AWS::IAM::ManagedPolicy",
    ResourceKind.DOMAIN: "AWS::SageMaker::Domain",
    ResourceKind.USER_PROFILE: "AWS::SageMaker::UserProfile",
    ResourceKind.ACCOUNT: "AWS::Organizations::Account",
}
"""The type of each kind of resource in CloudFormation, and that of accounts in Organizations."""


def ocsf_lines(findings: Iterable[Finding], at: datetime) -> str:
    """The findings at a time as events, one in each line."""
    return "\n".join(json.dumps(ocsf_event(finding, at)) for finding in findings)


def ocsf_event(finding: Finding, at: datetime) -> dict[str, Any]:
    """A finding as an event. Two events about the same finding have the same `finding_info.uid`."""
    milliseconds = round(at.timestamp() * 1000)
    severity_id, severity = severity_of(finding.kind)
    status_id, status = _status(finding.kind)
    title = visible(f"{finding.about}: {finding.kind}")
    details = {"status_detail": visible(finding.why)} if finding.why else {}
    return {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2003,
        "class_name": "Compliance Finding",
        "type_uid": 200301,
        "type_name": "Compliance Finding: Create",
        "time": milliseconds,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "message": title,
        "metadata": {
            "version": SCHEMA_VERSION,
            "profiles": ["cloud"],
            "product": {"name": "Rolewarden", "vendor_name": "Rolewarden", "version": __version__},
        },
        "cloud": {"provider": "AWS", "account": {"uid": finding.account, "type_id": 10, "type": "AWS Account"}},
        "finding_info": {
            "uid": finding_id(finding),
            "title": title,
            "desc": visible("; ".join(filter(None, (finding.why, finding.aside)))),
            "types": [finding.kind.value],
            "created_time": milliseconds,
        },
        "compliance": {
            "standards": [STANDARD],
            "control": finding.kind.value,
            "status_id": status_id,
            "status": status,
            **details,
        },
        "remediation": {"desc": visible(finding.recommendation)},
        "resources": [_resource(finding)],
    }


def severity_of(kind: FindingKind) -> tuple[int, str]:
    """The severity of a kind of finding: its number in the schema, and its name."""
    return SEVERITIES.get(kind, INFORMATIONAL if kind.is_noted else MEDIUM)


def finding_id(finding: Finding) -> str:
    """An identifier that is the same each time the finding is found."""
    parts = (finding.account, finding.kind.value, finding.about, finding.why if finding.kind in _BY_REASON else "")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


_BY_REASON = frozenset({FindingKind.UNREAD, FindingKind.OPEN})
"""The kinds of which a resource can have several findings, each for another reason."""


def _status(kind: FindingKind) -> tuple[int, str]:
    if kind is FindingKind.UNREAD:
        return WARNING
    return OTHER if kind.is_noted else FAIL


def _resource(finding: Finding) -> dict[str, Any]:
    name = visible(finding.name)
    uid = name if finding.resource is ResourceKind.ACCOUNT else f"{finding.account}/{name}"
    return {"type": RESOURCE_TYPES[finding.resource], "name": name, "uid": uid}
