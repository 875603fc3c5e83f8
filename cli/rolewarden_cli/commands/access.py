"""`rolewarden access`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rolewarden_cli import console, options
from rolewarden_cli.access import AccessEntry, AccessMatrix, Decision, Row
from rolewarden_cli.accounts_table import show_accounts
from rolewarden_cli.all_access import AllAccess, read_access, read_all_access
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import (
    BY_PREVENTION,
    BY_SCP,
    FEW_NAMES,
    IMPLICIT_DENY,
    color,
    counted,
    few,
    heading,
    indented,
    lines,
    show_banner,
    show_unread,
    undecided_text,
)
from rolewarden_cli.formats import Format, csv_text
from rolewarden_cli.lines import print_document
from rolewarden_cli.models import LIVE, Model, models
from rolewarden_cli.notes import note
from rolewarden_cli.options import All, AsJson, FailOn, Guardrails, InAllAccounts, MemberRoleName, ModelPatterns, one_of
from rolewarden_cli.organization import MEMBER_ROLE, MemberRole, organized
from rolewarden_cli.rules import DEFAULT_FILE

ROW, COLUMN = 24, 7
"""Characters of a row's name and of a model's column, if each model has a column."""


@of_an_account
def run_access(  # noqa: PLR0913, PLR0917 - an option each
    connection: Connection,
    model: ModelPatterns = None,
    guardrails: Guardrails = DEFAULT_FILE,
    everything: All = False,
    all_accounts: InAllAccounts = False,
    member_role: MemberRoleName = MEMBER_ROLE,
    fail_on: FailOn = None,
    as_json: AsJson = False,
    form: Annotated[Format | None, one_of(Format.CSV, what="a row for each subject and model")] = None,
) -> None:
    """Show the models that each subject can reach, and the policy statements that decide.

    The decisions come from IAM's policy simulator. A subject can reach a model if one route is open. The routes to a
    Bedrock model are on demand, an inference profile, a batch job and Mantle. The routes to a JumpStart model are an
    endpoint with any of its tags, and a hub. The simulator also evaluates service control policies, with the condition
    keys that `access` passes.

    Example: rolewarden access --local --model 'anthropic.*sonnet*' --model huggingface-text2text-flan-t5-xl
    """
    rules = options.rules_in(guardrails)
    if all_accounts:
        connection, role = organized(connection), MemberRole(member_role)
    columns = models(connection, model or ())
    for line in columns.unlisted:
        note(line)
    with console.progress() as progress:
        if all_accounts:
            found = read_all_access(connection, role, rules, columns, progress)
        else:
            found = AllAccess((read_access(connection, rules, columns, progress),))
    if form:
        print_document(csv_text(AccessEntry, (entry for one in found.accounts for entry in one.entries)))
    elif as_json:
        print_json(found if all_accounts else found.accounts[0])
    elif all_accounts:
        show_all_access(console.console(), found, everything=everything)
    else:
        show_access(console.console(), found.accounts[0], everything=everything)
    options.end("access", fail_on, found.conditions)


def show_all_access(out: Console, found: AllAccess, *, everything: bool = False) -> None:
    """Print a row for each account. With `everything`, print the matrix of each account after it."""
    heads = ("subjects", "models", "reached", "not read")
    rows = [
        (one.account, *map(str, (one.subjects, len(one.models), one.allowed, len(one.unread))))
        for one in found.accounts
    ]
    total = found.totals
    sums = tuple(map(str, (total.subjects, total.models, total.allowed, total.unread)))
    show_accounts(out, heads, rows, sums, found.unreached)
    for one in found.accounts if everything else ():
        out.print()
        show_access(out, one, everything=True)


def show_access(out: Console, found: AccessMatrix, *, everything: bool = False) -> None:
    """Print a column for each model if they fit the width, and otherwise the models that each group of rows reaches."""
    source = "ListFoundationModels" if found.listed == LIVE else found.listed
    out.print(Text(f"account {found.account}, {', '.join(found.regions)}", "bold"))
    counts = f"{counted(sum(row.is_subject for row in found.rows), 'subject')}, {counted(len(found.models), 'model')}"
    out.print(f"{counts}, those of Bedrock from {source}")
    show_banner(out, found.banner)
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
        cells = found.cells(row)
        roles = filter(None, (row.session, row.bedrock_role))
        name = lines(Text(row.label, "bold"), *(Text(f"  {role}", "bright_black") for role in roles))
        table.add_row(name, *(_cell(cell, letters) for cell in cells))
    out.print()
    out.print(table)
    out.print()
    _show_limits(out, found)
    legend = Table.grid(padding=(0, 2, 0, 0))
    for (allowed, why), letter in letters.items():
        legend.add_row(Text(f"{'yes' if allowed else 'no'} {letter}", color(allowed)), why)
    out.print(legend)


def _show_limits(out: Console, found: AccessMatrix) -> None:
    """Name the sessions for which a row with a source identity counts."""
    if any(row.source_identity for row in found.rows):
        out.print(
            "A row with `as NAME` counts for sessions of this user's apps only. Jobs, notebook instances and shared "
            "spaces have no source identity, or may have none, and have the access of the domain's default user."
        )
        out.print()


def _cell(decision: Decision, letters: dict[tuple[bool, str], str]) -> Text:
    why = (decision.allowed, _why(decision))
    letter = letters.setdefault(why, _letter(len(letters)))
    return Text(f"{'yes' if decision.allowed else 'no'} {letter}", color(decision.allowed))


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
        by_scp = BY_PREVENTION if decision.by_prevention else BY_SCP
        why = [by_scp] * decision.denied_by_scp + [f"denied by {names}"] * bool(names) or [IMPLICIT_DENY]
    return "; ".join(filter(None, (*why, undecided_text(decision.undecided))))


def _show_groups(out: Console, found: AccessMatrix, *, most: int) -> None:
    groups: dict[tuple[tuple[bool, str], ...], list[Row]] = defaultdict(list)
    shown: dict[int, tuple[bool, str]] = {}  # Many rows and models share a decision.
    for row in found.rows:
        decisions = found.cells(row)
        for decision in decisions:
            if id(decision) not in shown:
                shown[id(decision)] = decision.allowed, _why(decision)
        groups[tuple(shown[id(decision)] for decision in decisions)].append(row)
    for cells_of_group, rows in groups.items():
        out.print(heading(few([row.label for row in rows], most)))
        names = sorted({role for row in rows for role in (row.session, row.bedrock_role) if role})
        out.print(indented(Text(f"by {few(names, most)}", "bright_black"), 2))
        for family, title in (("bedrock", "Bedrock"), ("jumpstart", "JumpStart")):
            cells = [(m, *cell) for m, cell in zip(found.models, cells_of_group, strict=True) if m.family == family]
            if cells:
                _show_family(out, title, cells)
    if any(row.source_identity for row in found.rows):
        out.print()
    _show_limits(out, found)


def _show_family(out: Console, title: str, cells: Sequence[tuple[Model, bool, str]]) -> None:
    reached = [model for model, allowed, _ in cells if allowed]
    out.print(indented(Text(f"{title}: {len(reached):,} of {len(cells):,} reached", color(bool(reached))), 2))
    if reached and len(reached) < len(cells):
        out.print(indented(few([model.id for model in reached]), 4))
    reasons = Counter(why for _, _, why in cells)
    for why, number in reasons.most_common():
        out.print(indented(f"{number:,} {why}", 4))
