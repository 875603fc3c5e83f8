"""The forms of the compiler's statements: what a deny can look like under any rules that guardrails.yaml can express.

A policy can have statements of earlier rules, which no function can compile any more. A caller who edits a policy can
give a deny any Sid. A statement counts as one of Rolewarden only if the compiler can have written all of it: its
actions, its resources and its condition. It can then deny nothing that a guardrail could not deny.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, NamedTuple

from rolewarden.guardrails import (
    Allowance,
    AssistantsRule,
    BedrockRule,
    ExemptRole,
    Guardrail,
    JumpStartRule,
    Routes,
    RuleKind,
)
from rolewarden.policies import Statement, compile_guardrail

_ANY, _PARTITION = "anything", "partition"
"""Texts that stand for each text of guardrails.yaml and for each partition."""

_COUNTED = re.compile(r"[0-9]*(Kept[0-9]+)?$")
_KINDS: tuple[RuleKind, ...] = ("deny-all", "deny", "allow")


class _Form(NamedTuple):
    """A form of statements with one Sid.

    - `actions`: the actions in lower case. A statement can have fewer.
    - `element`: Resource or NotResource.
    - `resources`: what each resource of a statement matches.
    - `condition`: what each value matches, by the operator and key of the condition.
    """

    actions: frozenset[str]
    element: str
    resources: re.Pattern[str]
    condition: Mapping[tuple[str, str], re.Pattern[str]]

    def fits(self, statement: Statement) -> bool:
        """Whether a statement has this form."""
        if statement.keys() - {"Sid", "Effect", "Action", "Condition"} != {self.element}:
            return False
        values = {
            (operator, key): _texts(value)
            for operator, keys in statement.get("Condition", {}).items()
            for key, value in keys.items()
        }
        return (
            frozenset(map(str.lower, _texts(statement["Action"]))) <= self.actions
            and all(map(self.resources.fullmatch, _texts(statement[self.element])))
            and values.keys() == self.condition.keys()
            and all(self.condition[key].fullmatch(text) for key, texts in values.items() for text in texts)
        )


def is_ours(statement: Statement) -> bool:
    """Whether the compiler can have written a statement: it is a deny that has one of the compiler's forms."""
    if statement.get("Effect") != "Deny":
        return False
    forms = _forms().get(_family(statement), ())
    try:
        return any(form.fits(statement) for form in forms)
    except (AttributeError, KeyError, TypeError):
        # IAM accepts no such statement, but a row of a table can have one.
        return False


def _family(statement: Statement) -> str:
    """The Sid without the number that distinguishes several statements of one kind."""
    return _COUNTED.sub("", str(statement.get("Sid", "")))


@cache
def _forms() -> Mapping[str, tuple[_Form, ...]]:
    """The forms of all statements that the compiler can write, by `_family`."""
    found: dict[str, dict[tuple[Any, ...], _Form]] = {}
    for guardrail in _guardrails():
        for policy in compile_guardrail(guardrail, _PARTITION):
            for statement in policy.document["Statement"]:
                form = _form(statement)
                key = (form.element, form.resources, *sorted(form.condition.items()))
                known = found.setdefault(_family(statement), {})
                actions = form.actions | (known[key].actions if key in known else frozenset())
                known[key] = form._replace(actions=actions)
    return {family: tuple(forms.values()) for family, forms in found.items()}


def _form(statement: Statement) -> _Form:
    element = "NotResource" if "NotResource" in statement else "Resource"
    condition = {
        (operator, key): _pattern(value)
        for operator, keys in statement.get("Condition", {}).items()
        for key, value in keys.items()
    }
    actions = frozenset(map(str.lower, _texts(statement["Action"])))
    return _Form(actions, element, _pattern(statement[element]), condition)


def _pattern(value: Any) -> re.Pattern[str]:
    """A pattern of the texts that differ from those of `value` only where the latter have _ANY or _PARTITION."""
    texts = sorted(map(re.escape, _texts(value)))
    return re.compile("|".join(texts).replace(_ANY, "[^\n]*").replace(_PARTITION, "aws[a-z-]*"))


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _guardrails() -> Iterator[Guardrail]:
    """Guardrails that together have each form of statement. A list of the file has one entry, which is _ANY."""
    yield Guardrail(
        "g",
        assistants=AssistantsRule(),
        pass_roles=(_ANY,),
        exempt_roles=(ExemptRole(_ANY, _ANY),),
        fixed_tags=True,
        api_keys=Allowance.DENY,
    )
    yield Guardrail("g", assistants=AssistantsRule(), routes=Routes.CANVAS, exempt_roles=(ExemptRole("", _ANY),))
    for kind, routes, first, second in product(_KINDS, Routes, Allowance, Allowance):
        listed = () if kind == "deny-all" else (_ANY,)
        for arns in ((), (_ANY,)):
            yield Guardrail("g", BedrockRule(kind, listed, first, second, allow_arns=arns), routes=routes)
        for jobs, hubs in product(Allowance, ((), (_ANY,)) if kind == "deny-all" else ((),)):
            # The other options only add statements.
            rule = JumpStartRule(kind, listed, first, Allowance.DENY, Allowance.DENY, second, jobs, hubs)
            yield Guardrail("g", jumpstart=rule, routes=routes)
