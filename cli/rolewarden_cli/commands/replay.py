"""`rolewarden replay`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rolewarden_cli import console
from rolewarden_cli.answers import print_json
from rolewarden_cli.console import VERDICT_COLORS, counted, heading
from rolewarden_cli.lines import print_line
from rolewarden_cli.options import AsJson, FailOn, end
from rolewarden_cli.replay import Replayed, replay_files


def run_replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Events of EventBridge or records of CloudTrail "
                                                "in JSON or CSV: a file, a folder, or `-`.")],
    alert: Annotated[bool, typer.Option("--alert", help="Print the whole message of each alert, also of alerts about "
                                        "the results of the functions.")] = False,
    why: Annotated[bool, typer.Option("--why", help="Name the rules that do not match, and the fields that "
                                      "differ.")] = False,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Replay events through the template's rules and functions on a seeded local account.

    The command calls no AWS service and needs no AWS account. Each file starts from the same seeded account. The
    account and the region of an event become those of this account, and names stay as they are.

    Example: rolewarden replay events/detach_role_policy.json
    """
    out = console.console()
    done: list[Replayed] = []
    # An interrupted replay ends here, and not when its generator is collected: it changes the environment.
    with closing(replay_files(files, messages=alert, mismatches=why)) as events:
        for replayed in events:
            if done and not as_json:
                out.print()
            done.append(replayed)
            if not as_json:
                show_replayed(out, replayed)
    if as_json:
        print_json({"events": done})
    else:
        _sum_up(out, done)
    drifted = any(replayed.left_drifted for replayed in done)
    unmatched = any(replayed.rule is None for replayed in done)
    end("replay", fail_on, {"drifted": drifted, "unmatched": unmatched})


def show_replayed(out: Console, replayed: Replayed) -> None:
    """Print the result of one event."""
    out.print(Text.assemble((replayed.file, "bold"), "  ", replayed.event))
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(width=11, style="bright_black")
    rows.add_column(overflow="fold")
    rows.add_row("  actor", replayed.actor)
    if replayed.rule is None:
        rows.add_row("  rule", f"none matches: {replayed.reason}")
    else:
        rows.add_row("  rule", f"{replayed.rule} > {replayed.function}")
        named = ", ".join(f"{key} {value}" for key, value in replayed.request.items())
        if replayed.reason:
            rows.add_row("  ignored", replayed.reason)
        elif named:
            rows.add_row("  evaluates", named)
    for outcome in replayed.outcomes:
        rows.add_row("  role", _outcome(outcome))
    for policy, change in replayed.policies.items():
        rows.add_row("  policy", f"{policy}  {change}")
    if replayed.alert:
        rows.add_row("  alert", Text(replayed.alert, "bold"))
    for rule, fields in replayed.mismatches.items():
        rows.add_row("  no match", f"{rule}: {'; '.join(fields)}")
    if replayed.rule is not None:
        counted = Counter(replayed.calls)
        calls = ", ".join(call if n == 1 else f"{n} x {call}" for call, n in counted.items())
        rows.add_row("  calls", f"{len(replayed.calls)}: {calls}" if calls else "none")
    out.print(rows)
    if replayed.message:
        out.print(heading(replayed.alert))
        # No line of the message begins at the margin, where the lines of the program begin.
        for line in replayed.message.rstrip().split("\n"):
            print_line(f"  {line}".rstrip())


def _outcome(outcome: Mapping[str, Any]) -> Text:
    before, after = str(outcome["before"]), str(outcome["verdict"])
    text = Text.assemble((str(outcome["role"]), "bold"), "  ", (before, VERDICT_COLORS[before]))
    if after != before or outcome["remediation"] != "none":
        text.append(" > ").append(after, VERDICT_COLORS[after])
    attached = outcome.get("attached")
    if isinstance(attached, list):
        text.append(f"  attached {', '.join(attached)}")
    if outcome["remediation"] not in {"none", "attached"}:
        text.append(f"  {outcome['remediation']}")
    for key in ("reason", "message"):
        if outcome.get(key):
            text.append(f"  ({outcome[key]})")
    return text


def _sum_up(out: Console, done: list[Replayed]) -> None:
    # An event has a result for each rule that it matches, and one for each alert.
    events = {replayed.number for replayed in done}
    matched = len({replayed.number for replayed in done if replayed.rule is not None})
    remediated = sum(
        outcome["remediation"] in {"attached", "bounded"} for replayed in done for outcome in replayed.outcomes
    )
    left = [role for replayed in done for role in replayed.left_drifted]
    out.print()
    out.print(
        f"{counted(len(events), 'event')}, {matched} matched a rule, {counted(remediated, 'role')} remediated, "
        + (f"left drifted: {', '.join(left)}" if left else "none left drifted")
    )
