"""The JSON Schema of the answers of the commands with `--json`, made from the classes of their results.

`rolewarden_cli.answers` turns a result into JSON, and this module follows the same rules: a field is a key, and so is a
property that is marked as shown. The description of a class is the first paragraph of its docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from rolewarden_cli.access import AccessMatrix
from rolewarden_cli.all_access import AllAccess
from rolewarden_cli.answers import FORMAT_VERSION
from rolewarden_cli.detach import Detached
from rolewarden_cli.diff import Difference
from rolewarden_cli.doctor import Check
from rolewarden_cli.drill import JudgedDrill
from rolewarden_cli.enforce import Enforced
from rolewarden_cli.explain import Explanation
from rolewarden_cli.history import AllHistory, Entries
from rolewarden_cli.plan import AllPlans, Plan
from rolewarden_cli.replay import Replayed
from rolewarden_cli.rollout import Rollout
from rolewarden_cli.rules import CheckedFile
from rolewarden_cli.status import AllStatuses, Status
from rolewarden_cli.uninstall import Removed
from rolewarden_cli.verify import Unsettled

Schema = dict[str, Any]

Documents = Mapping[str, Mapping[str, Any]]
"""Policy documents by name. IAM defines their form."""

RESULTS: Mapping[str, tuple[Any, ...]] = {
    "plan": (Plan, AllPlans, Rollout),
    "enforce": (Enforced,),
    "detach": (Detached, Removed),
    "access": (AccessMatrix, AllAccess),
    "explain": (Explanation,),
    "history": (Entries, AllHistory),
    "erase": ({"erased": int, "recent": int},),
    "status": (Status, AllStatuses),
    "doctor": ({"checks": tuple[Check, ...]},),
    "drill": ({"drills": tuple[JudgedDrill, ...]},),
    "verify": ({"checks": tuple[Check, ...], "drills": tuple[JudgedDrill, ...], "unsettled": tuple[Unsettled, ...]},),
    "check": (CheckedFile,),
    "compile": (
        {"policies": Documents},
        {
            "policies": Documents,
            "characters": Mapping[str, int],
            "scope": str,
            "partition": str,
            "observed": tuple[str, ...],
            "without_not_resource": tuple[str, ...],
            "exemptions_without_account": tuple[str, ...],
        },
        {
            "policies": Documents,
            "boundaries": Documents,
            "arns": Mapping[str, tuple[str, ...]],
            "roles": Mapping[str, tuple[str, ...]],
            "left_out": Mapping[str, str],
        },
    ),
    "diff": (Difference,),
    "replay": ({"events": tuple[Replayed, ...]},),
}
"""The answers of each command: a class, or the keys with their types. Several answers depend on the options."""


class Schemas:
    """The schemas of the classes, each made once."""

    def __init__(self) -> None:
        self.made: dict[str, Schema] = {}
        self._names: dict[type, str] = {}

    def of(self, hint: Any) -> Schema:
        """The schema of a type."""
        if isinstance(hint, Mapping):
            return _object({key: self.of(value) for key, value in hint.items()})
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in {Union, UnionType}:
            return {"anyOf": [self.of(one) for one in arguments]}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if origin is not None and issubclass(origin, Sequence | AbstractSet | Iterable):
            kinds = {one for one in arguments if one is not Ellipsis}
            each = [self.of(one) for one in dict.fromkeys(arguments) if one in kinds]
            return {"type": "array", "items": each[0] if len(each) == 1 else {"anyOf": each}}
        return self._simple(hint)

    def _simple(self, hint: Any) -> Schema:
        if hint is Any:
            return {}
        if hint is object:
            return {}
        if hint is NoneType:
            return {"type": "null"}
        if issubclass(hint, Enum):
            return {"enum": [one.value for one in hint]}
        for kind, schema in _SIMPLE:
            if issubclass(hint, kind):
                return dict(schema)
        return {"$ref": f"#/$defs/{self._named(hint)}"}

    def _named(self, cls: type) -> str:
        if cls not in self._names:
            taken = cls.__name__ in self._names.values()
            self._names[cls] = f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}" if taken else cls.__name__
            self.made[self._names[cls]] = {}
            text = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
            self.made[self._names[cls]] = {"description": text, **_object(self._keys(cls))}
        return self._names[cls]

    def _keys(self, cls: type) -> dict[str, Schema]:
        hints = get_type_hints(cls)
        found: dict[str, Schema] = {}
        if is_dataclass(cls):
            for field in fields(cls):
                if "json" in field.metadata:
                    found |= {name: self.of(_hint_of(hints[field.name], name)) for name in field.metadata["json"]}
                else:
                    found[field.name] = self.of(hints[field.name])
        else:
            found = {name: self.of(hints[name]) for name in cls._fields}  # type: ignore[attr-defined]
        for base in cls.__mro__:
            for attribute in vars(base).values():
                if isinstance(attribute, property) and (name := getattr(attribute.fget, "shown_as", "")):
                    found[name] = self.of(get_type_hints(attribute.fget)["return"])
        return found


_SIMPLE: Sequence[tuple[type, Schema]] = (
    (bool, {"type": "boolean"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (datetime, {"type": "string", "format": "date-time"}),
    (date, {"type": "string", "format": "date"}),
    (str, {"type": "string"}),
    (Path, {"type": "string"}),
)
"""Types, each before those that it is a kind of."""


def _hint_of(cls: Any, name: str) -> Any:
    """The type of an attribute of a class: a field or a property."""
    hints = get_type_hints(cls)
    if name in hints:
        return hints[name]
    found = getattr(cls, name)
    return get_type_hints(found.func if isinstance(found, cached_property) else found.fget)["return"]


def _object(keys: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "required": list(keys), "properties": dict(keys)}


def _answer(schemas: Schemas, result: Any) -> Schema:
    """An answer: the keys of its result, after the version of the format."""
    keys = schemas.of(result)
    if "$ref" in keys:
        keys = schemas.made[keys["$ref"].rpartition("/")[2]]
    version = {"format_version": {"const": FORMAT_VERSION}}
    return {**keys, "required": ["format_version", *keys["required"]], "properties": {**version, **keys["properties"]}}


def answers_schema() -> Schema:
    """The JSON Schema of all answers. `#/$defs/answers.NAME` is that of one command."""
    schemas = Schemas()
    answers = {
        f"answers.{command}": found[0] if len(found) == 1 else {"anyOf": found}
        for command, results in RESULTS.items()
        for found in ([_answer(schemas, result) for result in results],)
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The answers of rolewarden's commands with --json",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in answers],
        "$defs": {**answers, **_used(answers, schemas.made)},
    }


def _used(answers: Schema, made: Mapping[str, Schema]) -> Schema:
    """The definitions that an answer refers to, directly or by another definition."""
    used: dict[str, Schema] = {}
    left = list(_references(answers))
    while left:
        name = left.pop()
        if name not in used:
            used[name] = made[name]
            left += _references(made[name])
    return {name: used[name] for name in sorted(used)}


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, Mapping):
        if isinstance(found := schema.get("$ref"), str):
            yield found.rpartition("/")[2]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)
