"""`rolewarden check`."""

from __future__ import annotations

from typing import Annotated

from rolewarden_cli import console
from rolewarden_cli.answers import print_json
from rolewarden_cli.console import counted, show_problems
from rolewarden_cli.formats import Format
from rolewarden_cli.lines import print_document
from rolewarden_cli.options import AsJson, FailOn, RulesFile, end, one_of
from rolewarden_cli.rules import DEFAULT_FILE, CheckedFile
from rolewarden_cli.sarif import SarifLevel, SarifResult, sarif_text
from rolewarden_cli.shipped import here_or_shipped

MOST_SHOWN = 200
"""The number of problems that the command prints as text. More lines take longer to print than to find."""


def run_check(
    file: RulesFile = DEFAULT_FILE,
    fail_on: FailOn = None,
    as_json: AsJson = False,
    form: Annotated[Format | None, one_of(Format.SARIF, what="the errors and warnings")] = None,
) -> None:
    """Check guardrails.yaml, and show how much of each quota it uses.

    The command prints one line for each error and warning, with the place, the fault and the correction. The quotas are
    the characters of a policy and the managed policies of a role. It also prints the access paths that stay open and
    that an option closes.

    Example: rolewarden check
    """
    file = here_or_shipped(file)
    found = CheckedFile.at(file)
    if form:
        levels = {"error": SarifLevel.ERROR, "warning": SarifLevel.WARNING}
        results = (
            SarifResult(f"check/{kind}", levels[kind], one.text, file, one.line)
            for kind, one in found.ranked_problems()
        )
        print_document(sarif_text(results))
    elif as_json:
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
