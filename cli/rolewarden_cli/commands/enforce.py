"""`rolewarden enforce`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from rolewarden.verdicts import UNCHANGED, Verdict

from rolewarden_cli import console, options, stack
from rolewarden_cli.answers import print_json
from rolewarden_cli.commands.plan import show_plan
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import VERDICT_COLORS, counted, few, heading, policy_name, show_reason
from rolewarden_cli.enforce import Enforced, enforce_rules
from rolewarden_cli.options import AsJson, FailOn, Guardrails, Yes
from rolewarden_cli.plan import read_plan
from rolewarden_cli.rules import DEFAULT_FILE


@of_an_account
def run_enforce(
    connection: Connection,
    guardrails: Guardrails = DEFAULT_FILE,
    yes: Yes = False,
    despite_stack: Annotated[bool, typer.Option("--despite-stack", help="Continue although the deployed stack has "
                                                "other rules. The stack then reverts your policies and reports "
                                                "you for tampering.")] = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the plan, ask, and make its changes. Ctrl-C stops the command after the current role.

    You can run it again at any time, because it makes no change twice. Without a deployed stack, Rolewarden does not
    remediate later drift. If the deployed stack has other rules than the file, or unknown ones, the command refuses:
    deploy the file instead.

    Example: rolewarden enforce --local --yes
    """
    rules = options.rules_in(guardrails)
    with console.progress() as progress:
        if not despite_stack:
            stack.need_same(stack.asked(connection, rules))
        found, planned = read_plan(connection, rules, options.today(), progress)
    if not as_json:
        show_plan(console.console(), planned, ends=False)
    if planned.has_changes and not yes:
        options.ask_agreement(planned.account, as_json)
    with console.progress() as progress, options.interruptible() as stop:
        done = enforce_rules(connection, found, planned, rules, options.today(), progress, stop=stop)
    if as_json:
        print_json(done)
    else:
        show_enforced(console.console(), done, left=planned.unprotected)
    options.end("enforce", fail_on, {"changes": not done.is_whole, "unprotected": planned.unprotected})


def show_enforced(out: Console, done: Enforced, *, left: Sequence[str] = ()) -> None:
    """Print the change to each policy and role. `left` are the roles and user profiles that cannot be protected."""
    for policy, change in done.policies.items():
        if change != UNCHANGED:
            out.print(Text.assemble((f"{change:9}", "green"), " policy ", policy))
    for outcome in done.outcomes:
        if outcome.verdict is Verdict.OUT_OF_SCOPE:
            continue
        line = Text.assemble((outcome.role, "bold"), "  ", (outcome.before, VERDICT_COLORS[outcome.before]))
        line.append(" > ").append(outcome.verdict, VERDICT_COLORS[outcome.verdict])
        if outcome.attached:
            line.append(f"  + {', '.join(outcome.attached)}")
        if outcome.remediation == "bounded":
            line.append(f"  + boundary {policy_name(outcome.boundary)}")
        out.print(line)
        show_reason(out, outcome)
    for role, policies in done.detached.items():
        if policies:
            out.print(Text.assemble((role, "bold"), f"  - {', '.join(policies)}"))
    for undone in done.postponed:
        out.print(Text(f"not done: {undone}", "red"))
    changed = sum(outcome.has_written for outcome in done.outcomes) + sum(map(bool, done.detached.values()))
    end = f"{counted(changed, 'role')} changed"
    if done.stopped:
        end += f", stopped before {counted(len(done.left), 'role')}: run the command again to continue"
    elif done.postponed:
        end += f", {len(done.postponed)} not done: run the command again"
    if left:
        end += f", {len(left)} cannot be protected: {few(left)}"
    out.print(heading(end))
