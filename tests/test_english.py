"""The texts for users are in plain technical English: they have few phrases of the old style.

The phrases are those that a review of the documentation counted, about 90 in 10,000 words. A few hits are false, such
as "what" in a question, so the limit is not zero.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

OLD_STYLE = re.compile(
    r"""
    \btells?\ of\b | \btold\b | \blook(s|ed)?\ at\b | \bmend(s|ed|ing)?\b | \bbare\b | \bdoors?\b | \bcure(s|d)?\b
    | \bst(and|ands|ood)\ in\b | \bput(s|ting)?\ right\b | \bwhere\ (it|there|one|nobody|none|no)\b | ,\ as\ (it|they)\b
    | (?:^|(?<=[.:;]\ ))(Who|Whoever|Whatever|What)\ (?!is\b|are\b|was\b|does\b|do\b|to\b)\w+(?![^.]*\?)
    | \bis\ gone\b | \bnominat\w+ | \bsecond\ look\b | \bby\ the\ clock\b | \bcarries\b | \bhears?\ of\b
    """,
    re.VERBOSE,
)
MOST = 15
"""Phrases in 10,000 words."""

CODE = {
    "layers": [ROOT / "layers"],
    "functions": [ROOT / "functions"],
    "command line": [ROOT / "cli"],
    "local AWS": [ROOT / "local"],
    "bench": [ROOT / "bench"],
    "generators of pages": [ROOT / "docs"],
    "tests": [ROOT / "tests"],
}

QUOTING = {Path(__file__).name, "test_contract.py"}
"""Modules that contain phrases of the old style on purpose, to search for them."""


def pages() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
    yield from (ROOT / "docs").rglob("*.md")


def prose_of_page(text: str) -> str:
    """A page without its code: blocks, and words in backquotes."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "CODE", text)


def prose_of_module(source: str) -> Iterator[str]:
    """The comments and the texts of a module: docstrings, messages, help."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield re.sub(r"`[^`]*`", "CODE", node.value)


def counted(texts: list[str]) -> tuple[float, list[str]]:
    """The number of old phrases in 10,000 words, and the phrases."""
    whole = [" ".join(text.split()) for text in texts]
    words = sum(len(text.split()) for text in whole)
    found = [text[max(0, hit.start() - 30) : hit.end() + 30] for text in whole for hit in OLD_STYLE.finditer(text)]
    return 10_000 * len(found) / max(words, 1), found


def test_the_pages_are_in_plain_english():
    texts = [prose_of_page(page.read_text(encoding="utf-8")) for page in pages()]
    rate, found = counted([paragraph for text in texts for paragraph in text.split("\n\n")])
    assert rate <= MOST, found


@pytest.mark.parametrize("part", CODE)
def test_docstrings_comments_and_messages_are_in_plain_english(part):
    files = [file for folder in CODE[part] for file in sorted(folder.rglob("*.py")) if file.name not in QUOTING]
    rate, found = counted([text for file in files for text in prose_of_module(file.read_text(encoding="utf-8"))])
    assert rate <= MOST, found


@pytest.mark.parametrize(
    "text",
    [
        "Who attaches cannot write.",
        "It finds what no event told of.",
        "A role is left bare where nobody looks at it.",
        "The event is late, as it was lost.",
        "A sweep mends it.",
    ],
)
def test_a_phrase_of_the_old_style_is_found(text):
    assert counted([text])[0] > MOST


def docstrings(source: str) -> Iterator[str]:
    """The texts of a module that describe something: of the module itself, of classes, functions and constants."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield text.strip()


CLAUSE = re.compile(r"(What|Whatever|How|Who|Whoever|Whose|Which|Where|When|Why|That)\b")
"""A beginning that makes a docstring a clause. A docstring is an action, or a noun phrase for a value."""


@pytest.mark.parametrize("part", CODE)
def test_docstrings_begin_with_an_action_or_a_noun(part):
    files = [file for folder in CODE[part] for file in sorted(folder.rglob("*.py"))]
    found = {file.name: text for file in files for text in docstrings(file.read_text("utf-8")) if CLAUSE.match(text)}
    assert found == {}


def test_plain_sentences_are_not_found():
    assert (
        counted(["What triggered the publication? The function attaches the policy, because the role lacks it."])[1]
        == []
    )
