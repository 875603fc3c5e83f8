"""The policies of a role as IAM stores them, and the statement at a line and column of the simulator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rolewarden.matching import matches

from rolewarden_cli.account import MatchedStatement, OperatorCalls, RoleDetail

INLINE = "inline policy "


@dataclass(frozen=True)
class Document:
    """A policy: `name` for people, `arn` (empty for an inline policy), and `text` exactly as IAM stores it."""

    name: str
    arn: str
    text: str

    @cached_property
    def statements(self) -> tuple[Mapping[str, Any], ...]:
        """The statements in the order of the text."""
        return tuple(statement for _, _, statement in self._spans)

    @cached_property
    def _spans(self) -> list[tuple[int, int, Mapping[str, Any]]]:
        return list(_spans(self.text))

    def index(self, matched: MatchedStatement) -> int:
        """The index in `statements` of the statement that a simulation matched.

        It is the statement that shares the most text with the match, because AWS counts the start of a statement from
        the token before it.
        """
        start, end = _offset(self.text, matched.start), _offset(self.text, matched.end)

        def shared(span: tuple[int, int, object]) -> int:
            return min(end, span[1]) - max(start, span[0])

        return max(range(len(self._spans)), key=lambda number: shared(self._spans[number]))

    def label(self, index: int) -> str:
        """The Sid of a statement, or its number if it has no Sid."""
        return str(self.statements[index].get("Sid") or f"statement {index + 1}")

    def conditions(self, key: str) -> Iterator[tuple[str, list[str]]]:
        """The comparisons of a condition key in all statements: the operator in its plain form, and the values.

        `Null` is left out, because it only checks whether the request has the key.
        """
        for statement in self.statements:
            for operator, block in statement.get("Condition", {}).items():
                plain = operator.rpartition(":")[2].removesuffix("IfExists")
                for name, values in block.items():
                    if name.lower() == key.lower() and plain != "Null":
                        yield plain, [str(value) for value in (values if isinstance(values, list) else [values])]

    def covering(self, effect: str, action: str, resource: str) -> Iterator[Mapping[str, Any]]:
        """The statements with this effect that are about `action` on `resource`, whatever their conditions say."""
        for statement in self.statements:
            if statement.get("Effect") == effect and _is_about(statement, action, resource):
                yield statement

    def mentions(self, text: str) -> bool:
        """Whether the policy contains a text, in upper or lower case."""
        return text.lower() in self.text.lower()


class Library:
    """The policies of an account. Each managed policy is read once."""

    def __init__(self, calls: OperatorCalls) -> None:
        self._calls = calls
        self._managed: dict[str, Document] = {}

    def of_role(self, role: RoleDetail) -> dict[str, Document]:
        """The policies that decide for a role, with its boundary, by their SourcePolicyId in the simulator.

        Raises Refused and RetryLater.
        """
        arns = (*role.attached, role.boundary) if role.boundary else role.attached
        found = {arn.rsplit("/", 1)[-1]: self.managed(arn) for arn in arns}
        for name, text in role.inline.items():
            found[f"role_{role.name}_{name}"] = Document(f"{INLINE}{name}", "", text)
        return found

    def managed(self, arn: str) -> Document:
        """The managed policy with this ARN. Raises Refused and RetryLater."""
        if arn not in self._managed:
            self._managed[arn] = Document(arn.rsplit("/", 1)[-1], arn, self._calls.policy_text(arn))
        return self._managed[arn]


_CALLER_KEYS = re.compile(r"aws:(principal(?!account|org)|user)", re.IGNORECASE)


def depends_on_caller(document: Document) -> bool:
    """Whether a policy can affect each role differently, because it uses a condition key of the caller."""
    return _CALLER_KEYS.search(document.text) is not None


_WHERE = re.compile(r"aws:(requestedregion|resource(account|org))", re.IGNORECASE)


_OF_MODELS = ("bedrock", "bedrock-mantle", "sagemaker")
"""The services whose actions lead to a model."""


def asks_where(document: Document) -> bool:
    """Whether a policy can have another effect on a model in another region, or on a resource of another account.

    AWS's managed policies of Canvas have such conditions for other services, and these do not count.
    """
    return any(_WHERE.search(json.dumps(each)) and _is_about_models(each) for each in document.statements)


def _is_about_models(statement: Mapping[str, Any]) -> bool:
    """Whether a statement can be about an action that leads to a model."""
    listed = statement.get("Action")
    if listed is None:  # `NotAction` leaves out some actions of some services.
        return True
    patterns = [listed] if isinstance(listed, str) else listed
    services = [pattern.lower().partition(":")[0] for pattern in patterns]
    return any(matches(service, name) for service in services for name in _OF_MODELS)


_VARIABLE = re.compile(r"\$\{([\w-]+:[^},]+)")


def condition_keys(statement: Mapping[str, Any]) -> Iterator[str]:
    """The condition keys that a statement asks for, those of its policy variables included."""
    for block in statement.get("Condition", {}).values():
        yield from block
    yield from _VARIABLE.findall(json.dumps([statement.get(name) for name in ("Resource", "NotResource", "Condition")]))


def _is_about(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    def covers(element: str, asked: str) -> bool:
        listed = statement.get(element, statement.get(f"Not{element}", ()))
        patterns = [listed] if isinstance(listed, str) else listed
        found = any(matches(pattern.lower(), asked.lower()) for pattern in patterns)
        return found if element in statement else not found

    return covers("Action", action) and covers("Resource", resource)


def _spans(text: str) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """The start, the end and the content of each statement in a policy's text."""
    decoder = json.JSONDecoder()
    place = _next(text, 0) + 1
    while text[place := _next(text, place, ",")] != "}":
        key, place = decoder.raw_decode(text, place)
        place = _next(text, place, ":")
        value, end = decoder.raw_decode(text, place)
        if key == "Statement" and isinstance(value, dict):
            yield place, end, value
        elif key == "Statement":
            place += 1
            for _ in value:
                place = _next(text, place, ",")
                statement, after = decoder.raw_decode(text, place)
                yield place, after, statement
                place = after
        place = end


def _next(text: str, place: int, skipped: str = "") -> int:
    """The first index from `place` on whose character is neither white space nor in `skipped`."""
    while text[place] in f" \t\r\n{skipped}":
        place += 1
    return place


def _offset(text: str, position: tuple[int, int]) -> int:
    line, column = position
    before = text.split("\n")[: line - 1]
    return sum(len(each) + 1 for each in before) + column - 1
