"""The generated parts of the pages about the command line: commands, options and exit codes.

This module reads the command tree that Typer builds, so that the pages cannot differ from `--help`.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from rolewarden_cli.commands import COMMANDS
from rolewarden_cli.main import app
from typer.main import get_command

SHARED_BY = 5
"""An option that at least this many commands share has its row in a table of shared options."""


class Command(NamedTuple):
    """A command with its full name, for example `rolewarden plan`. `parameters` are its arguments and options."""

    name: str
    help: str
    parameters: tuple[Any, ...]

    def paragraphs(self) -> Iterator[str]:
        """The paragraphs of the help text, each on one line."""
        yield from (" ".join(part.split()) for part in self.help.split("\n\n"))


def commands() -> list[Command]:
    """Every command, in the order of `rolewarden --help`. A group of commands has no entry of its own."""
    return list(_below(get_command(app), "rolewarden"))


def _below(command: Any, name: str) -> Iterator[Command]:
    if not hasattr(command, "commands"):
        shown = (parameter for parameter in command.params if not getattr(parameter, "hidden", False))
        yield Command(name, inspect.cleandoc(command.help or ""), tuple(shown))
        return
    for part in command.list_commands(None):
        if not command.commands[part].hidden:
            yield from _below(command.commands[part], f"{name} {part}")


def _is_argument(parameter: Any) -> bool:
    return not any(option.startswith("-") for option in parameter.opts)


def _row(parameter: Any) -> str:
    metavar = parameter.metavar or ("" if getattr(parameter, "is_flag", False) else parameter.name.upper())
    if _is_argument(parameter):
        written = metavar
    else:
        names = ", ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=len))
        written = f"{names} {metavar}".strip()
    return f"| `{written}` | {_text(parameter.help or '')}{_default(parameter)} |"


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or isinstance(default, bool) or callable(default) or default in ("", (), []):
        return ""
    return f" Default: `{default}`."


def _text(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


def shared_options() -> str:
    """The table of options that many commands have."""
    count = Counter(_row(parameter) for command in commands() for parameter in command.parameters)
    rows = [row for row, times in count.items() if times >= SHARED_BY]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def command_sections() -> str:
    """A section for each command: its help, its own arguments and options, and whether it has the shared options."""
    count = Counter(_row(parameter) for command in commands() for parameter in command.parameters)
    sections = []
    for command in commands():
        lines = [f"## {command.name}", ""]
        for paragraph in command.paragraphs():
            if paragraph.startswith("Example:"):
                lines += ["```sh", paragraph.removeprefix("Example:").strip(), "```", ""]
            elif not paragraph.startswith(("Exit code:", "Conditions:")):
                lines += [_text(paragraph), ""]
        rows = [_row(parameter) for parameter in command.parameters]
        own = [row for row in rows if count[row] < SHARED_BY]
        if own:
            lines += ["| argument or option | meaning |", "|---|---|", *own, ""]
        if shared := [row.split("`")[1].split()[0] for row in rows if count[row] >= SHARED_BY]:
            lines += [f"[Shared options](#shared-options): {', '.join(f'`{name}`' for name in shared)}.", ""]
        sections.append("\n".join(lines).rstrip())
    return "\n\n".join(sections)


def exit_codes() -> str:
    """The table of the exit codes that the help of each command states, for example `0 done; 1 an error.`."""
    rows = ["| command | 0 | 2 | 1 |", "|---|---|---|---|"]
    for command in commands():
        [stated] = [part for part in command.paragraphs() if part.startswith("Exit code:")]
        codes = dict(re.findall(r"(\d) (.+?)(?:; |\.$)", stated))
        cells = " | ".join(_text(codes.get(code, "never")) for code in ("0", "2", "1"))
        rows.append(f"| [`{command.name}`](cli.md#{command.name.replace(' ', '-')}) | {cells} |")
    return "\n".join(rows)


def conditions() -> str:
    """The table of the conditions that `--fail-on` can name."""
    rows = ["| command | condition | meaning | counts without `--fail-on` |", "|---|---|---|---|"]
    for name, command in COMMANDS.items():
        for condition, row in command.conditions.items():
            rows.append(f"| `{name}` | `{condition}` | {row.meaning} | {'yes' if row.is_default else 'no'} |")
    return "\n".join(rows)
