"""`rolewarden status`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rolewarden.observing import banner
from rolewarden.own_events import SubjectFinding
from rolewarden.record import ACCOUNT_WIDE

from rolewarden_cli import console, options
from rolewarden_cli.accounts_table import show_accounts
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import counted, few, lines, show_banner, time_text
from rolewarden_cli.figures import MEASURED_DAYS, Latencies
from rolewarden_cli.options import AsJson, FailOn, InAllAccounts
from rolewarden_cli.organization import organized
from rolewarden_cli.promotion import in_words
from rolewarden_cli.stack import RESTORE
from rolewarden_cli.status import OLD_AFTER, AllStatuses, Status, read_all_statuses, read_status

REMOVE = "`rolewarden detach` shows and removes them"


@of_an_account
def run_status(
    connection: Connection,
    all_accounts: InAllAccounts = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of the deployed stack: last sweep, findings, coverage, contested and unenforceable roles.

    The last lines show how long a role stays unprotected here. Drills measured these seconds in the last 30 days.

    Example: rolewarden status --local
    """
    connection.deployed()
    if all_accounts:
        with console.progress() as progress:
            several = read_all_statuses(organized(connection), datetime.now(UTC), progress)
        if as_json:
            print_json(several)
        else:
            show_all_statuses(console.console(), several)
        options.end("status", fail_on, several.conditions)
    found = read_status(connection, datetime.now(UTC))
    if as_json:
        print_json(found)
    else:
        show_status(console.console(), found)
    options.end("status", fail_on, found.conditions)


def show_all_statuses(out: Console, found: AllStatuses) -> None:
    """Print a row for each account."""
    heads = ("last sweep", "protected", "exempt", "contested", "unenforceable")
    rows = [
        (
            one.account,
            "none" if one.sweep_age is None else f"{_ago(one.sweep_age)} ago",
            f"{one.covered:,} of {one.governed:,}",
            *map(str, (one.exempt, len(one.contested), len(one.unenforceable))),
        )
        for one in found.accounts
    ]
    sums = found.totals
    protected = f"{sums.covered:,} of {sums.governed:,}"
    show_accounts(
        out, heads, rows, ("", protected, *map(str, (sums.exempt, sums.contested, sums.unenforceable))), found.unreached
    )
    out.print()
    out.print(f"{sums.well} of {counted(sums.accounts, 'account')} need no action")


def show_status(out: Console, found: Status) -> None:
    """Print the state of the deployed stack."""
    out.print(Text(f"account {found.account}, {found.region}", "bold"))
    show_banner(out, banner(found.observed_guardrails, every=found.observes))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=13)
    grid.add_column(overflow="fold")
    if found.lost:
        grid.add_row("lost", Text(f"{' and '.join(found.lost)} deleted: {RESTORE}", "bold red"))
    grid.add_row("last sweep", _last_sweep(found))
    for entry in found.account_findings:
        text = Text.assemble((entry.reason, "bold red"), f"  {entry.message}")
        grid.add_row("account", lines(text, *filter(None, [entry.recommendation])))
    grid.add_row("coverage", _coverage(found))
    grid.add_row("remediated", f"{counted(found.remediated_last_day, 'time')} in the last day")
    grid.add_row("contested", str(len(found.contested)) if found.contested else "none")
    for role in found.contested:
        times = f"{role.times} times since {time_text(role.since)} by {', '.join(role.actors)}"
        grid.add_row("", Text.assemble((role.role, "bold"), f"  {times}"))
    grid.add_row("unenforceable", str(len(found.unenforceable)) if found.unenforceable else "none")
    for entry in found.unenforceable:
        kind = "user profile " if entry.kind == SubjectFinding.detail_type else ""
        about = entry.about.removeprefix(ACCOUNT_WIDE)
        text = Text.assemble((f"{kind}{about}", "bold"), f"  {entry.reason or entry.verdict}")
        grid.add_row("", lines(text, *filter(None, [entry.recommendation])))
    if found.since_observing:
        roles = counted(len(found.observed), "role")
        names = few([entry.about for entry in found.observed])
        verb = "lacks" if len(found.observed) == 1 else "lack"
        lacking = f"{roles} {verb} a guardrail in observe mode" + f": {names}" * bool(names)
        grid.add_row("observed", lines(lacking, in_words(found.since_observing), "`rolewarden plan` shows a promotion"))
    grid.add_row("surplus", _surplus(found))
    grid.add_row("measured", _measured(found.measured))
    out.print(grid)


def _measured(measured: Latencies) -> RenderableType:
    """A line for each account and region that drills measured, in seconds."""
    if measured.unread:
        return lines("not known: the history has no drill", f"CloudWatch does not answer: {measured.unread}")
    if not measured.rows:
        return "no drill yet: run `rolewarden drill`"
    source = " (from CloudWatch, because the history has none)" if measured.source == "metrics" else ""
    rows = [f"seconds in the last {MEASURED_DAYS} days, p50 / p95 / max{source}"]
    for row in measured.rows:
        figures = f"{row.p50:.1f} / {row.p95:.1f} / {row.maximum:.1f}"
        rows.append(f"{row.account} {row.region} {row.figure.meaning} {figures}, {counted(row.count, 'time')}")
    return lines(*rows)


def _surplus(found: Status) -> RenderableType:
    sweep = found.last_sweep
    if sweep is None:
        return "not known before a sweep: see `rolewarden plan`"
    parts = []
    if roles := found.surplus_roles:
        left = [role for role in sweep.surplus_roles if role not in found.detached]
        names = f": {few(left, of=roles)}" if left else ""
        parts.append(f"{counted(roles, 'role')} with policies that no rule requires{names}")
    if unused := found.unused_policies:
        names = few([name for name in sweep.unused_policies if name not in found.deleted], of=unused)
        parts.append(f"{counted(unused, 'unused policy', 'unused policies')}: {names}")
    fix = "they stay while every guardrail is in observe mode" if found.observes else REMOVE
    return lines(*parts, fix) if parts else "none"


def _coverage(found: Status) -> str:
    if found.last_sweep is None:
        return "not known before a sweep: see `rolewarden plan`"
    exempt = f", and {counted(found.exempt, 'exempt role')} more" if found.exempt else ""
    return f"{found.covered:,} of {found.governed:,} governed roles are protected{exempt}"


def _last_sweep(found: Status) -> Text:
    if found.last_sweep is None or found.sweep_age is None:
        return Text("none in the last week: see the log of SweepFunction", "red")
    counts, age = found.last_sweep.completed, found.sweep_age
    lacking = f"{counts.get('unprotected', 0):,} of {counts.get('roles', 0) - counts.get('exempt', 0):,}"
    text = Text(f"{_ago(age)} ago", "red" if age > OLD_AFTER else "")
    text.append(f", took {counts.get('seconds', 0)} s, found {lacking} roles unprotected")
    if found.last_sweep.missed:
        text.append("; could not read everything", "yellow")
    if found.running:
        text.append(f"; another one has run since {time_text(found.running.began)}")
    return text


def _ago(age: timedelta) -> str:
    seconds = max(0, round(age.total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return counted(seconds // length, unit)
    return counted(seconds, "second")
