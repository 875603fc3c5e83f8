"""A fallback boundary has the same denies as the guardrails that it takes the place of, and grants nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache

import pytest
import yaml
from hypothesis import given, reject
from hypothesis import strategies as st
from rolewarden import policies
from rolewarden.guardrails import AssistantsRule, BedrockRule, Guardrail, JumpStartRule, Rules
from rolewarden.guardrails_file import read_yaml
from rolewarden.packing import POLICY_SIZE, Document, size
from rolewarden.policies import (
    NAME_SIZE,
    BoundaryTooLong,
    boundary_name,
    compile_boundaries,
    compile_boundary,
    compile_guardrail,
    compile_rules,
    is_boundary,
)
from rolewarden_local.emulated.judge import judge

from tests.guardrails.probes import ALLOW_EVERYTHING, PAGE, REQUESTS, Request, context_of
from tests.guardrails.strategies import guardrails
from tests.volume import some

ADMINISTRATOR = {"AdministratorAccess": json.dumps(ALLOW_EVERYTHING)}


def rules(text: str) -> Rules:
    reading = read_yaml(text, today=date(2026, 1, 1))
    assert reading.rules is not None, reading.errors
    return reading.rules


@cache
def of_the_page(name: str) -> Guardrail:
    page = {"guardrails": {name: PAGE["guardrails"][name]}, "assignments": [{"guardrails": [name]}]}
    return rules(yaml.safe_dump(page)).guardrails[name]


def attached(some: Iterable[Guardrail]) -> dict[str, Document]:
    found = [policy for guardrail in some for policy in compile_guardrail(guardrail, "aws")]
    return {policy.name: policy.document for policy in found}


def allowed(policies: Mapping[str, Document | str], request: Request, boundary: str | None = None) -> bool:
    return all(
        judge(policies, request.action, resource, context_of(request, resource), boundary=boundary).allowed
        for resource in request.resources
    )


def differing(some: Sequence[Guardrail], requests: Iterable[Request]) -> list[str]:
    """The requests on which the boundary and the guardrails decide differently."""
    boundary = json.dumps(compile_boundary(some, "aws").document)
    carried = {**ADMINISTRATOR, **{name: json.dumps(document) for name, document in attached(some).items()}}
    return [
        f"{request.action}, {request.why}"
        for request in requests
        if allowed(ADMINISTRATOR, request, boundary) != allowed(carried, request)
    ]


TOO_LONG = {"j-none-hubs"}
"""Guardrails of the page whose denies do not fit one policy."""
FITTING = [name for name in PAGE["guardrails"] if name not in TOO_LONG]


@pytest.mark.parametrize("name", sorted(TOO_LONG))
def test_a_guardrail_that_needs_two_policies_has_no_boundary(name: str) -> None:
    assert len(compile_guardrail(of_the_page(name), "aws")) == 2
    with pytest.raises(BoundaryTooLong):
        compile_boundary([of_the_page(name)], "aws")


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov"])
def test_a_guardrail_against_all_generative_ai_fits_one_policy_and_one_boundary(partition: str) -> None:
    complete = Guardrail("it", BedrockRule("deny-all"), JumpStartRule("deny-all"), assistants=AssistantsRule())
    assert len(compile_guardrail(complete, partition)) == 1
    assert size(compile_boundary([complete], partition).document) <= POLICY_SIZE
    assert differing([complete], REQUESTS) == []


@pytest.mark.parametrize("name", FITTING)
def test_an_administrator_can_do_the_same_under_the_boundary_as_under_the_guardrail(name: str) -> None:
    assert differing([of_the_page(name)], REQUESTS) == []


@pytest.mark.parametrize(
    "names",
    [
        ["b-none", "j-none"],
        ["b-deny", "b-allow"],
        ["b-allow", "a-none"],
        ["b-allow", "j-deny-canvas", "p-roles"],
        ["j-allow-canvas", "j-deny-canvas", "b-none-canvas"],
    ],
    ids="+".join,
)
def test_the_boundary_of_several_guardrails_denies_every_request_that_one_of_them_denies(names: list[str]) -> None:
    assert differing([of_the_page(name) for name in names], REQUESTS) == []


@pytest.mark.volume
@pytest.mark.parametrize("name", some(16, FITTING))
def test_the_boundary_allows_nothing_to_a_role_without_policies(name: str) -> None:
    boundary = json.dumps(compile_boundary([of_the_page(name)], "aws").document)
    assert not any(allowed({}, request, boundary) for request in REQUESTS)


several = st.one_of(st.tuples(guardrails("one")), st.tuples(guardrails("one"), guardrails("two")))


@given(several, st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=20))
def test_boundary_and_attachments_decide_alike(some: tuple[Guardrail, ...], requests: list[Request]) -> None:
    try:
        assert differing(some, requests) == []
    except BoundaryTooLong:
        reject()


@given(several)
def test_every_boundary_is_a_document_that_iam_accepts_and_is_the_same_for_the_same_set(
    some: tuple[Guardrail, ...],
) -> None:
    try:
        policy = compile_boundary(some, "aws")
    except BoundaryTooLong:
        reject()
    assert policy.text == compile_boundary(reversed(some), "aws").text
    assert size(policy.document) <= POLICY_SIZE
    first, *denies = policy.document["Statement"]
    assert {key: first[key] for key in ("Effect", "Action", "Resource")} == ALLOW_EVERYTHING["Statement"][0]
    assert {statement["Effect"] for statement in denies} == {"Deny"}
    sids = [statement["Sid"] for statement in policy.document["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() and sid.isascii() for sid in sids)
    assert len({json.dumps({**statement, "Sid": ""}) for statement in denies}) == len(denies)


def test_a_boundary_has_each_statement_of_its_guardrails_once_with_a_sid_of_its_own() -> None:
    one, two, three = (Guardrail(name, BedrockRule("deny", (f"{name}.model*",))) for name in ("one", "two", "three"))
    sids = [statement["Sid"] for statement in compile_boundary([one, two, three], "aws").document["Statement"]]
    assert [sid for sid in sids if sid.startswith("BedrockListedModels")] == [
        "BedrockListedModels1",
        "BedrockListedModels2",
        "BedrockListedModels3",
    ]
    assert sids.count("BedrockIndirect") == 1


FALLBACK = """
fallback: boundary
guardrails:
  b: {bedrock: {deny: all}}
  a: {jumpstart: {deny: all}}
  seen: {mode: observe, jumpstart: {deny: [x]}}
assignments:
  - {guardrails: [b, a], domains: [one]}
  - {guardrails: [a, b, seen], domains: [two]}
  - {guardrails: [seen], domains: [three]}
  - {guardrails: [], domains: [four]}
  - guardrails: [a]
"""


def test_each_set_of_guardrails_of_an_assignment_has_one_boundary() -> None:
    assert [policy.name for policy in compile_boundaries(rules(FALLBACK), "aws")] == ["boundary.a+b", "boundary.a"]


def test_boundaries_are_published_with_the_guardrails_and_only_if_the_file_asks_for_them() -> None:
    assert [policy.name for policy in compile_rules(rules(FALLBACK), "aws")] == [
        "b", "a", "seen", "boundary.a+b", "boundary.a",
    ]  # fmt: skip
    for off in ("", "fallback: none"):
        asked = compile_rules(rules(FALLBACK.replace("fallback: boundary", off)), "aws")
        assert [policy.name for policy in asked] == ["b", "a", "seen"]


def test_a_set_that_exceeds_one_policy_has_no_boundary_and_the_others_have_theirs() -> None:
    long = [f"maker{number}.model-with-a-long-name-{number}*" for number in range(40)]
    text = yaml.safe_dump(
        {
            "fallback": "boundary",
            "guardrails": {"long": {"bedrock": {"deny": long}}, "short": {"bedrock": {"deny": "all"}}},
            "assignments": [{"guardrails": ["long"], "domains": ["one"]}, {"guardrails": ["short"]}],
        }
    )
    assert [policy.name for policy in compile_boundaries(rules(text), "aws")] == ["boundary.short"]


def test_a_name_too_long_for_iam_is_a_digest_that_the_order_does_not_change() -> None:
    short, long = ["a", "b"], [letter * 60 for letter in "abc"]
    assert boundary_name(short) == boundary_name(reversed(short)) == "boundary.a+b"
    assert boundary_name(long) == boundary_name(reversed(long))
    assert len(boundary_name(long)) == len("boundary.") + 32
    assert boundary_name(long) != boundary_name([*long[:2], "d" * 60])
    assert len(boundary_name(["a" * 59, "b" * 59])) == NAME_SIZE
    assert boundary_name(["a" * 59, "b" * 60]).count("+") == 0


def test_a_guardrail_that_needs_several_policies_may_fit_one_boundary_only_if_it_is_short_enough() -> None:
    listed = tuple(f"maker{number}.model-with-a-long-name-{number}*" for number in range(40))
    with pytest.raises(BoundaryTooLong, match=r"^takes [1-9]\d,\d{3} of the 6,144 characters"):
        compile_boundary([Guardrail("long", BedrockRule("deny", listed))], "aws")
    assert compile_boundary([Guardrail("j", jumpstart=JumpStartRule("deny-all"))], "aws").name == "boundary.j"


def test_a_boundary_may_fill_its_policy_to_the_last_character(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [Guardrail("b", BedrockRule("deny-all"))]
    whole = compile_boundary(some, "aws")
    monkeypatch.setattr(policies, "POLICY_SIZE", size(whole.document))
    assert compile_boundary(some, "aws") == whole
    monkeypatch.setattr(policies, "POLICY_SIZE", size(whole.document) - 1)
    with pytest.raises(BoundaryTooLong):
        compile_boundary(some, "aws")


def test_a_boundary_is_recognized_by_its_name_and_a_guardrail_is_not_mistaken_for_one() -> None:
    assert is_boundary(boundary_name(["a"]))
    assert not any(is_boundary(policy) for policy in attached(map(of_the_page, PAGE["guardrails"])))


def test_boundaries_of_another_partition_name_its_models() -> None:
    found = rules("fallback: boundary\nguardrails: {a: {bedrock: {deny: [x.y]}}}\nassignments: [{guardrails: [a]}]\n")
    [policy] = compile_boundaries(found, "aws-cn")
    boundary = json.dumps(policy.document)
    model = Request("", "bedrock:InvokeModel", ["arn:aws-cn:bedrock:cn-north-1::foundation-model/x.y"])
    other = Request("", "bedrock:InvokeModel", ["arn:aws-cn:bedrock:cn-north-1::foundation-model/x.z"])
    assert not allowed(ADMINISTRATOR, model, boundary)
    assert allowed(ADMINISTRATOR, other, boundary)
