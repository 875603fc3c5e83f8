"""The forms of the compiler's statements: what a deny can look like under any rules that guardrails.yaml can express.

A policy can have statements of earlier rules, which no function can compile any more. A caller who edits a policy can
give a deny any Sid. A statement counts as one of Rolewarden only if the compiler can have written all of it: its
actions, its resources and its condition. It can then deny nothing that a guardrail could not deny.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple, TypeVar, get_args

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
from rolewarden.packing import Statement
from rolewarden.policies import USER_KEY, USER_OPERATORS, compile_guardrail
from rolewarden.vocabulary import APPLICATION_PROFILE

_ANY, _PARTITION = "anything", "partition"
"""Texts that stand for each text of guardrails.yaml and for each partition."""

_COUNTED = re.compile(r"[0-9]*(Kept[0-9]+)?$")
_Key = tuple[str, str]
_R = TypeVar("_R", BedrockRule, JumpStartRule, Guardrail)


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
        statement = _for_all_users(statement)
        return any(form.fits(statement) for form in forms)
    except (AttributeError, KeyError, TypeError):
        # IAM accepts no such statement, but a row of a table can have one.
        return False


def _for_all_users(statement: Statement) -> Statement:
    """A statement for some users of a shared role as it is for all of them. Each guardrail can have any users."""
    condition = dict(statement.get("Condition", {}))
    for operator in USER_OPERATORS:
        if condition.get(operator, {}).keys() == {USER_KEY} and all(
            map(str.strip, _texts(condition[operator][USER_KEY]))
        ):
            del condition[operator]
            break
    rest = {key: value for key, value in statement.items() if key != "Condition"}
    return {**rest, "Condition": condition} if condition else rest


def _family(statement: Statement) -> str:
    """The Sid without the number that distinguishes several statements of one kind."""
    return _COUNTED.sub("", str(statement.get("Sid", "")))


@cache
def _forms() -> Mapping[str, tuple[_Form, ...]]:
    """The forms of all statements that the compiler can write, by `_family`."""
    gathered: dict[tuple[str, str, frozenset[_Key]], _Gathered] = defaultdict(_Gathered)
    for guardrail in _guardrails():
        for policy in compile_guardrail(guardrail, _PARTITION):
            for statement in policy.document["Statement"]:
                element = "NotResource" if "NotResource" in statement else "Resource"
                condition = {
                    (operator, key): _texts(value)
                    for operator, keys in statement.get("Condition", {}).items()
                    for key, value in keys.items()
                }
                one = gathered[_family(statement), element, frozenset(condition)]
                one.actions.update(map(str.lower, _texts(statement["Action"])))
                one.resources.update(_texts(statement[element]))
                for key, texts in condition.items():
                    one.condition[key].update(texts)
    found: dict[str, list[_Form]] = defaultdict(list)
    for (family, element, _), one in gathered.items():
        patterns = {key: _pattern(texts) for key, texts in one.condition.items()}
        found[family].append(_Form(frozenset(one.actions), element, _pattern(one.resources), patterns))
    return {family: tuple(forms) for family, forms in found.items()}


@dataclass
class _Gathered:
    """The entries of all statements of one form, in all guardrails together."""

    actions: set[str] = field(default_factory=set)
    resources: set[str] = field(default_factory=set)
    condition: dict[_Key, set[str]] = field(default_factory=lambda: defaultdict(set))


def _pattern(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern of the texts that differ from one of `texts` only where this has _ANY or _PARTITION."""
    escaped = "|".join(sorted(map(re.escape, texts)))
    return re.compile(escaped.replace(_ANY, "[^\n]*").replace(_PARTITION, "aws[a-z-]*"))


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _guardrails() -> Iterator[Guardrail]:
    """Guardrails that together have each form of statement. A list of the file has one entry, which is _ANY."""
    whole = Guardrail("g", exempt_roles=(ExemptRole(_ANY, _ANY), ExemptRole("", _ANY)), fixed_tags=True)
    for routes in Routes:
        yield from _variants(whole._replace(assistants=AssistantsRule(), routes=routes))
        for kind in get_args(RuleKind):
            listed = (_ANY,) if kind in {"deny", "allow"} else ()
            for bedrock in _variants(BedrockRule(kind, listed)):
                yield Guardrail("g", bedrock, routes=routes)
            for jumpstart in _variants(JumpStartRule(kind, listed)):
                yield Guardrail("g", jumpstart=jumpstart, routes=routes)


def _variants(rule: _R) -> Iterator[_R]:
    """A rule, and the same rule with each one, two and three of its other options.

    No statement has an action, a resource or a key that only four options together give it.
    """
    others: dict[str, Any] = {}
    for name, default in rule._field_defaults.items():
        if isinstance(default, Allowance):
            others[name] = Allowance.DENY if default is Allowance.ALLOW else Allowance.ALLOW
        elif default == () and name not in {"patterns", "exempt_roles", "except_users", "only_users"}:
            others[name] = (_ANY, f"{_ANY}:{APPLICATION_PROFILE}/{_ANY}") if name == "allow_arns" else (_ANY,)
    for number in range(4):
        for names in combinations(others, number):
            yield rule._replace(**{name: others[name] for name in names})
