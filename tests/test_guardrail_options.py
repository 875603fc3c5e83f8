"""Mistakes in the options of guardrails for assistants, hubs, jobs and roles."""

from __future__ import annotations

import pytest
from botocore.session import Session
from rolewarden.guardrails import BedrockRule, Guardrail

from tests.guardrail_files import WAY_OUT, guardrail, one_line, yaml

NO_ASSISTANT = "an assistant does not show its model: write `assistants: {deny: all}`"
MISTAKES = [
    (guardrail("{assistants: {}}"), 2, "guardrails.a.assistants.deny", NO_ASSISTANT),
    (guardrail("{assistants: {deny: [q]}}"), 2, "guardrails.a.assistants.deny", NO_ASSISTANT),
    (guardrail("{assistants: {allow: all, deny: all}}"), 2, "guardrails.a.assistants.allow", "unknown key"),
    (guardrail("{assistants: all}"), 2, "guardrails.a.assistants", "must be a mapping with `deny`"),
    (guardrail("{pass_roles: []}"), 2, "guardrails.a.pass_roles", "is empty: write a list of patterns of role names"),
    (guardrail("{pass_roles: ['*']}"), 2, "guardrails.a.pass_roles[1]", "`*` matches every role"),
    (guardrail("{pass_roles: [role/Canvas]}"), 2, "guardrails.a.pass_roles[1]", "is not a role name: write `Canvas`"),
    (guardrail("{jumpstart: {deny: [x], hubs: [ours]}}"), 2, "guardrails.a.jumpstart.hubs",
     "`hubs` is an exception from `deny: all`"),
    (guardrail("{jumpstart: {deny: all, hubs: [ours-*]}}"), 2, "guardrails.a.jumpstart.hubs[1]",
     "`ours-*` is not the name of a hub"),
    (guardrail("{jumpstart: {deny: all, hubs: [SageMakerPublicHub]}}"), 2, "guardrails.a.jumpstart.hubs[1]",
     "`SageMakerPublicHub` has every model of JumpStart"),
    (guardrail("{jumpstart: {deny: all, hubs: [ours], weights: deny}}"), 2, "guardrails.a.jumpstart.weights",
     "`weights: deny` with `hubs` would also deny the files of these hubs"),
    (guardrail("{jumpstart: {deny: [x], customization: allow, data_jobs: allow}}"), 2,
     "guardrails.a.jumpstart.data_jobs", "`customization: allow` already allows these jobs"),
    (guardrail("{jumpstart: {deny: all, indirect: deny}, routes: canvas}"), 2, "guardrails.a.jumpstart.indirect",
     "contradicts `routes: canvas`"),
    (guardrail("{jumpstart: {deny: all, data_jobs: deny}, routes: canvas}"), 2, "guardrails.a.jumpstart.data_jobs",
     "contradicts `routes: canvas`"),
    (guardrail("{jumpstart: {deny: all, gated: allow}}"), 2, "guardrails.a.jumpstart.gated",
     "`gated: allow` contradicts `deny: all`"),
    (guardrail("{jumpstart: {deny: [x], gated: deny}, routes: canvas}"), 2, "guardrails.a.jumpstart.gated",
     "contradicts `routes: canvas`"),
    (guardrail("{jumpstart: {allow: all, weights: deny}}"), 2, "guardrails.a.jumpstart.weights",
     "`weights: deny` with `allow` would also deny the files of the allowed models"),
    (guardrail("{jumpstart: {allow: all, customization: allow, indirect: allow}}"), 2, "guardrails.a.jumpstart.allow",
     "allows every model, and no option denies anything"),
    (guardrail("{jumpstart: {allow: all}, routes: canvas}"), 2, "guardrails.a.jumpstart.allow",
     "allows every model, and no option denies anything"),
    (guardrail("{bedrock: {allow: all, batch: deny}, routes: canvas}"), 2, "guardrails.a.bedrock.batch",
     "contradicts `routes: canvas`"),
    (guardrail("{api_keys: allow}"), 2, "guardrails.a", "denies nothing"),
    (guardrail("{api_keys: never}"), 2, "guardrails.a.api_keys", "`never` is not understood: write `deny` or `allow`"),
    (guardrail("{jumpstart: {deny: all, data_jobs: maybe}}"), 2, "guardrails.a.jumpstart.data_jobs",
     "`maybe` is not understood: write `deny` or `allow`"),
]  # fmt: skip


OWN = "arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/a1"
FILTER = "arn:aws:bedrock:eu-central-1:111122223333:guardrail/abc123"
PROVISIONED = "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123"


def bedrock(options: str, models: str = "allow: all") -> str:
    return guardrail(f"{{bedrock: {{{models}, {options}}}}}")


BEDROCK_MISTAKES = [
    (bedrock("profiles: []"), "profiles", "is empty: write a list of geographies"),
    (bedrock("profiles: eu"), "profiles", "must be a list of geographies, for example `[eu]`"),
    (bedrock("profiles: [eu.]"), "profiles[1]", "`eu.` is not the geography of a profile: write it as `eu`"),
    (bedrock("profiles: [us-gov.*]"), "profiles[1]", "write it as `us-gov`"),
    (bedrock("profiles: ['*']"), "profiles[1]", "`*` is not the geography of a profile"),
    (bedrock("profiles: [eu.anthropic.claude-v2]"), "profiles[1]", "write it as `eu`"),
    (bedrock("regions: []"), "regions", "is empty: write a list of regions"),
    (bedrock("regions: ['*']"), "regions[1]", "`*` is every region, so it restricts nothing"),
    (bedrock("regions: [eu]"), "regions[1]", "`eu` is not a region: write `eu-*`"),
    (bedrock("regions: [unspecified]"), "regions[1]", "`unspecified` is not a region"),
    (bedrock("regions: ['u*']"), "regions[1]", "`u*` is not a region"),
    (bedrock("regions: [EU-CENTRAL-1]"), "regions[1]", "`EU-CENTRAL-1` is not a region"),
    (bedrock("only_through: [team-a]"), "only_through[1]", "`team-a` is not an application inference profile"),
    (bedrock("only_through: ['*']"), "only_through[1]", "`*` is not an application inference profile"),
    (bedrock("only_through: [eu.amazon.nova-pro-v1:0]"), "only_through[1]", "write `profiles: [eu]` instead"),
    (bedrock("only_through: ['arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.amazon.nova-pro-v1:0']"),
     "only_through[1]", "is a profile of AWS: write `profiles: [us]` instead"),
    (bedrock(f"only_through: ['{OWN}'], profiles: [eu]"), "profiles", "`only_through` already excludes the profiles"),
    (bedrock("require_bedrock_guardrail: [abc123]"), "require_bedrock_guardrail[1]",
     "`abc123` is not an Amazon Bedrock Guardrail: write its ARN"),
    (bedrock("require_bedrock_guardrail: ['*']"), "require_bedrock_guardrail[1]", "write its ARN"),
    (bedrock(f"require_bedrock_guardrail: ['{FILTER}:DRAFT']"), "require_bedrock_guardrail[1]",
     f"write `{FILTER}`, which covers the draft and every version"),
    (bedrock(f"require_bedrock_guardrail: ['{FILTER}*']"), "require_bedrock_guardrail[1]", "write its ARN"),
    (bedrock("batch: maybe"), "batch", "`maybe` is not understood: write `deny` or `allow`"),
    (bedrock("rerank: allow, indirect: allow"), "rerank", "`indirect: allow` already allows reranking"),
    *((bedrock(f"{key}: ['{arn}'], {option}: allow"), option, f"`{option}: allow` contradicts `{key}`")
      for key, arn in (("only_through", OWN), ("require_bedrock_guardrail", FILTER)) for option in ("batch", "rerank")),
    *((bedrock(f"{key}: {value}", "deny: all"), key, f"`deny: all` leaves no model to which `{key}` could apply")
      for key, value in (("profiles", "[eu]"), ("regions", "[eu-west-1]"), ("only_through", f"['{OWN}']"),
                         ("require_bedrock_guardrail", f"['{FILTER}']"), ("batch", "deny"), ("rerank", "allow"))),
    (bedrock("customization: allow, indirect: allow"), "allow", "allows every model, and no option denies anything"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "words"), BEDROCK_MISTAKES)
def test_a_mistake_in_an_option_of_bedrock_names_its_place_and_a_solution(text: str, where: str, words: str) -> None:
    test_a_mistake_in_an_option_names_its_place_and_a_solution(text, 2, f"guardrails.a.bedrock.{where}", words)


VALID = [
    bedrock("customization: deny"),
    guardrail("{bedrock: {allow: ['*'], customization: deny}}"),
    guardrail("{bedrock: {allow: all}}"),
    guardrail("{jumpstart: {allow: all}}"),
    guardrail("{jumpstart: {allow: ['*'], customization: allow, indirect: allow, gated: deny}}"),
    bedrock("customization: allow, indirect: allow, batch: deny"),
    bedrock("customization: allow, indirect: allow, regions: [eu-*]"),
    bedrock(f"require_bedrock_guardrail: ['{FILTER}', '{FILTER}:12']"),
    bedrock("only_through: ['arn:aws:bedrock:*:*:application-inference-profile/*']"),
    bedrock(f"allow_arns: ['{PROVISIONED}'], regions: [us-gov-west-1], batch: deny", "deny: all"),
    bedrock("profiles: [us-gov]", "deny: [meta.x*]"),
    guardrail("{api_keys: deny}"),
]


@pytest.mark.parametrize("text", VALID)
def test_an_option_that_restricts_something_is_valid_without_a_warning(text: str) -> None:
    reading = yaml(text)
    assert reading.rules is not None, reading.errors
    assert reading.warnings == ()


def test_every_region_of_aws_is_a_region() -> None:
    session = Session()
    regions = [one for kind in session.get_available_partitions() for one in session.get_available_regions("ec2", kind)]
    assert {"ap-northeast-1", "us-gov-west-1", "cn-northwest-1"} <= set(regions)
    assert yaml(bedrock(f"regions: [{', '.join(regions)}]")).errors == ()


def test_the_forms_of_every_model_are_the_same_rule() -> None:
    found = [yaml(guardrail(f"{{bedrock: {{allow: {every}}}}}")) for every in ("all", "All", "['*']", "['*.*']")]
    assert {reading.rules.guardrails["a"] for reading in found if reading.rules} == {
        Guardrail("a", BedrockRule("allow-all"))
    }


def test_an_unknown_geography_is_a_warning_because_aws_adds_some() -> None:
    [problem] = yaml(bedrock("profiles: [eu, sa]")).warnings
    assert problem.where == "guardrails.a.bedrock.profiles[2]"
    assert "`sa` is not a geography that is known" in problem.message


@pytest.mark.parametrize(("text", "line", "where", "words"), MISTAKES)
def test_a_mistake_in_an_option_names_its_place_and_a_solution(text: str, line: int, where: str, words: str) -> None:
    reading = yaml(text)
    assert reading.rules is None
    [problem] = reading.errors
    assert (problem.line, problem.where) == (line, where)
    assert words in one_line(problem)
    assert WAY_OUT.search(problem.message), "the message names no correction"
    assert reading.warnings == ()
