"""`rolewarden report`."""

from __future__ import annotations

from dataclasses import replace
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
from rolewarden_cli.report.snapshot import read_earlier
from rolewarden_cli.rules import DEFAULT_FILE


@of_an_account
def run_report(  # noqa: PLR0913, PLR0917 - an option each
    connection: Connection,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
    model: ModelPatterns = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="The beginning of the history: 7d or 90d ago, or a "
                                       "date such as 2026-11-25.")] = "90d",
    since_report: Annotated[Path | None, typer.Option("--since-report", metavar="FILE", help="An earlier report, to "
                                                      "show what has changed since then.")] = None,
    guardrails: Guardrails = DEFAULT_FILE,
    no_actors: WithoutActors = False,
    no_people: Annotated[bool, typer.Option("--without-people", help="Number user profiles instead of naming "
                                            "them.")] = False,
) -> None:  # fmt: skip
    """Write one HTML file for an auditor: people and the models that they can use, the rules, and the evidence.

    The page loads nothing from elsewhere. It answers twelve questions first, and has the results of `plan`, `access`,
    `history` and `status`. The command only reads, and it needs no deployed stack.

    Example: rolewarden report -o report.html --local
    """
    need_writable(out)
    rules, now = options.rules_in(guardrails), datetime.now(UTC)
    earlier = read_earlier(since_report) if since_report else None
    start, columns = parsed_time(since, now), models(connection, model or ())
    for line in columns.unlisted:
        note(line)
    with console.progress() as progress:
        found = gather(connection, rules, guardrails, columns, now, start, progress)
    if no_actors:
        found = found.without_actors()
    if no_people:
        found = found.without_people()
    if earlier:
        found = replace(found, comparison=earlier.compare(found))
    write_file(out, render(found))
