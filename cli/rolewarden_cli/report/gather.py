"""Collection of a `Report`: the results of plan, access, history and status for one account."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from rolewarden import __version__
from rolewarden.guardrails import Rules
from rolewarden.policies import compile_rules

from rolewarden_cli import access, history, inventory, models, plan
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Progress, ignore_progress
from rolewarden_cli.report.model import Provenance, Report
from rolewarden_cli.status import read_status


def gather(
    connection: Connection,
    rules: Rules,
    guardrails: Path,
    wanted: models.Models,
    now: datetime,
    since: datetime,
    progress: Progress = ignore_progress,
) -> Report:
    """Collect the report of an account, with its history from `since` on. This only reads.

    `rules` are the rules in the file `guardrails`. Raises Refused, RetryLater and RulesError.
    """
    taken = inventory.take(connection, rules, progress)
    entries = history.read_history(connection, since=since) if connection.tables else ()
    deployed = connection.tables is not None
    return Report(
        Provenance(
            caller=connection.caller,
            place=connection.place,
            version=__version__,
            guardrails_file=str(guardrails),
            digest=hashlib.sha256(guardrails.read_bytes()).hexdigest(),
            history_since=since,
        ),
        plan.compared(connection, taken, rules, now.date()),
        access.matrix(connection.calls, taken, wanted, progress, rules),
        tuple(entry for entry in entries if entry.kind not in history.NO_DRIFT),
        compile_rules(rules, connection.aws.partition),
        read_status(connection, now) if deployed else None,
    )
