"""Charts as SVG: pygal draws them, and the page's own style sheet gives them their colors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.style import Style

_HOOKS = {"defs", "titles", "overlay", "text-overlay", "tooltip-overlay", "legends"}
"""Parts of pygal's drawing that need its style or script, and its legend, because the page has its own."""

_MOST_LABELS = 5
"""Number of dates that are readable under a chart."""


@dataclass(frozen=True)
class Chart:
    """Numbers by series and label: `series` maps a name to one number for each of `labels`.

    The position of a series in `series` decides its color in report.css. `labels` and names have no control characters.
    """

    title: str
    labels: tuple[str, ...]
    series: Mapping[str, Sequence[int]]
    horizontal: bool = False

    @property
    def total(self) -> int:
        """The sum of all numbers."""
        return sum(map(sum, self.series.values()))

    @property
    def shown(self) -> list[tuple[int, str]]:
        """The position and the name of each series with a number other than 0."""
        return [(place, name) for place, (name, numbers) in enumerate(self.series.items()) if any(numbers)]

    def at(self, place: int) -> int:
        """The sum of the numbers of one label."""
        return sum(numbers[place] for numbers in self.series.values())

    def svg(self) -> Markup:
        """The drawing, one picture for a screen reader, because the page also has its numbers as a table."""
        kind = pygal.HorizontalStackedBar if self.horizontal else pygal.StackedBar
        rows = list(self.labels)
        columns = {name: list(numbers) for name, numbers in self.series.items()}
        if self.horizontal:  # pygal draws the first label at the bottom.
            rows.reverse()
            columns = {name: numbers[::-1] for name, numbers in columns.items()}
        chart = kind(
            width=480,  # The text stays readable at the width of a phone.
            height=max(110, 60 + 26 * len(rows)) if self.horizontal else 240,
            margin=10,
            spacing=6,
            show_legend=False,
            js=(),
            truncate_label=34,
            x_label_rotation=0,
            style=Style(label_font_size=12, major_label_font_size=12),
        )
        most = max([1, *(sum(stack) for stack in zip(*columns.values(), strict=True))])
        chart.x_labels = rows
        chart.y_labels = _ticks(most)
        if not self.horizontal:
            step = -(-len(rows) // _MOST_LABELS)
            chart.x_labels_major = rows[::step]
            chart.show_minor_x_labels = False
        for name, numbers in columns.items():
            chart.add(name, numbers)
        return Markup(_stripped(chart.render_tree(), self.title))  # noqa: S704 - serialized by ElementTree


def _ticks(most: int) -> list[int]:
    """About five whole numbers for an axis from 0 to `most`."""
    steps = (base * 10**power for power in count() for base in (1, 2, 5))
    step = next(step for step in steps if most <= 5 * step)
    return list(range(0, most + step, step))


def _is_zero(rect: ElementTree.Element) -> bool:
    return 0.0 in (float(rect.get("width", 0)), float(rect.get("height", 0)))


def _stripped(root: ElementTree.Element, title: str) -> str:
    """The drawing without script, style, IDs and comments, and with a name for a screen reader."""
    for parent in list(root.iter()):
        for child in list(parent):
            classes = set(str(child.get("class", "")).split())
            named = child.tag if isinstance(child.tag, str) else "comment"
            nothing = named == "rect" and "bar" in str(parent.get("class")) and _is_zero(child)
            if nothing or named in {"comment", "title", "script", "style", "desc"} or ({named} | classes) & _HOOKS:
                parent.remove(child)
        for name in ("id", "style", "xmlns"):
            parent.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "chart")
    return ElementTree.tostring(root, encoding="unicode")
