"""The output of `--all-accounts`: a row for each account."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rolewarden_cli.console import counted, heading, indented
from rolewarden_cli.organization import UnreachedAccount


def show_accounts(
    out: Console,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    totals: Sequence[str],
    unreached: Sequence[UnreachedAccount],
) -> None:
    """Print a row for each account, the row of the totals, and the accounts that could not be read.

    - `heads`: the heads of the columns after that of the account. `totals` are their values.
    - `rows`: the account, and a value for each head.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for _ in heads:
        table.add_column(justify="right", overflow="fold")
    table.add_row(*(Text(name, "bright_black") for name in ("account", *heads)))
    for row in rows:
        table.add_row(Text(row[0], "bold"), *row[1:])
    table.add_row(*(Text(value, "bold") for value in (counted(len(rows), "account"), *totals)))
    out.print(table)
    if unreached:
        out.print(heading(f"{counted(len(unreached), 'account')} not read, so this result is incomplete"))
    for one in unreached:
        out.print(indented(Text.assemble((one.account, "bold"), "  ", (one.why, "red")), 2))
        out.print(indented(one.recommendation, 4))
