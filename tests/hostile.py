"""Texts that an attacker chooses, in every place of a result or an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from rolewarden_cli.console import VERDICT_COLORS

SIGNS = (
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA1)),
    "\xad", "\u034f", "\u061c",
    "\u115f", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u2028", "\u2029",
    *map(chr, range(0x202A, 0x202F)),
    "\u2060", *map(chr, range(0x2066, 0x206A)), "\u2800", "\u3000", "\u3164", "\ufe0f", "\ufeff", "\uffa0", "\ufff9",
    "\U000e0001", "\U000e0020", "\U000e0100", "\ue000", "\ud800",
)  # fmt: skip
"""Characters of every kind that nobody sees, or that move or hide other text."""

SEQUENCES = (
    "\nFORGED line",
    "\r\nFORGED line",
    "\x1b[2J\x1b[1;31m",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "\x9b31m",
    "[red]red[/red]",
    "[link=https://evil.example]here[/link]",
    ":boom:",
)
"""The effects that these characters, and the markup of Rich, can have in a terminal."""

HOSTILE = "".join((*SEQUENCES, *SIGNS)).replace("\ud800", "")
"""All of them but the surrogate, which pytest could not send from a worker in the text of a failure."""

KNOWN = frozenset(VERDICT_COLORS) | {"roles", "none"}
"""Words of Rolewarden that a command looks up."""

FIXED_KEYS = frozenset({"Statement", "Sid", "role", "roles", "kind"})
"""Keys of documents, rows and answers, which Rolewarden itself chooses."""


def spoiled(value: Any, sign: str = HOSTILE) -> Any:
    """The value with `sign` at the end of each text in it. Equal texts stay equal, so that the parts fit together."""
    if isinstance(value, Enum) or value is None:
        return value
    if isinstance(value, str):
        return value if value in KNOWN else value + sign
    if isinstance(value, Mapping):
        is_document = bool(FIXED_KEYS & {*value})
        return {key if is_document else spoiled(key, sign): spoiled(one, sign) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        # An empty source identity stays empty, because it decides which session of a role a row has.
        texts = {name: one for name, one in found.items() if one or name != "source_identity"}
        return replace(value, **{name: spoiled(one, sign) for name, one in texts.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(spoiled(one, sign) for one in value))
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(spoiled(one, sign) for one in value)
    return value
