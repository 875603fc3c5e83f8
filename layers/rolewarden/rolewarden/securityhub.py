"""Rolewarden's findings in the format of AWS Security Hub (ASFF), made from its own events.

`Role Finding`, `Subject Finding` and `Account Finding` open a finding. `Finding Resolved` archives the finding with the
same ID. An importer cannot set a finding's workflow, so the record state shows whether it is open:
https://docs.aws.amazon.com/securityhub/latest/userguide/finding-update-batchimportfindings.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rolewarden.events import ACCOUNT, REGION, ROLE_NAME, mapping, matched
from rolewarden.names import folded
from rolewarden.own_events import AccountFinding, FindingResolved, RoleFinding, SubjectFinding
from rolewarden.plaintext import plain_name, plain_text, visible
from rolewarden.record import ACCOUNT_WIDE, about_account
from rolewarden.verdicts import RECOMMENDATIONS, Verdict

TITLE_SIZE, DESCRIPTION_SIZE, RECOMMENDATION_SIZE = 256, 1024, 512
"""Maximum length that Security Hub accepts for each text, in characters:
https://docs.aws.amazon.com/securityhub/latest/userguide/asff-required-attributes.html."""

SEVERITIES = {Verdict.UNENFORCEABLE.value: "HIGH", Verdict.DRIFTED.value: "MEDIUM"}
"""The severity by verdict. An unenforceable role needs an action by a person. A drifted role is in observe mode."""


def finding(event: Any, partition: str) -> dict[str, Any] | None:
    """The finding for Security Hub from `event`, as EventBridge delivers it; None if it is not a finding of Rolewarden.

    SecurityHubFunction passes only events that the history confirms (`rolewarden.confirm`), with the time of their row.
    `rolewarden.plaintext` cleans the texts of others, and the recommended action is Rolewarden's own. This function
    accepts any value, and raises nothing. Of two findings with the same ID, Security Hub keeps the one whose event is
    newer.
    """
    envelope = mapping(event)
    detail, kind = mapping(envelope.get("detail")), _text(envelope.get("detail-type"), 64)
    account, region = matched(ACCOUNT, envelope.get("account")), matched(REGION, envelope.get("region"))
    at, about = _text(envelope.get("time"), 64), visible(_about(kind, detail))[:200]
    if envelope.get("source") != "rolewarden" or not (account and region and at and about.strip()):
        return None
    # The finding is about the role's account. The account of the event imports it.
    owner = matched(ACCOUNT, detail.get("account")) or account
    found: dict[str, Any] = {
        "SchemaVersion": "2018-10-08",
        "Id": f"{region}/{owner}/rolewarden/{folded(about)}",
        "ProductArn": f"arn:{partition}:securityhub:{region}:{account}:product/{account}/default",
        "GeneratorId": "rolewarden",
        "AwsAccountId": account,
        "CreatedAt": at,
        "UpdatedAt": at,
        "Resources": [_resource(about, partition, owner, region)],
    }
    name = f"account {owner}" if about.startswith(ACCOUNT_WIDE) else _ALL_DOMAINS.get(about) or plain_name(about, 200)
    if kind == FindingResolved.detail_type:
        return found | _resolved(name, detail)
    verdict = _text(detail.get("verdict"), 32)
    return found | _open(name, detail, SEVERITIES[verdict]) if verdict in SEVERITIES else None


_ALL_DOMAINS = {"*": "the domains of a region"}
"""The domain ID in a finding about a list of domains, or of their tags, that AWS refuses; and its name for people."""


def _open(name: str, detail: Mapping[str, Any], severity: str) -> dict[str, Any]:
    listed = detail.get("missing")
    missing = ", ".join(plain_name(item, 128) for item in listed) if isinstance(listed, list) else ""
    reason = plain_text(detail.get("reason"), 64) or "reported, not remediated"
    state = "is not protected" if missing else "may be unprotected"
    texts = (f"It lacks {missing}." if missing else "", plain_text(detail.get("message"), 600))
    return {
        "Title": f"{name} {state}: {reason}"[:TITLE_SIZE],
        "Description": (" ".join(filter(None, texts)) or f"Rolewarden found: {reason}.")[:DESCRIPTION_SIZE],
        "FindingProviderFields": _provided(severity),
        "Compliance": {"Status": "FAILED"},
        "RecordState": "ACTIVE",
        "Remediation": {
            "Recommendation": {
                "Text": RECOMMENDATIONS.get(str(detail.get("reason")), "")[:RECOMMENDATION_SIZE]
                or "set `mode: enforce` in guardrails.yaml, and deploy the stack"
            }
        },
    }


def _resolved(name: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Title": f"{name}: the finding is resolved"[:TITLE_SIZE],
        "Description": f"It was {plain_text(detail.get('was'), 900) or 'not protected'}"[:DESCRIPTION_SIZE],
        "FindingProviderFields": _provided("INFORMATIONAL"),
        "Compliance": {"Status": "PASSED"},
        "RecordState": "ARCHIVED",
    }


def _provided(severity: str) -> dict[str, Any]:
    kinds = ["Software and Configuration Checks/AWS Security Best Practices"]
    return {"Severity": {"Label": severity}, "Types": kinds}


def _text(value: object, most: int) -> str:
    return value[:most] if isinstance(value, str) else ""


def _about(kind: str, detail: Mapping[str, Any]) -> str:
    """The name of the role, subject or account of a finding, the same in the events that open and resolve it."""
    if kind == FindingResolved.detail_type:
        return _text(detail.get("finding"), 200)
    if kind == SubjectFinding.detail_type and detail.get("domain"):
        return "/".join(filter(None, (_text(detail.get(key), 64) for key in ("domain", "user_profile"))))
    if kind == AccountFinding.detail_type and detail.get("message"):
        return about_account(_text(detail["message"], 200))
    return _text(detail.get("role"), 64) if kind in {RoleFinding.detail_type, SubjectFinding.detail_type} else ""


def _resource(about: str, partition: str, account: str, region: str) -> dict[str, Any]:
    """The resource of a finding: an account, a domain or user profile by its ARN, or a role.

    A role has its name as ID, because events do not have the path that its ARN needs.
    """
    place = {"Partition": partition, "Region": region}
    if about.startswith(ACCOUNT_WIDE):
        return {"Type": "AwsAccount", "Id": f"AWS::::Account:{account}"} | place
    if "/" not in about and not about.startswith("d-") and about not in _ALL_DOMAINS:
        named = {"Details": {"AwsIamRole": {"RoleName": about}}} if matched(ROLE_NAME, about) else {}
        return {"Type": "AwsIamRole", "Id": f"{account}/{about}"} | named | place
    kind = "user-profile" if "/" in about else "domain"
    return {"Type": "Other", "Id": f"arn:{partition}:sagemaker:{region}:{account}:{kind}/{about.lower()}"} | place
