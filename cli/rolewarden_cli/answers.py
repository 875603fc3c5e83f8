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

from rolewarden_cli.lines import print_line

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
    keys = {"format_version": FORMAT_VERSION, **dict(_entries(found)), **more}
    for line in json_lines(keys):
        print_line(line)


def json_lines(value: Any, pad: str = "") -> Iterator[str]:
    """The lines of `json.dumps(as_json(value), indent=2)`, made one after the other.

    An iterator becomes a list with one entry in each line, of which two are in memory at a time. `pad` is the
    indentation of the value, which its first line does not have.
    """
    inner = f"{pad}  "
    if isinstance(value, Iterator):
        yield from _block("[]", (iter([json.dumps(as_json(one))]) for one in value), pad)
    elif isinstance(value, Mapping) or is_dataclass(value) or hasattr(value, "_fields"):
        yield from _block("{}", (_keyed(as_json(key), json_lines(one, inner)) for key, one in _entries(value)), pad)
    elif isinstance(value, list | tuple):
        yield from _block("[]", (json_lines(one, inner) for one in value), pad)
    else:
        yield from json.dumps(as_json(value), indent=2).replace("\n", f"\n{pad}").split("\n")


def _keyed(key: Any, lines: Iterator[str]) -> Iterator[str]:
    yield f"{json.dumps(str(key))}: {next(lines)}"
    yield from lines


def _block(brackets: str, items: Iterator[Iterator[str]], pad: str) -> Iterator[str]:
    """The lines of a list or an object: its items between brackets, with a comma after each but the last."""
    held = ""
    for item in items:
        yield f"{held}," if held else brackets[0]
        held = f"{pad}  {next(item)}"
        for line in item:
            yield held
            held = line
    if not held:
        yield brackets
        return
    yield held
    yield f"{pad}{brackets[1]}"


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
    if isinstance(value, Mapping):
        yield from value.items()
        return
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
