"""Generated reports: an account of any size, with the same content each time.

As a program, it writes the example report of the documentation site to the file that the command names: `make docs`.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rolewarden import __version__
from rolewarden.bindings import DEFAULT_USER, USER_PROFILE
from rolewarden.canary import DrillKind
from rolewarden.changes import digest_of_rules
from rolewarden.guardrails import Exemption
from rolewarden.guardrails_file import load
from rolewarden.origin import Origin, Trigger
from rolewarden.own_events import (
    AccountFinding,
    DrillMeasured,
    PolicyRestored,
    RoleContested,
    RoleFinding,
    RoleRemediated,
    RulesChanged,
)
from rolewarden.policies import compile_rules, policy_arn
from rolewarden.rules_log import document_in
from rolewarden.verdicts import RECOMMENDATIONS, Outcome, Reason, Remediation, Verdict
from rolewarden_cli.access import AccessMatrix, Decision, Route, Row, Statement
from rolewarden_cli.figures import Latencies, of_history
from rolewarden_cli.history import Entry
from rolewarden_cli.models import BEDROCK, JUMPSTART, Model
from rolewarden_cli.organization import UnreachedAccount
from rolewarden_cli.plan import EndingExemption, Plan, PlannedPolicy, PlannedRole, SharedRole
from rolewarden_cli.report import AccountReport, Provenance, Report, render
from rolewarden_cli.report.model import AccountScps, AttachedScp, Watch
from rolewarden_cli.report.snapshot import EarlierReport, snapshot_of
from rolewarden_cli.stack import StackRules
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

RULES_FILE = ROOT / "layers/guardrails/guardrails.yaml"

PROVENANCE = Provenance(
    caller=f"arn:aws:sts::{ACCOUNT}:assumed-role/Auditor/ada",
    place="AWS",
    version=__version__,
    guardrails_file="layers/guardrails/guardrails.yaml",
    digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    history_since=SINCE,
    rules_text=RULES_FILE.read_text(encoding="utf-8"),
    rules_digest=digest_of_rules(document_in(RULES_FILE)),
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


def row(domain: str, profile: str, role: str, account: str = ACCOUNT) -> Row:
    return Row(account, "us-east-1", f"d-{domain}", domain, profile, USER_PROFILE, role)


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
        "row": {"seconds_since_event": 9},
    }
    return Entry(at, kind, ACCOUNT, about, **{**values, **told})


def recorded_entry(at: datetime, kind: str, role: str, actor: str) -> Entry:
    """An entry with the values that its kind has in a history."""
    if kind == PolicyRestored.detail_type:
        told = {"event": "CreatePolicyVersion", "remediation": "replaced", "verdict": "", "row": {}}
        return entry(at, kind, "only-nova-and-sonnet", actor=actor, **told)
    if kind == RoleFinding.detail_type:
        told = {
            "event": "AttachRolePolicy",
            "remediation": "",
            "verdict": "unenforceable",
            "reason": Reason.QUOTA.value,
        }
        return entry(at, kind, role, actor=actor, **told)
    return entry(at, kind, role, actor=actor)


def drill(at: datetime, region: str = "us-east-1") -> Entry:
    """A full drill that EnforceFunction heard after 6 seconds, and remediated after one more."""
    row = {"region": region, "milliseconds": 6000, "remediation_milliseconds": 1000, "drill": DrillKind.FULL.value}
    return entry(at, DrillMeasured.detail_type, "rolewarden-canary", actor="", event="Drill", row=row)


def rules_changed(at: datetime) -> Entry:
    """A change of the rules."""
    return entry(
        at,
        RulesChanged.detail_type,
        "rules",
        event="ExecuteChangeSet",
        actor=f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/olga",
        message="+28 models for domain research",
        earlier_digest="ada45860848c",
        digest=PROVENANCE.rules_digest,
        changes=("domain research: can now use 28 models", "  amazon.nova-*"),
        remediation="",
        verdict="",
    )


def changed(report: Report, **values: Any) -> Report:
    """The report of one account with other values of that account."""
    [account] = report.accounts
    return replace(report, accounts=(replace(account, **values),))


def generated(profiles: int = 500, width: int = 100, account: str = ACCOUNT) -> Report:
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
        rows.append(row(domain, f"user-{n:03}", role, account))
        decisions[role] = tuple(decision(domain, verdict, model) for model in columns)
    history = tuple(
        recorded_entry(
            NOW - timedelta(hours=chance.expovariate(1 / 300) % (24 * 60)),
            chance.choice(KINDS),
            chance.choice(sorted(verdicts) or ["Canvas"]),
            f"arn:aws:iam::{ACCOUNT}:{chance.choices(ACTORS, (8, 5, 3, 2, 1))[0]}",
        )
        for _ in range(240)
    )
    recorded = (
        *history,
        rules_changed(NOW - timedelta(days=9)),
        *(drill(NOW - timedelta(days=n, hours=2)) for n in range(20)),
    )
    exempt = tuple(role for role, verdict in verdicts.items() if verdict is Verdict.EXEMPT)
    loaded = load(RULES_FILE, today=TODAY)
    reasons = ("incident 4711", "migration of the analytics domain", "evaluation of new models")
    rules = loaded._replace(
        exemptions=tuple(
            Exemption(role, date(2026, 12, 1 + n), reasons[n % 3], account, ticket=f"SEC-{100 + n}",
                      approved_by="Olga Ivanova" if n % 2 == 0 else "")
            for n, role in enumerate(exempt)
        )
    )  # fmt: skip
    policies = compile_rules(rules, "aws")
    plan = Plan(
        account,
        ("us-east-1",),
        NOW,
        deployed=True,
        policies=tuple(PlannedPolicy(policy.name, "unchanged") for policy in policies),
        roles=tuple(planned(role, verdict) for role, verdict in sorted(verdicts.items())),
        shared=(SharedRole(account, "us-east-1", "d-research", "research", "user-003", "Canvas-research",
                           ("no-generative-ai",), RECOMMENDATIONS[Reason.SHARES_ROLE]),),
        exemptions=(EndingExemption("Canvas-breakglass", date(2026, 12, 1), 6, "incident 4711", exempt[:1]),),
        switches=(),
        unread=(),
    )  # fmt: skip
    sweep = SweepSeen(NOW - timedelta(minutes=24), {"roles": len(verdicts), "exempt": len(exempt)}, missed=False)
    sweeps = tuple(replace(sweep, began=NOW - timedelta(hours=n, minutes=24)) for n in range(100, -1, -1))
    contested = ContestedRole("Canvas-finance", 4, NOW - timedelta(hours=7), (f"arn:aws:iam::{ACCOUNT}:user/mallory",))
    status = Status(account, "us-east-1", NOW, sweep, None, len(verdicts), len(exempt), (contested,), (), 5,
                    Latencies(of_history(recorded, NOW), "history"), sweeps=sweeps)  # fmt: skip
    access = AccessMatrix(account, ("us-east-1",), NOW, "live", columns, tuple(rows), decisions, 48)
    watch = Watch((("EventPathsAlarm", "OK"), ("HeartbeatAlarm", "OK")), "1h", ("us-east-1",))
    prevention = AccountScps((AttachedScp("FullAWSAccess", of_rules=False),))
    found = AccountReport(plan, access, recorded, status, watch, prevention)
    return Report(PROVENANCE, rules, policies, (found,))


def example() -> Report:
    """A report with something in each section, compared with an earlier one: the example of the documentation."""
    before = generated(14, 16)
    [account] = before.accounts
    states = {"Canvas-finance-006": Verdict.EXEMPT, "Canvas-research": Verdict.DRIFTED}
    columns = account.access.models
    decisions = {**account.access.decisions, **{role: (FREE,) * len(columns) for role in states}}
    roles = tuple(
        planned(one.outcome.role, states.get(one.outcome.role, Verdict.COMPLIANT)) for one in account.plan.roles
    )
    default = replace(account.access.rows[0], kind=DEFAULT_USER, user_profile="")
    access = replace(account.access, decisions=decisions, rows=(*account.access.rows, default))
    exemptions = (
        Exemption("Canvas-finance-006", date(2026, 12, 15), "quarterly forecast with all models", ACCOUNT,
                  ticket="SEC-123", approved_by="Olga Ivanova, data protection"),
        Exemption("CanvasBreakGlass", date(2027, 1, 31), "break-glass access", ACCOUNT),
    )  # fmt: skip
    plan = replace(account.plan, roles=roles, stack=StackRules.SAME, exemptions=(
        EndingExemption("Canvas-finance-006", date(2026, 12, 15), 20, exemptions[0].reason, ("Canvas-finance-006",)),
    ))  # fmt: skip
    history = (
        *account.history,
        entry(NOW - timedelta(hours=2), RoleFinding.detail_type, "Canvas-research", verdict="drifted", remediation=""),
        entry(NOW - timedelta(days=3), AccountFinding.detail_type, ACCOUNT, reason=Reason.CANARY.value, verdict=""),
    )
    report = replace(before, rules=before.rules._replace(exemptions=exemptions))
    report = changed(report, plan=plan, access=access, history=history)
    earlier = changed(before, access=replace(account.access, at=NOW - timedelta(days=30)))
    told = EarlierReport("report-2026-10.html", "c0ffee" * 10 + "0123", snapshot_of(earlier))
    return replace(report, comparison=told.compare(report))


def of_several(profiles: int = 12, width: int = 12) -> Report:
    """A report of three accounts that could be read, one of them without a stack, and of one that could not."""
    accounts = [generated(profiles, width, account) for account in ("111122223333", "222233334444", "333344445555")]
    *deployed, last = [found for report in accounts for found in report.accounts]
    last = replace(last, plan=replace(last.plan, deployed=False), history=(), status=None, watch=None)
    lost = UnreachedAccount("444455556666", "AccessDenied: not authorized to perform sts:AssumeRole")
    exemptions = tuple(one for report in accounts for one in report.rules.exemptions)
    rules = accounts[0].rules._replace(exemptions=exemptions)
    return replace(accounts[0], rules=rules, accounts=(*deployed, last), unreached=(lost,))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(example()), encoding="utf-8")
