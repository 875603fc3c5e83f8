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
    first, *others = ("".join("." if char == "?" else re.escape(char) for char in part) for part in pattern.split("*"))
    if not others:
        return re.compile(first, re.DOTALL)
    # The first match of a part is as good as any other, so the atomic groups never go back. No pattern takes long.
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    return re.compile(f"{first}{middle}.*{others[-1]}", re.DOTALL)


def matches_any(patterns: tuple[str, ...], *values: str) -> bool:
    """Whether one of `values` matches one of `patterns`. No pattern matches everything, and an empty value nothing."""
    return not patterns or any(value and matches(pattern, value) for value in values for pattern in patterns)


def longest_part(pattern: str) -> str:
    """The longest text that every match of `pattern` contains."""
    return max(_PARTS.split(pattern), key=len)


_PARTS = re.compile(r"[*?]+")
