"""The command line: imports the module of a command, and prints each error as one line with exit code 1."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from inspect import cleandoc
from typing import Annotated, Any, cast

import typer
import typer.main
from rolewarden import __version__
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.verdicts import Reason
from typer.core import TyperGroup

from rolewarden_cli.commands import COMMANDS, ExitCode
from rolewarden_cli.lines import drop_output, print_document, print_fault, print_line, write_rest
from rolewarden_cli.notes import drop_notes, print_notes


@cache
def loaded(name: str) -> Any:
    """The command `name`, made from `run_NAME` in the module of that name; its help ends with its exit codes."""
    run = getattr(import_module(f"rolewarden_cli.commands.{name}"), f"run_{name}")
    row = COMMANDS[name]
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    paragraphs = filter(None, (cleandoc(run.__doc__), row.choices, row.exit_codes))
    alone.command(name, help="\n\n".join(paragraphs), short_help=row.summary)(run)
    return typer.main.get_command(alone)


class LoadedWhenUsed(Mapping[str, Any]):
    """The commands by name, each imported at its first use, which keeps `rolewarden --help` quick."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return loaded(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS


class CommandGroup(TyperGroup):
    """The command `rolewarden` and its list of commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = cast("Any", LoadedWhenUsed())

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's name
        """The names of the commands, in the order of the table."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's name
        """Write the list of commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the options, with each error as one line."""
        with _one_line(), _flushed():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with each error as one line."""
        with _one_line(), _flushed():
            return super().invoke(ctx)


@contextmanager
def _flushed() -> Iterator[None]:
    """Write the whole output before the block ends, because Python prints an error of its last write as a traceback."""
    try:
        yield
    except typer.Exit:
        write_rest()
        raise
    write_rest()


@contextmanager
def _one_line() -> Iterator[None]:
    """Print an error of the user, a refusal by AWS and Ctrl-C as one line, and exit with 1.

    Notes are printed only if the command has no error, so that an error is the only line on standard error.
    """
    try:
        yield
    except typer.Exit:
        print_notes()
        raise
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "rolewarden"
        line = f"{_uncapitalized(_plain(error.format_message())).rstrip('.')}: see `{path} --help`"
    except KeyboardInterrupt:
        line = "interrupted: run the command again"
    except Refused as refused:
        is_denied = refused.reason is Reason.ACCESS_DENIED
        action = "give your role this permission" if is_denied else "remove this cause, then run the command again"
        line = f"AWS refused a call: {refused}: {action}"
    except RetryLater as error:
        line = f"AWS did not complete a call: {error}: run the command again"
    except RolewardenError as error:
        line = str(error)
    except OSError as error:
        if error.filename:
            line = f"{error.filename}: cannot be used: {error.strerror}: check this file and its permissions"
        elif error.errno in _OF_OUTPUT:
            drop_output()
            line = f"cannot write the output: {error.strerror}: free space there, or write it to another place"
        else:
            raise
    else:
        print_notes()
        return
    drop_notes()
    print_line(f"rolewarden: {line}", stderr=True)
    raise typer.Exit(ExitCode.ERROR)


_OF_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""The errors of a disk to which the output goes. Typer ends a command whose reader has gone (EPIPE) without a line."""


_OF_LIBRARIES = (
    (re.compile(r"Value error, "), ""),
    (re.compile(r"Input should be a valid (integer|number).*"), "write a number"),
    (re.compile(r"Input should be (?=greater|less)"), "the number must be "),
    (re.compile(r"\. Did you mean (.+)\?$"), r" (did you mean \1?)"),
)
"""Patterns of Typer's texts and of those of Pydantic, which Typer uses for values, each with the text to print."""


def _plain(message: str) -> str:
    for text, plain in _OF_LIBRARIES:
        message = text.sub(plain, message)
    return message


def _uncapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]


app = typer.Typer(
    name="rolewarden",
    cls=CommandGroup,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"rolewarden {__version__}, for a stack of version {__version__}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option(  # noqa: ARG001 - its callback prints it
                                          "--version", help="Print the version, and that of the stack.", is_eager=True,
                                          callback=_print_version)] = False,
) -> None:  # fmt: skip
    """Keep required deny policies attached to every role that SageMaker Canvas uses.

    Begin with `rolewarden plan`: it reads an account and lists the missing policies. To try a command that uses an
    account on a local AWS, add --local.
    """
    if context.invoked_subcommand is None:
        print_document(context.get_help(), stderr=True)
        raise typer.Exit(ExitCode.ERROR)


def main() -> None:
    """Run the command."""
    sys.excepthook = print_fault
    app()


if __name__ == "__main__":
    main()
