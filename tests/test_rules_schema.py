"""guardrails.schema.json, which editors use, agrees with `rolewarden check`."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from rolewarden.guardrails_file import read_json, read_yaml
from rolewarden.yamltext import parse_yaml

from tests.conftest import ROOT
from tests.guardrail_files import GUARDRAILS, TODAY

SCHEMA = json.loads((ROOT / "docs/reference/guardrails.schema.json").read_text(encoding="utf-8"))
RECIPES = re.findall(
    r"```yaml\n(.*?)```", (ROOT / "docs/how-to/write-guardrails.md").read_text(encoding="utf-8"), flags=re.DOTALL
)
EDITOR = Draft7Validator(SCHEMA)
Path = tuple[str | int, ...]

WORDS = {
    "": ["research", "team-*", "d-abc123", "SageMakerPublicHub", "sagemaker.amazonaws.com"],
    "bedrock": ["anthropic.claude-v2*", "amazon.nova-*", "*", "meta.llama3-8b-instruct-v1:0"],
    "jumpstart": ["huggingface-llm-falcon-*", "meta-textgeneration-llama-2-7b", "*"],
    "allow_arns": ["arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123"],
    "account": ["111122223333", "12*", "012345670123"],
    "role": ["Canvas*", "CanvasBreakGlass", "service/x"],
    "until": ["2027-01-31", "2026-02-30", "tomorrow"],
    "guardrails": ["a"],
}
"""Values for the texts of a file, by the key that they are below. Some are wrong."""

BASE: dict[str, Any] = {
    "guardrails": {"a": {"bedrock": {"deny": "all"}, "jumpstart": {"deny": "all"}}},
    "assignments": [{"guardrails": ["a"]}],
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as editors read it: with numbers and booleans, and without dates."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _form, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def is_accepted(document: Any) -> bool:
    """Whether `rolewarden check` finds no error in the document."""
    return read_json(json.dumps(document), today=TODAY).rules is not None


def wrong(document: Any) -> list[str]:
    """The problems that an editor marks."""
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in EDITOR.iter_errors(document)]


def objects(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The mappings of the file, each with an example of its path."""
    if "properties" in schema:
        yield path, schema
    for key, value in schema.get("properties", {}).items():
        yield from objects(value, (*path, key))
    for value in schema.get("patternProperties", {}).values():
        yield from objects(value, (*path, "a"))
    if "items" in schema:
        yield from objects(schema["items"], (*path, 0))
    for one in schema.get("anyOf", []):
        yield from objects(one, path)


def set_at(path: Path, value: Any, base: dict[str, Any] = BASE) -> Any:
    """A copy of `base` with `value` at `path`, which may go through lists and mappings that the copy lacks."""
    if not path:
        return value
    document = copy.deepcopy(base)
    inner: Any = document
    part: Any
    for part, following in zip(path, (*path[1:], None), strict=True):
        new = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(inner, list):
            inner.extend([None] * (part + 1 - len(inner)) if isinstance(part, int) else [])
            inner[part] = new if following is None or inner[part] is None else inner[part]
        elif following is None:
            inner[part] = value
        else:
            inner.setdefault(part, new)
        inner = inner[part]
    return document


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_the_shipped_file_names_the_schema_by_a_path_that_exists() -> None:
    first = GUARDRAILS.read_text(encoding="utf-8").partition("\n")[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (GUARDRAILS.parent / named).resolve() == ROOT / "docs/reference/guardrails.schema.json"
    assert json.loads((GUARDRAILS.parent / named).read_text(encoding="utf-8"))["properties"]


@pytest.mark.parametrize("text", [GUARDRAILS.read_text(encoding="utf-8"), *RECIPES])
def test_an_editor_marks_nothing_in_the_shipped_file_and_in_the_recipes(text: str) -> None:
    assert wrong(parse_yaml(text)[0]) == []
    assert wrong(yaml.load(text, _Loader)) == []  # noqa: S506 - a loader of plain values


@pytest.mark.parametrize(
    ("path", "schema"),
    list(objects(SCHEMA)),
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_each_mapping_has_the_keys_that_the_check_knows(path: Path, schema: dict[str, Any]) -> None:
    document = set_at((*path, "qqqqqqqqqqqq"), "x", {} if path == () else BASE)
    messages = [str(error) for error in read_json(json.dumps(document), today=TODAY).errors]
    [message] = [one for one in messages if "unknown key: write one of" in one]
    known = re.findall(r"`([^`]+)`", message.partition("write one of")[2])
    assert set(known) == set(schema["properties"])
    assert wrong(document)


def leaves(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    for above, one in objects(schema, path):
        for key, value in one["properties"].items():
            yield (*above, key), value


CHOICES = [(path, leaf) for path, leaf in leaves(SCHEMA) if "enum" in leaf]


@pytest.mark.parametrize(("path", "leaf"), CHOICES, ids=lambda value: str(value)[:60])
def test_each_value_of_a_choice_is_one_that_the_check_knows(path: Path, leaf: dict[str, Any]) -> None:
    document = set_at(path, "qqqqqqqqqqqq")
    [message] = [str(error) for error in read_json(json.dumps(document), today=TODAY).errors]
    known = re.findall(r"`([^`]+)`", message.rpartition("write ")[2])
    assert {*known, None} == set(leaf["enum"])
    assert wrong(document)
    for value in leaf["enum"]:
        assert wrong(set_at(path, value)) == []
        errors = read_json(json.dumps(set_at(path, value)), today=TODAY).errors
        assert not [one for one in errors if "is not understood" in one.message]


OTHER_FORMS: list[Any] = [[], {}, [[]], {"x": "y"}, 7, None, "", [None], [""]]


@pytest.mark.parametrize(("path", "leaf"), list(leaves(SCHEMA)), ids=lambda value: str(value)[:60])
def test_a_value_of_a_wrong_form_that_an_editor_marks_is_an_error_of_the_check(
    path: Path, leaf: dict[str, Any]
) -> None:
    for value in OTHER_FORMS:
        document = set_at(path, value)
        if wrong(document):
            assert not is_accepted(document), value
        else:
            assert Draft7Validator({"type": leaf.get("type", ["array", "string", "null"])}).is_valid(value)
    assert any(wrong(set_at(path, value)) for value in OTHER_FORMS)


@pytest.mark.parametrize(("path", "schema"), [(path, one) for path, one in objects(SCHEMA) if one["required"]], ids=str)
def test_a_missing_key_is_an_error_of_both(path: Path, schema: dict[str, Any]) -> None:
    for key in schema["required"]:
        others = {other: "x" for other in schema["required"] if other != key}
        document = set_at(path, others)
        assert any(f"'{key}' is a required property" in line for line in wrong(document))
        assert not is_accepted(document)


def from_schema(schema: dict[str, Any], words: str = "") -> st.SearchStrategy[Any]:
    """Values that have about the form of the schema, so that the check accepts some of them."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([from_schema(one, words) for one in schema["anyOf"]])
    if "properties" in schema:
        properties = {key: from_schema(value, _words(key, words)) for key, value in schema["properties"].items()}
        required = {key: properties.pop(key) for key in schema["required"]}
        few = st.lists(st.sampled_from(sorted(properties)), max_size=2, unique=True) if properties else st.just([])
        return few.flatmap(lambda keys: st.fixed_dictionaries(required | {key: properties[key] for key in keys}))
    if "patternProperties" in schema:
        [value] = schema["patternProperties"].values()
        return st.dictionaries(st.sampled_from(["a", "B-2", "1x", ""]), from_schema(value), max_size=2)
    if "items" in schema:
        return st.lists(from_schema(schema["items"], words), min_size=schema.get("minItems", 0), max_size=2)
    if schema.get("type") == "object":
        return st.dictionaries(st.sampled_from(["team", ""]), st.sampled_from(["x", "*"]), max_size=2)
    return st.sampled_from(WORDS.get(words, WORDS[""]))


def _words(key: str, words: str) -> str:
    singular = key.removesuffix("s")
    return key if key in WORDS else singular if singular in WORDS else "role" if key == "pass_roles" else words


PLACES = [(path, leaf) for path, leaf in leaves(SCHEMA) if path[:1] != ("assignments",)]
VALUES: st.SearchStrategy[Any] = (
    st.none() | st.integers(0, 9) | st.booleans() | st.sampled_from(["", "all", "x", "*"]) | st.just([]) | st.just({})
)


@st.composite
def files(draw: st.DrawFn) -> Any:
    """A valid file with one or two other values, most of which the check accepts."""
    document: Any = copy.deepcopy(BASE)
    for _ in range(draw(st.integers(1, 2))):
        path, leaf = draw(st.sampled_from(PLACES))
        words = _words(str(path[-1]), str(path[2]) if len(path) > 2 else "")
        value = draw(from_schema(leaf, words) if draw(st.integers(0, 5)) else VALUES)
        try:
            document = set_at(path, value, document)
        except (TypeError, AttributeError, IndexError):  # the earlier value has no such place
            continue
    if draw(st.booleans()):
        first = draw(from_schema(SCHEMA["properties"]["assignments"]["items"]))
        document["assignments"] = [first, {"guardrails": ["a"]}]
    return document


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(files())
def test_an_editor_accepts_what_the_check_accepts(document: Any) -> None:
    if is_accepted(document):
        assert wrong(document) == []
        # Without quotes, an editor reads the number of an account as a number and the check reads it as a text.
        text = re.sub(r"'([0-9]+|true|1\.5)'", r"\1", yaml.safe_dump(document))
        if read_yaml(text, today=TODAY).rules is not None:
            assert wrong(yaml.load(text, _Loader)) == []  # noqa: S506 - a loader of plain values


def test_enough_of_the_generated_files_are_accepted() -> None:
    counted = {"accepted": 0, "all": 0}

    @settings(max_examples=80, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(files())
    def count(document: Any) -> None:
        counted["all"] += 1
        counted["accepted"] += is_accepted(document)

    count()
    assert counted["accepted"] > counted["all"] / 10


def test_each_key_has_a_description_in_the_reference() -> None:
    without = {".".join(map(str, path)) for path, leaf in leaves(SCHEMA) if not leaf.get("description")}
    assert without == {"guardrails.a.assistants.deny", "also_govern"}
