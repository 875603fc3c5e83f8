"""`rolewarden report`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rolewarden_cli import console, options
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.files import need_writable, write_file
from rolewarden_cli.history import parsed_time
from rolewarden_cli.models import models
from rolewarden_cli.notes import note
from rolewarden_cli.options import Guardrails, ModelPatterns, WithoutActors
from rolewarden_cli.report import render
from rolewarden_cli.report.gather import gather
from rolewarden_cli.rules import DEFAULT_FILE


@of_an_account
def run_report(
    connection: Connection,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
    model: ModelPatterns = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="The beginning of the history: 7d or 90d ago, or a "
                                       "date such as 2026-11-25.")] = "90d",
    guardrails: Guardrails = DEFAULT_FILE,
    no_actors: WithoutActors = False,
) -> None:  # fmt: skip
    """Write one HTML file for an auditor: coverage, findings, access matrix, drift, policies.

    The page loads nothing from elsewhere. It has the results of `plan`, `access`, `history` and `status`. The command
    only reads, and it needs no deployed stack.

    Example: rolewarden report -o report.html --local
    """
    need_writable(out)
    rules, now = options.rules_in(guardrails), datetime.now(UTC)
    start, columns = parsed_time(since, now), models(connection, model or ())
    for line in columns.unlisted:
        note(line)
    with console.progress() as progress:
        found = gather(connection, rules, guardrails, columns, now, start, progress)
    if no_actors:
        found = found.without_actors()
    write_file(out, render(found))
