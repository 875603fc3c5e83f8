"""`rolewarden compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rolewarden_cli import console
from rolewarden_cli.answers import print_json
from rolewarden_cli.commands import ExitCode
from rolewarden_cli.console import show_problems
from rolewarden_cli.lines import print_document, print_line
from rolewarden_cli.options import AsJson, RulesFile
from rolewarden_cli.rules import DEFAULT_FILE, CheckedFile, readable, write
from rolewarden_cli.shipped import here_or_shipped


def run_compile(
    file: RulesFile = DEFAULT_FILE,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write each policy to a file there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the IAM policies that guardrails.yaml compiles to.

    Example: rolewarden compile --out policies
    """
    found = CheckedFile.at(here_or_shipped(file))
    show_problems(console.console(stderr=True, soft_wrap=True), found.problems())
    if found.checked.errors:
        raise typer.Exit(ExitCode.ERROR)
    policies = found.policies
    written = write(policies, out) if out else []
    if as_json:
        print_json({"policies": {policy.name: policy.document for policy in policies}})
    elif out:
        for path in written:
            print_line(path)
    else:
        for policy in policies:
            print_line(policy.name)
            print_document(readable(policy))
