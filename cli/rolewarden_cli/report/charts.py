"""Charts as SVG, drawn by pygal and stripped to what a page needs: their colours come from the page's own style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.style import Style

_HOOKS = {"defs", "titles", "overlay", "text-overlay", "tooltip-overlay", "legends"}
"""Parts of pygal's drawing that need its own style or script; the page has a legend of its own."""

_MOST_LABELS = 5
"""So many dates stand readable under a chart."""


@dataclass(frozen=True)
class Chart:
    """Numbers by series and label: `series` maps a name to as many numbers as there are `labels`.

    The colour of a series is its place in `series`; report.css has them. `labels` and names are text that may be shown.
    """

    title: str
    labels: tuple[str, ...]
    series: Mapping[str, Sequence[int]]
    horizontal: bool = False

    @property
    def total(self) -> int:
        """All numbers added up."""
        return sum(map(sum, self.series.values()))

    @property
    def shown(self) -> list[tuple[int, str]]:
        """Place and name of each series that has something to show."""
        return [(place, name) for place, (name, numbers) in enumerate(self.series.items()) if any(numbers)]

    def at(self, place: int) -> int:
        """The numbers of one label added up."""
        return sum(numbers[place] for numbers in self.series.values())

    def svg(self) -> Markup:
        """The drawing. Its numbers stand in the page as a table too, so it is one picture to a screen reader."""
        kind = pygal.HorizontalStackedBar if self.horizontal else pygal.StackedBar
        rows = list(self.labels)
        columns = {name: list(numbers) for name, numbers in self.series.items()}
        if self.horizontal:  # pygal counts from below
            rows.reverse()
            columns = {name: numbers[::-1] for name, numbers in columns.items()}
        chart = kind(
            width=480,  # what a phone shows of it is still readable
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
    """Whole numbers for an axis that goes to `most`, about five."""
    steps = (base * 10**power for power in count() for base in (1, 2, 5))
    step = next(step for step in steps if most <= 5 * step)
    return list(range(0, most + step, step))


def _is_zero(rect: ElementTree.Element) -> bool:
    return 0.0 in (float(rect.get("width", 0)), float(rect.get("height", 0)))


def _stripped(root: ElementTree.Element, title: str) -> str:
    """Without script, style, ids and comments; named for a screen reader."""
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
