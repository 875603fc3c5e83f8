"""The order in which people expect names: `claude-3-5` before `claude-3-10`, `7b` before `70b`."""

from __future__ import annotations

import re


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """A key for sorting that compares the numbers in names as numbers, and letters without case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    numbers = [int(part) if re.fullmatch(r"[0-9]+", part) else None for part in parts]
    keys = [(number is None, number or 0, part.casefold()) for number, part in zip(numbers, parts, strict=True)]
    return (*keys, (False, -1, name))
