"""Reads of IAM that the evaluations of many roles share. For each role alone they would need a call each.

A message of a sweep can name many roles. IAM says in a few pages which roles of an account have a policy, and which
principals can assume each role. The receiver reads this itself: what a message claims about a role decides nothing.

A shared read decides only that a role lacks a policy. The Reconciler then attaches the policy, which does no harm if
the role got the policy meanwhile. If a role has every policy that it needs by shared reads, the Reconciler lists the
policies of this role.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from rolewarden.bindings import RoleKey
from rolewarden.calls import ListsRoles
from rolewarden.clock import Clock
from rolewarden.listed import RoleDescription
from rolewarden.names import folded

READ_SECONDS = 15.0
"""Seconds for which a read counts as current. IAM's own reads can be some seconds old, too."""

READ_SHARE = 4.0
"""A read that takes long counts as current for so many times its duration, so that most of the time is for roles."""

SHARED_FROM = 10
"""The number of roles of one account in a message from which their evaluations share reads. For fewer roles, a list for
each role needs about as few calls, and is newer."""

_T = TypeVar("_T")


class _Recent(Generic[_T]):
    """Values that are current, by account and name, each with the time until which it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read: dict[tuple[str, str], tuple[float, _T]] = {}

    def get(self, account: str, name: str, read: Callable[[], _T]) -> _T:
        """The value; `read` reads it if it is not known or not current."""
        now = self._clock.now()
        known = self._read.get((account, name))
        if known is None or now > known[0]:
            # A process that works for many accounts keeps only what it can still use.
            self._read = {key: kept for key, kept in self._read.items() if now <= kept[0]}
            value = read()
            ended = self._clock.now()
            known = self._read[account, name] = (ended + max(READ_SECONDS, READ_SHARE * (ended - now)), value)
        return known[1]


class SharedReads:
    """The shared reads of one process. Methods raise Refused and RetryLater.

    Lambda passes the messages of a sweep to the same processes one after the other. If each invocation read for itself,
    a first sweep of ten thousand roles would list them forty times.
    """

    def __init__(self, aws: ListsRoles, clock: Clock) -> None:
        self.aws = aws
        self._users: _Recent[set[str]] = _Recent(clock)
        self._roles: _Recent[dict[str, RoleDescription]] = _Recent(clock)
        self._checks: _Recent[None] = _Recent(clock)

    def has_policy(self, role: RoleKey, policy_arn: str) -> bool:
        """Whether the policy is attached to `role`."""
        return folded(role.name) in self._users_of(role.account, policy_arn)

    def add(self, role: RoleKey, policy_arn: str) -> None:
        """Note that the Reconciler has attached the policy to `role`."""
        self._users_of(role.account, policy_arn).add(folded(role.name))

    def _users_of(self, account: str, policy_arn: str) -> set[str]:
        def read() -> set[str]:
            return {folded(name) for name in self.aws.within(account).roles_with_policy(policy_arn)}

        return self._users.get(account, policy_arn, read)

    def role(self, role: RoleKey) -> RoleDescription | None:
        """The role as ListRoles describes it, without its boundary; None if the list does not have it."""

        def read() -> dict[str, RoleDescription]:
            return {folded(found.name): found for found in self.aws.within(role.account).roles()}

        return self._roles.get(role.account, "", read).get(folded(role.name))

    def check(self, account: str, policy: str, check: Callable[[], None]) -> None:
        """Run the check of a policy, unless it has passed within READ_SECONDS.

        A check cannot be newer than the attachment, and an edit just after the attachment has the same effect as an
        edit between them.
        """
        self._checks.get(account, policy, check)
