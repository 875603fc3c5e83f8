"""`rolewarden detach`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from rolewarden_cli import console, options, stack
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account_with
from rolewarden_cli.console import counted, heading, indented
from rolewarden_cli.detach import Detached, Surplus, detach_surplus, read, surplus
from rolewarden_cli.options import AsJson, FailOn, Guardrails, UsageError, Yes
from rolewarden_cli.plan import make
from rolewarden_cli.rules import DEFAULT_FILE
from rolewarden_cli.uninstall import LeftPolicies, Removed, find_left, need_no_stack, remove_left


@of_an_account_with(reads_rules=lambda options: not options["everything"])
def run_detach(  # noqa: PLR0913, PLR0917 - each parameter is an option
    connection: Connection,
    role: Annotated[list[str] | None, typer.Argument(metavar="ROLE", help="Names of roles. Without a name, all "
                                                     "roles.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Detach every policy and boundary of Rolewarden from "
                                             "every role, after the deletion of the stack.")] = False,
    delete_policies: Annotated[bool, typer.Option("--delete-policies", help="With --all: also delete the "
                                                  "policies.")] = False,
    guardrails: Guardrails = DEFAULT_FILE,
    yes: Yes = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the policies and boundaries of Rolewarden that roles do not need, ask, and detach them.

    Then the command deletes unused policies. Ctrl-C stops it after the current role. It reads SageMaker and IAM again
    before each role. It refuses if it could not read everything, or if the deployed stack has other rules than the
    file, or unknown ones.

    With --all, the command detaches the policies that a deleted stack left. It refuses as long as a stack covers the
    account.

    Example: rolewarden detach --local
    """
    if delete_policies and not everything:
        raise UsageError("--delete-policies works only with --all: give both, or neither")
    if everything:
        if role:
            raise UsageError("--all means every role: leave out the names of roles, or leave out --all")
        options.end("detach", fail_on, {"left": _detach_all(connection, as_json, deletes=delete_policies, yes=yes)})
    rules = options.rules_in(guardrails)
    with console.progress() as progress:
        same = stack.asked(connection, rules)
        stack.need_same(same)
        found = read(connection, rules, progress)
        deployed = connection.tables is not None
        at = connection.stack.deployed if connection.stack else None
        today = options.today()
        plan = make(connection.aws, found, rules, today, deployed=deployed, stack=same, last_deployment=at)
    only = [found.spelled(name) for name in role or ()]
    unneeded = surplus(found, plan, only, observes=rules.observes)
    if not as_json:
        show_surplus(console.console(), unneeded)
    if unneeded and not yes:
        options.ask_agreement(unneeded.account, as_json)
    with console.progress() as progress, options.interruptible() as stop:
        done = detach_surplus(connection, unneeded, found, rules, options.today, progress, stop=stop)
    if as_json:
        print_json(done)
    elif unneeded:
        show_detached(console.console(), done)
    options.end("detach", fail_on, {"left": done.left or unneeded.needed})


def _detach_all(connection: Connection, as_json: bool, *, deletes: bool, yes: bool) -> tuple[str, ...]:
    """Show the policies that a deleted stack left, ask, and detach them. Gives a line for each one that stays."""
    need_no_stack(connection)
    with console.progress() as progress:
        planned = find_left(connection, progress)
    if not as_json:
        show_left(console.console(), planned, deletes=deletes)
    if (planned.roles or (deletes and planned.policies)) and not yes:
        options.ask_agreement(planned.account, as_json)
    with console.progress() as progress, options.interruptible() as stop:
        done = remove_left(connection, planned, deletes=deletes, progress=progress, stop=stop)
    if as_json:
        print_json(done)
    elif planned:
        show_detached(console.console(), done)
    return done.left


def show_left(out: Console, found: LeftPolicies, *, deletes: bool) -> None:
    """Print the policies to detach from each role, the policies to delete, and those that stay."""
    out.print(Text(f"account {found.account}", "bold"))
    for role, policies in found.roles.items():
        out.print(indented(Text.assemble((role, "bold"), "  ", (f"- {', '.join(policies)}", "yellow")), 2))
    for policy in found.policies if deletes else ():
        out.print(indented(Text.assemble(("deletes policy ", "yellow"), policy), 2))
    for policy in found.foreign:
        out.print(indented(f"keeps policy {policy}, because it does not have Rolewarden's description", 2))
    if not found:
        out.print("the account has no policy of Rolewarden")
    elif found.policies and not deletes:
        stay, them = ("policy stays", "it") if len(found.policies) == 1 else ("policies stay", "them")
        out.print(f"{len(found.policies):,} {stay} in IAM: --delete-policies deletes {them}")


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
    if found.observes:
        out.print(
            "every guardrail is in observe mode, so Rolewarden detaches nothing: enforce a guardrail first, or "
            "delete the stack and use --all"
        )
    elif not (found or found.needed):
        out.print("no role has a policy or boundary of Rolewarden that it does not need")


def show_detached(out: Console, done: Detached | Removed) -> None:
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
