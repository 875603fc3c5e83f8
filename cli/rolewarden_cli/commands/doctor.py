"""`rolewarden doctor`."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from rolewarden_cli import console, options
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import Labelled
from rolewarden_cli.doctor import Check, Level, checks
from rolewarden_cli.options import AsJson, FailOn, Guardrails
from rolewarden_cli.rules import DEFAULT_FILE

COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}

INDENT = 6
"""The columns of the level, and of the spaces in front of a line that continues another."""


@of_an_account
def run_doctor(
    connection: Connection,
    guardrails: Guardrails = DEFAULT_FILE,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Check the deployed stack, and print a line for each check.

    The checks cover the version and rules of the stack, subscriptions, alarms, dead-letter queues, schedules,
    concurrency and StackSets. They also cover OperatorArn, trails, forwarders, accounts, and domains in other regions.
    Each line begins with ok, warn or fail, and a problem ends with the fix. SweepFunction checks the last four with its
    own permissions.

    Example: rolewarden doctor --region us-east-1

    Your role needs permission to describe the stack and its resources, and to invoke SweepFunction.
    """
    rules = options.local_rules(guardrails)
    connection.deployed()
    found = list(checks(connection, rules))
    if as_json:
        print_json({"checks": found})
    else:
        show_checks(console.console(), found)
    levels = {check.level for check in found}
    options.end("doctor", fail_on, {"failures": Level.FAIL in levels, "warnings": Level.WARN in levels})


def show_checks(out: Console, found: Iterable[Check]) -> None:
    """Print a line for each check, which wraps at the width of the terminal."""
    for check in found:
        place = " ".join(filter(None, (check.account, check.region)))
        said = ": ".join(filter(None, (f"{place} {check.what}".strip(), check.message, check.recommendation)))
        out.print(Labelled(Text(check.level, COLOURS[check.level]), said, INDENT))
