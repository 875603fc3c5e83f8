"""`rolewarden explain`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rolewarden.verdicts import Verdict

from rolewarden_cli import console, inventory, options
from rolewarden_cli.access import Route
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import (
    BY_PREVENTION,
    BY_SCP,
    IMPLICIT_DENY,
    color,
    few,
    heading,
    indented,
    lines,
    show_banner,
    show_unread,
    time_text,
    undecided_text,
)
from rolewarden_cli.explain import Explanation, ReasonForAccess, explain_role
from rolewarden_cli.history import Entry
from rolewarden_cli.models import models
from rolewarden_cli.notes import note
from rolewarden_cli.options import AsJson, FailOn, Guardrails
from rolewarden_cli.rules import DEFAULT_FILE


@of_an_account
def run_explain(
    connection: Connection,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="The name of a role.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ID of a model.")],
    guardrails: Guardrails = DEFAULT_FILE,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Show why a role can or cannot use a model: routes, statements, policies, guardrails and assignments.

    If a stack is deployed, the command also shows the time and the cause of each attachment.

    Example: rolewarden explain CanvasRosa amazon.nova-pro-v1:0 --local
    """
    rules = options.rules_in(guardrails)
    chosen = models(connection, [model])
    for line in chosen.unlisted:
        note(line)
    if len(chosen.columns) > 1:
        raise options.UsageError(
            f"{len(chosen.columns)} models match `{model}`: name one, such as `{chosen.columns[0].id}`"
        )
    with console.progress() as progress:
        taken = inventory.take(connection, rules, progress)
        found = explain_role(connection, taken, rules, role, chosen, options.today(), progress)
    if as_json:
        print_json(found)
    else:
        show_explanation(console.console(), found)
    options.end("explain", fail_on, {"allowed": found.decision.allowed})


def show_explanation(out: Console, found: Explanation) -> None:
    """Print the decision, its routes, and the statements that decided."""
    allowed = found.decision.allowed
    if not found.is_listed:
        out.print(Text.assemble("The model ", (found.model.id, "bold"), " is on none of the lists. If it exists:"))
    can = ("can use" if allowed else "cannot use", color(allowed))
    out.print(Text.assemble((found.role, "bold"), " ", can, " ", (found.model.id, "bold")))
    out.print(_use_and_verdict(found))
    show_banner(out, found.banner)
    grid = Table.grid(padding=(0, 2, 0, 0))
    numbers = {reason.statement.name: str(number) for number, reason in enumerate(found.reasons, start=1)}
    for route in found.decision.routes:
        word = Text("yes" if route.allowed else "no", color(route.allowed))
        grid.add_row("", word, Text(route.name, overflow="fold"), _why(route, numbers))
    out.print()
    out.print(grid)
    by_policy: dict[str, list[ReasonForAccess]] = defaultdict(list)
    for reason in found.reasons:
        by_policy[reason.statement.policy].append(reason)
    for reasons in by_policy.values():
        _show_reasons(out, numbers, reasons, recorded=found.recorded)
    for user in found.users:
        word = Text("yes" if user.allowed else "no", color(user.allowed))
        out.print(heading(f"{user.user_profile} is distinguished by the source identity"))
        out.print(indented(Text.assemble(word, f"  in sessions of the user's apps: {user.limits}"), 2))
    show_unread(out, found.unread)


def _why(route: Route, numbers: Mapping[str, str]) -> str:
    by = ", ".join(numbers[statement.name] for statement in route.statements)
    scps = f": {' or '.join(route.scps)}" if route.scps else ""
    why = [f"{BY_PREVENTION if route.by_prevention else BY_SCP}{scps}"] * route.denied_by_scp + [f"by {by}"] * bool(
        by
    ) or [IMPLICIT_DENY]
    return "; ".join(filter(None, (*why, undecided_text(route.undecided))))


def _use_and_verdict(found: Explanation) -> str:
    if not found.subjects or found.planned is None:
        return "The role is out of scope: no subject in SageMaker uses it."
    outcome = found.planned.outcome
    used = f"The role is used by {few(found.subjects)}, and is {outcome.before}"
    if outcome.before is Verdict.EXEMPT:
        return f"{used} {outcome.message}."
    lacks = [name for name in found.planned.outcome.missing if outcome.before is not Verdict.COMPLIANT]
    said = f"{used}: it lacks {', '.join(lacks)}." if lacks else f"{used}."
    return f"{said} Its exemption does not hold ({outcome.doubt.message})." if outcome.doubt else said


def _show_reasons(
    out: Console, numbers: Mapping[str, str], reasons: Sequence[ReasonForAccess], *, recorded: bool
) -> None:
    """Print a policy, the assignments that require it, and those of its statements that decided."""
    first = reasons[0]
    out.print(heading(first.statement.policy))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=13, style="bright_black")
    grid.add_column(overflow="fold")
    if first.statement.arn:
        grid.add_row("  policy", first.statement.arn)
    if first.guardrail:
        grid.add_row("  guardrail", first.guardrail)
        grid.add_row("  required by", "; ".join(first.assignments) or "no assignment: the role does not need it")
        grid.add_row("  attached", _attached(first.attached, recorded=recorded))
    out.print(grid)
    for reason in reasons:
        statement = reason.statement
        verb = "denies" if statement.denies else "allows"
        out.print(indented(Text.assemble((f"{numbers[statement.name]}  {statement.label}", "bold"), f" {verb} it:"), 2))
        text = json.dumps({key: value for key, value in statement.document.items() if key != "Sid"}, indent=1)
        out.print(indented(lines(*text.split("\n")), 5))


def _attached(entry: Entry | None, *, recorded: bool) -> str:
    if entry is None:
        return "not in the history" if recorded else "not known: without a deployed stack, no history exists"
    return f"{time_text(entry.at)}, after {entry.caused_by}"
