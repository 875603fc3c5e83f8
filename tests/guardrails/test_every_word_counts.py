"""Every word of a compiled document is needed: without it, the decision on at least one probe changes.

An unneeded statement means that an access path lacks a probe, or that the statement only uses up a role's quota.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest
from rolewarden.packing import Statement, document_of
from rolewarden_local.emulated.judge import judge

from tests.guardrails.probes import ALLOW_EVERYTHING, PAGE, REQUESTS, Request, allowed, context_of, role_under

pytestmark = pytest.mark.long

NO_REGION = "arn:aws:bedrock:::foundation-model/"
"""Unneeded for this evaluator, in which the `*` of the regional form also matches no region. No page of AWS
documents this, so documents have both forms (as of 2026-10, AWS's examples for global inference profiles do)."""


def as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def without_one_word(statement: Statement) -> Iterator[tuple[str, Statement | None]]:
    """Each word of a statement, and the statement without it; None if nothing is left."""
    for element in ("Action", "Resource", "NotResource"):
        values = as_list(statement.get(element, []))
        for value in values:
            left = [other for other in values if other != value]
            yield f"{statement['Sid']} without {value}", {**statement, element: left} if left else None
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            for value in as_list(values):
                changed = copy.deepcopy(statement)
                left = [] if isinstance(values, str) else [other for other in values if other != value]
                if left:
                    changed["Condition"][operator][key] = left
                else:
                    del changed["Condition"][operator]
                yield f"{statement['Sid']} without {operator} {key} {value}", changed


ALLOWED = json.dumps(ALLOW_EVERYTHING)


def deciding(policies: Mapping[str, str], request: Request) -> set[tuple[str, int]]:
    """The statements that deny a request: the name of the policy, and the number of the statement."""
    judged = (
        judge(policies, request.action, resource, context_of(request, resource)) for resource in request.resources
    )
    return {(one.policy, one.index) for found in judged if not found.allowed for one in found.matched}


@pytest.mark.parametrize("guardrail", PAGE["guardrails"])
def test_every_word_of_a_document_changes_a_decision(guardrail: str) -> None:
    policies = {name: json.dumps(document) for name, document in role_under(guardrail).items()}
    decided = [(request, deciding(policies, request)) for request in REQUESTS]
    idle = []
    for name, document in role_under(guardrail).items():
        for place, statement in enumerate(document["Statement"] if name != "everything" else ()):
            # A statement decides only on its own actions, and only if no other statement denies the request.
            met = [
                (request, bool(by))
                for request, by in decided
                if not by - {(name, place)}
                and any(fnmatchcase(request.action, pattern) for pattern in as_list(statement["Action"]))
            ]
            for what, changed in without_one_word(statement):
                if NO_REGION in what:
                    continue
                role = {"everything": ALLOWED, name: json.dumps(document_of([changed] if changed else []))}
                if all(allowed(role, request) != was_denied for request, was_denied in met):
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
