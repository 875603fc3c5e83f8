"""The census of access paths, and the part of docs/explanation/limits.md that is made from it.

docs/census.csv has the decisions, and docs/census.yaml their reasons. tests/guardrails/test_census.py checks both.
"""

from __future__ import annotations

import csv
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOLDER = Path(__file__).parent
AUTHORIZATION_DATA = "authorization data"
FEW = 6
"""The greatest number of actions that the page names for a reason."""


class CensusEntry(NamedTuple):
    """A line of census.csv."""

    action: str
    decision: str
    reason: str
    evidence: str


@cache
def entries() -> tuple[CensusEntry, ...]:
    """All lines of census.csv."""
    with (FOLDER / "census.csv").open(encoding="utf-8", newline="") as file:
        return tuple(CensusEntry(**line) for line in csv.DictReader(file))


@cache
def settings() -> dict[str, Any]:
    """census.yaml."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "census.yaml").read_text(encoding="utf-8"))
    return loaded


def open_paths() -> str:
    """The list of what stays open on purpose, with its actions."""
    found = {reason: [one.action for one in entries() if one.reason == reason] for reason in settings()["open"]}
    lines = [f"- {text} {_some(found[reason])}" for reason, text in settings()["open"].items()]
    decided = Counter(one.decision for one in entries())
    return (
        f"The census has {len(entries()):,} actions in {len(settings()['namespaces'])} namespaces. A guardrail with "
        f"`deny: all` for every family denies {decided['closed']:,} of them, and {decided['harmless']:,} are harmless. "
        f"The other {decided['open']:,} stay open for these reasons:\n\n" + "\n".join(lines)
    )


def _some(actions: list[str]) -> str:
    if len(actions) <= FEW:
        return f"({', '.join(f'`{action}`' for action in actions)})"
    shown = ", ".join(f"`{action}`" for action in actions[:: -(-len(actions) // 4)])
    return f"({len(actions)} actions, for example {shown})"
