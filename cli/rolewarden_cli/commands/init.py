"""`rolewarden init`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rolewarden.guardrails import Mode

from rolewarden_cli import console, options
from rolewarden_cli.connect import Connection, Where, of_an_account_if
from rolewarden_cli.console import counted
from rolewarden_cli.init import no_rules, read_account, start_of_history, starting_file, write_new_file, write_stack
from rolewarden_cli.lines import print_line
from rolewarden_cli.options import UsageError
from rolewarden_cli.rules import DEFAULT_FILE
from rolewarden_cli.starter import SCHEMA, Choices, FoundAccount, StartingFile, Usable, UsableAnswers

CALL_DAYS = 30
"""The days of CloudTrail's event history that the command reads. CloudTrail keeps 90."""

_Choice = TypeVar("_Choice", bound=StrEnum)


def _wants_an_account(_where: Where, given: dict[str, Any]) -> bool:
    return not given["without_account"]


@of_an_account_if(_wants_an_account, hint="; `rolewarden init --without-account` needs no account")
def run_init(  # noqa: PLR0913, PLR0917 - each parameter is an option
    connection: Connection | None,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The guardrails.yaml to write.")] = DEFAULT_FILE,
    mode: Annotated[Mode | None, typer.Option(metavar="MODE", help="`observe` only reports, and `enforce` changes "
                                              "roles. Default: `observe`.")] = None,
    bedrock: Annotated[Usable | None, typer.Option(metavar="MODELS", help="The Bedrock models that stay usable: "
                                                   "`used`, `none` or `any`. Default: `used`.")] = None,
    jumpstart: Annotated[Usable | None, typer.Option(metavar="MODELS", help="The JumpStart models that stay usable: "
                                                     "`used`, `none` or `any`. Default: `used`.")] = None,
    assistants: Annotated[UsableAnswers | None, typer.Option(metavar="ANSWERS", help="Whether the answers of AWS's "
                                                          "assistants stay usable: `none` or `any`. Default: "
                                                          "`none`.")] = None,
    days: Annotated[int | None, typer.Option(metavar="DAYS", min=0, max=90, help="The days of CloudTrail's event "
                                             "history to read for models in use; 0 for none. Default: 30.")] = None,
    with_stack: Annotated[bool | None, typer.Option("--with-stack/--without-stack", help="Also write the files that "
                                                    "`sam build` and `sam deploy` need, into this folder.")] = None,
    without_account: Annotated[bool, typer.Option("--without-account", help="Read no account: write a file to start "
                                                  "from.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take the default of each question that has no "
                                      "option.")] = False,
) -> None:  # fmt: skip
    """Write a guardrails.yaml for an account: its domains and roles, and the models that they used.

    On a terminal, the command asks a question for each option that you do not give. Without a terminal, or with --yes,
    it takes the defaults. It replaces a file only with --force or after your answer. The file is in observe mode, so a
    stack with it only reports.

    Example: rolewarden init --local --yes

    Your role needs the permissions of `rolewarden plan`, and cloudtrail:LookupEvents.
    """
    del without_account  # `of_an_account_if` has used it
    ask = options.is_a_terminal() and not yes
    force = force or (ask and file.exists() and options.agrees(f"{file} exists. Replace it?"))
    if file.exists() and not force:
        raise UsageError(f"{file} exists: give --force to replace it, or name another file")
    found = None
    if connection:
        days = _number("Read how many days of the event history for models in use? (0 to 90)", days, ask=ask)
        today = options.today()
        with console.progress() as progress:
            found = read_account(connection, no_rules(today), start_of_history(days), progress)
        print_found(console.console(), found)
    answers = _answered(Choices(), mode, bedrock, jumpstart, assistants, found=found, ask=ask)
    if not answers.restrict:
        raise UsageError("these answers deny nothing: choose `used` or `none` for one of them")
    if with_stack is None:
        question = "Also write the files that `sam build` and `sam deploy` need, into this folder?"
        with_stack = ask and options.agrees(question)
    numbers = write_stack(Path(), replaces=force) if with_stack else 0
    has_schema = (file.parent / SCHEMA).is_file()
    start = starting_file(answers, found, options.today(), has_schema=has_schema)
    write_new_file(file, start.text, replaces=force)
    print_written(console.console(), file, start, numbers)


def _answered(
    start: Choices,
    mode: Mode | None,
    bedrock: Usable | None,
    jumpstart: Usable | None,
    assistants: UsableAnswers | None,
    *,
    found: FoundAccount | None,
    ask: bool,
) -> Choices:
    """The answers: those given as options, those of the user if `ask` is true, and otherwise the defaults."""
    models = [*Usable] if found else [Usable.NONE, Usable.ANY]
    if not found and Usable.USED in {bedrock, jumpstart}:
        raise UsageError("`used` needs an account: leave out --without-account, or choose `none` or `any`")
    first = models[0]
    return Choices(
        _chosen("Which mode? `observe` only reports, `enforce` changes roles.", mode, [*Mode], start.mode, ask=ask),
        _chosen("Which Bedrock models stay usable?", bedrock, models, first, ask=ask),
        _chosen("Which JumpStart models stay usable?", jumpstart, models, first, ask=ask),
        _chosen("Do answers of AWS's assistants stay usable?", assistants, [*UsableAnswers], start.assistants, ask=ask),
    )


def _chosen(
    question: str, given: _Choice | None, choices: Sequence[_Choice], default: _Choice, *, ask: bool
) -> _Choice:
    if given is not None:
        return given
    words = {choice.value: choice for choice in choices}
    while ask:
        answer = options.answer(f"{question} ({', '.join(words)})", default.value)
        if answer in words:
            return words[answer]
        print_line(f"`{answer}` is no answer: write one of {', '.join(words)}", stderr=True)
    return default


def _number(question: str, given: int | None, *, ask: bool) -> int:
    if given is not None:
        return given
    while ask:
        answer = options.answer(question, str(CALL_DAYS))
        if re.fullmatch(r"[0-9]{1,2}", answer) and int(answer) <= 90:
            return int(answer)
        print_line(f"`{answer}` is no answer: write a number from 0 to 90", stderr=True)
    return CALL_DAYS


def print_found(out: Console, found: FoundAccount) -> None:
    """Print the domains and the models that their roles used."""
    out.print(f"account {found.account}, {', '.join(found.regions)}")
    for group in found.groups:
        names = ", ".join(domain.name or domain.id for domain in group.domains)
        used = len(group.bedrock) + len(group.jumpstart)
        out.print(f"  domain {names}: {counted(len(group.roles), 'role')}, {counted(used, 'model')} in use")
    if not found.groups:
        out.print("  no SageMaker domain")
    for line in found.unread:
        out.print(f"  not read: {line}")


def print_written(out: Console, file: Path, start: StartingFile, stack_files: int) -> None:
    """Print the files that were written, and the commands to run next."""
    number = 1 + len(start.groups)
    out.print(f"wrote {file}: {counted(number, 'guardrail')} in {start.answers.mode.value} mode")
    if start.by_provider:
        out.print("The single models need too many policies, so the lists have every model of their providers.")
    named = "" if file == DEFAULT_FILE else f" {file}"
    option = "" if file == DEFAULT_FILE else f" --guardrails {file}"
    out.print(f"`rolewarden check{named}` checks it, and `rolewarden plan{option}` shows its effect")
    if stack_files:
        out.print(f"wrote {counted(stack_files, 'file')} of the stack: `sam build && sam deploy` deploys them")
