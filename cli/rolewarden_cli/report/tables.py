"""The tables of the page: each has a caption, a head for each column, and a first column that names its rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class TableCell:
    """A cell of a table.

    - `text`: text of AWS or of a user, or our own. If `is_coded`, parts of it between backticks are code.
    - `aside`: details in smaller letters.
    - `state`: the CSS class of a verdict, of a kind of finding, or `good`, `bad` or `warn`; empty for plain text.
    """

    text: str
    aside: str = ""
    state: str = ""
    is_coded: bool = False

    @property
    def kind(self) -> str:
        """The CSS class of the cell: `when` for a time, `long` if a word is long enough to be broken, else empty."""
        if _TIME.fullmatch(self.text):
            return "when"
        return "long" if any(len(word) > LONG_WORD for word in (*self.text.split(), *self.aside.split())) else ""


LONG_WORD = 24
"""Characters from which on a browser can break a word, because the column would be too wide with it."""

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9:]{5} UTC)?")


@dataclass(frozen=True)
class PageTable:
    """A table. Each row has a cell for each of `heads`; its first cell is the name of the row.

    `empty`: the sentence that takes the place of a table without rows.
    """

    id: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    empty: str


def make_table(
    id_: str, caption: str, heads: Iterable[str], rows: Iterable[Iterable[str | TableCell]], empty: str
) -> PageTable:
    """Make a table. A text becomes a cell without a state."""
    made = tuple(tuple(cell if isinstance(cell, TableCell) else TableCell(cell) for cell in row) for row in rows)
    return PageTable(id_, caption, tuple(heads), made, empty)


def coded(text: str, aside: str = "") -> TableCell:
    """A cell with our own text, in which backticks mark code."""
    return TableCell(text, aside, is_coded=True)


def stated(text: str, state: str, aside: str = "") -> TableCell:
    """A cell with a state, for example a verdict."""
    return TableCell(text, aside, state.replace(" ", "-"))
