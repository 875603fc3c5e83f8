"""The options that several commands share, and what they stand for: rules, an agreement, an exit code.

The options that say which account are the fields of `rolewarden_cli.connect.Where`.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rolewarden.clock import utc_today
from rolewarden.errors import RolewardenError
from rolewarden.guardrails import Rules, load

from rolewarden_cli.commands import ExitCode

Guardrails = Annotated[Path, typer.Option("--guardrails", metavar="FILE", help="The guardrails.yaml to go by.")]
ModelPatterns = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="PATTERN", help="Only models of this id; `*` and `?` stand for any text. May be "
                 "given again."),
]  # fmt: skip
RulesFile = Annotated[Path, typer.Argument(metavar="FILE", help="A guardrails.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object instead of text.")]
All = Annotated[bool, typer.Option("--all", help="Leave nothing out.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class UsageError(RolewardenError):
    """The options do not fit together, or a file that they name cannot be read; the message says what to give."""


class NotAgreedError(RolewardenError):
    """The user did not confirm the changes, or no terminal could ask, so nothing was changed."""


def today() -> date:
    """The day in UTC, which decides the exemptions that have ended."""
    return utc_today()


def end(*, is_settled: bool) -> NoReturn:
    """End the command with the exit code of its result."""
    raise typer.Exit(ExitCode.DONE if is_settled else ExitCode.OPEN)


def rules_in(path: Path) -> Rules:
    """The rules in a guardrails.yaml. Raises UsageError if it cannot be read, and RulesError if it has errors."""
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise UsageError(f"there is no {path} here: name your guardrails.yaml with --guardrails") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}: name a readable file with --guardrails") from None
    return load(path, today=today())


def ask_agreement(account: str, as_json: bool) -> None:
    """Ask whether to go on. Raises NotAgreedError if the answer is no, or no terminal can ask."""
    if as_json or not is_a_terminal():
        raise NotAgreedError("no terminal to ask in: read `rolewarden plan`, then give --yes")
    try:
        if typer.confirm(f"Do it in account {account}?"):
            return
    except typer.Abort:
        print(file=sys.stderr)
    raise NotAgreedError("nothing was changed: run it again and answer `y` to go on")


def is_a_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()
