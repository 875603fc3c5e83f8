"""`rolewarden verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from rolewarden_cli import console, drill, options
from rolewarden_cli.answers import print_json
from rolewarden_cli.commands.doctor import show_checks
from rolewarden_cli.commands.drill import drill_now, show_drills
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import counted, heading, indented
from rolewarden_cli.doctor import Level, checks
from rolewarden_cli.drill import DrillsOnDemand
from rolewarden_cli.options import All, AsJson, FailOn, Guardrails, UsageError
from rolewarden_cli.rules import DEFAULT_FILE
from rolewarden_cli.verify import Unsettled, model_checks, unsettled


@of_an_account
def run_verify(  # noqa: PLR0913, PLR0917 - each parameter is an option
    connection: Connection,
    role: Annotated[str, typer.Option(metavar="NAME", help="A role with guardrails, to test with --model.")] = "",
    model: Annotated[str, typer.Option(metavar="ID", help="A Bedrock model that the guardrails of the role "
                                       "deny.")] = "",
    call: Annotated[bool, typer.Option("--call", help="Also call the model as the role, once. Your role must be able "
                                       "to assume it.")] = False,
    guardrails: Guardrails = DEFAULT_FILE,
    show_all: All = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Test the deployed stack as a whole: all checks of doctor, drills everywhere, and a denied model call.

    The command sends a pulse and a full drill in every account and region. With --role and --model, IAM simulates a
    model call of the role. With --call, the command also makes one. The answer must be an explicit deny.

    The output ends with the facts about AWS that only your account can confirm.

    Example: rolewarden verify --role CanvasRosa --model amazon.nova-pro-v1:0

    Your role needs the permissions of `rolewarden doctor` and `rolewarden drill`, and iam:SimulatePrincipalPolicy.
    """
    if bool(role) != bool(model):
        raise UsageError("--role and --model need each other: give both, or neither")
    if call and not role:
        raise UsageError("--call needs a role and a model: give --role and --model")
    rules = options.local_rules(guardrails)
    drills = DrillsOnDemand(connection, drill.PACE)
    found = [*checks(connection, rules), *model_checks(connection, role, model, real=call)]
    judged = drill_now(drills, every=True, quiet=as_json)
    left = unsettled(judged)
    if as_json:
        print_json({"checks": found, "drills": judged, "unsettled": left})
    else:
        out = console.console()
        show_checks(out, found)
        show_drills(out, judged)
        show_unsettled(out, left, every=show_all)
    levels = {check.level for check in found}
    missed = [one for one in judged if not one.is_well]
    conditions = {"failures": Level.FAIL in levels, "drills": missed, "warnings": Level.WARN in levels}
    options.end("verify", fail_on, conditions)


def show_unsettled(out: Console, left: Sequence[Unsettled], *, every: bool) -> None:
    """Print the facts that only an account can confirm, each with a way to confirm it: the decisive ones, or all."""
    shown = [one for one in left if one.decisive or every]
    out.print(heading(f"facts that only your account can confirm: {counted(len(left), 'fact')} about AWS"))
    for one in shown:
        out.print(indented(Text(one.claim), 2))
        out.print(indented(Text(one.live, "bright_black"), 6))
    if len(shown) < len(left):
        out.print(indented(f"and {len(left) - len(shown)} on which the protection depends less: add --all", 2))
