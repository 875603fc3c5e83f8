"""`rolewarden access`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rolewarden_cli import console, inventory, options
from rolewarden_cli.access import AccessMatrix, Decision, Row, matrix
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import (
    BY_SCP,
    FEW_NAMES,
    NOTHING,
    colour,
    counted,
    few,
    heading,
    indented,
    show_unread,
    undecided_text,
)
from rolewarden_cli.models import LIVE, Model, models
from rolewarden_cli.options import All, AsJson, Guardrails, ModelPatterns
from rolewarden_cli.rules import DEFAULT_FILE

ROW, COLUMN = 24, 7
"""Characters of a row's name and of a model's column, where each model has one."""


@of_an_account
def run_access(
    connection: Connection,
    model: ModelPatterns = None,
    guardrails: Guardrails = DEFAULT_FILE,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Show who can reach which model, and by which policy statement, as IAM's own simulator judges it.

    A model is reached where one route gets through: Bedrock on demand, by an inference profile, in a batch job or on
    Mantle; JumpStart to an endpoint under any of its tags, or from a hub. The simulator evaluates service control
    policies, too, with the condition keys that `access` passes.

    Example: rolewarden access --local --model 'anthropic.*sonnet*' --model huggingface-text2text-flan-t5-xl
    """
    rules = options.rules_in(guardrails)
    columns = models(connection, model or ())
    console.warn(columns.unlisted)
    with console.progress() as progress:
        taken = inventory.take(connection, rules, progress)
        found = matrix(connection.calls, taken, columns, progress)
    if as_json:
        print_json(found)
    else:
        show_access(console.console(), found, everything=everything)


def show_access(out: Console, found: AccessMatrix, *, everything: bool = False) -> None:
    """A column for each of a few models; of many, what each group of rows reaches."""
    source = "as it lists them now" if found.listed == LIVE else f"from {found.listed}"
    out.print(Text(f"account {found.account}, {', '.join(found.regions)}", "bold"))
    counts = f"{counted(len(found.rows), 'subject')}, {counted(len(found.models), 'model')}"
    out.print(f"{counts}, Bedrock's {source}")
    if ROW + COLUMN * len(found.models) <= out.width:
        _show_columns(out, found)
    else:
        _show_groups(out, found, most=len(found.rows) if everything else FEW_NAMES)
    show_unread(out, found.unread)


def _show_columns(out: Console, found: AccessMatrix) -> None:
    out.print()
    for number, model in enumerate(found.models, start=1):
        out.print(f"{number:>3}  {model.id}")
    letters: dict[tuple[bool, str], str] = {}
    table = Table.grid(padding=(0, 1, 0, 0))
    table.show_header = True
    table.add_column("", overflow="fold")
    for number in range(1, len(found.models) + 1):
        table.add_column(str(number), no_wrap=True)
    for row in found.rows:
        cells = [found.cell(row, number) for number in range(len(found.models))]
        roles = filter(None, (row.role, row.bedrock_role))
        name = Text.assemble((row.label, "bold"), *((f"\n  {role}", "bright_black") for role in roles))
        table.add_row(name, *(_cell(cell, letters) for cell in cells))
    out.print()
    out.print(table)
    out.print()
    legend = Table.grid(padding=(0, 2, 0, 0))
    for (allowed, why), letter in letters.items():
        legend.add_row(Text(f"{'yes' if allowed else 'no'} {letter}", colour(allowed)), why)
    out.print(legend)


def _cell(decision: Decision, letters: dict[tuple[bool, str], str]) -> Text:
    why = (decision.allowed, _why(decision))
    letter = letters.setdefault(why, _letter(len(letters)))
    return Text(f"{'yes' if decision.allowed else 'no'} {letter}", colour(decision.allowed))


def _letter(number: int) -> str:
    rest, last = divmod(number, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("a") + last)


def _why(decision: Decision) -> str:
    by_policy: dict[str, list[str]] = defaultdict(list)
    for statement in decision.statements:
        by_policy[statement.policy].append(statement.label)
    names = "; ".join(f"{policy}: {', '.join(labels)}" for policy, labels in by_policy.items())
    if decision.allowed:
        why = [f"{decision.route}, allowed by {names}"]
    else:
        why = [BY_SCP] * decision.denied_by_scp + [f"denied by {names}"] * bool(names) or [NOTHING]
    return "; ".join(filter(None, (*why, undecided_text(decision.undecided))))


def _show_groups(out: Console, found: AccessMatrix, *, most: int) -> None:
    groups: dict[tuple[tuple[bool, str], ...], list[Row]] = defaultdict(list)
    for row in found.rows:
        cells = (found.cell(row, number) for number in range(len(found.models)))
        groups[tuple((cell.allowed, _why(cell)) for cell in cells)].append(row)
    for told, rows in groups.items():
        out.print(heading(few([row.label for row in rows], most)))
        names = sorted({role for row in rows for role in (row.role, row.bedrock_role) if role})
        out.print(indented(Text(f"by {few(names, most)}", "bright_black"), 2))
        for family, title in (("bedrock", "Bedrock"), ("jumpstart", "JumpStart")):
            of_it = [(model, *cell) for model, cell in zip(found.models, told, strict=True) if model.family == family]
            if of_it:
                _show_family(out, title, of_it)


def _show_family(out: Console, title: str, told: Sequence[tuple[Model, bool, str]]) -> None:
    reached = [model for model, allowed, _ in told if allowed]
    out.print(indented(Text(f"{title}: {len(reached):,} of {len(told):,} reached", colour(bool(reached))), 2))
    if reached and len(reached) < len(told):
        out.print(indented(few([model.id for model in reached]), 4))
    reasons = Counter(why for _, _, why in told)
    for why, number in reasons.most_common():
        out.print(indented(f"{number:,} {why}", 4))
