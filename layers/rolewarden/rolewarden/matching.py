"""Patterns with wildcards, as guardrails.yaml has them for names, IDs and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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


def is_of_ids(domain: str) -> bool:
    """Whether a pattern of domains is one of IDs, which AWS assigns, and not of names, which callers choose.

    A caller can choose a name that looks like an ID. A pattern therefore matches IDs or names, and never both.
    """
    return domain.startswith("d-")


def names_ids(domains: tuple[str, ...]) -> bool:
    """Whether patterns of domains are all IDs of single domains, so that no caller can add a domain that matches."""
    return bool(domains) and all(is_of_ids(domain) and not set(domain) & set("*?") for domain in domains)


def matches_domain(domains: tuple[str, ...], domain_id: str, name: str) -> bool:
    """Whether a domain matches one of the patterns `domains`. No pattern matches everything, also if it has no domain.

    `domain_id` is empty for a subject without a domain.
    """
    return not domains or any(
        domain_id and matches(pattern, domain_id if is_of_ids(pattern) else name) for pattern in domains
    )


def longest_part(pattern: str) -> str:
    """The longest text that every match of `pattern` contains."""
    return max(_PARTS.split(pattern), key=len)


_PARTS = re.compile(r"[*?]+")


def fewest(patterns: Iterable[str]) -> tuple[str, ...]:
    """`patterns` in their order, without each pattern that another one covers."""
    plain = dict.fromkeys(_WILDCARDS.sub(_in_one_order, pattern) for pattern in patterns)
    wide = _WidePatterns(plain)
    return tuple(pattern for pattern in plain if not wide.cover(pattern))


class _WidePatterns:
    """The patterns with a wildcard, indexed by the texts that each match contains.

    A comparison of each pattern with each other one takes minutes for a few thousand patterns.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._by_ends: dict[tuple[str, str], list[str]] = {}
        self._by_part: dict[str, list[str]] = {}
        for pattern in patterns:
            if "*" in pattern or "?" in pattern:
                parts = _PARTS.split(pattern)
                if parts[0] or parts[-1]:
                    self._by_ends.setdefault((parts[0], parts[-1]), []).append(pattern)
                else:
                    self._by_part.setdefault(max(parts, key=len), []).append(pattern)
        self._ends = sorted({(len(head), len(tail)) for head, tail in self._by_ends})
        self._parts = sorted({len(part) for part in self._by_part})

    def cover(self, pattern: str) -> bool:
        """Whether another pattern matches every text that `pattern` matches."""
        return any(wide != pattern and _covers(wide, pattern) for wide in self._like(pattern))

    def _like(self, pattern: str) -> Iterator[str]:
        """The patterns whose texts `pattern` contains."""
        for head, tail in self._ends:
            if head + tail <= len(pattern):
                yield from self._by_ends.get((pattern[:head], pattern[len(pattern) - tail :]), ())
        for length in self._parts:
            starts = range(len(pattern) - length + 1) if length else (0,)
            for part in {pattern[start : start + length] for start in starts}:
                yield from self._by_part.get(part, ())


_WILDCARDS = re.compile(r"[*?]{2,}")


def _in_one_order(run: re.Match[str]) -> str:
    # `*?`, `?*` and `*?*` match the same texts.
    return "?" * run[0].count("?") + "*" * ("*" in run[0])


@lru_cache(maxsize=1024)
def _wide(pattern: str) -> re.Pattern[str]:
    # The narrow pattern is read as a text: only a `*` of the wide pattern can match its `*`.
    return re.compile("".join({"*": ".*", "?": "[^*]"}.get(char) or re.escape(char) for char in pattern))


def covers(wide: str, narrow: str) -> bool:
    """Whether `wide` matches every text that `narrow` matches."""
    return _wide(wide).fullmatch(narrow) is not None


def _covers(wide: str, narrow: str) -> bool:
    """As `covers`, for a `narrow` that has the texts at both ends of `wide`."""
    if wide.count("*") == 1 and "?" not in wide:
        return len(wide) - 1 <= len(narrow)
    return covers(wide, narrow)
