"""`rolewarden drill`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rolewarden.drill import Drill, DrillState

from rolewarden_cli import console, drill, options
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import counted, lines
from rolewarden_cli.drill import DrillInterruptedError, DrillsOnDemand, JudgedDrill, Tally
from rolewarden_cli.lines import print_line
from rolewarden_cli.options import AsJson, FailOn, UsageError

COLORS = {"heard": "green", "waiting": "yellow", "late": "yellow", "cut": "bold red", "not drilled": "cyan"}

Account = Annotated[str, typer.Option("--account", metavar="ID", help="Drill this account of the stack.")]
AllAccounts = Annotated[bool, typer.Option("--all-accounts", help="Drill every account that the stack covers.")]


@of_an_account
def run_drill(
    connection: Connection,
    account: Account = "",
    all_accounts: AllAccounts = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Send a pulse and a full drill now, and show when EnforceFunction heard each of them.

    A pulse sets tags to the values that they have. A full drill detaches the policy of Rolewarden's own canary role.
    EnforceFunction must attach it again. No other role changes. Without an option, the command drills the account of
    the stack.

    The command waits at most for the parameter DrillLimitMinutes. For a drill that is late or cut, it names the first
    broken link and the recommended action.

    Example: rolewarden drill --region us-east-1

    Your role needs permission to invoke DrillFunction and SweepFunction, and to query the bindings table.
    """
    if account and all_accounts:
        raise UsageError("--account and --all-accounts conflict: give one of them")
    found = drill_now(DrillsOnDemand(connection, drill.PACE), account, every=all_accounts, quiet=as_json)
    if as_json:
        print_json({"drills": found})
    else:
        show_drills(console.console(), found)
    late = DrillState.LATE.value
    cut = [one for one in found if not one.is_well and one.state != late]
    options.end("drill", fail_on, {"late": any(one.state == late for one in found), "cut": cut})


def drill_now(drills: DrillsOnDemand, account: str = "", *, every: bool, quiet: bool) -> tuple[JudgedDrill, ...]:
    """Send drills, follow them and judge them. With `quiet`, only a terminal shows the progress.

    Raises as the methods of DrillsOnDemand do, and DrillInterruptedError.
    """
    accounts = drills.accounts(account, every=every)
    try:
        sent: list[Drill] = []
        with console.progress() as progress:
            for number, one in enumerate(accounts):
                progress("accounts", number, len(accounts))
                sent += drills.send(one)
        with _timeline(quiet=quiet) as show:
            drills.follow(sent, show)
        return drills.judge(accounts)
    except KeyboardInterrupt:
        raise DrillInterruptedError(
            "interrupted: the drills that were sent end without this command, and EnforceFunction or the next sweep "
            "attaches the canary's policy again: run the command again"
        ) from None


@contextmanager
def _timeline(*, quiet: bool) -> Iterator[Callable[[Tally], None]]:
    """Show on standard error what was heard: a timeline that moves on a terminal, otherwise a line for each drill."""
    seen: set[str] = set()

    def show(tally: Tally) -> None:
        if update:
            update(moving_timeline(tally))
            return
        if quiet:
            return
        if not seen:
            seen.add("")
            limit = f"waiting up to {tally.limit / 60:g} minutes"
            print_line(f"sent {counted(len(tally.drills), 'drill')}: {limit}", stderr=True)
        for one, heard in tally.drills.items():
            if heard and one.nonce not in seen:
                seen.add(one.nonce)
                figures = figures_text(heard.seconds, heard.delivery, heard.start, heard.remediation)
                print_line(f"{one.account} {one.region} {one.kind.value}: {figures}", stderr=True)

    with console.moving() as update:
        yield show


def moving_timeline(tally: Tally) -> RenderableType:
    """The timeline of drills in flight: a bar that fills up to the limit, and what was measured of those heard."""
    grid = _grid()
    for one, heard in tally.drills.items():
        place = f"{one.account} {one.region}"
        if heard:
            figures = figures_text(heard.seconds, heard.delivery, heard.start, heard.remediation)
            grid.add_row(place, one.kind.value, Text("heard", COLORS["heard"]), figures)
        elif one.refused:
            grid.add_row(place, one.kind.value, Text("refused", COLORS["cut"]), one.refused)
        else:
            bar = ProgressBar(total=tally.limit, completed=min(tally.waited, tally.limit), width=20)
            grid.add_row(place, one.kind.value, Text(f"{tally.waited:.0f} s", COLORS["waiting"]), bar)
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def show_drills(out: Console, found: Sequence[JudgedDrill]) -> None:
    """Print the state of each kind of drill by account and region, with the broken link and the recommended action."""
    for account in dict.fromkeys(one.account for one in found):
        out.print(Text(f"account {account}", "bold"))
        grid = _grid()
        for one in found:
            if one.account == account:
                grid.add_row(one.region, one.drill, Text(one.state, COLORS.get(one.state, "")), _outcome(one))
        out.print(grid)
    heard = sum(one.is_well for one in found)
    out.print(f"{heard} of {counted(len(found), 'drill')} in order")
    out.print("Seconds: from the call to the event bus, to the start of EnforceFunction, to the attachment.")


def _outcome(one: JudgedDrill) -> RenderableType:
    if one.state == drill.NOT_DRILLED_HERE:
        return "this region has no resource type for the canary"
    figures = "" if one.seconds is None else figures_text(one.seconds, one.delivery, one.start, one.remediation)
    cut = f"the path is cut at the {one.link}: {one.message}" if one.link else ""
    misses = f"missed {counted(one.misses, 'time')}" if one.misses else ""
    return lines(*filter(None, (figures, misses, cut, one.recommendation and f"recommended: {one.recommendation}")))


def figures_text(seconds: float, delivery: float | None, start: float | None, remediation: float | None) -> str:
    """The seconds of a drill in all, then those of its parts in the order of the path."""
    parts = (("bus", delivery), ("start", start), ("attach", remediation))
    named = ", ".join(f"{name} {figure:.1f}" for name, figure in parts if figure is not None)
    return f"{seconds + (remediation or 0.0):.1f} s" + (f": {named}" if named else "")
