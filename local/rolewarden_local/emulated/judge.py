"""The verdict of IAM on a request: MiniStack's evaluator, held to what it was shown to do as AWS documents it.

The evaluator was not written here, which is what makes it a proof of the policies that Rolewarden compiles. It answers
anything, also what it does not know, so `judge` refuses (`Unsupported`) whatever lies outside the tables below.
`tests/local/test_judge.py` shows each entry to be right. Where the evaluator departs from AWS in them, it is corrected:

- A key that it fills from a request of its own (aws:SourceIp, aws:CurrentTime, aws:ResourceAccount, …) has here the
  value that the caller gives, or none. An absent aws:TagKeys is absent, as is a key with an empty list.
- The ARN operators compare the six parts of an ARN one by one; it lets `*` run over the colons.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rolewarden.errors import RolewardenError
from rolewarden.policies import Document

from rolewarden_local.emulated._ministack import evaluator

Decision = Literal["allowed", "explicitDeny", "implicitDeny"]
Values = str | Sequence[str]

SINGLE_VALUED: Final = frozenset(
    {
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIfExists",
        "StringNotEqualsIfExists",
        "StringLikeIfExists",
        "StringNotLikeIfExists",
        "ArnEquals",
        "ArnLike",
        "ArnNotEquals",
        "ArnNotLike",
        "Bool",
        "BoolIfExists",
    }
)
"""Compare a key of one value."""

MULTIVALUED: Final = frozenset(
    {
        "ForAnyValue:StringEquals",
        "ForAnyValue:StringLike",
        "ForAllValues:StringEquals",
        "ForAllValues:StringLike",
    }
)
"""Compare a key that may have several values."""

OPERATORS: Final = SINGLE_VALUED | MULTIVALUED | {"Null"}
ELEMENTS: Final = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})

_DECISIONS: Final[dict[str, Decision]] = {"Allow": "allowed", "Deny": "explicitDeny", "ImplicitDeny": "implicitDeny"}


class Unsupported(RolewardenError):
    """A policy or a request that the evaluator was not shown to judge as AWS does; the message names what it is."""


@dataclass(frozen=True)
class Matched:
    """A statement that decided: of which policy (the name the caller gave), its Sid, and its place in `Statement`."""

    policy: str
    sid: str
    index: int


@dataclass(frozen=True)
class Judgement:
    """What IAM says to a request, and every statement that says so; an implicit deny has none."""

    decision: Decision
    matched: tuple[Matched, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the request may be made."""
        return self.decision == "allowed"


@dataclass(frozen=True)
class _JudgedStatement:
    matched: Matched
    parsed: Any
    """As the evaluator takes it, each condition key under its own name in lower case after `_KEY`."""
    doubt: str
    """Why it may not be judged; empty where it may."""


# A key of this shape is none that the evaluator knows, so it takes what the request's context says.
_KEY: Final = "context:"
BOUNDARY: Final = "permissions boundary"
"""What `judge` calls the boundary in `Matched.policy`."""


def judge(
    policies: Mapping[str, Document],
    action: str,
    resource: str = "*",
    context: Mapping[str, Values] | None = None,
    *,
    boundary: Document | None = None,
) -> Judgement:
    """What IAM decides on `action` on `resource` by a principal that carries `policies`.

    Args:
        policies: identity policies by name, as documents.
        action: such as "bedrock:InvokeModel".
        resource: one ARN, or "*" where the action has none.
        context: condition keys of the request, in any case; a list is a multivalued key. What is not given is absent.
        boundary: the principal's permissions boundary. In `matched` it goes by the name `BOUNDARY`.

    Raises:
        Unsupported: a statement on this action uses what is not in the tables, or the request does. Statements on
            other actions do not matter; `documents_use_only_what_is_proven` looks at all.
    """
    _check_request(action, resource)
    keys = _keys(context or {})
    identity = [_on(action, name, json.dumps(document)) for name, document in policies.items()]
    limit = _on(action, BOUNDARY, json.dumps(boundary)) if boundary is not None else ()
    request = evaluator.EvalContext(
        principal_arn="",
        principal_type="",
        principal_account="",
        action=action,
        resource_arn=resource,
        region="",
        service_context=keys,
    )
    for statement in (*(statement for policy in identity for statement in policy), *limit):
        _check(statement, request)
    layers = [[[statement.parsed for statement in policy] for policy in identity]]
    if boundary is not None:
        layers.append([[statement.parsed for statement in limit]])
    decision = evaluator.evaluate(request, *layers).decision
    if decision == "ImplicitDeny":
        return Judgement("implicitDeny")
    # A boundary's allow grants nothing, so it is none of the reasons; its deny is one.
    deciding = [*identity, limit] if decision == "Deny" else identity
    matched = (
        statement.matched
        for policy in deciding
        for statement in policy
        if statement.parsed.effect == decision
        and evaluator.evaluate(request, [[statement.parsed]]).decision == decision
    )
    return Judgement(_DECISIONS[decision], tuple(matched))


def require_proven_documents(documents: Iterable[Document]) -> None:
    """Look at every statement of `documents`, whatever its action.

    Raises Unsupported, which names the first thing outside the tables.
    """
    for number, document in enumerate(documents):
        for statement in _parsed(str(number), json.dumps(document)):
            if statement.doubt:
                raise Unsupported(statement.doubt)


def _check_request(action: str, resource: str) -> None:
    if not re.fullmatch(r"[\w-]+:\w+", action):
        raise Unsupported(f"action {action!r}: name one, as bedrock:InvokeModel")
    if resource != "*" and not re.fullmatch(r"arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:\S.*", resource):
        raise Unsupported(f"resource {resource!r}: neither an ARN nor *")


def _keys(context: Mapping[str, Values]) -> dict[str, Any]:
    """The context as the evaluator reads it: a key without values is absent, one with several is a list."""
    keys: dict[str, Any] = {}
    for key, value in context.items():
        name = _KEY + key.lower()
        if name in keys:
            raise Unsupported(f"context key {key}: given twice in different case")
        values = [value] if isinstance(value, str) else list(value)
        # AWS does not say whether Null takes an empty value for present; the evaluator's `*` stops at a line's end.
        if not all(item and "\n" not in item for item in values):
            raise Unsupported(f"context key {key}: an empty value, or one with a line break")
        if values:
            keys[name] = value if isinstance(value, str) else values
    return keys


@functools.lru_cache(maxsize=65_536)
def _on(action: str, name: str, text: str) -> tuple[_JudgedStatement, ...]:
    """The statements of a policy that speak of `action`; no other can decide."""
    return tuple(
        statement
        for statement in _parsed(name, text)
        if evaluator._action_matches(action, statement.parsed.actions, statement.parsed.not_actions)
    )


@functools.lru_cache(maxsize=4096)
def _parsed(name: str, text: str) -> tuple[_JudgedStatement, ...]:
    document = json.loads(text)
    if not isinstance(document, dict) or not {"Statement"} <= set(document) <= {"Version", "Id", "Statement"}:
        raise Unsupported(f"policy {name}: not an identity policy")
    statements = document["Statement"]
    if not isinstance(statements, list):
        statements = [statements]
    return tuple(_statement(name, index, statement) for index, statement in enumerate(statements))


def _statement(policy: str, index: int, statement: Any) -> _JudgedStatement:
    where = f"policy {policy}, statement {index + 1}"
    if not isinstance(statement, dict) or not set(statement) <= ELEMENTS:
        odd = set(statement) - ELEMENTS if isinstance(statement, dict) else {json.dumps(statement)}
        raise Unsupported(f"{where}: {', '.join(sorted(odd))}")
    if statement.get("Effect") not in {"Allow", "Deny"}:
        raise Unsupported(f"{where}: Effect {statement.get('Effect')!r}")
    for element in ("Action", "Resource"):
        if (element in statement) == (f"Not{element}" in statement):
            raise Unsupported(f"{where}: one of {element} and Not{element} is needed")
        named = element if element in statement else f"Not{element}"
        if not all(isinstance(item, str) and item for item in _list(statement[named])) or not _list(statement[named]):
            raise Unsupported(f"{where}: {named} {statement[named]!r}")
    doubts = list(_doubts(statement))
    conditions = {} if doubts else _conditions(statement.get("Condition", {}))
    (parsed,) = evaluator.parse_policy_document({"Statement": {**statement, "Condition": conditions}})
    return _JudgedStatement(
        Matched(policy, statement.get("Sid", ""), index), parsed, f"{where}: {doubts[0]}" if doubts else ""
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _doubts(statement: Mapping[str, Any]) -> Iterable[str]:
    if "${" in json.dumps([statement.get(name) for name in ("Resource", "NotResource", "Condition")]):
        yield "a policy variable"
    for pattern in _list(statement.get("Resource", statement.get("NotResource"))):
        # AWS completes an ARN of fewer than six parts by wildcards; the evaluator takes it as it stands.
        if pattern != "*" and not _is_arn(pattern):
            yield f"resource {pattern}: neither an ARN of six parts nor *"
    conditions = statement.get("Condition", {})
    if not isinstance(conditions, dict) or not all(isinstance(block, dict) for block in conditions.values()):
        yield "Condition is not a map of maps"
        return
    for operator, block in conditions.items():
        if operator not in OPERATORS:
            yield f"condition operator {operator}"
        if len({key.lower() for key in block}) < len(block):
            yield f"{operator} names a condition key twice"
        for key, listed in block.items():
            values = _list(listed)
            if not values or not all(isinstance(value, str | bool) and value != "" for value in values):
                yield f"{operator} of {key} with {listed!r}"
            elif operator == "Null" and (len(values) > 1 or str(values[0]).lower() not in {"true", "false"}):
                yield f"Null of {key} with {listed!r}"
            elif operator.startswith("Arn") and not all(_is_arn(str(value)) for value in values):
                yield f"{operator} of {key} with {listed!r}"


def _conditions(conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    return {
        operator: {
            _KEY + key.lower(): [json.dumps(value) if isinstance(value, bool) else value for value in _list(listed)]
            for key, listed in block.items()
        }
        for operator, block in conditions.items()
    }


def _check(statement: _JudgedStatement, request: Any) -> None:
    """Refuse a statement whose answer to this request was not shown to be AWS'."""
    if statement.doubt:
        raise Unsupported(statement.doubt)
    parsed = statement.parsed
    where = f"policy {statement.matched.policy}, statement {statement.matched.index + 1}"
    for pattern in (*parsed.resources, *parsed.not_resources):
        if runs_over_a_colon(pattern, request.resource_arn):
            raise Unsupported(f"{where}: a wildcard of {pattern} would have to match a colon of {request.resource_arn}")
    for operator, block in parsed.conditions.items():
        for key in block:
            value = request.service_context.get(key)
            name = key.removeprefix(_KEY)
            if isinstance(value, list) and operator in SINGLE_VALUED:
                raise Unsupported(f"{where}: {operator} of {name}, which has several values in this request")
            if operator.startswith("Arn") and value is not None and not _is_arn(value):
                raise Unsupported(f"{where}: {operator} of {name}, which is no ARN in this request: {value}")


def _is_arn(text: str) -> bool:
    return text.startswith("arn:") and text.count(":") >= 5


def runs_over_a_colon(pattern: str, resource: str) -> bool:
    """Whether it depends on a wildcard matching a colon that `pattern` matches `resource`.

    AWS says that a `*` does where a segment ends in it, and no more:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    if not evaluator.fnmatch_iam_cs(resource, pattern) or pattern == "*":
        return False
    return _within_segments(pattern).fullmatch(resource) is None


@functools.lru_cache(maxsize=16_384)
def _within_segments(pattern: str) -> re.Pattern[str]:
    regex = re.escape(pattern).replace(r"\?", "[^:]")
    regex = re.sub(r"\\\*(?=:|$)", ".*", regex)
    return re.compile(regex.replace(r"\*", "[^:]*"))


def _arn_like(actual: str, expected: str) -> bool:
    """Compare each of the six parts of an ARN on its own, as ArnLike and ArnEquals do."""
    parts, patterns = actual.split(":", 5), expected.split(":", 5)
    return len(parts) == len(patterns) == 6 and all(map(evaluator.fnmatch_iam_cs, parts, patterns))


def _arn_not_like(actual: str, expected: str) -> bool:
    return not _arn_like(actual, expected)


evaluator._CONDITION_OPS.update(
    arnequals=_arn_like, arnlike=_arn_like, arnnotequals=_arn_not_like, arnnotlike=_arn_not_like
)
