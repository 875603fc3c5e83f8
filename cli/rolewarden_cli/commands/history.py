"""`rolewarden history`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from rolewarden.own_events import RoleContested, RulesChanged

from rolewarden_cli import console
from rolewarden_cli.actors import without_actors
from rolewarden_cli.answers import print_json
from rolewarden_cli.connect import Connection, of_an_account
from rolewarden_cli.console import DIGEST, VERDICT_COLORS, Labelled, indented, time_text
from rolewarden_cli.history import DRILLS, Entries, Entry, by_account, need_role, parsed_time, read_history
from rolewarden_cli.options import AsJson, InAllAccounts, WithoutActors
from rolewarden_cli.organization import organized

_TIME_WIDTH = 22
"""Number of columns for the time of an entry. Its other lines begin after them."""


@of_an_account
def run_history(  # noqa: PLR0913, PLR0917 - each parameter is an option
    connection: Connection,
    role: Annotated[str, typer.Option(metavar="ROLE", help="Only entries about this role.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Only entries since 90m, 2h or 7d ago, or since a "
                                       "date such as 2026-11-25.")] = "",
    actor: Annotated[str, typer.Option(metavar="CALLER", help="Only entries that this caller caused: a part "
                                       "of the ARN, or a pattern with `*`.")] = "",
    drills: Annotated[bool, typer.Option("--drills", help="Also the entries about drills, several each hour.")] = False,
    no_actors: WithoutActors = False,
    all_accounts: InAllAccounts = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the remediations and findings of the deployed stack, newest first.

    The entries are those of your account, or of all accounts that the stack covers with --all-accounts.

    Example: rolewarden history --since 7d --actor mallory --local
    """
    start = parsed_time(since, datetime.now(UTC)) if since else None
    if all_accounts:
        connection = organized(connection)
    found = read_history(connection, role=role, since=start, actor=actor, every=all_accounts)
    if role and not found and not all_accounts:
        need_role(connection, role)
    found = found if drills else tuple(entry for entry in found if entry.kind not in DRILLS)
    if no_actors:
        found = tuple(map(without_actors, found))
    if as_json:
        print_json(by_account(connection, found) if all_accounts else Entries(found))
    else:
        show_history(console.console(), found, with_account=all_accounts)


def show_history(out: Console, entries: Sequence[Entry], *, with_account: bool = False) -> None:
    """Print the time, the role and the verdicts of each entry, then its policies, its reason and its cause."""
    if not entries:
        out.print("the history has no such entry")
    for entry in entries:
        if entry.kind == RulesChanged.detail_type:
            _show_rules(out, entry)
            continue
        account = f"{entry.account}  " if with_account else ""
        what = Text.assemble(account, (entry.about, "bold"), "  ", _kind(entry))
        out.print(Labelled(time_text(entry.at), what, _TIME_WIDTH))
        for text in (_policies(entry), Text(entry.reason, "red"), Text(entry.caused_by)):
            if text:
                out.print(indented(text, _TIME_WIDTH))


def _show_rules(out: Console, entry: Entry) -> None:
    """Print the summary of a rule change, its caller, and the digests of the rules. `--json` has its lines."""
    what = Text.assemble(("rules", "bold"), f" changed: {entry.message}")
    out.print(Labelled(time_text(entry.at), what, _TIME_WIDTH))
    digests = f"digest {entry.earlier_digest[:DIGEST] or 'none'} -> {entry.digest[:DIGEST]}"
    doubt = str(entry.row.get("unverified", ""))
    for text in (entry.caused_by, digests, f"not verified: {doubt}" if doubt else ""):
        if text:
            out.print(indented(text, _TIME_WIDTH))


def _kind(entry: Entry) -> Text:
    """The verdicts before and after, or the kind of an entry without verdicts."""
    before = str(entry.row.get("before", ""))
    if not before:
        return Text(f"{entry.kind.lower()} {entry.remediation}".strip(), VERDICT_COLORS.get(entry.verdict, ""))
    text = Text(before, VERDICT_COLORS.get(before, ""))
    if entry.verdict != before or entry.remediation not in {"", "none"}:
        text.append(" > ").append(entry.verdict, VERDICT_COLORS.get(entry.verdict, ""))
    return text


def _policies(entry: Entry) -> Text:
    if not entry.policies or entry.kind == RoleContested.detail_type:
        return Text()
    signs = {"attached": "+", "detached": "-", "missing": "lacks"}
    sign = next((found for name, found in signs.items() if entry.row.get(name)), "wrote")
    return Text(f"{sign} {', '.join(entry.policies)}")
