"""Generated reports: an account of any size, with the same content each time."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rolewarden import __version__
from rolewarden.bindings import USER_PROFILE
from rolewarden.guardrails_file import load
from rolewarden.origin import Origin, Trigger
from rolewarden.own_events import PolicyRestored, RoleContested, RoleFinding, RoleRemediated
from rolewarden.policies import compile_rules, policy_arn
from rolewarden.verdicts import RECOMMENDATIONS, Outcome, Reason, Remediation, Verdict
from rolewarden_cli.access import AccessMatrix, Decision, Route, Row, Statement
from rolewarden_cli.history import Entry
from rolewarden_cli.models import BEDROCK, JUMPSTART, Model
from rolewarden_cli.plan import EndingExemption, Plan, PlannedPolicy, PlannedRole, SharedRole
from rolewarden_cli.report import Provenance, Report
from rolewarden_cli.status import ContestedRole, Status, SweepSeen

from tests.conftest import ROOT, TODAY

ACCOUNT = "111122223333"
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=60)
DOMAINS = ("analytics", "finance", "marketing", "research", "supply-chain")
ACTORS = ("user/mallory", "user/terraform-ci", "role/onboarding", "role/AWSReservedSSO_Admin", "user/platform-team")
KINDS = (
    RoleRemediated.detail_type,
    RoleRemediated.detail_type,
    RoleRemediated.detail_type,
    RoleFinding.detail_type,
    PolicyRestored.detail_type,
    RoleContested.detail_type,
)
PROVIDERS = ("amazon.nova", "anthropic.claude", "cohere.command", "meta.llama", "mistral.mistral")

PROVENANCE = Provenance(
    caller=f"arn:aws:sts::{ACCOUNT}:assumed-role/Auditor/ada",
    place="AWS",
    version=__version__,
    guardrails_file="layers/guardrails/guardrails.yaml",
    digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    history_since=SINCE,
)

FREE = Decision((Route("on demand", True, (Statement("AmazonBedrockFullAccess", "", "statement 1", {}),)),))
CLOSED = Decision((Route("hub", False, ()),))
"""Nothing allows it."""
BY_SCP = Decision((Route("on demand", False, (), denied_by_scp=True, undecided=("aws:SourceVpce",)),))
"""A service control policy denies it, at least from where no VPC endpoint is."""


def denied(policy: str, sid: str) -> Decision:
    statement = Statement(policy, policy_arn(policy, "aws", ACCOUNT), sid, {"Effect": "Deny"})
    return Decision((Route("on demand", False, (statement,)),))


UNLISTED = denied("only-nova-and-sonnet", "BedrockUnlistedModels")
NONE_AT_ALL = denied("no-generative-ai", "BedrockModels")


def models(number: int) -> tuple[Model, ...]:
    bedrock = sorted(f"{PROVIDERS[n % 5]}-{n // 5 + 1}-v1:0" for n in range(number * 7 // 10))
    hub = [f"huggingface-llm-example-{n}b-instruct" for n in range(number - len(bedrock))]
    return (*(Model(name, BEDROCK) for name in bedrock), *(Model(name, JUMPSTART) for name in hub))


def decision(domain: str, verdict: Verdict, model: Model) -> Decision:
    if verdict is not Verdict.COMPLIANT:
        return FREE
    if model.family == JUMPSTART:
        return CLOSED if domain == "finance" else FREE
    if domain in {"research", "marketing"}:
        return FREE if model.id.startswith(("amazon", "anthropic")) else UNLISTED
    return BY_SCP if domain == "supply-chain" else NONE_AT_ALL


def row(domain: str, profile: str, role: str) -> Row:
    return Row(ACCOUNT, "us-east-1", f"d-{domain}", domain, profile, USER_PROFILE, role)


def planned(role: str, verdict: Verdict, **told: Any) -> PlannedRole:
    """A role in a plan. If it is not compliant, it lacks only-nova-and-sonnet."""
    lacks = verdict in {Verdict.DRIFTED, Verdict.UNENFORCEABLE}
    values: dict[str, Any] = {
        "required": ("only-nova-and-sonnet",) if verdict is not Verdict.EXEMPT else (),
        "missing": ("only-nova-and-sonnet",) if lacks else (),
        "before": verdict,
        "verdict": Verdict.COMPLIANT if verdict is Verdict.DRIFTED else verdict,
        "remediation": Remediation.ATTACHED if verdict is Verdict.DRIFTED else Remediation.NONE,
        "reason": Reason.QUOTA if verdict is Verdict.UNENFORCEABLE else None,
        "origin": Origin(Trigger.OPERATOR),
    }
    return PlannedRole(Outcome(account=ACCOUNT, role=role, **{**values, **told}), (), 3, 10)


def entry(at: datetime, kind: str = RoleRemediated.detail_type, about: str = "CanvasRosa", **told: Any) -> Entry:
    values: dict[str, Any] = {
        "verdict": "compliant",
        "remediation": "attached",
        "policies": ("only-nova-and-sonnet",),
        "reason": "",
        "message": "",
        "recommendation": "",
        "event": "DetachRolePolicy",
        "actor": f"arn:aws:iam::{ACCOUNT}:user/mallory",
        "source_address": "203.0.113.7",
        "row": {},
    }
    return Entry(at, kind, ACCOUNT, about, **{**values, **told})


def generated(profiles: int = 500, width: int = 100) -> Report:
    """A report of an account with so many user profiles and models. A few profiles have problems."""
    chance = random.Random(7)
    columns = models(width)
    verdicts: dict[str, Verdict] = {}
    rows, decisions = [], {}
    worse = (Verdict.DRIFTED, Verdict.UNENFORCEABLE, Verdict.EXEMPT)
    for n in range(profiles):
        domain = DOMAINS[n % len(DOMAINS)]
        role = f"Canvas-{domain}" if n % 3 else f"Canvas-{domain}-{n:03}"
        verdict = verdicts.setdefault(role, chance.choices((Verdict.COMPLIANT, *worse), (94, 2, 2, 2))[0])
        rows.append(row(domain, f"user-{n:03}", role))
        decisions[role] = tuple(decision(domain, verdict, model) for model in columns)
    history = tuple(
        entry(
            NOW - timedelta(hours=chance.expovariate(1 / 300) % (24 * 60)),
            chance.choice(KINDS),
            chance.choice(sorted(verdicts) or ["Canvas"]),
            actor=f"arn:aws:iam::{ACCOUNT}:{chance.choices(ACTORS, (8, 5, 3, 2, 1))[0]}",
        )
        for _ in range(240)
    )
    rules = load(ROOT / "layers/guardrails/guardrails.yaml", today=TODAY)
    policies = compile_rules(rules, "aws")
    exempt = tuple(role for role, verdict in verdicts.items() if verdict is Verdict.EXEMPT)
    plan = Plan(
        ACCOUNT,
        ("us-east-1",),
        NOW,
        deployed=True,
        policies=tuple(PlannedPolicy(policy.name, "unchanged") for policy in policies),
        roles=tuple(planned(role, verdict) for role, verdict in sorted(verdicts.items())),
        shared=(SharedRole(ACCOUNT, "us-east-1", "d-research", "research", "user-003", "Canvas-research",
                           ("no-generative-ai",), RECOMMENDATIONS[Reason.SHARES_ROLE]),),
        exemptions=(EndingExemption("Canvas-breakglass", date(2026, 12, 1), 6, "incident 4711", exempt[:1]),),
        switches=(),
        unread=(),
    )  # fmt: skip
    sweep = SweepSeen(NOW - timedelta(minutes=24), {"roles": len(verdicts), "exempt": len(exempt)}, missed=False)
    contested = ContestedRole("Canvas-finance", 4, NOW - timedelta(hours=7), (f"arn:aws:iam::{ACCOUNT}:user/mallory",))
    status = Status(ACCOUNT, "us-east-1", NOW, sweep, None, len(verdicts), len(exempt), (contested,), (), 5)
    access = AccessMatrix(ACCOUNT, ("us-east-1",), NOW, "live", columns, tuple(rows), decisions, 48)
    return Report(PROVENANCE, plan, access, history, policies, status)
