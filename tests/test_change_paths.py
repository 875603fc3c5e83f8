"""Each option of a guardrail shows up in `rolewarden diff`, with the access path that it opens or closes."""

from __future__ import annotations

import json
from collections.abc import Set
from datetime import date
from typing import NamedTuple

import pytest
from rolewarden.changes import AccessChange, compare_rules
from rolewarden.denials import Denials, targets_of
from rolewarden.guardrails import AssistantsRule, BedrockRule, Guardrail, JumpStartRule, Rules
from rolewarden.guardrails_file import read_yaml
from rolewarden.policies import compile_guardrail
from rolewarden_local.emulated.judge import judge

from tests.guardrail_files import guardrail

DAY = date(2026, 11, 29)
OWN = "arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/a1"
OTHER = "arn:aws:bedrock:*:111122223333:application-inference-profile/b2"
FILTER = "arn:aws:bedrock:eu-central-1:111122223333:guardrail/abc123"
OTHER_FILTER = "arn:aws:bedrock:eu-central-1:111122223333:guardrail/def456:1"
PROVISIONED = "arn:aws:bedrock:eu-central-1:111122223333:provisioned-model/abc123"
CALLS = "calls of Bedrock models"
UNGUARDED = f"{CALLS} without an Amazon Bedrock Guardrail"
NOT_THROUGH = f"{CALLS} without an application inference profile"
JOBS_AND_MANTLE = {"batch jobs of Bedrock", "Bedrock's mantle endpoint"}


class Case(NamedTuple):
    """Two guardrails that differ in one option, and the access paths that the second one closes and opens."""

    option: str
    before: str
    after: str
    lost: Set[str] = frozenset()
    gained: Set[str] = frozenset()


def bedrock(
    option: str,
    before: str,
    after: str,
    lost: set[str],
    *,
    models: str = "allow: all",
    gained: set[str] | None = None,
) -> Case:
    was, now = (f"{{bedrock: {{{', '.join(filter(None, (models, one)))}}}}}" for one in (before, after))
    return Case(f"bedrock.{option}", was, now, lost, gained or set())


def jumpstart(option: str, before: str, after: str, lost: set[str], *, models: str = "deny: [meta-*]") -> Case:
    was, now = (f"{{jumpstart: {{{', '.join(filter(None, (models, one)))}}}}}" for one in (before, after))
    return Case(f"jumpstart.{option}", was, now, lost)


CASES = [
    bedrock("customization", "customization: allow", "",
            {"fine-tuning of Bedrock models", "customized Bedrock models"}),
    bedrock("customization", "customization: allow, regions: [eu-*]", "regions: [eu-*]",
            {"fine-tuning of Bedrock models", "customized Bedrock models"}),
    bedrock("indirect", "indirect: allow", "", {
        "agents, flows and knowledge bases of Bedrock", "reranking by Bedrock models",
        "models of AgentCore and other platforms",
    }),
    bedrock("allow_arns", f"allow_arns: ['{PROVISIONED}']", "", {PROVISIONED}, models="deny: all"),
    bedrock("allow_arns", f"allow_arns: ['{PROVISIONED}'], regions: [eu-*]", "regions: [eu-*]", {PROVISIONED},
            models="allow: [meta.*]"),
    bedrock("allow_arns", f"allow_arns: ['{OWN}']", "", {OWN}, models="allow: [meta.*]"),
    bedrock("batch", "", "batch: deny", {"batch jobs of Bedrock"}),
    bedrock("batch", "regions: [eu-*]", "batch: deny, regions: [eu-*]", {"batch jobs of Bedrock"}),
    bedrock("rerank", "rerank: allow", "", {"reranking by Bedrock models"}),
    bedrock("profiles", "", "profiles: [eu, us]", {
        *(f"{CALLS} through inference profiles of {one}" for one in ("apac", "au", "ca", "global", "jp", "us-gov")),
        "other names for Bedrock models",
    }),
    bedrock("profiles", "profiles: [eu]", "profiles: [global]", {f"{CALLS} through inference profiles of eu"},
            gained={f"{CALLS} through inference profiles of global"}),
    bedrock("regions", "", "regions: [eu-central-1]", {f"{CALLS} in other regions"}),
    bedrock("regions", "profiles: [eu]", "profiles: [eu], regions: [eu-*]", {f"{CALLS} in other regions"}),
    bedrock("regions", "regions: [eu-central-1, eu-west-1]", "regions: [eu-central-1, us-*]",
            {f"{CALLS} in eu-west-1"}, gained={f"{CALLS} in us-*"}),
    bedrock("only_through", "", f"only_through: ['{OWN}']",
            {NOT_THROUGH, "other names for Bedrock models", *JOBS_AND_MANTLE}),
    bedrock("only_through", "customization: allow", f"only_through: ['{OWN}'], customization: allow",
            {NOT_THROUGH, "other names for Bedrock models", "customized Bedrock models", *JOBS_AND_MANTLE}),
    bedrock("only_through", f"only_through: ['{OWN}']", f"only_through: ['{OTHER}']", {f"{CALLS} through {OWN}"},
            gained={f"{CALLS} through {OTHER}"}),
    bedrock("require_bedrock_guardrail", "", f"require_bedrock_guardrail: ['{FILTER}']", {UNGUARDED, *JOBS_AND_MANTLE}),
    bedrock("require_bedrock_guardrail", f"require_bedrock_guardrail: ['{FILTER}']",
            f"require_bedrock_guardrail: ['{OTHER_FILTER}']", {f"{CALLS} with {FILTER}"},
            gained={f"{CALLS} with {OTHER_FILTER}"}),
    jumpstart("customization", "customization: allow", "", {
        "serverless customization of JumpStart models", "jobs that prepare data for JumpStart models",
    }),
    jumpstart("data_jobs", "data_jobs: allow", "", {"jobs that prepare data for JumpStart models"}),
    jumpstart("indirect", "indirect: allow", "", {"gateways and routers of hosted models"}),
    jumpstart("weights", "", "weights: deny", {"the files of the listed JumpStart models"}),
    jumpstart("weights", "", "weights: deny", {"the files of other JumpStart models"}, models="deny: all"),
    jumpstart("autopilot", "", "autopilot: deny", {"fine-tuning of JumpStart models by Canvas"}),
    jumpstart("hubs", "hubs: [ours]", "", {"JumpStart models of the hub ours"}, models="deny: all"),
    jumpstart("gated", "", "gated: deny", {"gated JumpStart models by reference"}),
    Case("assistants", "{bedrock: {deny: all}}", "{bedrock: {deny: all}, assistants: {deny: all}}",
         {"AWS's assistants in Canvas", "AWS's assistants outside Canvas"}),
    Case("pass_roles", "{bedrock: {deny: [meta.*]}}", "{bedrock: {deny: [meta.*]}, pass_roles: [Canvas*]}",
         {"work as another role"}),
    Case("api_keys", "{bedrock: {deny: [meta.*]}}", "{bedrock: {deny: [meta.*]}, api_keys: deny}",
         {"calls of models with an API key", "long-term API keys for models"}),
    Case("other_profiles", "{bedrock: {deny: [meta.*]}}", "{bedrock: {deny: [meta.*]}, other_profiles: deny}",
         {"applications of other user profiles"}),
    Case("shared_spaces", "{bedrock: {deny: [meta.*]}}", "{bedrock: {deny: [meta.*]}, shared_spaces: deny}",
         {"shared spaces"}),
    Case("routes", "{routes: canvas, jumpstart: {deny: all, autopilot: deny}}",
         "{jumpstart: {deny: all, autopilot: deny}}",
         {"endpoints that serve JumpStart models", "JumpStart models of the public hub",
          "gated JumpStart models by reference", "other names for JumpStart models in a hub",
          "gateways and routers of hosted models", "serverless customization of JumpStart models",
          "jobs that prepare data for JumpStart models"}),
]  # fmt: skip

MODELS = {"kind", "patterns"}
"""The fields of a rule that `test_changes` compares model by model."""

NOT_PATHS = {
    "name", "mode", "bedrock", "jumpstart", "exempt_roles", "fixed_tags", "trusted_taggers", "except_users",
    "only_users",
}  # fmt: skip
"""The fields of a guardrail that are no access path of their own. `test_changes` has them."""


def rules(body: str) -> Rules:
    reading = read_yaml(guardrail(body), today=DAY)
    assert reading.rules, reading.errors
    return reading.rules


def access(case: Case) -> AccessChange:
    [found] = compare_rules(rules(case.before), rules(case.after), "aws", DAY).guardrails
    return found.access


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.option}: {case.after}")
def test_an_option_closes_its_access_paths_and_no_other(case: Case) -> None:
    found = access(case)
    paths = [set(one.get("path", ())) for one in (found.lost, found.gained)]
    assert paths == [case.lost, case.gained]
    assert {*found.lost, *found.gained} == {"path"}
    back = access(case._replace(before=case.after, after=case.before))
    assert (back.lost, back.gained) == (found.gained, found.lost)


def test_each_option_of_a_guardrail_has_a_case() -> None:
    assert AssistantsRule._fields == ("kind",)
    options = {f"bedrock.{field}" for field in BedrockRule._fields if field not in MODELS}
    options |= {f"jumpstart.{field}" for field in JumpStartRule._fields if field not in MODELS}
    options |= {field for field in Guardrail._fields if field not in NOT_PATHS}
    assert {case.option for case in CASES} == options


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.option}: {case.after}")
def test_each_access_path_is_open_exactly_if_an_evaluator_that_is_not_ours_allows_one_of_its_calls(case: Case) -> None:
    found = rules(case.before), rules(case.after)
    targets = [target for target in targets_of(found, "aws") if target.name in case.lost | case.gained]
    assert len(targets) == len(case.lost | case.gained)
    for one in found:
        compiled = compile_guardrail(one.guardrails["a"], "aws")
        policies = {policy.name: json.dumps(policy.document) for policy in compiled}
        denials = Denials(statement for policy in compiled for statement in policy.document["Statement"])
        for target in targets:
            denied = [any(is_denied(policies, request) for request in call) for call in target.calls]
            assert denials.covers(target) == all(denied), target


def is_denied(policies, request) -> bool:
    context = {key: list(value) if isinstance(value, tuple) else value for key, value in request.context.items()}
    return judge(policies, request.action, request.resource, context).decision == "explicitDeny"


def test_the_geographies_of_profiles_share_a_line() -> None:
    change = compare_rules(rules("{bedrock: {deny: [meta.*]}}"), rules("{bedrock: {deny: [meta.*], profiles: [eu]}}"),
                           "aws", DAY)  # fmt: skip
    [line] = [line for line in change.guardrails[0].lines() if "inference profiles" in line]
    assert line == f"  - {CALLS} through inference profiles of apac, au, ca, global and 3 more"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("regions: [eu-central-1, ap-northeast-1]", "regions: [us-east-1, ap-northeast-1]"),
        ("regions: [eu-*-1]", "regions: [us-east-1, eu-central-*]"),
        (f"require_bedrock_guardrail: ['{FILTER}x', '{FILTER}']",
         f"require_bedrock_guardrail: ['{FILTER}', '{FILTER}y']"),
        (f"only_through: ['{OTHER}', '{OWN}']", f"only_through: ['{OWN}']"),
        ("regions: [eu-central-1]", f"require_bedrock_guardrail: ['{FILTER}']"),
    ],
)  # fmt: skip
def test_models_that_two_guardrails_together_leave_open_are_not_lost(one: str, other: str) -> None:
    both = f"guardrails:\n  a: {{bedrock: {{allow: all, {one}}}}}\n  b: {{bedrock: {{allow: all, {other}}}}}\n"
    before, after = (
        read_yaml(f"{both}assignments:\n- guardrails: {names}\n", today=DAY) for names in ("[a]", "[a, b]")
    )
    assert before.rules
    assert after.rules
    changes = compare_rules(before.rules, after.rules, "aws", DAY).assignments
    assert all("bedrock" not in change.access.lost for change in changes)
