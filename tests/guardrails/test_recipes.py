"""Each recipe of docs/how-to/write-guardrails.md decides on the calls that people asked for.

The evaluator is MiniStack's, whose authors did not write the compiler. `tests/local/test_judge.py` compares it with the
rules of the IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from rolewarden.guardrails import Mode
from rolewarden.guardrails_file import read_yaml
from rolewarden.packing import Document
from rolewarden.policies import compile_guardrail

from tests.conftest import ROOT
from tests.guardrails.probes import ALLOW_EVERYTHING, Request, allowed

ASKED = yaml.safe_load((Path(__file__).parent / "recipes.yaml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/how-to/write-guardrails.md").read_text(encoding="utf-8")
SECTIONS = dict(section.split("\n", 1) for section in PAGE.split("\n## ")[1:])
RECIPES = {title: found[1] for title, text in SECTIONS.items() if (found := re.search(r"```yaml\n([^`]*)```", text))}


@cache
def role_under(recipe: str) -> dict[str, Document]:
    """The policies of a role with every permission and the enforced guardrails of a recipe."""
    reading = read_yaml(RECIPES[recipe], today=date(2026, 1, 1))
    assert reading.rules is not None, reading.errors
    enforced = [guardrail for guardrail in reading.rules.guardrails.values() if guardrail.mode is Mode.ENFORCE]
    policies = [policy for guardrail in enforced for policy in compile_guardrail(guardrail, "aws")]
    return {"everything": ALLOW_EVERYTHING, **{policy.name: policy.document for policy in policies}}


def filled(value: Any) -> Any:
    """A call of the page with its ARNs."""
    if isinstance(value, str):
        return re.sub(r"\{([\w-]+)\}", lambda found: ASKED["arns"][found[1]], value)
    if isinstance(value, list):
        return [filled(item) for item in value]
    return {key: filled(item) for key, item in value.items()} if isinstance(value, dict) else value


def calls(recipe: str) -> Iterator[tuple[Request, bool]]:
    """The calls of a recipe, and whether it must deny each."""
    for call in map(filled, ASKED["recipes"][recipe]["calls"]):
        yield (
            Request(call.get("why", ""), call["action"], call.get("resources", ["*"]), call.get("with", {})),
            call["denied"],
        )


def test_each_recipe_of_the_page_has_calls_that_it_denies_and_calls_that_it_allows() -> None:
    assert list(ASKED["recipes"]) == list(RECIPES)
    assert len(RECIPES) == PAGE.count("```yaml")
    for recipe in RECIPES:
        assert {denied for _, denied in calls(recipe)} == {True, False}, recipe
        assert ASKED["recipes"][recipe]["asked"], recipe


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_denies_and_allows_what_was_asked_for(recipe: str) -> None:
    wrong = [
        f"{request.action} {request.why} {list(request.resources)}: {'let through' if denied else 'denied'}"
        for request, denied in calls(recipe)
        if allowed(role_under(recipe), request) == denied
    ]
    assert not wrong, "\n".join(wrong)


def test_no_arn_of_the_calls_is_unused() -> None:
    text = yaml.safe_dump(ASKED["recipes"])
    assert [name for name in ASKED["arns"] if f"{{{name}}}" not in text] == []
