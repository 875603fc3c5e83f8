"""Words in the interface for users: each word has one meaning, and replaced words do not return."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.stacks import made, whole

OLD = re.compile(
    r"""\b(
        remed(y|ied|ies|ying) | cures? | ungoverned | nominat\w* | second\ looks? | releas(e|ed|es|er|ing) | settled?
        | carr(y|ies|ied|ying) | carrying_too_much | lacking | mend(s|ed|ing)? | guarded | bare | put(s)?\ back
        | look(s|ed)?\ at | stand(s)?\ in | told | hear(s|d)?
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""Words of the old contract. docs/explanation/architecture.md has their replacements."""

OF_DRILLS = {
    "heard", "SecondsToHear", "to hear a call", "every drill was heard in time", "drill that was heard",
    "EnforceFunction heard ",
}  # fmt: skip
"""Texts in which "hear" has its one meaning of today: EnforceFunction receives the event of a drill."""

OF_CENTRAL = re.compile(r"\bhub\b(?![-/])|Hub(Account|Region|Bus)|HUB_")
"""The old word for the central account. AWS's own hubs do not count: JumpStart's model hubs and Security Hub."""

PRODUCT = ("layers/rolewarden/rolewarden", "cli/rolewarden_cli", "functions", "local/rolewarden_local")


def strings(value: Any) -> Iterator[str]:
    """Every string in a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        yield from value
        yield from strings(list(value.values()))


def texts(file: Path) -> Iterator[str]:
    """Every string of a Python file except docstrings: keys, values and messages."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def words(text: str) -> str:
    """The text with its names split into words: `ReleaseQueue` and `release_queue` are both "release queue"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)


def old(found: Iterator[str]) -> list[str]:
    return [text for text in found if text not in OF_DRILLS and (OLD.search(text) or OLD.search(words(text)))]


@pytest.mark.parametrize("folder", PRODUCT)
def test_no_key_value_or_message_of_the_product_has_an_old_word(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {str(file.relative_to(ROOT)): old(texts(file)) for file in files}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_no_name_in_the_template_or_the_forwarder_has_an_old_word():
    names = [logical for logical, _, _ in made(whole())]
    assert len(names) > 100
    for file in ("template.yaml", "forwarder.yaml"):
        text = (ROOT / file).read_text(encoding="utf-8")
        names += re.findall(r"^\s*(?:- )?([A-Z]\w+):", text, re.MULTILINE) + re.findall(r"Sid: (\w+)", text)
        assert not OF_CENTRAL.search(text)
    assert old(iter(names)) == []


def test_no_event_and_no_field_of_an_event_has_an_old_word():
    schema = json.loads((ROOT / "docs/reference/events.schema.json").read_text())
    for name, definition in schema["$defs"].items():
        assert old(iter([name, *definition.get("properties", {})])) == []
    samples = sorted((ROOT / "events").glob("finding_*.json"))
    assert samples
    for sample in samples:
        assert old(strings(json.loads(sample.read_text()))) == []


def test_the_central_account_has_one_name():
    for folder in PRODUCT:
        for file in (ROOT / folder).rglob("*.py"):
            found = [text for text in texts(file) if OF_CENTRAL.search(text)]
            # The other matches are about JumpStart's hubs.
            assert [text for text in found if text != "hub" and "model" not in text and "listed" not in text] == []
