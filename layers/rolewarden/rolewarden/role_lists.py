"""The lists of roles in guardrails.yaml that no domain or user profile decides: `never_govern` and `also_govern`."""

from __future__ import annotations

from typing import NamedTuple

from rolewarden.matching import matches_name


class NeverGoverned(NamedTuple):
    """Roles that get no guardrail, whichever subject names them.

    - `role`: a pattern of the names of roles.
    - `account`: the account of the roles. Empty for the account of the stack, if the stack covers no other.
    """

    role: str
    account: str = ""

    def covers(self, account: str, role: str, *, home: str) -> bool:
        """Whether this entry means a role of `account`. Without an account, it means those of the account `home`."""
        return (self.account or home) == account and matches_name([self.role], role)


class AlsoGovern(NamedTuple):
    """Roles that need guardrails although no domain or user profile uses them.

    - `roles`: patterns of the names of roles.
    - `trusting`: principals whose roles are covered, as `Trust` has them: a role that one of these can assume.
    """

    roles: tuple[str, ...] = ()
    trusting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.roles or self.trusting)
