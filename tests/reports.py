"""Reports to look at: a generated account of any size, the same each time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from rolewarden.guardrails import read_yaml
from rolewarden.policies import compile_rules
from rolewarden.verdicts import CURES, Reason, Verdict
from rolewarden_cli.report import Decision, Finding, Happening, Matrix, Model, PolicyState, Provenance, Report, Row
from rolewarden_cli.report.model import Cell

from tests.conftest import ROOT, TODAY

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
DOMAINS = ("analytics", "finance", "marketing", "research", "supply-chain")
ACTORS = ("terraform-ci", "mallory", "onboarding", "AWSReservedSSO_Admin", "platform-team")
KINDS = ("Role Remedied", "Role Remedied", "Role Remedied", "Role Finding", "Policy Restored", "Role Contested")
PROVIDERS = ("amazon.nova", "anthropic.claude", "cohere.command", "meta.llama", "mistral.mistral")


def provenance(**told: object) -> Provenance:
    values: dict[str, object] = {
        "account": "111122223333",
        "region": "us-east-1",
        "generated": NOW,
        "caller": "arn:aws:sts::111122223333:assumed-role/Auditor/ada",
        "version": "0.1.0",
        "stack": "rolewarden",
        "guardrails_file": "layers/guardrails/guardrails.yaml",
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "models_from": "Models from the list shipped with rolewarden.",
        "judged_by": "Judged by IAM's policy simulator.",
        "history_since": NOW - timedelta(days=60),
        "last_sweep": NOW - timedelta(minutes=24),
    }
    return Provenance(**{**values, **told})


def models(number: int) -> tuple[Model, ...]:
    bedrock = [Model(f"{PROVIDERS[n % 5]}-{n // 5 + 1}-v1:0", "bedrock") for n in range(number * 7 // 10)]
    bedrock.sort(key=lambda model: model.id)
    hub = [Model(f"huggingface-llm-example-{n}b-instruct", "jumpstart") for n in range(number - len(bedrock))]
    return (*bedrock, *hub)


def generated(profiles: int = 500, width: int = 100) -> Report:
    """An account with so many user profiles and models, of which a few are in trouble."""
    chance = random.Random(7)
    columns = models(width)
    rows, cells, verdicts = [], {}, {}
    for n in range(profiles):
        domain = DOMAINS[n % len(DOMAINS)]
        role = f"Canvas-{domain}" if n % 3 else f"Canvas-{domain}-{n:03}"
        verdict = verdicts.setdefault(
            role,
            chance.choices(
                (Verdict.COMPLIANT, Verdict.DRIFTED, Verdict.UNENFORCEABLE, Verdict.EXEMPT), (94, 2, 2, 2)
            )[0],
        )
        rows.append(Row(domain, f"user-{n:03}", role, verdict))
        cells[role] = tuple(cell(domain, verdict, model) for model in columns)
    findings = tuple(
        Finding(
            about=f"role {role}",
            verdict=verdict,
            reason=Reason.QUOTA.value,
            cure=CURES[Reason.QUOTA],
            missing=("approved-models",),
            since=NOW - timedelta(days=3),
            actor="arn:aws:iam::111122223333:user/mallory",
        )
        for role, verdict in sorted(verdicts.items())
        if verdict is Verdict.UNENFORCEABLE
    )
    happenings = tuple(
        Happening(
            at=NOW - timedelta(hours=chance.expovariate(1 / 300) % (24 * 60)),
            kind=chance.choice(KINDS),
            about=f"role {chance.choice(sorted(verdicts))}",
            what="attached approved-models",
            event_name="DetachRolePolicy",
            actor=chance.choices(ACTORS, (8, 5, 3, 2, 1))[0],
        )
        for _ in range(240)
    )
    rules = read_yaml((ROOT / "layers/guardrails/guardrails.yaml").read_text(), today=TODAY).rules
    policies = tuple(
        PolicyState(policy.name, "in force", 40 + n, policy.document) for n, policy in enumerate(compile_rules(rules, "aws"))
    )
    matrix = Matrix(columns, tuple(rows), cells)
    return Report(provenance(), verdicts, matrix, findings, happenings, policies)


def cell(domain: str, verdict: Verdict, model: Model) -> Cell:
    if verdict in {Verdict.DRIFTED, Verdict.EXEMPT, Verdict.UNENFORCEABLE}:
        return Cell(Decision.ALLOWED)
    if model.family == "jumpstart":
        return Cell(Decision.NOT_ALLOWED) if domain == "finance" else Cell(Decision.ALLOWED)
    if domain in {"research", "marketing"} and model.id.startswith(("amazon", "anthropic")):
        return Cell(Decision.ALLOWED)
    if domain == "research":
        return Cell(Decision.DENIED, "approved-models BedrockUnlistedModels")
    return Cell(Decision.DENIED, "no-generative-ai BedrockModels")
