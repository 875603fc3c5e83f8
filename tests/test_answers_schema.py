"""docs/reference/answers.schema.json describes what the commands print with `--json`, no more and no less.

`test_exit_codes.py` holds an answer of each command against it, and `test_all_accounts.py` those about all accounts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.answers import SCHEMA, wrong
from tests.commands import json_answer
from tests.desk import WITH_JSON

Place = tuple[str | int, ...]


def test_the_schema_is_one_and_has_each_command_with_json() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    answers = {name.partition(".")[2] for name in SCHEMA["$defs"] if name.startswith("answers.")}
    assert answers == set(WITH_JSON)


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """The schemas of all objects with fixed keys."""
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects(value)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        yield schema


def test_every_object_has_all_its_keys_and_no_other() -> None:
    found = list(objects(SCHEMA))
    assert len(found) > 40
    for schema in found:
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """The path of each value that an answer contains."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(answer: Any, path: Place, value: Any) -> Any:
    """A copy of the answer with another value at a path."""
    found = copy.deepcopy(answer)
    inner = found
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return found


OF_OTHER_TYPES: tuple[Any, ...] = (0.5, "?", {"?": []})
"""Values of which a schema of one type rejects two or more. A text, a number or nothing may each be allowed."""


@pytest.mark.long
@pytest.mark.parametrize("command", ["plan", "access"])
def test_the_schema_rejects_a_value_of_another_type_and_a_missing_or_an_unknown_key(world: Any, command: str) -> None:
    options = ("--model", "amazon.nova-pro-v1:0") if command == "access" else ()
    answer = json_answer(command, *options, exit_code=2 if command == "plan" else 0)
    assert wrong(command, answer) == []
    first = {tuple("[]" if isinstance(part, int) else part for part in path): path for path in places(answer)}
    for path in first.values():
        rejected = [value for value in OF_OTHER_TYPES if wrong(command, changed(answer, path, value))]
        assert len(rejected) > 1, path
    assert wrong(command, answer | {"qqq": 1})
    for key in answer:
        assert wrong(command, {name: value for name, value in answer.items() if name != key}), key
