"""Notes: lines on standard error about a command that has no error.

A note waits until the command ends. If the command ends with an error, the error is the only line on standard error.
"""

from __future__ import annotations

from typing import Final

from rolewarden_cli.lines import print_line

_NOTES: Final[list[str]] = []


def note(line: str) -> None:
    """Keep a line for the end of the command."""
    _NOTES.append(line)


def print_notes() -> None:
    """Print the notes on standard error, each once, and forget them."""
    for line in dict.fromkeys(_NOTES):
        print_line(f"rolewarden: {line}", stderr=True)
    drop_notes()


def drop_notes() -> None:
    """Forget the notes."""
    _NOTES.clear()
