"""`rolewarden access` for one account, or for all accounts of the deployed stack."""

from __future__ import annotations

from dataclasses import dataclass

from rolewarden.guardrails import Rules

from rolewarden_cli.access import AccessMatrix, matrix
from rolewarden_cli.answers import shown
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Progress, ignore_progress, take
from rolewarden_cli.models import Models, of_account
from rolewarden_cli.organization import MemberRole, UnreachedAccount, read_accounts


@dataclass(frozen=True)
class AccessTotals:
    """The sums of all accounts: `decisions` are pairs of a subject and a model, and `allowed` are those with access."""

    accounts: int
    unreached: int
    subjects: int
    models: int
    decisions: int
    allowed: int
    simulations: int
    unread: int


@dataclass(frozen=True)
class AllAccess:
    """The access in all accounts of the stack."""

    accounts: tuple[AccessMatrix, ...]
    unreached: tuple[UnreachedAccount, ...] = ()

    @property
    @shown
    def totals(self) -> AccessTotals:
        """The sums of all accounts."""
        found = self.accounts
        return AccessTotals(
            len(found),
            len(self.unreached),
            sum(one.subjects for one in found),
            max((len(one.models) for one in found), default=0),
            sum(len(one.rows) * len(one.models) for one in found),
            sum(one.allowed for one in found),
            sum(one.simulations for one in found),
            sum(len(one.unread) for one in found),
        )

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition of `rolewarden access` holds in any account, by name."""
        return {
            "reached": any(one.allowed for one in self.accounts),
            "unread": any(one.unread for one in self.accounts),
            "unreached": bool(self.unreached),
        }


def read_access(
    connection: Connection, rules: Rules, models: Models, progress: Progress = ignore_progress
) -> AccessMatrix:
    """Evaluate the account of a connection. Raises Refused and RetryLater."""
    taken = take(connection, rules, progress)
    own = of_account(models, connection)
    return matrix(connection.calls, taken, own, progress, rules, organization=connection.stack_calls)


def read_all_access(
    connection: Connection, role: MemberRole, rules: Rules, models: Models, progress: Progress = ignore_progress
) -> AllAccess:
    """Evaluate each account of an `organized` connection, as `role` in the members."""
    return AllAccess(*read_accounts(connection, role.enter, lambda one: read_access(one, rules, models), progress))
