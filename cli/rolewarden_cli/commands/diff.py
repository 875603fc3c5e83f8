"""`rolewarden diff`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from rolewarden_cli import console, options
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, Where, of_an_account_if
from rolewarden_cli.console import DIGEST, counted, few, heading, indented, show_unread
from rolewarden_cli.diff import STANDARD_INPUT, AccountChange, Difference, RoleChange, compare_files, read_rules
from rolewarden_cli.formats import Format
from rolewarden_cli.lines import print_document
from rolewarden_cli.options import All, AsJson, FailOn, UsageError, one_of
from rolewarden_cli.rules import DEFAULT_FILE
from rolewarden_cli.sarif import SarifLevel, SarifResult, sarif_text
from rolewarden_cli.shipped import here_or_shipped

MOST_CHANGED = 50
"""The number of roles that the output shows without `--all`."""

_COLORS = {"+": "yellow", "-": "green", "~": "yellow"}
"""The color of a line, by its sign: what is gained needs a look, what is lost is denied."""


def _wants_an_account(where: Where, given: dict[str, Any]) -> bool:
    return bool(given["account"] or where.local or where.profile or where.region or where.assume_role)


@of_an_account_if(_wants_an_account)
def run_diff(  # noqa: PLR0913, PLR0917 - an option each
    connection: Connection | None,
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The earlier guardrails.yaml; `-` for standard input.")]
        = Path(STANDARD_INPUT),
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The later guardrails.yaml; `-` for standard input.")]
        = DEFAULT_FILE,
    account: Annotated[bool, typer.Option("--account", help="Also compare the subjects and roles of an account. The "
                                          "options that choose an account imply this.")] = False,
    everything: All = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
    form: Annotated[Format | None, one_of(Format.SARIF, what="the changes")] = None,
) -> None:  # fmt: skip
    """Show the access that another guardrails.yaml changes: models and access paths gained and lost.

    A line with `+` names access that no guardrail denies any more (gained). Comments, layout and new names
    change no access. To compare the file with the last commit, run
    `git show HEAD:layers/guardrails/guardrails.yaml | rolewarden diff`.

    Example: rolewarden diff layers/guardrails/guardrails.yaml --local
    """
    del account  # `of_an_account_if` has used it
    if str(old) == str(new) == STANDARD_INPUT:
        raise UsageError("both files are standard input: name one of them")
    if STANDARD_INPUT in {str(old), str(new)} and options.is_a_terminal():
        raise UsageError(
            "standard input is a terminal: name two files, or pipe the earlier one, as in `git show "
            "HEAD:layers/guardrails/guardrails.yaml | rolewarden diff`"
        )
    today = options.today()
    files = read_rules(old, today), read_rules(here_or_shipped(new), today)
    with console.progress() as progress:
        found = compare_files(*files, today, connection, progress)
    if form:
        print_document(sarif_text(sarif_results(found, DEFAULT_FILE if str(new) == STANDARD_INPUT else new)))
    elif as_json:
        print_json(found)
    else:
        show_difference(console.console(), found, everything=everything)
    options.end("diff", fail_on, found.conditions)


_RULES = {
    "+": ("diff/gained", SarifLevel.WARNING),
    "-": ("diff/lost", SarifLevel.NOTE),
    "~": ("diff/changed", SarifLevel.WARNING),
}
"""The rule and the level of a result, by the sign of its line. A gain of access needs a review."""


def sarif_results(found: Difference, file: Path) -> Iterator[SarifResult]:
    """A result for each change, with the guardrail, assignment or role to which it belongs."""
    yield from _results(found.change.lines(), file)
    for role in found.in_account.roles if found.in_account else ():
        above = f"role {role.role} ({few(role.subjects)})"
        yield from _results(
            [above, *(f"  {line}" for line in role.access.lines())], file, f"{role.account}/{role.role}"
        )


def _results(lines: Iterable[str], file: Path, about: str = "") -> Iterator[SarifResult]:
    above = ""
    for line in lines:
        text = line.lstrip()
        if len(text) == len(line) and text[:1] not in _RULES:
            above = text
            continue
        rule, level = _RULES.get(text[:1], _RULES["~"])
        of = f"{above}: " if above and len(text) < len(line) else ""
        yield SarifResult(rule, level, f"{of}{text}", file, about=about)


def show_difference(out: Console, found: Difference, *, everything: bool = False) -> None:
    """Print what changes by guardrail, assignment and exemption, and then by role of the account."""
    out.print(Text(f"{found.old.name} -> {found.new.name}", "bold"))
    out.print(f"digest {found.old.digest[:DIGEST]} -> {found.new.digest[:DIGEST]}")
    _show_lines(out, found.change.lines())
    if not found.change.changes_access:
        out.print(found.change.summary)
    if found.in_account:
        _show_account(out, found.in_account, everything=everything)


def _show_lines(out: Console, lines: Iterable[str], by: int = 0) -> None:
    for line in lines:
        text = line.lstrip()
        out.print(indented(Text(text, _COLORS.get(text[:1], "")), by + len(line) - len(text)))


def _show_account(out: Console, found: AccountChange, *, everything: bool) -> None:
    out.print(heading(f"account {found.account}, {', '.join(found.regions)}"))
    if not found.roles:
        out.print(indented("no role of this account gains or loses anything", 2))
    for role in found.roles if everything else found.roles[:MOST_CHANGED]:
        out.print(indented(Text.assemble((role.role, "bold"), f"  {few(role.subjects)}"), 2))
        _show_role_change(out, role)
    if len(found.roles) > MOST_CHANGED and not everything:
        out.print(indented(f"and {counted(len(found.roles) - MOST_CHANGED, 'more role')}: --all shows them", 2))
    show_unread(out, found.unread)


def _show_role_change(out: Console, role: RoleChange) -> None:
    before, after = (
        "exempt" if exempt else ", ".join(names) or "no guardrail"
        for exempt, names in ((role.was_exempt, role.before), (role.is_exempt, role.guardrails))
    )
    if before != after:
        out.print(indented(f"{before} -> {after}", 4))
    _show_lines(out, role.access.lines(), by=4)
    if role.kept:
        names = ", ".join(role.kept)
        out.print(indented(f"{names} stays attached, and denies, until `rolewarden detach` detaches it", 4))
