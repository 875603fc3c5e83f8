"""Patterns with wildcards, as guardrails.yaml has them for names, IDs and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from rolewarden.names import folded


def matches(pattern: str, value: str) -> bool:
    """Whether `value` matches `pattern`. As in IAM, `*` matches any text and `?` matches one character."""
    return _compiled(pattern).fullmatch(value) is not None


def matches_name(patterns: Iterable[str], name: str) -> bool:
    """Whether the name of a role or user profile matches one of `patterns`. AWS ignores the case of these names."""
    return name != "" and any(matches(folded(pattern), folded(name)) for pattern in patterns)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_expression(pattern), re.DOTALL)


_WILDCARD = re.compile(r"[*?]")


class Patterns:
    """Many patterns with which many texts are compared.

    A text can match a pattern only if it contains the longest part of the pattern without wildcards. This is quicker to
    find than a match.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._parts = [(max(_WILDCARD.split(pattern), key=len), pattern) for pattern in patterns]
        self._compiled: dict[str, re.Pattern[str]] = {}

    def match(self, value: str) -> bool:
        """Whether `value` matches one of the patterns."""
        return any(part in value and self._matches(pattern, value) for part, pattern in self._parts)

    def _matches(self, pattern: str, value: str) -> bool:
        if pattern not in self._compiled:
            self._compiled[pattern] = re.compile(_expression(pattern), re.DOTALL)
        return self._compiled[pattern].fullmatch(value) is not None


def _expression(pattern: str) -> str:
    first, *others = ("".join("." if char == "?" else re.escape(char) for char in part) for part in pattern.split("*"))
    if not others:
        return first
    # The first match of a part is as good as any other, so the atomic groups never go back. No pattern takes long.
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    return f"{first}{middle}.*{others[-1]}"


def matches_any(patterns: tuple[str, ...], *values: str) -> bool:
    """Whether one of `values` matches one of `patterns`. No pattern matches everything, and an empty value nothing."""
    return not patterns or any(value and matches(pattern, value) for value in values for pattern in patterns)
