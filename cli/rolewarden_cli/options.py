"""The commands that look at an account, and `enforce`: options in, lines or JSON out."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn
from unittest import mock

import typer
from rolewarden.clock import utc_today
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.guardrails import Rules, load
from rolewarden.record import metrics
from rolewarden.verdicts import Reason
from typer.core import TyperCommand

from rolewarden_cli import access as accesses
from rolewarden_cli import console, inventory, stack
from rolewarden_cli import detach as detaching
from rolewarden_cli import enforce as enforcing
from rolewarden_cli import explain as explaining
from rolewarden_cli import history as record
from rolewarden_cli import models as model_lists
from rolewarden_cli import plan as planning
from rolewarden_cli.connect import Connection, Where, connected
from rolewarden_cli.rules import DEFAULT_FILE
from rolewarden_cli.shipped import here_or_shipped

commands = typer.Typer()

EXIT_ERROR = 1
EXIT_CHANGES = 2
EXIT_USAGE = 2
"""What every other command exits with where its options are wrong."""


class OneForErrors(TyperCommand):
    """A command whose exit code 2 means something else than a mistake in its options."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """As every command's; a mistake exits 1."""
        try:
            return super().make_context(*arguments, **more)
        except Exception as error:
            if getattr(error, "exit_code", 0) == EXIT_USAGE:
                error.exit_code = EXIT_ERROR  # type: ignore[attr-defined]
            raise


def of_an_account(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which account; it gets a `Connection` as its first argument.

    What goes wrong in the account is one line, and exit code 1.
    """
    own = inspect.signature(command, eval_str=True)
    shared = inspect.signature(_options, eval_str=True)

    @functools.wraps(command)
    def run(**options: Any) -> None:
        where = _options(**{name: options.pop(name) for name in shared.parameters})
        with _account(where) as connection:
            if connection.is_staged and "guardrails" in options:
                options["guardrails"] = here_or_shipped(options["guardrails"])
            command(connection, **options)

    parameters = [*list(own.parameters.values())[1:], *shared.parameters.values()]
    by_name = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    # What Typer reads.
    run.__signature__ = own.replace(parameters=by_name)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in by_name}
    return run


def _options(
    *,
    profile: Annotated[str, typer.Option(metavar="NAME", help="A profile of your AWS configuration.")] = "",
    region: Annotated[list[str] | None, typer.Option(metavar="REGION", help="Where domains are, the stack in the "
                                                     "first. May be given again.")] = None,
    assume_role: Annotated[str, typer.Option(metavar="ARN", help="A role to assume first.")] = "",
    stack: Annotated[str, typer.Option(metavar="NAME", help="The deployed stack.")] = "rolewarden",
    local: Annotated[bool, typer.Option("--local", help="The local AWS: at AWS_ENDPOINT_URL or where `make local` "
                                        "serves it, else one for this command.")] = False,
) -> Where:  # fmt: skip
    return Where(profile, tuple(region or ()), assume_role, stack, local)


Guardrails = Annotated[Path, typer.Option("--guardrails", metavar="FILE", help="The guardrails.yaml to go by.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object instead of text.")]
All = Annotated[bool, typer.Option("--all", help="Leave nothing out.")]


@commands.command(cls=OneForErrors, short_help="What enforcing guardrails.yaml would change; reads only.")
@of_an_account
def plan(
    connection: Connection,
    guardrails: Guardrails = DEFAULT_FILE,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Say what enforcing guardrails.yaml would change, and what it cannot. Reads only; nothing need be deployed.

    Example: rolewarden plan --local

    The last line names the command to run next, which depends on whether the deployed stack has the same rules.

    Exit code: 0 nothing to do, 2 changes are pending, 1 an error.
    """
    rules = _rules(guardrails)
    with console.progress() as progress:
        found = _planned(connection, rules, progress)[1]
    _answer(found, console.show_plan, as_json=as_json, everything=everything)
    raise typer.Exit(EXIT_CHANGES if found.has_changes or found.stack.may_undo else 0)


@commands.command(cls=OneForErrors, short_help="Do what the plan says, after asking.")
@of_an_account
def enforce(
    connection: Connection,
    guardrails: Guardrails = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    despite_stack: Annotated[bool, typer.Option("--despite-stack", help="Go on although the deployed stack has other "
                                                "rules: it reverts policies and reports you for tampering.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Do what the plan says, after showing it and asking. Ctrl-C ends it after the role that it is at.

    It may be run again at any time: what is done is not done twice. Without a deployed stack nothing keeps what it did.
    If the deployed stack has other rules than the file, or unknown ones, it refuses: deploy the file instead.

    Example: rolewarden enforce --local --yes

    Exit code: 0 all is done, 2 something is left, 1 an error or nothing was agreed to.
    """
    rules = _rules(guardrails)
    with console.progress() as progress:
        if not despite_stack:
            stack.need_same(stack.asked(connection, rules))
        found, planned = _planned(connection, rules, progress)
    if not as_json:
        console.show_plan(console.console(), planned, ends=False)
    if planned.has_changes and not yes:
        _ask_agreement(planned.account, as_json)
    with console.progress() as progress, _interruptible() as stop:
        done = enforcing.enforce_rules(connection, found, planned, rules, utc_today(), progress, stop=stop)
    left = [role.outcome.role for role in planned.roles if role.outcome.verdict == "unenforceable"]
    _answer(done, console.show_enforced, as_json=as_json, left=left)
    raise typer.Exit(0 if done.is_whole and not left else EXIT_CHANGES)


@commands.command(cls=OneForErrors, short_help="Take off policies that roles do not need, after asking.")
@of_an_account
def detach(
    connection: Connection,
    role: Annotated[list[str] | None, typer.Argument(metavar="[ROLE]...", help="Names of roles; all of them if none "
                                                     "is named.")] = None,
    guardrails: Guardrails = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Detach Rolewarden's policies and boundaries from roles that do not need them, after showing them and asking.

    Unused policies are deleted afterwards. SageMaker and IAM are read again before each role. It refuses if something
    could not be read, or if the deployed stack has other rules than the file.

    Example: rolewarden detach --local

    Exit code: 0 nothing to do or all is done, 2 something is left, 1 an error or nothing was agreed to.
    """
    rules = _rules(guardrails)
    with console.progress() as progress:
        same = stack.asked(connection, rules)
        stack.need_same(same)
        found = detaching.read(connection, rules, progress)
        planned = planning.make(
            connection.aws, found, rules, utc_today(), deployed=connection.tables is not None, stack=same
        )
    surplus = detaching.surplus(found, planned, role or ())
    if not as_json:
        console.show_surplus(console.console(), surplus)
    if surplus and not yes:
        _ask_agreement(surplus.account, as_json)
    with console.progress() as progress:
        done = detaching.detach_surplus(connection, surplus, found, rules, utc_today, progress)
    if as_json or surplus:
        _answer(done, console.show_detached, as_json=as_json)
    raise typer.Exit(EXIT_CHANGES if done.left else 0)


@commands.command(short_help="Who can reach which model, and which statement says so.")
@of_an_account
def access(
    connection: Connection,
    model: Annotated[list[str] | None, typer.Option("--model", metavar="PATTERN", help="Only models of this id; `*` "
                                                    "and `?` stand for any text. May be given again.")] = None,
    guardrails: Guardrails = DEFAULT_FILE,
    everything: All = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show who can reach which model, and by which policy statement, as IAM's own simulator judges it.

    A model is reached where one route gets through: Bedrock on demand, by an inference profile, in a batch job or on
    Mantle; JumpStart to an endpoint under any of its tags, or from a hub. Service control policies are not looked at.

    Example: rolewarden access --local --model 'anthropic.*sonnet*' --model huggingface-text2text-flan-t5-xl

    Exit code: 0 done, 1 an error.
    """
    rules = _rules(guardrails)
    models = _models(connection, tuple(model or ()))
    with console.progress() as progress:
        taken = inventory.take(connection, rules, progress)
        found = accesses.matrix(connection.aws, taken, models, progress)
    _answer(found, console.show_access, as_json=as_json, everything=everything)


@commands.command(short_help="Why a role may or may not use a model.")
@of_an_account
def explain(
    connection: Connection,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="A role's name.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's id.")],
    guardrails: Guardrails = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell why a role may or may not use a model: statement, policy, guardrail, assignment, and who caused it when.

    Example: rolewarden explain CanvasRosa amazon.nova-pro-v1:0 --local

    Exit code: 0 done, 1 an error.
    """
    rules = _rules(guardrails)
    models = _models(connection, (model,))
    if len(models.columns) > 1:
        _fail(f"{len(models.columns)} models match `{model}`: name one, as `{models.columns[0].id}`")
    with console.progress() as progress:
        taken = inventory.take(connection, rules, progress)
        found = explaining.explain_role(connection, taken, rules, role, models, utc_today(), progress)
    _answer(found, console.show_explanation, as_json=as_json)


@commands.command(short_help="What the stack has done and found, newest first.")
@of_an_account
def history(
    connection: Connection,
    role: Annotated[str, typer.Option(metavar="ROLE", help="Only of this role.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Only since then: 90m, 2h, 7d, or a day as "
                                       "2026-11-25.")] = "",
    actor: Annotated[str, typer.Option(metavar="WHO", help="Only what this caller led to: a part of its ARN.")] = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what the deployed stack has done and found, newest first.

    Example: rolewarden history --since 7d --actor mallory --local

    Exit code: 0 done, 1 an error.
    """
    start = record.moment(since, datetime.now(UTC)) if since else None
    found = record.read_history(connection, role=role, since=start, actor=actor)
    _answer(found, console.show_history, as_json=as_json)


@commands.command(short_help="How the deployed stack is doing.")
@of_an_account
def status(
    connection: Connection,
    as_json: AsJson = False,
) -> None:
    """Show how the deployed stack is doing: last sweep, coverage, contested and unenforceable roles.

    Example: rolewarden status --local

    Exit code: 0 done, 1 an error.
    """
    found = record.read_status(connection, datetime.now(UTC))
    _answer(found, console.show_status, as_json=as_json)


@commands.command(short_help="One HTML file for an auditor.")
@of_an_account
def report(
    connection: Connection,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write it.")],
    model: Annotated[list[str] | None, typer.Option("--model", metavar="PATTERN", help="Only models of this id; `*` "
                                                    "and `?` stand for any text. May be given again.")] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back the history goes: 7d, 90d, or a day as "
                                       "2026-11-25.")] = "90d",
    guardrails: Guardrails = DEFAULT_FILE,
) -> None:  # fmt: skip
    """Write one HTML file for an auditor: coverage, findings, access matrix, drift, policies. It loads nothing.

    Reads only; nothing need be deployed. Shows what `plan`, `access`, `history` and `status` say.

    Example: rolewarden report -o report.html --local

    Exit code: 0 done, 1 an error.
    """
    # Only who asks for a report pays for charts and templates.
    from rolewarden_cli.report import render
    from rolewarden_cli.report.gather import gather

    rules, now = _rules(guardrails), datetime.now(UTC)
    models = _models(connection, tuple(model or ()))
    with console.progress() as progress:
        found = gather(connection, rules, guardrails, models, now, record.moment(since, now), progress)
    try:
        out.write_text(render(found), encoding="utf-8")
    except OSError as error:
        _fail(f"{out}: cannot be written: {error.strerror}")
    print(out)


@contextmanager
def _account(where: Where) -> Iterator[Connection]:
    """The account that the options say; what goes wrong in it is one line, and exit code 1."""
    try:
        with _quiet(), connected(where) as connection:
            if where.local:
                print(f"rolewarden: {connection.place}", file=sys.stderr)
            yield connection
    except Refused as refused:
        recommendation = "let your role do that" if refused.reason is Reason.ACCESS_DENIED else "see the message"
        _fail(f"AWS refuses: {refused}: {recommendation}")
    except RetryLater as error:
        _fail(f"AWS could not do it now: {error}: run it again")
    except RolewardenError as error:
        _fail(str(error))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's log lines and metrics, which are the functions', off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        # Powertools prints what it has gathered at each hundredth metric, disabled or not.
        with mock.patch.object(metrics, "add_metric"):
            yield
    finally:
        logging.disable(before)


@contextmanager
def _interruptible() -> Iterator[Any]:
    """Gives what tells whether Ctrl-C was pressed; pressed again, it ends at once."""
    pressed = False

    def press(number: int, _frame: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(number, signal.default_int_handler)
        print("rolewarden: ends after this role", file=sys.stderr)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _planned(
    connection: Connection, rules: Rules, progress: inventory.Progress
) -> tuple[inventory.Inventory, planning.Plan]:
    found = inventory.take(connection, rules, progress)
    state = stack.recorded(connection, rules)
    deployed = connection.tables is not None
    return found, planning.make(connection.aws, found, rules, utc_today(), deployed=deployed, stack=state)


def _ask_agreement(account: str, as_json: bool) -> None:
    if as_json or not _somebody_is_there():
        _fail("no terminal to ask in: read `rolewarden plan`, then give --yes")
    try:
        if typer.confirm(f"Do it in account {account}?"):
            return
    except typer.Abort:
        print(file=sys.stderr)
    _fail("nothing was changed")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _rules(path: Path) -> Rules:
    if not path.exists():
        _fail(f"there is no {path} here: name your guardrails.yaml with --guardrails")
    return load(path, today=utc_today())


def _models(connection: Connection, wanted: tuple[str, ...]) -> model_lists.Models:
    """The models asked for; those that stand in no list are told of on standard error."""
    models = model_lists.models(connection.aws, connection.account, connection.regions, wanted)
    for line in models.unlisted:
        print(f"rolewarden: {line}", file=sys.stderr)
    return models


def _answer(found: Any, show: Callable[..., None], *, as_json: bool, **how: Any) -> None:
    """Print what was found: for a program, or by `show` for a person."""
    if as_json:
        value = [entry.as_dict() for entry in found] if isinstance(found, list | tuple) else found.as_dict()
        print(json.dumps(value, indent=2))
    else:
        show(console.console(), found, **how)


def _fail(message: str) -> NoReturn:
    print(f"rolewarden: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_ERROR)
