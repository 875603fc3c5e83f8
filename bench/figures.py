"""Figures, their summaries, and aims."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Summary:
    """The median of `n` figures and their quartiles. If `n` is less than four: the smallest and the largest figure."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, figures: Sequence[float]) -> Summary:
        if len(figures) < 4:
            return cls(statistics.median(figures), min(figures), max(figures), len(figures))
        low, median, high = statistics.quantiles(figures, n=4)
        return cls(median, low, high, len(figures))


@dataclass(frozen=True)
class Row:
    """One figure of one case, for each contestant that has it."""

    case: str
    figure: str
    unit: str
    of: Mapping[str, Summary]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Row:
        of = {name: Summary(**summary) for name, summary in row["of"].items()}
        return cls(row["case"], row["figure"], row["unit"], of)

    def ratio(self, one: str, other: str) -> float | None:
        """The median of one contestant divided by the other's. None if a figure is missing or the divisor is 0."""
        if one not in self.of or other not in self.of or not self.of[other].median:
            return None
        return self.of[one].median / self.of[other].median


class Gathered:
    """A collection of figures, by case, figure and contestant."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str, str], dict[str, list[float]]] = {}

    def add(self, case: str, figure: str, unit: str, contestant: str, value: float | None) -> None:
        if value is not None:
            self._figures.setdefault((case, figure, unit), {}).setdefault(contestant, []).append(value)

    def rows(self) -> list[Row]:
        return [
            Row(*key, {name: Summary.of(figures) for name, figures in of.items()}) for key, of in self._figures.items()
        ]


@dataclass(frozen=True)
class Aim:
    """A maximum for a figure of Rolewarden, as a part of another contestant's, or in its unit if `against` is empty.

    `why` explains a figure above the maximum. `{floor}` in it is replaced by the floor's figure as a part of
    Custodian's.
    """

    what: str
    part: str
    case: str
    figure: str
    against: str
    most: float
    why: str = ""


def shown(summary: Summary, unit: str) -> str:
    """A figure for a table: the median, and the two other values in brackets if they differ."""
    digits = 0 if unit == "calls" or summary.median >= 100 else 1
    if summary.low == summary.high:
        return f"{summary.median:,.{digits}f}"
    return f"{summary.median:,.{digits}f} ({summary.low:,.{digits}f} to {summary.high:,.{digits}f})"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = [list(heads), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
