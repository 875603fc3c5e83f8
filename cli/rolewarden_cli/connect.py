"""The AWS account of a command and its credentials: those of the user, of a role to assume, or of the local AWS."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Annotated, Any, get_type_hints

import boto3
import typer
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider
from botocore.exceptions import BotoCoreError, UnknownRegionError
from rolewarden import MEMBER_ROLES
from rolewarden.aws import Aws
from rolewarden.calls import ReadsAccount, ReadsItems
from rolewarden.errors import Gone, Refused, RetryLater, RolewardenError
from rolewarden.record import metrics

from rolewarden_cli.account import DeployedStack, OperatorCalls
from rolewarden_cli.local import staged_account
from rolewarden_cli.notes import note
from rolewarden_cli.shipped import START_LOCAL, here_or_shipped
from rolewarden_cli.suggestions import nearest

AWS = "AWS"
"""The place of an account that is not on a local AWS."""

LOCAL_ENDPOINT = "http://127.0.0.1:5000"
"""The endpoint of the local AWS that `make local` and `make stage` serve."""

ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::[0-9]{12}:role/\S+", re.ASCII)


class NoConnectionError(RolewardenError):
    """The options do not lead to a usable account; the message has the cause and the correction."""


@dataclass(frozen=True)
class Where:
    """The choice of an account; each field is an option.

    If `region` is empty, the command uses the region of the AWS configuration.
    """

    profile: Annotated[str, typer.Option(metavar="NAME", help="A profile of your AWS configuration.")] = ""
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGION",
            help="A region with SageMaker domains. The first one has the stack. You can repeat this option.",
        ),
    ] = None
    assume_role: Annotated[str, typer.Option(metavar="ARN", help="The ARN of a role to assume first.")] = ""
    stack: Annotated[str, typer.Option(metavar="NAME", help="The name of the deployed stack.")] = "rolewarden"
    local: Annotated[bool, typer.Option("--local", help="Use a local AWS: the one at AWS_ENDPOINT_URL, else "
                                        "that of `make local`, else a new one for this command.")] = False  # fmt: skip

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that the user gave."""
        return tuple(self.region or ())


@dataclass(frozen=True)
class Tables:
    """The names of the deployed stack's tables."""

    bindings: str
    history: str


@dataclass(frozen=True)
class Connection:
    """The account that a command works on, as `caller` (an ARN).

    - `writer`: all calls, for the commands that write.
    - `stack`: the deployed stack, None if it does not exist.
    - `tables`: the tables of the stack, None if they do not exist. An account that this process seeded has no
      functions, so it counts as one without a stack.
    - `place`: "AWS", or the local AWS in words.
    - `central`: for a member account of the stack, the connection to the stack's account. None for other accounts.
    - `covered`: the accounts that the stack covers, with its own. None if they were not read.
    - `has_chosen_regions`: whether the user gave the regions.
    - `is_entered`: whether the calls work in `account`. If not, only the tables of the stack know the account.
    """

    writer: Aws
    account: str
    caller: str
    regions: tuple[str, ...]
    stack_name: str
    stack: DeployedStack | None
    tables: Tables | None
    place: str = AWS
    is_staged: bool = False
    """Whether this process seeded the account, with the rules that ship with Rolewarden."""
    central: Connection | None = None
    covered: frozenset[str] | None = None
    has_chosen_regions: bool = False
    is_entered: bool = True

    @property
    def aws(self) -> ReadsAccount:
        """The calls that read the account. mypy rejects a call that writes."""
        return self.writer

    @property
    def stored(self) -> ReadsItems:
        """The calls that read the tables of the stack, which are in its own account."""
        return self.central.writer if self.central else self.writer

    @cached_property
    def calls(self) -> OperatorCalls:
        """The calls to the account that only operators make."""
        return OperatorCalls(self.writer)

    @property
    def stack_calls(self) -> OperatorCalls:
        """The calls to the account of the stack that only operators make."""
        return self.central.calls if self.central else self.calls

    @property
    def own_roles(self) -> frozenset[str]:
        """Names of the functions' roles, or of the roles in a member account that the functions assume."""
        if self.central:
            return MEMBER_ROLES
        resources = self.stack.resources if self.stack else ()
        return frozenset(name for _, kind, name in resources if kind == "AWS::IAM::Role")

    def deployed(self) -> DeployedStack:
        """The stack. Raises NoConnectionError if it does not exist."""
        if self.stack is None:
            raise NoConnectionError(self._no_stack)
        return self.stack

    def recorded(self) -> Tables:
        """The tables. Raises NoConnectionError if they do not exist."""
        if self.tables is None:
            raise NoConnectionError(self._no_stack)
        return self.tables

    @property
    def _no_stack(self) -> str:
        if self.is_staged:
            return f"no local AWS is running, and this command needs a deployed stack: {START_LOCAL}"
        name, region = self.stack_name, self.aws.region
        return (
            f"stack `{name}` does not exist in {region}{_meant(region)}: give its name (--stack) and region "
            "(--region); `rolewarden plan` works without one"
        )


@contextmanager
def connected(where: Where) -> Iterator[Connection]:
    """Connect to the account that `where` chooses, for as long as the block runs. Raises NoConnectionError."""
    if not where.local:
        yield _connection(_session(where), where)
        return
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or (LOCAL_ENDPOINT if _answers(LOCAL_ENDPOINT) else "")
    if endpoint:
        yield _connection(_LocalSession(where, endpoint), where, place=f"local AWS at {endpoint}")
        return
    with staged_account():
        yield _connection(_LocalSession(where), where, place="local AWS in this process", is_staged=True)


def of_an_account(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose an account, and a `Connection` as its first argument.

    The options are the fields of `Where`.
    """
    return _with_options_of_where(command, lambda _where, _options: True)


def of_an_account_with(
    *, reads_rules: Callable[[dict[str, Any]], bool]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `of_an_account`, for a command that reads guardrails.yaml only with some options."""
    return lambda command: _with_options_of_where(command, lambda _where, _options: True, reads_rules=reads_rules)


def of_an_account_if(
    wanted: Callable[[Where, dict[str, Any]], bool], *, hint: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `of_an_account`, but the first argument is None unless the options want an account.

    `hint` is the end of an error that no account can be reached. It says how the command works without one.
    """
    return lambda command: _with_options_of_where(command, wanted, hint)


def _with_options_of_where(
    command: Callable[..., None],
    wanted: Callable[[Where, dict[str, Any]], bool],
    hint: str = "",
    reads_rules: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> Callable[..., None]:
    own = inspect.signature(command, eval_str=True)
    hints = get_type_hints(Where, include_extras=True)
    fields = dataclasses.fields(Where)

    @functools.wraps(command)
    def run(**options: Any) -> None:
        where = Where(**{field.name: options.pop(field.name) for field in fields})
        if not wanted(where, options):
            command(None, **options)
            return
        with quiet(), _with_hint(hint), connected(where) as connection:
            if where.local:
                note(connection.place)
            if connection.is_staged and "guardrails" in options and reads_rules(options):
                options["guardrails"] = here_or_shipped(options["guardrails"])
            command(connection, **options)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=kind) for parameter in list(own.parameters.values())[1:]]
    parameters += [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name]) for field in fields
    ]
    # Typer reads the options from these two attributes.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@contextmanager
def _with_hint(hint: str) -> Iterator[None]:
    try:
        yield
    except NoConnectionError as error:
        raise NoConnectionError(f"{error}{hint}") from error


class _NoMetrics(AmazonCloudWatchEMFProvider):
    """A provider that drops all metrics, because Powertools prints them after each hundredth one, even if disabled."""

    def add_metric(self, *_: Any, **__: Any) -> None:
        """Drop the metric."""


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress log lines and metrics, which are meant for the functions' logs."""
    disabled, provider = logging.root.manager.disable, metrics.provider
    logging.disable(logging.CRITICAL)
    metrics.provider = _NoMetrics()
    try:
        yield
    finally:
        metrics.provider = provider
        logging.disable(disabled)


class _LockedSession(boto3.Session):
    """A session whose clients several threads can make. A session of boto3 alone is not safe for that."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._making = Lock()

    def client(self, *arguments: Any, **settings: Any) -> Any:
        """A client, made while no other thread makes one."""
        make: Any = super().client
        try:
            with self._making:
                return make(*arguments, **settings)
        except ValueError as error:  # Botocore raises it for an endpoint that is no URL.
            raise NoConnectionError(
                f"cannot reach AWS: {_plain(error)}: correct AWS_ENDPOINT_URL or endpoint_url in your AWS configuration"
            ) from error


def _plain(error: Exception) -> str:
    """The message of a library without its full stop, because a recommended action follows."""
    return str(error).rstrip(".")


def _session(where: Where) -> boto3.Session:
    try:
        session = _LockedSession(profile_name=where.profile or None, region_name=next(iter(where.regions), None))
        known = session.region_name
        found = session.get_credentials()
    except (BotoCoreError, ValueError, OSError) as error:
        raise NoConnectionError(
            f"cannot read the AWS configuration: {_plain(error)}: list your profiles with `aws configure list-profiles`"
        ) from error
    if found is None:
        raise NoConnectionError("AWS credentials are missing: give --profile, or --local for the local AWS")
    if not known:
        raise NoConnectionError("the region is missing: give --region, or set AWS_DEFAULT_REGION")
    return session


class _LocalSession(_LockedSession):
    """A session with the local AWS: its clients call `endpoint`. If it is empty, boto3 chooses the endpoints."""

    def __init__(self, where: Where, endpoint: str = "") -> None:
        super().__init__("test", "test", region_name=next(iter(where.regions), "us-east-1"))
        self._endpoint = endpoint or None

    def client(self, *arguments: Any, **settings: Any) -> Any:
        """A client of the endpoint."""
        return super().client(*arguments, **{"endpoint_url": self._endpoint, **settings})


def _connection(session: boto3.Session, where: Where, *, place: str = AWS, is_staged: bool = False) -> Connection:
    for region in where.regions:
        try:
            session.get_partition_for_region(region)
        except UnknownRegionError as error:
            raise NoConnectionError(f"`{region}` is not a region: give one such as us-east-1") from error
    aws = Aws(session)
    try:
        if where.assume_role:
            if not ROLE_ARN.fullmatch(where.assume_role):
                raise NoConnectionError(
                    f"`{where.assume_role}` is not the ARN of a role: write arn:aws:iam::ACCOUNT:role/NAME"
                )
            aws = aws.assumed(where.assume_role, "rolewarden")
        calls = OperatorCalls(aws)
        account, caller = calls.identity()
        stack = _stack(calls, where.stack)
    except Refused as refused:
        caller = f"role {where.assume_role}" if where.assume_role else "your credentials"
        raise NoConnectionError(f"cannot use {caller}: {refused}: check --profile and --assume-role") from refused
    except RetryLater as error:
        raise NoConnectionError(
            f"cannot reach AWS: {_plain(error)}{_meant(aws.region)}: check your network and AWS_ENDPOINT_URL, "
            "then run the command again"
        ) from error
    physical = {logical: name for logical, _, name in stack.resources} if stack else {}
    if stack is None and where.local and not is_staged and calls.has_table("BindingsTable"):
        # `make stage` names the tables by their logical IDs, and makes no stack.
        physical = {name: name for name in ("BindingsTable", "HistoryTable")}
    names = physical.get("BindingsTable"), physical.get("HistoryTable")
    tables = Tables(names[0], names[1]) if names[0] and names[1] else None
    return Connection(
        aws,
        account,
        caller,
        where.regions or (aws.region,),
        where.stack,
        stack,
        tables,
        place,
        is_staged,
        has_chosen_regions=bool(where.regions),
    )


def _meant(region: str) -> str:
    """A suggestion for a region that this version of boto3 does not know. It can be newer, so it is no error."""
    session = boto3.Session()
    known = session.get_available_regions("sagemaker", session.get_partition_for_region(region))
    if region in known:
        return ""
    # Of similar regions, one with the same letters is meant: us-east-1 and not us-west-1 for us-esat-1.
    near = next((one for one in known if sorted(one) == sorted(region)), "") or nearest(region, known)
    return f" (did you mean `{near}`?)" if near else ""


def _stack(calls: OperatorCalls, name: str) -> DeployedStack | None:
    try:
        return calls.stack(name)
    except Gone:
        return None


def _answers(endpoint: str) -> bool:
    """Whether a local AWS answers at `endpoint`."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
