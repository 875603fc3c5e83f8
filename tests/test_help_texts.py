"""Help texts are plain technical English: short sentences with an actor, and one word for each thing."""

import re
from collections.abc import Iterator

import pytest
from rolewarden_cli.commands import COMMANDS
from rolewarden_cli.main import app
from typer.main import get_group

LONGEST = 25
"""Words of a sentence."""

OLD_STYLE = re.compile(
    r"\b(who|whom|whoever|nobody|somebody|may|there (is|are)|tells? of|told|looks? at|looked at|take[sn]? off|put back"
    r"|mend|carr(y|ies|ied)|bare|doors?|seen to|where (it|one|a|the|none|nothing)|need be|(say|and|or) what)\b"
    r"|(^|[.:;] )what\b|, as ",
    re.IGNORECASE,
)


def texts() -> Iterator[tuple[str, str]]:
    """Each help text of each command, with the name of the command."""
    group = get_group(app)
    yield "rolewarden", str(group.help)
    for name, row in COMMANDS.items():
        command = group.commands[name]
        yield name, row.summary
        yield from ((name, paragraph) for paragraph in str(command.help).split("\n\n"))
        yield from ((name, text) for parameter in command.params if (text := getattr(parameter, "help", None)))


def faults(text: str) -> list[str]:
    """The old-style words and the long sentences of a text. The lists of exit codes and conditions are no sentences."""
    if text.startswith("Example: "):
        return []
    plain = re.sub(r"`[^`]*`", "x", text.replace(".yaml", ""))
    sentences = (
        [] if text.startswith(("Exit code: ", "Conditions: ")) else re.split(r"(?<=[.:]) ", " ".join(plain.split()))
    )
    long = [sentence for sentence in sentences if len(sentence.split()) > LONGEST]
    return long + [found[0] for found in OLD_STYLE.finditer(plain)]


@pytest.mark.parametrize("name", ["rolewarden", *COMMANDS])
def test_a_help_text_has_short_sentences_and_no_old_style_words(name):
    assert [(text, found) for owner, text in texts() if owner == name and (found := faults(text))] == []


@pytest.mark.parametrize("name", ["rolewarden", *COMMANDS])
def test_a_help_text_ends_with_a_full_stop(name):
    ours = [text for owner, text in texts() if owner == name and not text.startswith(("Example: ", "Show this"))]
    assert [text for text in ours if not text.endswith(".")] == []


@pytest.mark.parametrize(
    "text",
    [
        "Who deploys the stack: is denied nothing.",
        "Say what is wrong with guardrails.yaml, and what it costs a role.",
        "A model is reached where one route gets through.",
        "Needs AWS credentials that may put events on the default bus.",
        f"A sentence has {'very ' * LONGEST}many words.",
    ],
)
def test_an_old_help_text_would_be_found(text):
    assert faults(text)
