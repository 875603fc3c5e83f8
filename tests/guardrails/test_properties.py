"""Properties of every guardrail, regardless of its lists."""

from __future__ import annotations

import itertools
import json
import random
import re
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rolewarden import packing, policies, vocabulary
from rolewarden.documents import digest
from rolewarden.guardrails import (
    Allowance,
    AssistantsRule,
    BedrockRule,
    Guardrail,
    JumpStartRule,
    Routes,
    RuleKind,
)
from rolewarden.matching import fewest, matches
from rolewarden.packing import POLICY_SIZE, Document, Statement, size
from rolewarden.policies import TooLong, compile_guardrail
from rolewarden_local.emulated import limits
from rolewarden_local.emulated.judge import runs_over_a_colon

from tests.guardrails import probes
from tests.guardrails.probes import ALLOW_EVERYTHING, REQUESTS, Request
from tests.guardrails.strategies import (
    bedrock_ids,
    bedrock_lists,
    bedrock_patterns,
    bedrock_rules,
    guardrails,
    jumpstart_ids,
    jumpstart_lists,
    jumpstart_patterns,
    jumpstart_rules,
    matching,
)

pytestmark = pytest.mark.long

GEOGRAPHIES = ("us", "eu", "apac", "us-gov", "global")
regions = st.sampled_from(["us-east-1", "eu-central-2", "ap-southeast-4", "me-central-1"])
geographies = st.sampled_from(GEOGRAPHIES)
uses = st.sampled_from(["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"])
tags = st.sampled_from(vocabulary.JUMPSTART_TAGS)


def allowed(documents: list[Document], request: Request) -> bool:
    carried = {str(number): document for number, document in enumerate([ALLOW_EVERYTHING, *documents])}
    return probes.allowed(carried, request)


def documents(guardrail: Guardrail) -> list[Document]:
    return [policy.document for policy in compile_guardrail(guardrail, "aws")]


def statements(guardrail: Guardrail) -> list[Statement]:
    return [statement for document in documents(guardrail) for statement in document["Statement"]]


@st.composite
def routes(draw: st.DrawFn, model: str) -> Request:
    """A request for `model` on Bedrock, with all resources that IAM authorizes."""
    region, action = draw(regions), draw(uses)
    here = f"arn:aws:bedrock:{region}::foundation-model/{model}"
    profile = f"arn:aws:bedrock:{region}:111122223333:inference-profile/"
    globally = f"arn:aws:bedrock:::foundation-model/{model}"
    elsewhere = f"arn:aws:bedrock:{draw(regions)}::foundation-model/{model}"
    return draw(
        st.sampled_from(
            [
                Request("on demand", action, [here]),
                Request("regional profile", action, [f"{profile}{draw(geographies)}.{model}", here, elsewhere]),
                Request("global profile", action, [f"{profile}global.{model}", here, globally]),
                Request("batch", "bedrock:CreateModelInvocationJob", [here]),
                Request("Mantle", "bedrock-mantle:CreateInference", ["*"], {"bedrock-mantle:Model": model}),
            ]
        )
    )  # fmt: skip


@given(st.data(), bedrock_lists)
def test_model_that_matches_a_deny_pattern_is_denied_by_every_route(
    data: st.DataObject, listed: tuple[str, ...]
) -> None:
    model = data.draw(matching(data.draw(st.sampled_from(listed))))
    request = data.draw(routes(model))
    assert not allowed(documents(Guardrail("it", BedrockRule("deny", listed))), request)


@given(st.data(), bedrock_lists)
def test_other_models_are_allowed_by_every_route(data: st.DataObject, listed: tuple[str, ...]) -> None:
    def is_another(model: str) -> bool:
        # A wildcard for a provider also matches the geography in the ID of an inference profile.
        return not any(matches(f"*{pattern}", f"{place}.{model}") for pattern in listed for place in GEOGRAPHIES)

    model = data.draw(bedrock_ids.filter(is_another))
    assert allowed(documents(Guardrail("it", BedrockRule("deny", listed))), data.draw(routes(model)))


@given(st.data(), bedrock_lists)
def test_under_an_allow_list_only_the_matching_models_are_allowed(data: st.DataObject, listed: tuple[str, ...]) -> None:
    model = data.draw(st.sampled_from(listed).flatmap(matching) | bedrock_ids)
    # AWS does not document whether a wildcard within a segment of an ARN matches a colon.
    assume(not any(runs_over_a_colon(f"model/{pattern}", f"model/{model}") for pattern in listed))
    request = data.draw(routes(model))
    expected = any(matches(pattern, model) for pattern in listed)
    assert allowed(documents(Guardrail("it", BedrockRule("allow", listed))), request) == expected


@given(st.data(), jumpstart_lists, tags, st.sampled_from(["deny", "allow"]))
def test_jumpstart_lists_decide_by_the_model_in_the_tag(
    data: st.DataObject, listed: tuple[str, ...], tag: str, kind: str
) -> None:
    model = data.draw((st.sampled_from(listed).flatmap(matching) | jumpstart_ids).filter(bool))
    made = ("CreateEndpoint", "CreateEndpointConfig", "CreateTrainingJob")
    action = data.draw(st.sampled_from([*made, "InvokeEndpoint"]))
    key = "RequestTag" if action in made else "ResourceTag"
    request = Request("", f"sagemaker:{action}", ["*"], {f"aws:{key}/{tag}": model})
    rule = JumpStartRule("deny" if kind == "deny" else "allow", listed)
    listed_one = any(matches(pattern, model) for pattern in listed)
    assert allowed(documents(Guardrail("it", jumpstart=rule)), request) == (listed_one == (kind == "allow"))


@given(guardrails(), st.sampled_from(["CreateEndpoint", "CreateEndpointConfig", "CreateTrainingJob", "InvokeEndpoint"]))
def test_no_guardrail_touches_classic_ml(guardrail: Guardrail, action: str) -> None:
    assert allowed(documents(guardrail), Request("", f"sagemaker:{action}", ["*"], {"aws:RequestTag/team": "ab"}))


@given(guardrails("one"), guardrails("two"), st.sampled_from(REQUESTS))
def test_another_guardrail_never_allows_anything(one: Guardrail, two: Guardrail, request: Request) -> None:
    if not allowed(documents(one), request):
        assert not allowed(documents(one) + documents(two), request)


@given(bedrock_rules(), jumpstart_rules(), st.sampled_from(Routes), st.sampled_from(REQUESTS))
def test_all_families_in_one_guardrail_deny_the_same_as_in_separate_guardrails(
    bedrock: BedrockRule, jumpstart: JumpStartRule, routes: Routes, request: Request
) -> None:
    assistants, roles = AssistantsRule(), ("Canvas*",)
    together = documents(Guardrail("it", bedrock, jumpstart, routes, assistants=assistants, pass_roles=roles))
    several = (
        Guardrail("one", bedrock, None, routes),
        Guardrail("two", None, jumpstart, routes),
        Guardrail("three", routes=routes, assistants=assistants),
        Guardrail("four", pass_roles=roles),
    )
    apart = [document for guardrail in several for document in documents(guardrail)]
    assert allowed(together, request) == allowed(apart, request)


def test_an_access_path_that_both_families_deny_has_one_statement() -> None:
    [document] = documents(Guardrail("it", BedrockRule("deny-all"), JumpStartRule("deny-all")))
    closing = [s["Sid"] for s in document["Statement"] if "bedrock:CreateMarketplaceModelEndpoint" in s["Action"]]
    assert closing == ["BedrockModels"]


@given(guardrails(), st.sampled_from(["aws", "aws-cn", "aws-us-gov"]))
def test_every_valid_guardrail_compiles_to_documents_that_iam_accepts(guardrail: Guardrail, partition: str) -> None:
    assert POLICY_SIZE == limits.POLICY_SIZE, "the local IAM refuses what is longer than AWS takes"
    compiled = compile_guardrail(guardrail, partition)
    assert [policy.name for policy in compiled] == ["it", "it-2", "it-3", "it-4"][: len(compiled)]
    assert compiled == compile_guardrail(guardrail, partition)
    for policy in compiled:
        assert size(policy.document) <= POLICY_SIZE
        assert set(policy.document) == {"Version", "Statement"}
        assert policy.document["Version"] == "2012-10-17"
        sids = [statement["Sid"] for statement in policy.document["Statement"]]
        assert len(sids) == len(set(sids))
        assert all(sid.isalnum() and sid.isascii() for sid in sids)
        assert all(statement["Effect"] == "Deny" for statement in policy.document["Statement"])
        for statement in policy.document["Statement"]:
            assert not any(isinstance(value, list) and len(value) == 1 for value in statement.values()), "two too many"
        assert all(" " <= char <= "ÿ" for char in policy.text)


LENGTHS = (28, 41, 60)
"""Models of a list that is slightly or several times too long for one policy."""


def long_list(family: str, length: int) -> list[str]:
    if family == "bedrock":
        # Some have the same beginning as another one.
        return [f"maker{number % 8}.model-with-a-rather-long-name-{number}" for number in range(length)]
    return [f"XL-model-of-provider{number}-with-a-long-name-{number}" for number in range(length)]


@cache
def long_guardrail(family: str, kind: RuleKind, length: int) -> Guardrail:
    ids = tuple(long_list(family, length))
    if family == "bedrock":
        return Guardrail("it", BedrockRule(kind, ids))
    return Guardrail("it", jumpstart=JumpStartRule(kind, ids))


def set_policy_size(patch: pytest.MonkeyPatch, characters: int) -> None:
    for module in (packing, policies):
        patch.setattr(module, "POLICY_SIZE", characters)


@cache
def divided_and_whole(family: str, kind: RuleKind, length: int) -> tuple[list[Document], list[Document]]:
    guardrail = long_guardrail(family, kind, length)
    with pytest.MonkeyPatch.context() as patch:
        set_policy_size(patch, 10**6)
        whole = documents(guardrail)
    return documents(guardrail), whole


long_lists = pytest.mark.parametrize(
    ("family", "kind"), [("bedrock", "deny"), ("bedrock", "allow"), ("jumpstart", "deny"), ("jumpstart", "allow")]
)


@long_lists
def test_a_long_list_is_divided_over_several_policies_within_the_size_limit(family: str, kind: RuleKind) -> None:
    for length in LENGTHS:
        divided, whole = divided_and_whole(family, kind, length)
        assert len(whole) == 1
        assert len(divided) > 1
        names = [policy.name for policy in compile_guardrail(long_guardrail(family, kind, length), "aws")]
        assert names == ["it", *(f"it-{number}" for number in range(2, len(divided) + 1))]
        assert all(size(document) <= POLICY_SIZE for document in divided)


@pytest.mark.parametrize("family", ["bedrock", "jumpstart"])
def test_of_hundreds_of_models_in_a_condition_each_is_denied(family: str) -> None:
    listed = tuple(f"maker.model-with-a-long-name-{number}" for number in range(100, 400))
    if family == "bedrock":
        guardrail = Guardrail("it", BedrockRule("deny", listed))
        action, key = "bedrock-mantle:CreateInference", "bedrock-mantle:Model"
    else:
        guardrail = Guardrail("it", jumpstart=JumpStartRule("deny", listed))
        action, key = "sagemaker:CreateModel", f"aws:RequestTag/{vocabulary.JUMPSTART_TAGS[0]}"
    divided = documents(guardrail)
    assert all(size(document) <= POLICY_SIZE for document in divided)
    denied = [model for model in listed if not allowed(divided, Request("", action, ["*"], {key: model}))]
    assert denied == list(listed)
    assert allowed(divided, Request("", action, ["*"], {key: "maker.model-with-a-long-name"}))


def test_a_list_half_again_too_long_is_divided_in_two() -> None:
    found = [statement["Sid"] for statement in statements(long_guardrail("bedrock", "deny", 41))]
    assert [sid for sid in found if sid.startswith("BedrockListedModels")] == [
        "BedrockListedModels1",
        "BedrockListedModels2",
    ]


def test_a_policy_is_named_in_its_account_and_partition() -> None:
    [policy] = compile_guardrail(Guardrail("it", BedrockRule("deny-all")), "aws-cn")
    assert policy.arn("aws-cn", "111122223333") == "arn:aws-cn:iam::111122223333:policy/rolewarden/it"


def test_policies_are_filled_to_the_last_character(monkeypatch: pytest.MonkeyPatch) -> None:
    guardrail = Guardrail("it", BedrockRule("deny-all"))
    [document] = documents(guardrail)
    set_policy_size(monkeypatch, size(document))
    assert documents(guardrail) == [document]
    set_policy_size(monkeypatch, size(document) - 1)
    assert len(documents(guardrail)) == 2


def test_a_statement_that_fills_a_policy_is_not_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = BedrockRule("allow", ("maker.one*", "other.two*"), customization=Allowance.ALLOW)
    guardrail = Guardrail("it", alone, routes=Routes.CANVAS)
    [document] = documents(guardrail)
    [_] = document["Statement"]
    set_policy_size(monkeypatch, size(document))
    assert documents(guardrail) == [document]
    set_policy_size(monkeypatch, size(document) - 1)
    assert len(documents(guardrail)) == 2


def test_a_list_that_cannot_be_divided_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    set_policy_size(monkeypatch, 300)
    with pytest.raises(TooLong):
        documents(Guardrail("it", BedrockRule("allow", ("a.bc", "d.ef"))))


@pytest.mark.parametrize("kind", ["deny-all", "deny", "allow"])
def test_more_allowed_arns_than_fit_a_policy_are_rejected(kind: RuleKind) -> None:
    arns = tuple(f"arn:aws:bedrock:us-east-1:111122223333:provisioned-model/{number:012}" for number in range(100))
    with pytest.raises(TooLong, match=r"^guardrails\.it\.bedrock: ") as raised:
        documents(Guardrail("it", BedrockRule(kind, () if kind == "deny-all" else ("a.b",), allow_arns=arns)))
    assert raised.value.where == ("guardrails", "it", "bedrock")
    assert raised.value.reason.startswith("the allow list does not fit an IAM policy (6,144 characters)")


def test_too_many_jumpstart_patterns_are_an_error_at_the_key_jumpstart() -> None:
    listed = tuple(f"*-model-with-a-long-name-{number}" for number in range(200))
    both = Guardrail("it", BedrockRule("deny-all"), JumpStartRule("allow", listed))
    with pytest.raises(TooLong) as raised:
        documents(both)
    assert raised.value.where == ("guardrails", "it", "jumpstart")


@pytest.mark.parametrize("pattern", ["*.shared-model", "?aker0.shared-model"])
def test_a_long_list_is_rejected_if_a_pattern_matches_every_family(pattern: str) -> None:
    with pytest.raises(TooLong):
        documents(Guardrail("it", BedrockRule("allow", (*long_list("bedrock", 60), pattern))))


parts_of_ids = st.sampled_from(["aaaaaa", "bbbbbb", "ab", "ba", "a", ".", ".", "*", "?"])
long_ids = st.lists(parts_of_ids, min_size=2, max_size=6).map("".join)


@given(st.lists(long_ids, min_size=2, max_size=8), st.data())
def test_both_parts_of_a_list_match_the_same_models_as_the_list(listed: list[str], data: st.DataObject) -> None:
    try:
        parts = packing.parted(fewest(listed))
    except packing.Indivisible:
        return
    whole = fewest(listed)
    assert max(sum(map(len, part)) for part in parts) < sum(map(len, whole))
    text = data.draw(st.sampled_from([*whole, *parts[0], *parts[1]]).flatmap(matching))
    for asked in (text, text[:-1], f"{text}a", f"a{text}"):
        assert all(any(matches(pattern, asked) for pattern in part) for part in parts) == any(
            matches(pattern, asked) for pattern in whole
        )


def test_a_long_list_with_wildcards_right_behind_the_makers_is_divided() -> None:
    listed = tuple(f"maker{number % 8}.*-model-{number}-with-a-long-name-v1.{number}" for number in range(40))
    assert len(documents(Guardrail("it", BedrockRule("allow", listed)))) > 1


def test_a_long_allow_list_denies_on_mantle_a_model_that_begins_with_the_name_of_a_provider() -> None:
    divided, _ = divided_and_whole("bedrock", "allow", 60)
    for one, other in itertools.permutations(range(8), 2):
        context = {"bedrock-mantle:Model": f"maker{one}.maker{other}-model"}
        assert not allowed(divided, Request("", "bedrock-mantle:CreateInference", ["*"], context))


@long_lists
@given(data=st.data(), length=st.sampled_from(LENGTHS))
def test_dividing_a_long_list_changes_no_decision(
    family: str, kind: RuleKind, data: st.DataObject, length: int
) -> None:
    ids = long_list(family, length)
    if family == "bedrock":
        others = ["maker1.other", "maker1.model-with-a-rather-long-name-1-v1", "x.y"]
        request = data.draw(st.sampled_from([*ids, *others]).flatmap(routes))
    else:
        model = data.draw(st.sampled_from([*ids, "XL-model-of-provider1", "XL-model-of-provider1-other", "x"]))
        content = f"arn:aws:sagemaker:us-east-1:aws:hub-content/SageMakerPublicHub/Model/{model}/1.0.0"
        request = data.draw(
            st.sampled_from(
                [
                    Request("", "sagemaker:DeployHubModel", [content]),
                    Request("", "sagemaker:CreateModel", ["*"], {f"aws:RequestTag/{data.draw(tags)}": model}),
                ]
            )
        )
    divided, whole = divided_and_whole(family, kind, length)
    assert allowed(divided, request) == allowed(whole, request)


@given(st.lists(bedrock_patterns | jumpstart_patterns, max_size=6), st.data())
def test_leaving_out_covered_patterns_changes_no_match(listed: list[str], data: st.DataObject) -> None:
    text = data.draw(
        st.text("ab-.:", max_size=6) | (st.sampled_from(listed).flatmap(matching) if listed else st.just(""))
    )
    few = fewest(listed)
    assert any(matches(pattern, text) for pattern in few) == any(matches(pattern, text) for pattern in listed)
    for pattern in few:
        assert fewest([other for other in few if other != pattern] + [pattern]).count(pattern) == 1
        assert not any(_covers(other, pattern) for other in few if other != pattern)


def _covers(wide: str, narrow: str) -> bool:
    """Whether a pattern matches every text that `narrow` matches: `narrow` is read as a text."""
    return (
        re.fullmatch("".join({"*": ".*", "?": "[^*]"}.get(char) or re.escape(char) for char in wide), narrow)
        is not None
    )


@given(guardrails(), st.randoms(use_true_random=False))
def test_the_digest_ignores_differences_without_meaning(guardrail: Guardrail, order: random.Random) -> None:
    for document in documents(guardrail):
        assert digest(_shaken(document, order)) == digest(document)
        assert digest(quote(json.dumps(document, indent=3))) == digest(document)


def test_the_digest_does_not_decode_a_percent_sign_in_plain_json() -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Sid": "%41"}]}
    plain = json.dumps(document)
    assert digest(document) == digest(plain) == digest(f"\n {plain}") == digest(quote(plain))
    assert digest(plain) != digest(plain.replace("%41", "A"))


@given(guardrails(), st.data())
def test_the_digest_differs_for_every_changed_word(guardrail: Guardrail, data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(documents(guardrail)))
    text = json.dumps(document)
    words = sorted({word for word in re.findall(r'"([^"]+)"', text) if len(word) > 2})
    word = data.draw(st.sampled_from(words))
    assert digest(text.replace(f'"{word}"', f'"{word}x"', 1)) != digest(document)


def _shaken(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: _shaken(value[key], order) for key in keys}
    if isinstance(value, list):
        items = [_shaken(item, order) for item in value]
        order.shuffle(items)
        return items[0] if len(items) == 1 and order.random() < 0.5 else items
    return [value] if isinstance(value, str) and value.startswith(("arn:", "bedrock:", "sagemaker:")) else value
