"""`rolewarden detach`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from rolewarden_cli import console, options, stack
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import counted, heading, indented
from rolewarden_cli.detach import Detached, Surplus, detach_surplus, read, surplus
from rolewarden_cli.options import AsJson, FailOn, Guardrails, Yes
from rolewarden_cli.plan import make
from rolewarden_cli.rules import DEFAULT_FILE


@of_an_account
def run_detach(
    connection: Connection,
    role: Annotated[list[str] | None, typer.Argument(metavar="ROLE", help="Names of roles. Without a name, all "
                                                     "roles.")] = None,
    guardrails: Guardrails = DEFAULT_FILE,
    yes: Yes = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the policies and boundaries of Rolewarden that roles do not need, ask, and detach them.

    Then the command deletes unused policies. It reads SageMaker and IAM again before each role. It refuses if it could
    not read everything, or if the deployed stack has other rules than the file, or unknown ones.

    Example: rolewarden detach --local
    """
    rules = options.rules_in(guardrails)
    with console.progress() as progress:
        same = stack.asked(connection, rules)
        stack.need_same(same)
        found = read(connection, rules, progress)
        deployed = connection.tables is not None
        at = connection.stack.deployed if connection.stack else None
        today = options.today()
        plan = make(connection.aws, found, rules, today, deployed=deployed, stack=same, last_deployment=at)
    unneeded = surplus(found, plan, role or ())
    if not as_json:
        show_surplus(console.console(), unneeded)
    if unneeded and not yes:
        options.ask_agreement(unneeded.account, as_json)
    with console.progress() as progress:
        done = detach_surplus(connection, unneeded, found, rules, options.today, progress)
    if as_json:
        print_json(done)
    elif unneeded:
        show_detached(console.console(), done)
    options.end("detach", fail_on, {"left": done.left or unneeded.needed})


def show_surplus(out: Console, found: Surplus) -> None:
    """Print the policies to detach from each role, and the policies to delete afterwards."""
    out.print(Text(f"account {found.account}", "bold"))
    for role, policies in found.roles.items():
        out.print(indented(Text.assemble((role, "bold"), "  ", (f"- {', '.join(policies)}", "yellow")), 2))
    for policy in found.policies:
        out.print(indented(Text.assemble(("deletes policy ", "yellow"), policy), 2))
    for role, users in found.needed.items():
        line = f"{role} needs its policies, because {users} uses it: take the role away there, or list it under "
        out.print(indented(Text(f"{line}`never_govern` in guardrails.yaml and deploy; then run the command again"), 2))
    if not (found or found.needed):
        out.print("no role has a policy or boundary of Rolewarden that it does not need")


def show_detached(out: Console, done: Detached) -> None:
    """Print the policies detached and deleted, and the reason for each one that is left."""
    for role, policies in done.detached.items():
        if policies:
            out.print(Text.assemble((role, "bold"), f"  - {', '.join(policies)}"))
    for policy in done.deleted:
        out.print(f"deleted policy {policy}")
    for line in done.left:
        out.print(Text(f"not done: {line}", "red"))
    changed = sum(map(bool, done.detached.values()))
    end = f"{counted(changed, 'role')} changed, {counted(len(done.deleted), 'policy', 'policies')} deleted"
    out.print(heading(end + (f", {len(done.left)} not done: run the command again" if done.left else "")))
