"""The text of an answer with `--json` is made line by line, and is the same as that of `json.dumps`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from rolewarden_cli.answers import as_json, json_lines, shown


class Color(Enum):
    """A choice."""

    RED = "red"


class Pair(NamedTuple):
    """Two values."""

    left: Any
    right: Any


@dataclass(frozen=True)
class Box:
    """A value, and a property that is shown."""

    content: Any

    @property
    @shown
    def size(self) -> int:
        """The number of values."""
        return 1


SIMPLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.just(Color.RED),
    st.just(Path("a/b")),
    st.just(datetime(2027, 1, 15, tzinfo=UTC)),
    st.frozensets(st.text(max_size=2), max_size=3),
)
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        inner.map(Box),
        st.tuples(inner, inner).map(lambda both: Pair(*both)),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_the_lines_are_those_of_json_dumps(value: Any) -> None:
    assert "\n".join(json_lines(value)) == json.dumps(as_json(value), indent=2)


def test_an_iterator_has_one_entry_in_each_line_and_is_read_as_its_lines_are() -> None:
    read: list[int] = []

    def numbers() -> Iterator[Box]:
        for number in range(4):
            read.append(number)
            yield Box(number)

    lines = json_lines({"first": 1, "boxes": numbers(), "none": iter(())})
    assert [next(lines) for _ in range(3)] == ["{", '  "first": 1,', '  "boxes": [']
    assert read == [0, 1]  # A line is held until it is known whether a comma follows.
    assert list(lines) == [
        *(f'    {{"content": {number}, "size": 1}},' for number in range(3)),
        '    {"content": 3, "size": 1}',
        "  ],",
        '  "none": []',
        "}",
    ]
