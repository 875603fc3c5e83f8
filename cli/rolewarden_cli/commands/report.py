"""`rolewarden report`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rolewarden_cli import console, options
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.history import moment
from rolewarden_cli.models import models
from rolewarden_cli.options import Guardrails, ModelPatterns
from rolewarden_cli.report import render
from rolewarden_cli.report.gather import gather
from rolewarden_cli.rules import DEFAULT_FILE, UnwritableError


@of_an_account
def run_report(
    connection: Connection,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write it.")],
    model: ModelPatterns = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back the history goes: 7d, 90d, or a day as "
                                       "2026-11-25.")] = "90d",
    guardrails: Guardrails = DEFAULT_FILE,
) -> None:  # fmt: skip
    """Write one HTML file for an auditor: coverage, findings, access matrix, drift, policies. It loads nothing.

    Reads only; nothing need be deployed. Shows what `plan`, `access`, `history` and `status` say.

    Example: rolewarden report -o report.html --local
    """
    rules, now = options.rules_in(guardrails), datetime.now(UTC)
    start, columns = moment(since, now), models(connection, model or ())
    console.warn(columns.unlisted)
    with console.progress() as progress:
        found = gather(connection, rules, guardrails, columns, now, start, progress)
    try:
        out.write_text(render(found), encoding="utf-8")
    except OSError as error:
        raise UnwritableError(f"{out}: cannot be written: {error.strerror}: give another file with --out") from None
    print(out)
