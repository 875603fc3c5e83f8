"""Every word of a compiled document is needed: without it, the decision on at least one probe changes.

An unneeded statement means that an access path lacks a probe, or that the statement only uses up a role's quota.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.guardrails.probes import PAGE, REQUESTS, allowed, role_under

pytestmark = pytest.mark.long

NO_REGION = "arn:aws:bedrock:::foundation-model/"
"""Unneeded for this evaluator, in which the `*` of the regional form also matches no region. No page of AWS
documents this, so documents have both forms (as of 2026-10, AWS's examples for global inference profiles do)."""


def without_one_word(document: dict[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    statements = document["Statement"]
    assert isinstance(statements, list)
    for place, statement in enumerate(statements):
        for element in ("Action", "Resource", "NotResource"):
            values = statement.get(element, [])
            if isinstance(values, str):
                values = [values]
            for value in values:
                changed = copy.deepcopy(document)
                left = [other for other in values if other != value]
                if left:
                    changed["Statement"][place][element] = left  # type: ignore[index]
                else:
                    del changed["Statement"][place]  # type: ignore[attr-defined]
                yield f"{statement['Sid']} without {value}", changed
        for operator, keys in statement.get("Condition", {}).items():
            for key, values in keys.items():
                for value in [values] if isinstance(values, str) else values:
                    changed = copy.deepcopy(document)
                    left = [] if isinstance(values, str) else [other for other in values if other != value]
                    conditions = changed["Statement"][place]["Condition"]  # type: ignore[index]
                    if left:
                        conditions[operator][key] = left
                    else:
                        del conditions[operator]
                    yield f"{statement['Sid']} without {operator} {key} {value}", changed


def outcomes(policies: dict[str, dict[str, object]]) -> list[bool]:
    return [allowed(policies, request) for request in REQUESTS]


@pytest.mark.parametrize("guardrail", PAGE["guardrails"])
def test_every_word_of_a_document_changes_a_decision(guardrail: str) -> None:
    policies = dict(role_under(guardrail))
    expected = outcomes(policies)
    idle = []
    for name, document in role_under(guardrail).items():
        if name == "everything":
            continue
        for what, changed in without_one_word(document):
            if NO_REGION in what:
                continue
            changed_role = {**policies, name: changed}
            if all(allowed(changed_role, request) == was for request, was in zip(REQUESTS, expected, strict=True)):
                idle.append(what)
    assert not idle, "\n".join(idle)


@pytest.mark.parametrize("guardrail", [name for name in PAGE["guardrails"] if name.startswith(("b-deny", "b-allow"))])
def test_a_document_has_each_listed_model_with_any_region_and_without_one(guardrail: str) -> None:
    [document] = [document for name, document in role_under(guardrail).items() if name != "everything"]
    listed = [
        value
        for statement in document["Statement"]
        for element in ("Resource", "NotResource")
        for value in statement.get(element, ())
    ]
    [rule] = PAGE["guardrails"][guardrail]["bedrock"].keys() & {"deny", "allow"}
    for pattern in PAGE["guardrails"][guardrail]["bedrock"][rule]:
        assert f"{NO_REGION}{pattern}" in listed
        assert f"arn:aws:bedrock:*::foundation-model/{pattern}" in listed
    assert (f"{NO_REGION}*" in listed) == (rule == "deny")
