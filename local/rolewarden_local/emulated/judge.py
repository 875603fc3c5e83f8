"""The decision of IAM on a request, from an evaluator that tests compare with AWS's documentation.

MiniStack's evaluator decides on every request, even with operators and keys that it does not know, and differs from AWS
in some of those that it knows. moto ignores conditions.

Rolewarden's authors did not write the evaluator, so its decisions are independent evidence for the compiled policies.
`judge` rejects everything outside of the tables below with `Unsupported`. `tests/local/test_judge.py` has a case for
each entry. If the evaluator differs from AWS in an entry, this module corrects it:

- The evaluator fills some keys from a request of its own (aws:SourceIp, aws:CurrentTime, aws:ResourceAccount, …). Here
  they have the caller's value, or none. An absent aws:TagKeys is absent, and so is a key with an empty list.
- The evaluator's ARN operators let `*` match colons. Here they compare the six parts of an ARN one by one.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from rolewarden.errors import RolewardenError
from rolewarden.packing import Document

from rolewarden_local.emulated._ministack import evaluator

Decision = Literal["allowed", "explicitDeny", "implicitDeny"]
Values = str | Sequence[str]

SINGLE_VALUED: Final = frozenset(
    {
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
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
        "DateGreaterThan",
        "DateGreaterThanEquals",
    }
)
"""Operators for keys with one value."""

MULTIVALUED: Final = frozenset(
    {
        "ForAnyValue:StringEquals",
        "ForAnyValue:StringLike",
        "ForAllValues:StringEquals",
        "ForAllValues:StringLike",
    }
)
"""Operators for keys that can have several values."""

OPERATORS: Final = SINGLE_VALUED | MULTIVALUED | {"Null"}
ELEMENTS: Final = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})

_DECISIONS: Final[dict[str, Decision]] = {"Allow": "allowed", "Deny": "explicitDeny", "ImplicitDeny": "implicitDeny"}


class Unsupported(RolewardenError):
    """A policy or request that the evaluator is not known to decide as AWS does. The message names the part."""


@dataclass(frozen=True)
class Matched:
    """A statement that decided: the name of its policy (from the caller), its Sid, and its index in `Statement`."""

    policy: str
    sid: str
    index: int


@dataclass(frozen=True)
class Judgement:
    """IAM's decision on a request, and every statement that decided. An implicit deny has no statement."""

    decision: Decision
    matched: tuple[Matched, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the request is allowed."""
        return self.decision == "allowed"


@dataclass(frozen=True)
class _JudgedStatement:
    matched: Matched
    parsed: Any
    """The statement in the evaluator's form. Each condition key is `_KEY` and its name in lower case."""
    doubt: str
    """The reason why the statement is unsupported, or ""."""


# The evaluator does not know keys of this form, so it uses the values in the request's context.
_KEY: Final = "context:"
BOUNDARY: Final = "permissions boundary"
"""The name of the boundary in `Matched.policy`."""


def judge(
    policies: Mapping[str, Document | str],
    action: str,
    resource: str = "*",
    context: Mapping[str, Values] | None = None,
    *,
    boundary: Document | str | None = None,
) -> Judgement:
    """Decide as IAM does on `action` on `resource` by a principal with `policies`.

    Args:
        policies: The documents of identity policies by name. A document can be a text in JSON, which is faster.
        action: The action, such as "bedrock:InvokeModel".
        resource: One ARN, or "*" if the action has no resource.
        context: Condition keys of the request, in any case. A list is a multivalued key. Other keys are absent.
        boundary: The principal's permissions boundary. Its name in `matched` is `BOUNDARY`.

    Raises:
        Unsupported: The request or a statement on this action is outside of the tables. This function does not check
            statements on other actions, but `documents_use_only_what_is_proven` does.
    """
    _check_request(action, resource)
    keys = _keys(context or {})
    identity = [_on(action, name, _filled(_text(document), keys)) for name, document in policies.items()]
    limit = _on(action, BOUNDARY, _filled(_text(boundary), keys)) if boundary is not None else ()
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
    # A boundary's allow grants nothing and does not count as a deciding statement. Its deny does.
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
    """Check every statement of `documents`, regardless of its action.

    Raises Unsupported with the first part outside of the tables.
    """
    for number, document in enumerate(documents):
        for statement in _parsed(str(number), _filled(json.dumps(document), {})):
            if statement.doubt:
                raise Unsupported(statement.doubt)


def _check_request(action: str, resource: str) -> None:
    if not re.fullmatch(r"[\w-]+:\w+", action):
        raise Unsupported(f"action {action!r}: name one, as bedrock:InvokeModel")
    if resource != "*" and not re.fullmatch(r"arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:\S.*", resource):
        raise Unsupported(f"resource {resource!r}: neither an ARN nor *")


def _keys(context: Mapping[str, Values]) -> dict[str, Any]:
    """The context in the evaluator's form: a key without values is absent, and one with several values is a list."""
    keys: dict[str, Any] = {}
    for key, value in context.items():
        name = _KEY + key.lower()
        if name in keys:
            raise Unsupported(f"context key {key}: given twice in different case")
        values = [value] if isinstance(value, str) else list(value)
        # AWS does not document whether Null treats an empty value as present. The evaluator's `*` ends at a line's end.
        if not all(item and "\n" not in item for item in values):
            raise Unsupported(f"context key {key}: an empty value, or one with a line break")
        if values:
            keys[name] = value if isinstance(value, str) else values
    return keys


_VARIABLE: Final = re.compile(r"\$\{(sagemaker:[A-Za-z]+)\}")
UNRESOLVED: Final = "-no-value-in-this-request-"
"""The value of a policy variable whose key the request lacks. No ARN has it, because such a variable matches nothing:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html"""


def _filled(text: str, keys: Mapping[str, Any]) -> str:
    """A document with the values of SageMaker's policy variables. Another variable stays, and is a doubt."""

    def value(found: re.Match[str]) -> str:
        given = keys.get(_KEY + found[1].lower(), UNRESOLVED)
        if not isinstance(given, str) or set(given) & set('*?$"\\'):
            raise Unsupported(f"policy variable {found[0]} with the value {given!r}")
        return given

    return _VARIABLE.sub(value, text) if "${" in text else text


@functools.lru_cache(maxsize=65_536)
def _on(action: str, name: str, text: str) -> tuple[_JudgedStatement, ...]:
    """The statements of a policy about `action`. Only these can decide."""
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
        # AWS completes an ARN of fewer than six parts with wildcards, and the evaluator does not.
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
            elif (form := _form(operator)) and not all(form(str(value)) for value in values):
                yield f"{operator} of {key} with {listed!r}"


def _text(document: Document | str) -> str:
    return document if isinstance(document, str) else json.dumps(document)


def _conditions(conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    return {
        operator: {
            _KEY + key.lower(): [json.dumps(value) if isinstance(value, bool) else value for value in _list(listed)]
            for key, listed in block.items()
        }
        for operator, block in conditions.items()
    }


def _check(statement: _JudgedStatement, request: Any) -> None:
    """Raise Unsupported if the statement's result for this request is not known to be that of AWS."""
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
            if (form := _form(operator)) and value is not None and not form(value):
                raise Unsupported(f"{where}: {operator} of {name}, which has another form in this request: {value}")


_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
"""A time in UTC, in the one of the forms of ISO 8601 that Rolewarden writes."""


def _form(operator: str) -> Callable[[str], object] | None:
    """The check that the values of an operator must pass; None if it takes any text."""
    if operator.startswith("Date"):
        return _TIME.fullmatch
    return _is_arn if operator.startswith("Arn") else None


def current_time() -> dict[str, str]:
    """The condition key with the time of a request, which every request has."""
    return {"aws:CurrentTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _is_arn(text: str) -> bool:
    return text.startswith("arn:") and text.count(":") >= 5


def runs_over_a_colon(pattern: str, resource: str) -> bool:
    """Whether `pattern` matches `resource` only if a wildcard matches a colon.

    AWS documents such a match only for a `*` at the end of a segment:
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
    """Compare the six parts of an ARN one by one, as ArnLike and ArnEquals do."""
    parts, patterns = actual.split(":", 5), expected.split(":", 5)
    return len(parts) == len(patterns) == 6 and all(map(evaluator.fnmatch_iam_cs, parts, patterns))


def _arn_not_like(actual: str, expected: str) -> bool:
    return not _arn_like(actual, expected)


evaluator._CONDITION_OPS.update(
    arnequals=_arn_like, arnlike=_arn_like, arnnotequals=_arn_not_like, arnnotlike=_arn_not_like
)
