"""`rolewarden erase`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from rolewarden_cli import console, options
from rolewarden_cli.actors import SETTLED, erase_person, find_person
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import counted
from rolewarden_cli.options import AsJson, FailOn, Yes


@of_an_account
def run_erase(
    connection: Connection,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The whole ARN of a caller, the name of a session, "
                                          "or a user or source identity of `rolewarden history`.")],
    yes: Yes = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the number of rows of the history that name a person, ask, and erase the person from them.

    The command removes the caller, the address and the tool from each row, and adds the day. A row keeps the call, its
    time, its event ID and the change to the role. Only the role or user in the parameter OperatorArn can do
    this. Rows of the last two days stay.

    Example: rolewarden erase alice@example.com --local
    """
    now = datetime.now(UTC)
    rows, recent = find_person(connection, person, now)
    out = console.console()
    if not as_json and not (rows or recent):
        out.print(f"no row of the history names `{person}`: `rolewarden history` shows the callers")
    elif not as_json:
        out.print(f"{counted(len(rows), 'row')} of the history name this person, and {counted(recent, 'newer row')}")
    if rows and not yes:
        options.ask_agreement(connection.account, as_json)
    erased = erase_person(connection, person, rows, now)
    if as_json:
        print_json({"erased": erased, "recent": recent})
    elif rows or recent:
        day = now + SETTLED + timedelta(days=1)
        again = f"; run the command again on {day:%Y-%m-%d} for the newer rows" if recent else ""
        out.print(f"{counted(erased, 'row')}: caller erased on {now:%Y-%m-%d}{again}")
    options.end("erase", fail_on, {"recent": recent})
