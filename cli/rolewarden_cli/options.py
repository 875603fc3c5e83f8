"""The options that several commands share, and their effects: rules, a confirmation, an exit code.

The options that choose an account are the fields of `rolewarden_cli.connect.Where`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer
from rolewarden.clock import utc_today
from rolewarden.errors import RolewardenError
from rolewarden.guardrails import Rules
from rolewarden.guardrails_file import load
from rolewarden.plaintext import visible

from rolewarden_cli.commands import COMMANDS, ExitCode
from rolewarden_cli.formats import Format
from rolewarden_cli.lines import print_line
from rolewarden_cli.rules import DEFAULT_FILE

Guardrails = Annotated[Path, typer.Option("--guardrails", metavar="FILE", help="The guardrails.yaml with the rules.")]
ModelPatterns = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="PATTERN", help="Only models with this ID. `*` stands for any text, `?` for one "
                 "character. You can repeat this option."),
]  # fmt: skip
RulesFile = Annotated[Path, typer.Argument(metavar="FILE", help="A guardrails.yaml.")]


def _one_format(context: typer.Context, given: Any) -> Any:
    """Accept `--json` or `--format`. Raises UsageError for both."""
    if given and (context.params.get("as_json") or context.params.get("form")):
        raise UsageError("--json and --format are two formats: give one of them")
    return given


AsJson = Annotated[bool, typer.Option("--json", callback=_one_format, help="Print a JSON object instead of text.")]
WithoutActors = Annotated[
    bool, typer.Option("--without-actors", help="Leave out callers: their names, sessions, addresses and tools.")
]
All = Annotated[bool, typer.Option("--all", help="Print every entry of a long list.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Make the changes without asking.")]
InAllAccounts = Annotated[
    bool, typer.Option("--all-accounts", help="Read every account that the deployed stack covers, in its regions.")
]
MemberRoleName = Annotated[
    str,
    typer.Option("--member-role", metavar="NAME", help="With --all-accounts: the path and name of the role to assume "
                 "in each member account."),
]  # fmt: skip


def one_of(*known: Format, what: str) -> Any:
    """The option `--format` of a command that has these formats, for `what`."""

    def check(context: typer.Context, given: Format | None) -> Format | None:
        if given is not None and given not in known:
            names = " or ".join(known)
            raise UsageError(f"`{context.info_name}` has no format `{given}`: write {names}, or use --json")
        return cast("Format | None", _one_format(context, given))

    return typer.Option("--format", metavar="|".join(known), callback=check, help=f"Print {what} in this format.")


class UsageError(RolewardenError):
    """The options conflict, or the command cannot read a file that they name; the message has the correction."""


class NotAgreedError(RolewardenError):
    """The user did not confirm the changes, or the command could not ask; nothing was changed."""


def today() -> date:
    """The day in UTC, which decides whether an exemption has ended."""
    return utc_today()


NO_CONDITION = "none"
"""The value of `--fail-on` with which a command never exits with 2."""


def _named_conditions(context: typer.Context, given: list[str] | None) -> list[str] | None:
    """The conditions that `--fail-on` names. Raises UsageError if the command does not have one of them."""
    if not given:
        return None
    name = str(context.info_name)
    known = COMMANDS[name].conditions
    wanted = [part.strip() for text in given for part in text.split(",")]
    if unknown := [one for one in wanted if one not in known and one != NO_CONDITION]:
        choices = ", ".join([*known, NO_CONDITION])
        raise UsageError(f"`{name}` has no condition `{unknown[0]}` for --fail-on: write one or more of {choices}")
    if NO_CONDITION in wanted and len(set(wanted)) > 1:
        raise UsageError(f"--fail-on {NO_CONDITION} excludes every condition: write it alone")
    return wanted


FailOn = Annotated[
    list[str] | None,
    typer.Option("--fail-on", metavar="CONDITION", callback=_named_conditions, help="Exit with 2 only for these "
                 "conditions: names with commas, or `none`. You can repeat this option."),
]  # fmt: skip


def end(command: str, fail_on: Sequence[str] | None, found: Mapping[str, object]) -> NoReturn:
    """End the command: with OPEN if a condition holds that counts, otherwise with DONE.

    - `fail_on`: the conditions that count, or only NO_CONDITION; None for the defaults of the command.
    - `found`: for each condition of the command, whether it holds: anything that is true or false.
    """
    if found.keys() != COMMANDS[command].conditions.keys():
        raise ValueError(f"the result of `{command}` has other conditions than its row in the table")
    counting = COMMANDS[command].defaults if fail_on is None else fail_on
    is_open = any(found[name] for name in counting if name != NO_CONDITION)
    raise typer.Exit(ExitCode.OPEN if is_open else ExitCode.DONE)


def rules_in(path: Path) -> Rules:
    """The rules in a guardrails.yaml. Raises UsageError if the file is unreadable, and RulesError if it has errors."""
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist: write it with `rolewarden init`, or name yours with --guardrails"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}: name a readable file with --guardrails") from None
    return load(path, today=today())


def local_rules(path: Path) -> Rules | None:
    """As `rules_in`; None if the user named no file and the default file does not exist."""
    return None if path == DEFAULT_FILE and not path.exists() else rules_in(path)


def ask_agreement(account: str, as_json: bool) -> None:
    """Ask the user to confirm the changes. Raises NotAgreedError if the answer is no, or if the command cannot ask."""
    if as_json or not is_a_terminal():
        raise NotAgreedError(
            "cannot ask with --json or without a terminal: read the list of changes without --json, then give --yes"
        )
    try:
        if agrees(f"Make these changes in account {account}?"):
            return
    except typer.Abort:
        print_line(stderr=True)
    raise NotAgreedError("nothing was changed: to make the changes, run the command again and answer `y`")


def agrees(question: str) -> bool:
    """Ask the user a question on the terminal, and give whether the answer is yes."""
    return typer.confirm(visible(question), default=False)


def answer(question: str, default: str) -> str:
    """Ask the user for a text on the terminal. An empty answer means `default`."""
    return str(typer.prompt(visible(question), default=default))


def is_a_terminal() -> bool:
    """Whether standard input is a terminal, where a user can answer."""
    return sys.stdin.isatty()


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether the user pressed Ctrl-C. A second Ctrl-C ends the command at once."""
    pressed = False

    def press(number: int, _frame: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(number, signal.default_int_handler)
        print_line("rolewarden: stopping after this role", stderr=True)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
