"""`rolewarden check`."""

from __future__ import annotations

from rich.console import Console

from rolewarden_cli.answers import print_json
from rolewarden_cli.console import counted, show_problems
from rolewarden_cli.options import AsJson, RulesFile, end
from rolewarden_cli.rules import DEFAULT_FILE, CheckedFile


def run_check(
    file: RulesFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with guardrails.yaml, and what it costs a role.

    One line each for errors and warnings: where it is, what is wrong, and what to write instead.

    Example: rolewarden check
    """
    found = CheckedFile.at(file)
    if as_json:
        print_json(found)
    else:
        console = Console(highlight=False, soft_wrap=True)
        show_problems(console, found.problems())
        for line in found.costs():
            console.print(line)
        errors, warnings = len(found.checked.errors), len(found.checked.warnings)
        console.print(f"{file}: {counted(errors, 'error')}, {counted(warnings, 'warning')}")
    end(is_settled=not found.checked.errors)
