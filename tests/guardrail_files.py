"""Texts of guardrails.yaml with one part that the caller provides, and functions that read them."""

from __future__ import annotations

import re
from datetime import date

from rolewarden.guardrails_file import FileReading, read_yaml
from rolewarden.problems import Problem

from tests.conftest import ROOT

TODAY = date(2026, 6, 1)
GUARDRAILS = ROOT / "layers" / "guardrails" / "guardrails.yaml"

GUARDRAIL = "guardrails:\n  a: {bedrock: {deny: all}}\n"
EVERYONE = "assignments:\n  - guardrails: [a]\n"
SOUND = GUARDRAIL + EVERYONE

WAY_OUT = re.compile(
    r"\b(add|did you mean|end with|give|indent|keep|list|move|must be|name|remove|rename|start with|write)\b"
)
"""The words with which a message names a correction."""


def guardrail(body: str) -> str:
    """A file with `body` as its guardrail `a`, in line 2."""
    return f"guardrails:\n  a: {body}\n{EVERYONE}"


def bedrock(model: str) -> str:
    return guardrail(f"{{bedrock: {{deny: [{model}]}}}}")


def jumpstart(model: str) -> str:
    return guardrail(f"{{jumpstart: {{deny: [{model}]}}}}")


def assignment(entry: str) -> str:
    """A file with `entry` as its first assignment, in line 4, followed by one for every subject."""
    return f"{GUARDRAIL}assignments:\n  - {entry}\n  - guardrails: [a]\n"


def exemption(entry: str) -> str:
    """A file with `entry` as its exemption, in line 6."""
    return f"{SOUND}exemptions:\n  - {entry}\n"


def also_govern(body: str) -> str:
    """A file with `body` as its also_govern, in line 5."""
    return f"{SOUND}also_govern: {body}\n"


def names(*wanted: str) -> str:
    """A file with guardrails of these names, the first in line 2."""
    bodies = "".join(f"  {name}: {{bedrock: {{deny: all}}}}\n" for name in wanted)
    return f"guardrails:\n{bodies}assignments:\n  - guardrails: [{', '.join(wanted)}]\n"


def yaml(text: str) -> FileReading:
    return read_yaml(text, today=TODAY)


def one_line(problem: Problem) -> str:
    """The printed problem. Asserts that it is a readable line for every content of the file."""
    line = str(problem)
    assert line.isprintable(), line
    assert not re.search(r"\['|\{'|\b(None|True|False)\b|Traceback|Error\b|object at 0x", line), line
    return line
