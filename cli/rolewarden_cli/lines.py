"""Lines on standard output and standard error, for output that needs no console of `rolewarden_cli.console`.

This module and the console are the only places that write. Both make every text visible (`rolewarden.plaintext`), so a
name or a tag from AWS cannot add a line, move other text or control the terminal.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from types import TracebackType

from rolewarden.plaintext import visible


def print_line(text: object = "", *, stderr: bool = False) -> None:
    """Print one line."""
    print(visible(str(text)), file=sys.stderr if stderr else sys.stdout)


def print_document(text: str, *, stderr: bool = False) -> None:
    """Print a text that has line breaks of its own, such as JSON with indentation."""
    for line in text.split("\n"):
        print_line(line, stderr=stderr)


def write_rest() -> None:
    """Write what standard output still holds."""
    if sys.stdout:  # It is None if the shell has closed it (`>&-`).
        sys.stdout.flush()


def drop_output() -> None:
    """Make Python drop what it could not write. Otherwise it tries again when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that the command does not expect, in place of `sys.excepthook`."""
    print_document("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), stderr=True)
