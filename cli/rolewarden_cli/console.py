"""What several commands print: 80 columns, colours only where there is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text
from rolewarden.verdicts import RECOMMENDATIONS, Outcome

VERDICT_COLOURS = {
    "compliant": "green",
    "drifted": "red",
    "exempt": "cyan",
    "out_of_scope": "bright_black",
    "unenforceable": "bold red",
}

NOTHING = "allowed by nothing"
BY_SCP = "denied by a service control policy"

FEW_NAMES = 6
"""As many names of a long list are shown."""


def console(*, stderr: bool = False) -> Console:
    """Where to print."""
    return Console(highlight=False, stderr=stderr, emoji=False, markup=False)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on a terminal's standard error, which are gone in the end; elsewhere nothing."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style="cyan", finished_style="cyan"),
        MofNCompleteColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of, visible=done < of)

        yield show


def warn(lines: Iterable[str]) -> None:
    """Print lines on standard error, as the command's own."""
    for line in lines:
        print(f"rolewarden: {line}", file=sys.stderr)


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 role`, `2 roles`."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def heading(text: str) -> Text:
    """A line above a group of lines."""
    return Text(f"\n{text}", "bold")


def indented(what: str | Text | Table, by: int) -> Padding:
    """Something with so many spaces before each of its lines."""
    return Padding(what, (0, 0, 0, by), expand=False)


def few(names: Sequence[str], most: int = FEW_NAMES, *, of: int = 0) -> str:
    """The first names, and how many more there are: of `of`, or of `names` if it is 0."""
    shown, number = names[:most], of or len(names)
    more = f" and {number - len(shown):,} more" if number > len(shown) else ""
    return ", ".join(shown) + more


def policy_name(policy_arn: str) -> str:
    """The name of a policy."""
    return policy_arn.rsplit("/", 1)[-1]


def show_trouble(out: Console, outcome: Outcome) -> None:
    """Print why a role goes without a guardrail, and the recommendation; nothing if it has all."""
    if not outcome.reason:
        return
    lacks = [name for name in outcome.missing if name not in outcome.attached]
    needs = f", so it goes without {', '.join(lacks)}" if lacks else ""
    out.print(indented(Text(f"! {outcome.reason}{needs}", "red"), 4))
    if recommendation := RECOMMENDATIONS.get(outcome.reason):
        out.print(indented(recommendation, 6))


def show_unread(out: Console, unread: Sequence[str]) -> None:
    """Print what could not be read."""
    if unread:
        out.print(heading("could not be read, so this is not the whole"))
    for line in unread:
        out.print(indented(line, 2))


def colour(allowed: bool) -> str:
    """The colour of a model that is open or closed to a role."""
    return "yellow" if allowed else "green"


def undecided_text(keys: Sequence[str]) -> str:
    """What to print about a decision that depends on condition keys of a live call; empty if it depends on none."""
    return f"a live call's {', '.join(keys)} could change it" if keys else ""


def time_text(at: datetime) -> str:
    """A point in time, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def show_problems(out: Console, problems: Iterable[tuple[str, str]]) -> None:
    """Print a line for each error and warning of guardrails.yaml."""
    for kind, line in problems:
        out.print(Text.assemble((f"{kind}: ", "bold red" if kind == "error" else "yellow"), line))
