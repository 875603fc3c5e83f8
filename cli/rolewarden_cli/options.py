"""The options that several commands share, and what they stand for: a connection, rules, models, an agreement."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider
from rolewarden.clock import utc_today
from rolewarden.errors import RolewardenError
from rolewarden.guardrails import Rules, load
from rolewarden.record import metrics

from rolewarden_cli import inventory, stack
from rolewarden_cli import models as model_lists
from rolewarden_cli import plan as planning
from rolewarden_cli.commands import ExitCode
from rolewarden_cli.connect import Connection, Where, connected

Guardrails = Annotated[Path, typer.Option("--guardrails", metavar="FILE", help="The guardrails.yaml to go by.")]
ModelPatterns = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="PATTERN", help="Only models of this id; `*` and `?` stand for any text. May be "
                 "given again."),
]  # fmt: skip
RulesFile = Annotated[Path, typer.Argument(metavar="FILE", help="A guardrails.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object instead of text.")]
All = Annotated[bool, typer.Option("--all", help="Leave nothing out.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class UsageError(RolewardenError):
    """The options do not fit together, or a file that they name cannot be read; the message says what to give."""


class NotAgreedError(RolewardenError):
    """Nobody agreed to the changes, so nothing was changed."""


def of_an_account(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which account; it gets a `Connection` as its first argument.

    The options are the fields of `Where`.
    """
    own = inspect.signature(command, eval_str=True)
    hints = get_type_hints(Where, include_extras=True)
    fields = dataclasses.fields(Where)

    @functools.wraps(command)
    def run(**options: Any) -> None:
        where = Where(**{field.name: options.pop(field.name) for field in fields})
        with _quiet(), connected(where) as connection:
            if where.local:
                print(f"rolewarden: {connection.place}", file=sys.stderr)
            command(connection, **options)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=kind) for parameter in list(own.parameters.values())[1:]]
    parameters += [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name]) for field in fields
    ]
    # What Typer reads.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def today() -> date:
    """The day in UTC, which decides the exemptions that have ended."""
    return utc_today()


def end(*, is_settled: bool) -> NoReturn:
    """End the command with the exit code of its result."""
    raise typer.Exit(ExitCode.DONE if is_settled else ExitCode.OPEN)


def rules_in(path: Path) -> Rules:
    """The rules in a guardrails.yaml. Raises UsageError if it cannot be read, and RulesError if it has errors."""
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise UsageError(f"there is no {path} here: name your guardrails.yaml with --guardrails") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}: name a readable file with --guardrails") from None
    return load(path, today=today())


def models_in(connection: Connection, wanted: list[str] | None) -> model_lists.Models:
    """The models that the patterns name, all of them without patterns.

    Prints a line on standard error for each model that is in no list. Raises NoSuchModelError.
    """
    models = model_lists.models(connection, wanted or ())
    for line in models.unlisted:
        print(f"rolewarden: {line}", file=sys.stderr)
    return models


def planned(
    connection: Connection, rules: Rules, progress: inventory.Progress
) -> tuple[inventory.Inventory, planning.Plan]:
    """The inventory of the account, and what enforcing the rules would change. Raises Refused and RetryLater."""
    found = inventory.take(connection, rules, progress)
    state = stack.recorded(connection, rules)
    deployed = connection.tables is not None
    return found, planning.make(connection.aws, found, rules, today(), deployed=deployed, stack=state)


def ask_agreement(account: str, as_json: bool) -> None:
    """Ask whether to go on. Raises NotAgreedError if nobody agrees, or nobody can be asked."""
    if as_json or not is_a_terminal():
        raise NotAgreedError("no terminal to ask in: read `rolewarden plan`, then give --yes")
    try:
        if typer.confirm(f"Do it in account {account}?"):
            return
    except typer.Abort:
        print(file=sys.stderr)
    raise NotAgreedError("nothing was changed: run it again and answer `y` to go on")


def is_a_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


class _NoMetrics(AmazonCloudWatchEMFProvider):
    """Drops the metrics: Powertools prints what it has gathered at each hundredth metric, disabled or not."""

    def add_metric(self, *_: Any, **__: Any) -> None:
        """Drop it."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep log lines and metrics, which are for the functions' logs, off the screen."""
    disabled, provider = logging.root.manager.disable, metrics.provider
    logging.disable(logging.CRITICAL)
    metrics.provider = _NoMetrics()
    try:
        yield
    finally:
        metrics.provider = provider
        logging.disable(disabled)
