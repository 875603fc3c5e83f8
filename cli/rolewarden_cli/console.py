"""Output that several commands share: 80 columns, and colors only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.segment import Segment
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
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render a text, or a thing that contains texts. Rich calls this for each text in the thing."""
        if isinstance(renderable, str):
            renderable = Text(visible(renderable))
        elif isinstance(renderable, Text):
            renderable = visible_text(renderable)
        return super().render(renderable, options)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make a `Text` of a text. Rich also calls this to measure the text."""
        return super().render_str(visible(text), **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print things. No line of theirs ends with blanks, which rich adds to fill a column."""
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
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
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
    with Live(console=console(stderr=True), transient=True, refresh_per_second=4) as live:
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
