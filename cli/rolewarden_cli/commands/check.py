"""`rolewarden check`."""

from __future__ import annotations

from rolewarden_cli import console
from rolewarden_cli.answers import print_json
from rolewarden_cli.console import counted, show_problems
from rolewarden_cli.options import AsJson, FailOn, RulesFile, end
from rolewarden_cli.rules import DEFAULT_FILE, CheckedFile
from rolewarden_cli.shipped import here_or_shipped

MOST_SHOWN = 200
"""The number of problems that the command prints as text. More lines take longer to print than to find."""


def run_check(
    file: RulesFile = DEFAULT_FILE,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Check guardrails.yaml, and show how much of each quota it uses.

    Prints one line for each error and warning, with the place, the fault and the correction. The quotas are the
    characters of a policy and the managed policies of a role. It also prints the access paths that an option closes.

    Example: rolewarden check
    """
    file = here_or_shipped(file)
    found = CheckedFile.at(file)
    if as_json:
        print_json(found)
    else:
        out = console.console(soft_wrap=True)
        problems = found.problems()
        show_problems(out, problems[:MOST_SHOWN])
        if len(problems) > MOST_SHOWN:
            out.print(f"{len(problems) - MOST_SHOWN:,} more problems: correct these first, or use --json to list all")
        for line in found.costs():
            out.print(line)
        errors, warnings = len(found.checked.errors), len(found.checked.warnings)
        out.print(f"{file}: {counted(errors, 'error')}, {counted(warnings, 'warning')}")
    end("check", fail_on, {"errors": found.checked.errors, "warnings": found.checked.warnings})
