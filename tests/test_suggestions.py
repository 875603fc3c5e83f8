"""Each suggestion of `rolewarden check` is itself accepted, and means the same model as the mistake."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rolewarden.check import Checked, check
from rolewarden.guardrails_file import read_yaml
from rolewarden.known import known_models
from rolewarden.matching import matches
from rolewarden.model_ids import ModelNames, stem_of

from tests.volume import volume

TODAY = date(2026, 6, 1)
KNOWN = known_models()
PLACE = re.compile(r"guardrails\.(?P<name>\w+)\.(?P<family>bedrock|jumpstart)\.(?P<key>\w+)\[(?P<number>\d+)\]")
WRITE = re.compile(r": write `(?P<value>[^`]+)`(?: under `(?P<key>\w+)`)?(?: instead of `deny: all`)?")


def checked(document: Any, folder: Path) -> Checked:
    file = folder / "guardrails.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return check(file, today=TODAY, known=KNOWN)


def listing(family: str, kind: str, *texts: str) -> Any:
    return {
        "guardrails": {"a": {family: {kind: list(texts)}}},
        "assignments": [{"guardrails": ["a"]}],
    }


def applied(document: Any, where: str, message: str) -> Any:
    """A copy of the document in which a reader has followed the message; None if the message suggests no value."""
    place, found = PLACE.fullmatch(where), WRITE.search(message)
    if not place or not found:
        return None
    document = copy.deepcopy(document)
    family = document["guardrails"][place["name"]][place["family"]]
    kind, number = place["key"], int(place["number"]) - 1
    if found["value"] == "deny: all":
        document["guardrails"][place["name"]][place["family"]] = {"deny": "all"}
        return document
    if not found["key"]:
        family[kind][number] = found["value"]
        return document
    del family[kind][number]
    target = family
    if found["key"] in ("bedrock", "jumpstart"):
        target = document["guardrails"][place["name"]].setdefault(found["key"], {})
    target.setdefault(kind if target is not family else found["key"], []).append(found["value"])
    if not family[kind]:
        if family is target:
            family[kind] = ["anthropic.claude-v2*"]
        else:
            del document["guardrails"][place["name"]][place["family"]]
    return document


def suggestions(document: Any, folder: Path) -> Iterator[tuple[str, str, Any]]:
    """The place and the text of each message, with the document that it suggests."""
    found = checked(document, folder)
    for problem in (*found.errors, *found.warnings):
        if problem.where.startswith("guardrails.a."):
            yield problem.where, problem.message, applied(document, problem.where, problem.message)


def assert_every_suggestion_is_accepted(document: Any, folder: Path) -> int:
    """Assert that the place of each suggestion has no problem after a reader has followed it."""
    number = 0
    for where, message, suggested in suggestions(document, folder):
        if suggested is None:
            continue
        number += 1
        value = WRITE.search(message)["value"]  # type: ignore[index]
        after = checked(suggested, folder)
        # A model that is newer than the list stays a warning, which names no other pattern.
        left = [str(one) for one in after.errors if f"`{value}`" in one.message]
        left += [str(one) for one in after.warnings if f"`{value}`" in one.message and WRITE.search(one.message)]
        assert left == [], f"{where}: {message}"
    return number


SAME = {
    # Names in the console.
    "Nova Lite": "amazon.nova-lite-v1:0",
    "Titan Text G1 - Express": "amazon.titan-text-express-v1",
    "Titan Embeddings G1 - Text": "amazon.titan-embed-text-v1",
    "Titan Multimodal Embeddings G1": "amazon.titan-embed-image-v1",
    "Titan Image Generator G1 v2": "amazon.titan-image-generator-v2:0",
    "Llama 3 70B Instruct": "meta.llama3-70b-instruct-v1:0",
    "Llama 3.2 90B Vision Instruct": "meta.llama3-2-90b-instruct-v1:0",
    "Llama 4 Maverick 17B Instruct": "meta.llama4-maverick-17b-instruct-v1:0",
    "Claude Sonnet 4.5": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "Claude Sonnet 4": "anthropic.claude-sonnet-4-20250514-v1:0",
    "Claude 3.5 Sonnet v2": "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "Anthropic Claude 3.7 Sonnet": "anthropic.claude-3-7-sonnet-20250219-v1:0",
    "Claude Opus 4.1": "anthropic.claude-opus-4-1-20250805-v1:0",
    "GPT-OSS 120B": "openai.gpt-oss-120b-1:0",
    "Command R+": "cohere.command-r-plus-v1:0",
    "Mistral Large (24.02)": "mistral.mistral-large-2402-v1:0",
    "Mistral Large 3": "mistral.mistral-large-3-675b-instruct",
    "Mixtral 8x7B Instruct": "mistral.mixtral-8x7b-instruct-v0:1",
    "DeepSeek-R1": "deepseek.r1-v1:0",
    "DeepSeek-V3.1": "deepseek.v3-v1:0",
    "Qwen3-Coder-480B-A35B-Instruct": "qwen.qwen3-coder-480b-a35b-v1:0",
    "Stable Diffusion 3.5 Large": "stability.sd3-5-large-v1:0",
    "Jamba 1.5 Large": "ai21.jamba-1-5-large-v1:0",
    "Marengo Embed v2.7": "twelvelabs.marengo-embed-2-7-v1:0",
    # IDs of other programs, and IDs without a part.
    "gpt-oss-120b": "openai.gpt-oss-120b-1:0",
    "qwen3-32b": "qwen.qwen3-32b-v1:0",
    "palmyra-x5": "writer.palmyra-x5-v1:0",
    "anthropic/claude-sonnet-4-5": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/anthropic.claude-v2": "anthropic.claude-v2",
    "bedrock/us-east-1/anthropic.claude-v2:1": "anthropic.claude-v2:1",
    "bedrock/converse/us.anthropic.claude-3-haiku-20240307-v1:0": "anthropic.claude-3-haiku-20240307-v1:0",
    "anthropic:claude-v2": "anthropic.claude-v2",
    "claude-sonnet-4-5@20250929": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "anthropic.claude-3-haiku": "anthropic.claude-3-haiku-20240307-v1:0",
    "anthropic.claude-3-haiku-20240307": "anthropic.claude-3-haiku-20240307-v1:0",
    "anthropic.claude-sonnet-4": "anthropic.claude-sonnet-4-20250514-v1:0",
    "amazon.nova-pro": "amazon.nova-pro-v1:0",
    "meta.llama3-1-8b-instruct": "meta.llama3-1-8b-instruct-v1:0",
    "anthropic.claude-v2:1:200k": "anthropic.claude-v2:1",
    "ANTHROPIC.CLAUDE-V2": "anthropic.claude-v2",
    "meta-llama/Llama-3.1-8B-Instruct": "meta.llama3-1-8b-instruct-v1:0",
    "mistralai/Mistral-7B-Instruct-v0.2": "mistral.mistral-7b-instruct-v0:2",
    "openai/gpt-oss-20b": "openai.gpt-oss-20b-1:0",
    # Quotes, dashes and spaces of a word processor.
    "“anthropic.claude-v2*”": "anthropic.claude-v2",
    "\u2018meta.llama2-70b-chat*\u2019": "meta.llama2-70b-chat-v1",
    "«amazon.nova-lite*»": "amazon.nova-lite-v1:0",
    '"amazon.nova-lite*"': "amazon.nova-lite-v1:0",
    "`amazon.nova-lite*`": "amazon.nova-lite-v1:0",
    "amazon.nova\u2013lite*": "amazon.nova-lite-v1:0",
    "amazon.nova\u2212lite*": "amazon.nova-lite-v1:0",
    "amazon.nova-lite*\u00a0": "amazon.nova-lite-v1:0",
    "amazon.nova-\u200blite*": "amazon.nova-lite-v1:0",
    "amazon.nova-lite*,": "amazon.nova-lite-v1:0",
    # ARNs and inference profiles of each partition.
    "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2": "anthropic.claude-v2",
    "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.titan-text-lite-v1": "amazon.titan-text-lite-v1",
    "arn:aws-cn:bedrock:cn-north-1::foundation-model/meta.llama3-8b-instruct-v1:0": "meta.llama3-8b-instruct-v1:0",
    "arn:aws:bedrock:::foundation-model/anthropic.claude-opus-4-7": "anthropic.claude-opus-4-7",
    "arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.meta.llama3-1-8b-instruct-v1:0": (
        "meta.llama3-1-8b-instruct-v1:0"
    ),
    "global.anthropic.claude-sonnet-4-20250514-v1:0": "anthropic.claude-sonnet-4-20250514-v1:0",
    "sa.anthropic.claude-v2": "anthropic.claude-v2",
}
"""Texts in a list of Bedrock models, each with the ID of the model that it means."""


@pytest.mark.parametrize("kind", ["deny", "allow"])
@pytest.mark.parametrize(("text", "model"), SAME.items())
def test_a_text_is_corrected_to_a_pattern_of_the_same_model(text: str, model: str, kind: str, tmp_path: Path) -> None:
    document = listing("bedrock", kind, text)
    [(_, message, suggested)] = suggestions(document, tmp_path)
    [pattern] = suggested["guardrails"]["a"]["bedrock"][kind]
    assert matches(pattern, model), message
    others = {one for one in KNOWN.bedrock if matches(pattern, one) and stem_of(one) != stem_of(model)}
    assert others == set(), message
    after = checked(suggested, tmp_path)
    assert (after.errors, after.warnings) == ((), ())


JUMPSTART = {
    "meta-textgeneration-llama-2-7b/1.0.0": "meta-textgeneration-llama-2-7b",
    "meta-textgeneration-llama-2-7b:1.0.0": "meta-textgeneration-llama-2-7b",
    "meta-textgeneration-llama-2-7b@2.*": "meta-textgeneration-llama-2-7b",
    "meta-textgeneration-llama-2-7b==4.1.2": "meta-textgeneration-llama-2-7b",
    "META-textgeneration-llama-2-7b": "meta-textgeneration-llama-2-7b",
    "Meta-TextGeneration-*": "meta-textgeneration-*",
    "arn:aws:sagemaker:us-east-1:aws:hub-content/SageMakerPublicHub/Model/meta-textgeneration-llama-2-7b/1.0.0": (
        "meta-textgeneration-llama-2-7b"
    ),
    "arn:aws-cn:sagemaker:cn-north-1:111122223333:hub-content/mine/ModelReference/huggingface-llm-falcon-7b-bf16": (
        "huggingface-llm-falcon-7b-bf16"
    ),
    "meta-llama/Llama-2-7b": "meta-textgeneration-llama-2-7b",
    "meta-llama/Llama-2-7b-chat-hf": "meta-textgeneration-llama-2-7b-f",
    "meta-llama/Meta-Llama-3-8B-Instruct": "meta-textgeneration-llama-3-8b-instruct",
    "tiiuae/falcon-7b-instruct": "*falcon-7b-instruct*",
    "Falcon 7B Instruct": "*falcon-7b-instruct*",
    "Qwen/Qwen2.5-32B-Instruct": "huggingface-llm-qwen2-5-32b-instruct",
    "bigscience/bloom-7b1": "*bloom-7b1*",
    "falcon": "*falcon*",
}
"""Texts in a list of JumpStart models, each with the pattern to write."""


@pytest.mark.parametrize(("text", "pattern"), JUMPSTART.items())
def test_a_text_is_corrected_to_a_pattern_of_jumpstart(text: str, pattern: str, tmp_path: Path) -> None:
    [(_, message, suggested)] = suggestions(listing("jumpstart", "deny", text), tmp_path)
    assert f"write `{pattern}`" in message
    after = checked(suggested, tmp_path)
    assert (after.errors, after.warnings) == ((), ())


@pytest.mark.parametrize(
    ("family", "text", "key", "value"),
    [
        ("jumpstart", "anthropic.claude-v2", "bedrock", "anthropic.claude-v2*"),
        ("jumpstart", "us.anthropic.claude-v2", "bedrock", "anthropic.claude-v2*"),
        ("jumpstart", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "bedrock",
         "amazon.nova-lite-v1:0*"),
        ("bedrock", "huggingface-llm-falcon-7b-bf16", "jumpstart", "huggingface-llm-falcon-7b-bf16"),
        ("bedrock", "arn:aws:sagemaker:eu-west-1:aws:hub-content/SageMakerPublicHub/Model/falcon-x/1.0.0", "jumpstart",
         "falcon-x"),
    ],
)  # fmt: skip
def test_a_model_of_the_other_family_is_named_with_its_key(
    family: str, text: str, key: str, value: str, tmp_path: Path
) -> None:
    [(_, message, suggested)] = suggestions(listing(family, "deny", text), tmp_path)
    assert message.endswith(f": write `{value}` under `{key}`")
    assert checked(suggested, tmp_path).errors == ()


ACCOUNT = "arn:aws:bedrock:us-east-1:111122223333"


@pytest.mark.parametrize(
    "kind",
    ["application-inference-profile", "provisioned-model", "custom-model", "custom-model-deployment", "imported-model",
     "prompt-router", "default-prompt-router", "marketplace/model-endpoint"],
)  # fmt: skip
@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_an_arn_without_a_model_belongs_to_allow_arns(kind: str, partition: str, tmp_path: Path) -> None:
    arn = f"{ACCOUNT.replace('aws', partition, 1)}:{kind}/abc123"
    document = listing("bedrock", "allow", "amazon.nova-*", arn)
    [(_, message, suggested)] = suggestions(document, tmp_path)
    assert message.endswith(f": write `{arn}` under `allow_arns`")
    assert checked(suggested, tmp_path).errors == ()
    [denied] = checked(listing("bedrock", "deny", "amazon.nova-*", arn), tmp_path).errors
    assert denied.message.endswith("a list of denied models cannot contain it: remove it")


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("allow", "write `anthropic.claude-sonnet-4-20250514-v1:0` under `allow`, not its ARN"),
        ("deny", "about which the list under `deny` decides: remove it"),
    ],
)
def test_an_arn_that_names_its_model_does_not_belong_to_allow_arns(kind: str, way: str, tmp_path: Path) -> None:
    document = listing("bedrock", kind, "amazon.nova-*")
    profile = f"{ACCOUNT}:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0"
    document["guardrails"]["a"]["bedrock"]["allow_arns"] = [profile]
    [error] = checked(document, tmp_path).errors
    assert error.message.endswith(way)


@pytest.mark.parametrize(
    ("value", "way"),
    [("“enforce”", "has curly quotes: write `enforce`"), ("Enforce", "is not understood: write `enforce`"),
     ("'observe'", "write `observe`"), ("off", "is not understood: write `enforce` or `observe`")],
)  # fmt: skip
def test_a_choice_is_corrected(value: str, way: str, tmp_path: Path) -> None:
    [error] = checked({**listing("bedrock", "deny", "amazon.nova-*"), "mode": value}, tmp_path).errors
    assert way in error.message


@pytest.mark.parametrize("key", ["domains", "user_profiles", "roles"])
def test_curly_quotes_around_any_name_are_an_error_with_the_name(key: str, tmp_path: Path) -> None:
    document = listing("bedrock", "deny", "amazon.nova-*")
    document["assignments"].insert(0, {"guardrails": ["“a”"], key: ["\u2018research\u2019"]})
    messages = {one.message for one in checked(document, tmp_path).errors}
    assert messages == {
        "`“a”` has curly quotes: write `a`",
        "`\u2018research\u2019` has curly quotes: write `research`",
    }


def test_only_ids_that_stay_open_are_named(tmp_path: Path) -> None:
    document = listing("bedrock", "deny", "amazon.*-v1:0", "*.claude-v2", "amazon.titan-embed-text-v1")
    messages = {one.where: one.message for one in checked(document, tmp_path).warnings}
    assert messages == {
        "guardrails.a.bedrock.deny[1]": "`amazon.*-v1:0` does not deny other versions and variants of the model: "
        "write `amazon.*-v1:0*`",
        "guardrails.a.bedrock.deny[2]": "`*.claude-v2` does not deny other versions and variants of the model, for "
        "example `anthropic.claude-v2:1`: write `*.claude-v2*`",
        "guardrails.a.bedrock.deny[3]": "`amazon.titan-embed-text-v1` does not deny other versions and variants of the "
        "model: write `amazon.titan-embed-text-v1*`",
    }
    both = checked(listing("bedrock", "deny", "anthropic.claude-v2", "anthropic.claude-v2:*"), tmp_path)
    assert [one.where for one in both.warnings] == []


def test_an_id_whose_longer_forms_are_other_models_is_complete(tmp_path: Path) -> None:
    assert checked(listing("bedrock", "deny", "anthropic.claude-opus-5"), tmp_path).warnings == ()


def cased(draw: st.DrawFn, text: str) -> str:
    return draw(st.sampled_from([text, text.upper(), text.title(), text.capitalize()]))


@st.composite
def misspelled(draw: st.DrawFn) -> str:
    """A known ID or a part of it, in one of the forms in which people write it."""
    model = draw(st.sampled_from(KNOWN.bedrock + KNOWN.jumpstart[::7]))
    provider, _, name = model.partition(".")
    parts = [model, name or model, stem_of(model), stem_of(model).partition(".")[2] or model, provider]
    text = draw(st.sampled_from(parts))
    if draw(st.booleans()):
        text = text[: draw(st.integers(1, len(text)))] + draw(st.sampled_from(["", "*"]))
    text = cased(draw, text)
    text = text.replace("-", draw(st.sampled_from(["-", " ", "_", "\u2013", "."])))
    text = text.replace(":", draw(st.sampled_from([":", "@", "/", " "])))
    before, after = draw(
        st.sampled_from([
            ("", ""), ("", ""),
            ("“", "”"), ("\u2018", "\u2019"), ("us.", ""), ("global.", ""), ("bedrock/", ""), ("", "/1.0.0"),
            ("arn:aws:bedrock:us-east-1::foundation-model/", ""), ("", ","), (" ", ""), ("meta-llama/", ""),
            ("arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.", ""), ("", ":latest"), ("*", ""),
            ("arn:aws:sagemaker:us-east-1:aws:hub-content/SageMakerPublicHub/Model/", "/1.0.0"), ("", "-v9"),
        ])
    )  # fmt: skip
    return before + text + after


@cache
def count() -> list[int]:
    return []


@settings(max_examples=volume(120, 3000), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=misspelled() | st.text("aA.*?-:/ \u201c\u2019é1", min_size=1, max_size=12),
    family=st.sampled_from(["bedrock", "jumpstart"]),
    kind=st.sampled_from(["deny", "allow"]),
)
def test_every_suggestion_is_accepted_when_applied(text: str, family: str, kind: str, tmp_path: Path) -> None:
    count().append(assert_every_suggestion_is_accepted(listing(family, kind, text), tmp_path))


def test_the_property_above_has_seen_suggestions() -> None:
    assert not count() or sum(count()) > len(count()) / 4


def test_without_known_models_each_suggestion_has_the_form_of_a_pattern() -> None:
    names = ModelNames()
    for text in SAME:
        found = names.bedrock_fault(text, "deny")
        assert not found or not found.pattern or not names.bedrock_fault(found.pattern, "deny")


FULL = {
    "mode": "enforce",
    "surplus": "keep",
    "fallback": "none",
    "hold": "none",
    "trusted_taggers": ["arn:aws:iam::111122223333:role/Platform"],
    "guardrails": {
        "strict": {"bedrock": {"deny": "all"}, "jumpstart": {"deny": "all", "hubs": ["ours"]}, "mode": "observe"},
        "listed": {
            "bedrock": {
                "allow": ["amazon.nova-*"], "customization": "allow", "indirect": "deny", "rerank": "allow",
                "batch": "deny", "profiles": ["eu"], "regions": ["eu-*"],
            },
            "jumpstart": {
                "deny": ["huggingface-llm-falcon-*"], "customization": "deny", "data_jobs": "allow",
                "indirect": "allow", "gated": "deny", "weights": "deny",
                "autopilot": "deny",
            },
            "assistants": {"deny": "all"},
            "pass_roles": ["Canvas*"], "api_keys": "deny", "other_profiles": "deny", "shared_spaces": "deny",
            "routes": "all",
        },
    },
    "assignments": [
        {
            "guardrails": ["listed"], "accounts": ["111122223333"], "domains": ["research"],
            "user_profiles": ["intern-*"], "roles": ["Canvas*"], "tags": {"team": "data science"},
        },
        {"guardrails": ["strict"]},
    ],
    "exemptions": [{
        "role": "BreakGlass", "account": "111122223333", "role_id": "AROAEXAMPLEEXAMPLE", "until": "2027-01-31",
        "domains": ["research"], "user_profiles": ["rosa"],
    }],
    "also_govern": {"roles": ["Build*"], "trusting": ["sagemaker.amazonaws.com"]},
    "never_govern": [{"role": "Payments*", "account": "111122223333"}],
}  # fmt: skip
"""A file with every key except those that exclude others."""


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], bool]]:
    """The path of each key (with True) and of each text (with False) of a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in entries:
        if isinstance(key, str):
            yield (*path, key), True
        if isinstance(item, str):
            yield (*path, key), False
        else:
            yield from places(item, (*path, key))


def replaced(path: tuple[str | int, ...], new: str, *, is_key: bool, document: Any = FULL) -> Any:
    """A copy of a document with another key, or another text, at `path`."""
    document = copy.deepcopy(document)
    above = value_at(path[:-1], document)
    if not is_key:
        above[path[-1]] = new
        return document
    entries = list(above.items())
    above.clear()
    above.update((new if key == path[-1] else key, item) for key, item in entries)
    return document


def test_the_file_with_every_key_has_no_errors(tmp_path: Path) -> None:
    assert checked(FULL, tmp_path).errors == ()


@pytest.mark.parametrize(("path", "is_key"), list(places(FULL)), ids=str)
def test_curly_quotes_around_any_key_and_text_are_named_with_the_text_to_write(
    path: tuple[str | int, ...], is_key: bool, tmp_path: Path
) -> None:
    above = value_at(path[:-1])
    text = path[-1] if is_key else above[path[-1]]
    quoted = f"\u201c{text}\u201d"
    errors = checked(replaced(path, quoted, is_key=is_key), tmp_path).errors
    assert [one.message for one in errors] == [f"`{quoted}` has curly quotes: write `{text}`"]


MAPPINGS = [
    (),
    ("guardrails", "listed"),
    ("guardrails", "listed", "bedrock"),
    ("guardrails", "listed", "jumpstart"),
    ("assignments", 0),
    ("exemptions", 0),
    ("also_govern",),
    ("never_govern", 0),
]


@pytest.mark.parametrize("path", MAPPINGS, ids=str)
def test_a_key_in_the_wrong_place_gets_its_place_or_a_key_of_this_one(
    path: tuple[str | int, ...], tmp_path: Path
) -> None:
    known = {key: place[:-1] for place, is_key in places(FULL) if is_key and "tags" not in place[:-1]
             and place[:-1] != ("guardrails",) for key in [str(place[-1])]}  # fmt: skip
    known |= {"only_through": (), "require_bedrock_guardrail": (), "allow_arns": (), "reason": ()}
    here = set(value_at(path))
    for key in known.keys() - here:
        document = copy.deepcopy(FULL)
        value_at(path, document)[key] = "x"
        found = [one.message for one in checked(document, tmp_path).errors if one.where.endswith(key)]
        if found and found[0].startswith("unknown key"):
            assert re.match("unknown key: (write it (in|below|at) |did you mean )", found[0]), (key, found)


def value_at(path: tuple[str | int, ...], document: Any = FULL) -> Any:
    for part in path:
        document = document[part]
    return document


KEYS = [path for path, is_key in places(FULL) if is_key and "tags" not in path[:-1]]


@st.composite
def misspelled_key(draw: st.DrawFn) -> tuple[tuple[str | int, ...], str]:
    """The path of a key of the file, and the key with a mistake of one character, or in the form of other tools."""
    path = draw(st.sampled_from(KEYS))
    key = str(path[-1])
    at = draw(st.integers(0, len(key) - 1))
    forms = [
        key[:at] + key[at + 1 :], key[:at] + key[at] + key[at:], key[:at] + key[at : at + 2][::-1] + key[at + 2 :],
        key.replace("_", "-"), key.title().replace("_", ""), key.upper(), key.rstrip("s"), f"{key}s",
        key.replace("_", " "), f"{key[:at]}x{key[at + 1 :]}",
    ]  # fmt: skip
    return path, draw(st.sampled_from([form for form in forms if form and form != key] or [f"{key}x"]))


@settings(max_examples=volume(150, 3000), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mistake=misspelled_key())
def test_a_key_or_name_that_the_check_suggests_is_accepted(
    mistake: tuple[tuple[str | int, ...], str], tmp_path: Path
) -> None:
    path, wrong = mistake
    document = replaced(path, wrong, is_key=True)
    errors = checked(document, tmp_path).errors
    assert errors or path[:-1] == ("guardrails",) or wrong in value_at(path[:-1])
    for one in errors:
        if found := re.search("did you mean `(.+)`", one.message):
            place = (*path[:-1], wrong)
            is_name = one.where.startswith("assignments") and path[:-1] == ("guardrails",)
            if is_name:
                number = int(re.findall(r"\d+", one.where)[0]) - 1
                suggested = replaced(
                    ("assignments", number, "guardrails", 0), found[1], is_key=False, document=document
                )
            else:
                suggested = replaced(place, found[1], is_key=True, document=document)
            assert checked(suggested, tmp_path).errors == (), (one, found[1])


ONE_FOR_LIST = [
    ("roles: [x], guardrails: a", "guardrails: [a]", "guardrails"),
    ("guardrails: [a], domains: research", "domains: [research]", "domains"),
    ("guardrails: [a], domains: 'ml-*, d-x'", "domains: [ml-*, d-x]", "domains"),
    ("guardrails: [a], user_profiles: '*-intern'", 'user_profiles: ["*-intern"]', "user_profiles"),
    ("guardrails: [a], user_profiles: 'on'", 'user_profiles: ["on"]', "user_profiles"),
    ("guardrails: [a], accounts: '111122223333'", 'accounts: ["111122223333"]', "accounts"),
    ("guardrails: [a], roles: Canvas*", "roles: [Canvas*]", "roles"),
    (
        "roles: [x], guardrails: [a], principals: 'arn:aws:iam::111122223333:role/x'",
        'principals: ["arn:aws:iam::111122223333:role/x"]',
        "principals",
    ),
]
"""An assignment with a text in place of a list, the suggestion, and the key."""


@pytest.mark.parametrize(("given_", "suggested", "key"), ONE_FOR_LIST)
def test_a_text_in_place_of_a_list_is_suggested_as_a_list_that_is_accepted(given_, suggested, key):
    begin = "guardrails: {a: {bedrock: {deny: all}}}\nassignments:\n  - {"
    end = "}\n  - {guardrails: [a]}\n"
    [error] = read_yaml(f"{begin}{given_}{end}", today=TODAY).errors
    assert str(error).endswith(f": write `{suggested}`"), error
    parts = dict.fromkeys(("guardrails: [a]", suggested, *(["roles: [x]"] if "roles: [x]" in given_ else [])))
    right = read_yaml(f"{begin}{', '.join(parts)}{end}", today=TODAY)
    assert right.errors == ()
    assert right.rules is not None
    values = [one.strip().strip("'") for one in given_.rpartition(f"{key}: ")[2].strip("'").split(",")]
    assert list(getattr(right.rules.assignments[0], key)) == values


@pytest.mark.parametrize(
    "text",
    [
        "guardrails: {a: {bedrock: {deny: anthropic.claude-v2}}}\nassignments: [{guardrails: [a]}]\n",
        "guardrails: {a: {bedrock: {allow: all, regions: eu-west-1}}}\nassignments: [{guardrails: [a]}]\n",
        "guardrails: {a: {bedrock: {deny: all}, pass_roles: Canvas*}}\nassignments: [{guardrails: [a]}]\n",
        "guardrails: {a: {bedrock: {deny: all}}}\nassignments: [{guardrails: [a]}]\nalso_govern: {roles: Note*}\n",
    ],
)
def test_every_list_of_the_file_gets_such_a_suggestion(text):
    [error] = read_yaml(text, today=TODAY).errors
    assert re.search(r": write `\w+: \[[^`]+\]`$", str(error)), error
