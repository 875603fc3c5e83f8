"""The command line: arguments in, lines out; what it does lives in the modules beside it and in `rolewarden`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rolewarden import __version__
from rolewarden.errors import RolewardenError
from rolewarden.own_events import SweepRequested
from rolewarden.work import DOCTOR
from typer.core import TyperGroup

from rolewarden_cli import options, rules
from rolewarden_cli.connect import Connection
from rolewarden_cli.console import VERDICT_COLOURS
from rolewarden_cli.options import of_an_account
from rolewarden_cli.protect import BOUNDARY_NAME, Protection, text
from rolewarden_cli.replay import Replayed, UnusableInputError, replay_files
from rolewarden_cli.rules import UnwritableError

ORDER = ("plan", "enforce", "detach", "access", "explain", "report", "history", "status", "sweep", "doctor", "scp",
         "check", "compile", "replay")  # fmt: skip
"""The commands in the order of docs/reference/cli.md: first those of an account, then of a stack, then offline."""


class InOrder(TyperGroup):
    """Lists the commands in an order that helps."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="rolewarden",
    cls=InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(options.commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"rolewarden {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True,
                                          callback=_print_version)] = False,
) -> None:  # fmt: skip
    """Keep required deny policies on every role that SageMaker Canvas works with.

    Begin with `rolewarden plan`: it reads an account and says what is missing. Add --local to any command that asks
    an account to try it on a local AWS.
    """


EXIT_DRIFTED = 1
EXIT_ERRORS = 1
EXIT_MISSING = 1
EXIT_UNUSABLE = 2


@app.command(no_args_is_help=True, short_help="Replay events on a seeded local account.")
def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Events as EventBridge delivers them, "
                                                "CloudTrail records, or a trail's Records file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of text.")] = False,
) -> None:  # fmt: skip
    """Replay events through the template's rules and functions on a seeded local account.

    Nothing leaves this machine and no AWS account is needed. Each file starts from the same freshly seeded account.

    Example: rolewarden replay events/detach_role_policy.json

    Exit code: 0 nothing is left drifted, 1 something is, 2 a file cannot be used.
    """
    root = Path(__file__).resolve().parents[2]
    console = Console(highlight=False, soft_wrap=False)
    done: list[Replayed] = []
    try:
        for replayed in replay_files(files, root=root):
            if done and not as_json:
                console.print()
            done.append(replayed)
            if not as_json:
                _show(console, replayed)
    except UnusableInputError as error:
        _fail(str(error))
    if as_json:
        print(json.dumps([replayed.as_dict() for replayed in done], indent=2))
    else:
        _sum_up(console, done)
    raise typer.Exit(EXIT_DRIFTED if any(replayed.left_drifted for replayed in done) else 0)


RulesFile = Annotated[Path, typer.Argument(metavar="FILE", help="A guardrails.yaml.")]


@app.command()
def check(
    file: RulesFile = rules.DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of text.")] = False,
) -> None:
    """Say what is wrong with guardrails.yaml, and what it costs a role.

    One line each for errors and warnings: where it is, what is wrong, and what to write instead.

    Example: rolewarden check

    Exit code: 0 it can be deployed, 1 it has errors.
    """
    found = rules.CheckedFile.at(file)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        _show_problems(console, found)
        for line in found.costs():
            console.print(line)
        errors, warnings = len(found.checked.errors), len(found.checked.warnings)
        console.print(f"{file}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    raise typer.Exit(EXIT_ERRORS if found.checked.errors else 0)


@app.command(name="compile")
def compile_(
    file: RulesFile = rules.DEFAULT_FILE,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a file for each policy there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: policy name to document.")] = False,
) -> None:
    """Print the IAM policies that guardrails.yaml becomes.

    Example: rolewarden compile --out policies

    Exit code: 0 done, 1 the file has errors, 2 the documents cannot be written.
    """
    found = rules.CheckedFile.at(file)
    _show_problems(Console(highlight=False, soft_wrap=True, stderr=True), found)
    if found.checked.errors:
        raise typer.Exit(EXIT_ERRORS)
    policies = found.policies()
    if out:
        for path in rules.write(policies, out):
            print(path)
    elif as_json:
        print(json.dumps({policy.name: policy.document for policy in policies}, indent=2))
    else:
        for policy in policies:
            print(f"{policy.name}\n{rules.readable(policy)}")


@app.command(short_help="Start a sweep: the deployed stack evaluates every role.")
@of_an_account
def sweep(connection: Connection) -> None:
    """Ask the deployed stack to check every policy and look at every role now.

    Needs AWS credentials that may put events on the default bus.

    Example: rolewarden sweep --region us-east-1

    Exit code: 0 it is asked, 1 nothing is deployed here, or AWS does not take the request.
    """
    connection.recorded()
    event = SweepRequested(by="rolewarden sweep")
    connection.aws.put_events([(event.detail_type, event.detail)])
    region = connection.aws.region
    print(f"asked for a sweep in {region}: `rolewarden status` shows when it has ended")


@app.command(short_help="The policy that keeps people from undoing the stack.")
@of_an_account
def scp(
    connection: Connection,
    deployer: Annotated[list[str] | None, typer.Option(metavar="ARN-PATTERN", help="Who deploys the stack: is denied "
                                                       "nothing. May be given again.")] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="A permissions boundary for administrators instead: "
                                           "for an account without AWS Organizations.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there.")] = None,
) -> None:  # fmt: skip
    """Print the service control policy that keeps people from taking the deployed stack apart.

    It has the stack's real names: print it anew after a deployment that adds to the stack. Without --deployer nobody
    can update or delete the stack where it is in force. Needs AWS credentials that may describe the stack.

    Example: rolewarden scp --deployer 'arn:aws:iam::*:role/deploy' --out scp.json

    Exit code: 0 done, 1 there is no such stack, it does not fit, or the file cannot be written.
    """
    protection = Protection(connection.deployed(), tuple(deployer or ()))
    document = protection.boundary() if boundary else protection.service_control_policy()
    if not deployer:
        print("rolewarden: no --deployer: nobody under this can update or delete the stack", file=sys.stderr)
    if boundary:
        print(f"rolewarden: create it as {BOUNDARY_NAME}: it protects itself by that name", file=sys.stderr)
    if out is None:
        print(text(document))
        return
    try:
        out.write_text(text(document) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnwritableError(f"{out}: cannot be written: {error.strerror}") from None
    print(out)


@app.command(short_help="Say what keeps the stack from working, and the recommendation.")
@of_an_account
def doctor(
    connection: Connection,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of lines.")] = False,
) -> None:
    """Say whether the deployed stack can work in every region and account that it covers.

    One line a check: does a trail log, does the forwarder send, is the account entered. SweepFunction makes the checks
    with its own rights, as in every sweep. Needs AWS credentials that may describe the stack and invoke that function.

    Example: rolewarden doctor --region us-east-1

    Exit code: 0 everything is there, 1 something is missing, or the stack cannot be asked.
    """
    functions = {logical: physical for logical, _, physical in connection.deployed().resources}
    checks = connection.aws.run(functions.get("SweepFunction", ""), {"step": DOCTOR})["probes"]
    if as_json:
        print(json.dumps(checks, indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for check in checks:
            where = " ".join(filter(None, (check["account"], check["region"])))
            line = f"{where}  {check['what']}"
            if "message" in check:
                console.print(
                    Text.assemble(("MISSING  ", "bold red"), f"{line}: {check['message']}: {check['recommendation']}")
                )
            else:
                console.print(Text.assemble(("ok       ", "green"), line))
    raise typer.Exit(EXIT_MISSING if any("message" in check for check in checks) else 0)


def _show_problems(console: Console, found: rules.CheckedFile) -> None:
    for kind, line in found.problems():
        console.print(Text.assemble((f"{kind}: ", "bold red" if kind == "error" else "yellow"), line))


def _show(console: Console, replayed: Replayed) -> None:
    console.print(Text.assemble((replayed.file, "bold"), "  ", replayed.event))
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
    for policy, what in replayed.policies.items():
        rows.add_row("  policy", f"{policy}  {what}")
    if replayed.alert:
        rows.add_row("  alert", Text(replayed.alert, "bold"))
    if replayed.rule is not None:
        counted = Counter(replayed.calls)
        calls = ", ".join(call if n == 1 else f"{n} x {call}" for call, n in counted.items())
        rows.add_row("  calls", f"{len(replayed.calls)}: {calls}" if calls else "none")
    console.print(rows)


def _outcome(outcome: Mapping[str, Any]) -> Text:
    before, after = str(outcome["before"]), str(outcome["verdict"])
    text = Text.assemble((str(outcome["role"]), "bold"), "  ", (before, VERDICT_COLOURS[before]))
    if after != before or outcome["remediation"] != "none":
        text.append(" > ").append(after, VERDICT_COLOURS[after])
    attached = outcome.get("attached")
    if isinstance(attached, list):
        text.append(f"  attached {', '.join(attached)}")
    if outcome["remediation"] not in {"none", "attached"}:
        text.append(f"  {outcome['remediation']}")
    for key in ("reason", "message"):
        if outcome.get(key):
            text.append(f"  ({outcome[key]})")
    return text


def _sum_up(console: Console, done: list[Replayed]) -> None:
    matched = sum(replayed.rule is not None for replayed in done)
    remediated = sum(
        outcome["remediation"] in {"attached", "bounded"} for replayed in done for outcome in replayed.outcomes
    )
    left = [role for replayed in done for role in replayed.left_drifted]
    console.print(
        f"\n{_counted(len(done), 'event')}, {matched} matched a rule, {_counted(remediated, 'role')} remediated, "
        + (f"left drifted: {', '.join(left)}" if left else "none left drifted")
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _fail(message: str) -> None:
    print(f"rolewarden: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_UNUSABLE)


def main() -> None:
    """Run the command; a mistake of the user's is one line and not a trace."""
    try:
        app()
    except RolewardenError as error:
        print(f"rolewarden: {error}", file=sys.stderr)
        sys.exit(EXIT_UNUSABLE)


if __name__ == "__main__":
    main()
