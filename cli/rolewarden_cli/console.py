"""Output that several commands share: 80 columns, and colors only on a terminal."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.containers import Lines
from rich.live import Live
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rolewarden.plaintext import visible
from rolewarden.verdicts import RECOMMENDATIONS, Outcome

VERDICT_COLORS = {
    "compliant": "green",
    "drifted": "red",
    "exempt": "cyan",
    "out_of_scope": "bright_black",
    "unenforceable": "bold red",
}

IMPLICIT_DENY = "not allowed by any statement"
BY_SCP = "denied by a service control policy"
BY_PREVENTION = "denied by the prevention SCP"

DIGEST = 12
"""Number of characters of a digest that the output shows."""

FEW_NAMES = 6
"""Number of names that the output shows of a long list."""


class VisibleConsole(Console):
    """A console that makes each text visible (`rolewarden.plaintext`), wherever a table or a group contains it.

    A text with a line feed stays on one line. Use `lines` for more lines, so that only the program begins a line.

    A line breaks between words only. A word that is longer than the line, such as an ARN, stays whole, so that people
    can copy it and programs can find it. For the same reason, no cell of a table is cut. `cuts` is for a thing that
    moves, which must not be wider than the terminal.
    """

    def __init__(self, *, cuts: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self._cuts = cuts

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render a text, or a thing that contains texts. Rich calls this for each text in the thing."""
        if isinstance(renderable, str):
            renderable = Text(visible(renderable))
        elif isinstance(renderable, Text):
            renderable = visible_text(renderable)
        options = options or self.options
        if isinstance(renderable, Text) and not self._cuts:
            renderable = self._in_whole_words(renderable, options)
        elif isinstance(renderable, Table) and not self._cuts:
            options = self._wide_enough(renderable, options)
        return super().render(renderable, options)

    def _wide_enough(self, table: Table, options: ConsoleOptions) -> ConsoleOptions:
        """The options with the least width at which the table loses no word: its own, or one beyond the terminal."""
        natural = Measurement.get(self, options.update_width(_UNBOUNDED), table)
        if natural.maximum <= options.max_width:
            return options

        def words(width: int) -> Counter[str]:
            segments = super(VisibleConsole, self).render(table, options.update_width(width))
            return Counter("".join(segment.text for segment in segments).split())

        widths = (options.max_width, max(options.max_width, natural.minimum), natural.maximum)
        whole = words(natural.maximum)
        return options.update_width(next(width for width in widths if words(width) == whole))

    def _in_whole_words(self, text: Text, options: ConsoleOptions) -> Text:
        found, width = Lines(), options.max_width
        for line in text.split(allow_blank=True):
            found.extend([line] if options.no_wrap or text.no_wrap else line.divide(_breaks(line.plain, width)))
        if len(found) > 1:
            for line in found:
                line.rstrip()
        found.justify(self, width, justify=text.justify or options.justify or "default", overflow="ignore")
        whole = Text("\n", no_wrap=True, overflow="ignore", end=text.end).join(found)
        whole.end = text.end
        return whole

    def render_lines(
        self,
        renderable: RenderableType,
        options: ConsoleOptions | None = None,
        *,
        style: Style | None = None,
        pad: bool = True,
        new_lines: bool = False,
    ) -> list[list[Segment]]:
        """Render a thing as lines. A table calls this for each cell. No line is cut."""
        if self._cuts:
            return super().render_lines(renderable, options, style=style, pad=pad, new_lines=new_lines)
        options = options or self.options
        found = list(Segment.split_lines(Segment.apply_style(self.render(renderable, options), style)))
        if pad:
            length = [max(options.max_width, Segment.get_line_length(line)) for line in found]
            found = [Segment.adjust_line_length(line, to, style) for line, to in zip(found, length, strict=True)]
        return [[*line, Segment.line()] for line in found] if new_lines else found

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make a `Text` of a text. Rich also calls this to measure the text."""
        return super().render_str(visible(text), **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print things. No line of theirs ends with blanks, which rich adds to fill a column."""
        settings.setdefault("crop", self._cuts)
        super().print(*(objects if len(objects) != 1 else [_Trimmed(objects[0])]), **settings)


class _Trimmed:
    """A thing to print, without the blanks at the end of its lines."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        content = console.render_str(self._content) if isinstance(self._content, str) else self._content
        for line in Segment.split_lines(console.render(content, options)):
            yield from _without_trailing_blanks(line)
            yield Segment.line()


def _without_trailing_blanks(line: Sequence[Segment]) -> list[Segment]:
    kept = list(line)
    while kept and not kept[-1].control:
        text = kept[-1].text.rstrip()
        if text:
            return [*kept[:-1], Segment(text, kept[-1].style)]
        kept.pop()
    return kept


_UNBOUNDED = 100_000
"""A width that no line has."""

_WORD = re.compile(r"\s*\S+\s*")


def _breaks(text: str, width: int) -> Iterator[int]:
    """The places in a text at which a line of this width breaks, each before a word."""
    used = 0
    for word in _WORD.finditer(text):
        if used and used + cell_len(word[0].rstrip()) > width:
            yield word.start()
            used = 0
        used += cell_len(word[0])


def visible_text(text: Text) -> Text:
    """The text with each character that is not visible as its code, in the same styles."""
    if visible(text.plain) == text.plain:
        return text
    shown = text.blank_copy()
    shown.append_text(Text("").join(_styled(text)))
    return shown


def _styled(text: Text) -> Iterator[Text]:
    ends = {0, len(text), *(place for span in text.spans for place in span[:2])}
    for start, stop in pairwise(sorted(place for place in ends if 0 <= place <= len(text))):
        part = Text(visible(text.plain[start:stop]))
        for span in text.spans:
            if span.start <= start and stop <= span.end:
                part.stylize(span.style)
        yield part


def console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console for the text of AWS: visible, without markup and automatic highlighting.

    With `soft_wrap`, the terminal wraps the lines, so that a line stays one in a file.
    """
    return VisibleConsole(highlight=False, stderr=stderr, emoji=False, markup=False, soft_wrap=soft_wrap)


def _live_console() -> Console:
    """A console on standard error for a thing that moves."""
    return VisibleConsole(cuts=True, highlight=False, stderr=True, emoji=False, markup=False)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show progress bars on standard error while the block runs, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _step, _done, _total: None
        return
    # Most runs have no terminal, or end before anybody sees a bar, and the module takes milliseconds.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(complete_style="cyan", finished_style="cyan"),
        MofNCompleteColumn(),
    )
    with Progress(*columns, console=_live_console(), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total, visible=done < total)

        yield show


@contextmanager
def moving() -> Iterator[Callable[[RenderableType], None] | None]:
    """Show a thing that changes on standard error while the block runs; gives None if that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with Live(console=_live_console(), transient=True, refresh_per_second=4) as live:
        yield live.update


def counted(number: int, noun: str, nouns: str = "") -> str:
    """A number with its noun: `1 role`, `2 roles`."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def heading(text: str) -> Group:
    """A line above a group of lines."""
    return lines("", Text(text, "bold"))


def lines(*texts: str | Text) -> Group:
    """Several lines as one thing to print, because a text cannot have a line feed."""
    return Group(*texts)


def indented(content: RenderableType, by: int) -> Padding:
    """The content with `by` spaces before each of its lines."""
    return Padding(content, (0, 0, 0, by), expand=False)


class Labelled:
    """A text after a label. Each further line of the text begins below its first one."""

    def __init__(self, label: str | Text, text: str | Text, width: int) -> None:
        """`width`: the number of columns for the label and the blanks after it."""
        self._label = label if isinstance(label, Text) else Text(label)
        self._text, self._width = text, width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = max(1, options.max_width - self._width)
        first, *more = console.render_lines(self._text, options.update_width(width), pad=False)
        label = self._label.copy()
        label.pad_right(self._width - cell_len(label.plain))
        label.end = ""
        yield label
        yield Segments([*first, Segment.line()])
        for line in more:
            yield Segments([Segment(" " * self._width), *line, Segment.line()])


def few(names: Sequence[str], most: int = FEW_NAMES, *, of: int = 0) -> str:
    """The first `most` names, and the number of the others. `of` is the number of all names, 0 for `len(names)`."""
    shown, number = names[:most], of or len(names)
    more = f" and {number - len(shown):,} more" if number > len(shown) else ""
    return ", ".join(shown) + more


def show_banner(out: Console, banner: str) -> None:
    """Print the line that names the guardrails in observe mode, if there is one."""
    if banner:
        out.print(Text(banner, "bold yellow"))


def policy_name(policy_arn: str) -> str:
    """The name of a policy."""
    return policy_arn.rsplit("/", 1)[-1]


def show_reason(out: Console, outcome: Outcome) -> None:
    """Print the reason why a role lacks a guardrail, and the recommended action; print nothing without a reason."""
    if not outcome.reason:
        return
    lacks = [name for name in outcome.missing if name not in outcome.attached]
    effect = f", so the role lacks {', '.join(lacks)}" if lacks else ""
    out.print(indented(Text(f"! {outcome.reason}{effect}", "red"), 4))
    if recommendation := RECOMMENDATIONS.get(outcome.reason):
        out.print(indented(recommendation, 6))


def show_unread(out: Console, unread: Sequence[str]) -> None:
    """Print a line for each part of the account that AWS did not let the caller read."""
    if unread:
        out.print(heading("not read, so this result is incomplete"))
    for line in unread:
        out.print(indented(line, 2))


def color(allowed: bool) -> str:
    """The color for a model that a role can or cannot reach."""
    return "yellow" if allowed else "green"


def undecided_text(keys: Sequence[str]) -> str:
    """A text about a decision that depends on condition keys of a live call; empty if it depends on none."""
    return f"a live call's {', '.join(keys)} could change it" if keys else ""


def time_text(at: datetime) -> str:
    """A point in time, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def show_problems(out: Console, problems: Iterable[tuple[str, str]]) -> None:
    """Print a line for each error and warning of guardrails.yaml."""
    for kind, line in problems:
        out.print(Text.assemble((f"{kind}: ", "bold red" if kind == "error" else "yellow"), line))
