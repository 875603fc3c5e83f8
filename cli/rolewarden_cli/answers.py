"""The output of `--json`: one mechanism that turns the results of all commands into JSON.

A dataclass or NamedTuple becomes an object of its fields. Three marks change that: a field with HIDDEN is left out, a
field with `merged` gives some of its own fields to the object, and a property with `shown` or `shown_as` becomes a key
like a field. cattrs has no counterpart for computed properties, which many results have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from rolewarden_cli.lines import print_document

FORMAT_VERSION = 2
"""The version of the output of `--json`. It rises if a key is removed or gets another meaning."""

HIDDEN: Mapping[str, Any] = {"json": ()}

_Read = TypeVar("_Read", bound=Callable[[Any], Any])


def merged(*names: str) -> Mapping[str, Any]:
    """The metadata of a field whose value adds these of its attributes to the enclosing object."""
    return {"json": names}


def shown(read: _Read) -> _Read:
    """Mark the function of a property, so that `--json` has it under its own name."""
    return shown_as(read.__name__)(read)


def shown_as(name: str) -> Callable[[_Read], _Read]:
    """Mark the function of a property, so that `--json` has it under another name."""

    def mark(read: _Read) -> _Read:
        read.shown_as = name  # type: ignore[attr-defined]
        return read

    return mark


def some_of(value: Any, *names: str) -> dict[str, Any]:
    """Some attributes of a value, by name."""
    return {name: getattr(value, name) for name in names}


def print_json(found: Any, **more: Any) -> None:
    """Print a result as one JSON object that begins with the version of its format; `more` are additional keys.

    JSON has an escape for every character but those of ASCII, so a program reads the text of AWS as it is, and a
    terminal gets nothing that controls it.
    """
    print_document(json.dumps({"format_version": FORMAT_VERSION, **as_json(found), **as_json(more)}, indent=2))


def as_json(value: Any) -> Any:
    """The value as types that JSON has: times in UTC, enums as their values, sets in order."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return as_json(value.value)
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {as_json(key): as_json(one) for key, one in value.items()}
    if is_dataclass(value) or hasattr(value, "_fields"):
        return {name: as_json(one) for name, one in _entries(value)}
    if isinstance(value, Set):
        return sorted(map(as_json, value))
    return [as_json(one) for one in value]


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        for field in fields(value):
            inner = getattr(value, field.name)
            if "json" in field.metadata:
                yield from some_of(inner, *field.metadata["json"]).items()
            else:
                yield field.name, inner
    else:
        yield from value._asdict().items()
    for cls in type(value).__mro__:
        for attribute in vars(cls).values():
            if isinstance(attribute, property) and (name := getattr(attribute.fget, "shown_as", "")):
                yield name, attribute.__get__(value)
