"""The accounts of the deployed stack, for `--all-accounts`: a command reads several of them at the same time.

The list of accounts comes from the StackSet of the member accounts, as in a sweep. In each member account, the command
assumes a role that can only read. The command reads once for all accounts: the stack, its tables, the models of
Bedrock and the service control policies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TypeVar

from rolewarden.errors import Refused, RetryLater, RolewardenError

from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Progress, ignore_progress

ACCOUNTS_AT_ONCE = 4
"""Number of accounts that a command reads at the same time. IAM and SageMaker throttle each account by itself."""

MEMBER_ROLE = "rolewarden/rolewarden-operator"
"""The path and name of the role that a command assumes in a member account, unless the user names another one."""

SESSION_NAME = "rolewarden"

ROLE_WITH_PATH = re.compile(r"(?!arn:)([\x21-\x7e]+/)?[\w+=,.@-]{1,64}", re.ASCII)

MEMBER_STACK_SET = "Members"
"""The logical ID of the StackSet of the member accounts."""

Result = TypeVar("Result")


class NoMembersError(RolewardenError):
    """The stack covers no other account, or the option with the role is wrong; the message has the correction."""


class CannotEnterError(RolewardenError):
    """The command cannot assume its role in a member account; the message has the cause."""


@dataclass(frozen=True)
class UnreachedAccount:
    """An account that the command could not read, with the reason and the recommended action."""

    account: str
    why: str
    recommendation: str = ""


def member_accounts(connection: Connection) -> set[str]:
    """The accounts of the stack's StackSet of members, without its own. Raises Refused and RetryLater."""
    stack = connection.deployed()
    names = [physical.partition(":")[0] for logical, _, physical in stack.resources if logical == MEMBER_STACK_SET]
    call_as = stack.parameters.get("StackSetsCallAs", "DELEGATED_ADMIN")
    found = {one.account for name in names for one in connection.calls.stack_instances(name, call_as)}
    return found - {connection.account}


def organized(connection: Connection) -> Connection:
    """The same connection, which knows all accounts of the stack and covers its regions.

    Raises NoConnectionError without a stack, NoMembersError if it covers one account only, Refused and RetryLater.
    """
    connection.recorded()
    members = member_accounts(connection)
    if not members:
        raise NoMembersError(
            f"stack `{connection.stack_name}` covers no member account: leave out --all-accounts, or name the central "
            "stack with --stack and its region with --region"
        )
    regions = connection.regions if connection.has_chosen_regions else connection.deployed().regions
    return replace(connection, covered=frozenset({connection.account, *members}), regions=regions)


def recorded_in(connection: Connection, account: str) -> Connection:
    """The connection of an `organized` one to the records of an account in the stack's tables. It enters no account."""
    if account == connection.account:
        return connection
    return replace(connection, account=account, central=connection, is_entered=False)


@dataclass(frozen=True)
class MemberRole:
    """The role that a command assumes in each member account: its path and name.

    Raises NoMembersError if it has another form.
    """

    name: str

    def __post_init__(self) -> None:
        if not ROLE_WITH_PATH.fullmatch(self.name):
            raise NoMembersError(
                f"`{self.name}` is not the name of a role: write it with its path, such as {MEMBER_ROLE}, and no ARN"
            )

    def enter(self, connection: Connection, account: str) -> Connection:
        """The connection of an `organized` one to an account, as this role in a member. Raises CannotEnterError."""
        if account == connection.account:
            return connection
        arn = f"arn:{connection.aws.partition}:iam::{account}:role/{self.name}"
        try:
            aws = connection.writer.assumed(arn, SESSION_NAME)
        except (Refused, RetryLater) as error:
            raise CannotEnterError(f"cannot assume {self.name}: {error}") from error
        return replace(connection, writer=aws, account=account, caller=arn, central=connection)


def read_accounts(
    connection: Connection,
    enter: Callable[[Connection, str], Connection],
    read: Callable[[Connection], Result],
    progress: Progress = ignore_progress,
) -> tuple[tuple[Result, ...], tuple[UnreachedAccount, ...]]:
    """Read each account of an `organized` connection, a few at a time, and give the results in the order of accounts.

    `enter` makes the connection to an account, from which `read` reads. An account that AWS does not let the caller
    read is among the second results, and does not stop the others. Raises each other error of `read`.
    """
    accounts = sorted(connection.covered or {connection.account})
    _ = connection.stack_calls  # Several threads would each make their own, and read the shared parts again.
    found: dict[str, Result] = {}
    unreached: dict[str, UnreachedAccount] = {}
    pool = ThreadPoolExecutor(ACCOUNTS_AT_ONCE)
    try:
        tasks = {pool.submit(_read, connection, account, enter, read): account for account in accounts}
        progress("accounts", 0, len(tasks))
        for done, task in enumerate(as_completed(tasks), start=1):
            account, answer = tasks[task], task.result()
            if isinstance(answer, UnreachedAccount):
                unreached[account] = answer
            else:
                found[account] = answer
            progress("accounts", done, len(tasks))
    finally:
        pool.shutdown(cancel_futures=True)
    return (
        tuple(found[account] for account in accounts if account in found),
        tuple(unreached[account] for account in accounts if account in unreached),
    )


def _read(
    connection: Connection,
    account: str,
    enter: Callable[[Connection, str], Connection],
    read: Callable[[Connection], Result],
) -> Result | UnreachedAccount:
    try:
        return read(enter(connection, account))
    except CannotEnterError as error:
        return UnreachedAccount(account, str(error), ENTER)
    except (Refused, RetryLater) as error:
        return UnreachedAccount(account, str(error), READ)


ENTER = (
    "create this role there and let your own role assume it (docs/how-to/command-line.md, Read all accounts), or name "
    "another role with --member-role"
)
READ = "give the role in this account permission for this call, then run the command again"
