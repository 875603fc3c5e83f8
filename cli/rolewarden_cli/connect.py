"""Which AWS a command works on, and as whom: the user's credentials, a role to assume, or the local AWS."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import boto3
from botocore.exceptions import BotoCoreError, UnknownRegionError
from rolewarden.aws import Aws, DeployedStack
from rolewarden.errors import Gone, Refused, RetryLater, RolewardenError

from rolewarden_cli.local import staged_account

LOCAL_ENDPOINT = "http://127.0.0.1:5000"
"""Where `make local` and `make stage` serve the local AWS."""

ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/\S+")


class NoConnectionError(RolewardenError):
    """AWS cannot be asked with what was given; one line says why and what to give instead."""


@dataclass(frozen=True)
class Where:
    """Which AWS, as the options of a command say: `regions` are where domains are, the stack is in the first.

    Without `regions` it is the region of the credentials. `role` is the ARN of a role to assume first.
    """

    profile: str = ""
    regions: tuple[str, ...] = ()
    role: str = ""
    stack: str = "rolewarden"
    local: bool = False


@dataclass(frozen=True)
class Tables:
    """Names of the deployed stack's tables."""

    bindings: str
    history: str


@dataclass(frozen=True)
class Connection:
    """AWS as a command works on it, in `account` as `caller` (an ARN).

    `stack` is the deployed one, None where it is not; `place` says in words which AWS it is.
    """

    aws: Aws
    account: str
    caller: str
    regions: tuple[str, ...]
    stack_name: str
    stack: DeployedStack | None
    tables: Tables | None
    place: str = "AWS"
    is_staged: bool = False
    """Whether this process made the account, with the rules that ship with Rolewarden."""

    @property
    def own_roles(self) -> frozenset[str]:
        """Names of the functions' roles."""
        resources = self.stack.resources if self.stack else ()
        return frozenset(name for _, kind, name in resources if kind == "AWS::IAM::Role")

    def deployed(self) -> DeployedStack:
        """The stack. Raises NoConnectionError where there is none."""
        if self.stack is None:
            raise NoConnectionError(self._no_stack)
        return self.stack

    def recorded(self) -> Tables:
        """The tables. Raises NoConnectionError where nothing is deployed."""
        if self.tables is None:
            raise NoConnectionError(f"{self._no_stack}; `rolewarden plan` works without one")
        return self.tables

    @property
    def _no_stack(self) -> str:
        name, region = self.stack_name, self.aws.region
        return f"there is no stack `{name}` in {region}: give its name (--stack) and region (--region)"


@contextmanager
def connected(where: Where) -> Iterator[Connection]:
    """The AWS that `where` says, for as long as the block runs. Raises NoConnectionError."""
    if not where.local:
        yield _connection(_session(where), where)
        return
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or (LOCAL_ENDPOINT if _answers(LOCAL_ENDPOINT) else "")
    if endpoint:
        with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": endpoint}):
            yield _connection(_local_session(where), where, place=f"local AWS at {endpoint}")
        return
    with staged_account():
        yield _connection(_local_session(where), where, place="local AWS in this process", is_staged=True)


def _session(where: Where) -> boto3.Session:
    try:
        session = boto3.Session(profile_name=where.profile or None, region_name=next(iter(where.regions), None))
        known = session.region_name
        found = session.get_credentials()
    except BotoCoreError as error:
        raise NoConnectionError(f"{error}: see `aws configure list-profiles`") from error
    if found is None:
        raise NoConnectionError("there are no AWS credentials: give --profile, or --local for the local AWS")
    if not known:
        raise NoConnectionError("no region is known: give --region, or set AWS_DEFAULT_REGION")
    return session


def _local_session(where: Where) -> boto3.Session:
    return boto3.Session("test", "test", region_name=next(iter(where.regions), "us-east-1"))


def _connection(session: boto3.Session, where: Where, *, place: str = "AWS", is_staged: bool = False) -> Connection:
    for region in where.regions:
        try:
            session.get_partition_for_region(region)
        except UnknownRegionError as error:
            raise NoConnectionError(f"`{region}` is no region: write it as in us-east-1") from error
    aws = Aws(session)
    try:
        if where.role:
            if not ROLE_ARN.fullmatch(where.role):
                raise NoConnectionError(f"`{where.role}` is no role's ARN: write arn:aws:iam::ACCOUNT:role/NAME")
            aws = aws.assumed(where.role, "rolewarden")
        account, caller = aws.identity()
        stack = _stack(aws, where.stack)
    except Refused as refused:
        who = f"role {where.role}" if where.role else "these credentials"
        raise NoConnectionError(f"{who} cannot be used: {refused}") from refused
    except RetryLater as error:
        raise NoConnectionError(f"AWS cannot be reached: {error}") from error
    physical = {logical: name for logical, _, name in stack.resources} if stack else {}
    if stack is None and where.local and aws.has_table("BindingsTable"):
        # What `make stage` makes goes by its logical ids, and no stack owns it.
        physical = {name: name for name in ("BindingsTable", "HistoryTable")}
    names = physical.get("BindingsTable"), physical.get("HistoryTable")
    tables = Tables(names[0], names[1]) if names[0] and names[1] else None
    return Connection(
        aws, account, caller, where.regions or (aws.region,), where.stack, stack, tables, place, is_staged
    )


def _stack(aws: Aws, name: str) -> DeployedStack | None:
    try:
        return aws.stack(name)
    except Gone:
        return None


def _answers(endpoint: str) -> bool:
    """Whether a local AWS is served there."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
