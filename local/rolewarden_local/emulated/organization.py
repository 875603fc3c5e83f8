"""The organization that conditions and StackSets ask about: its ID, its organizational units and their accounts.

MiniStack does not model member accounts: each account that calls its Organizations is the management account of an
organization of its own, with a random ID.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Organization:
    """The one organization of the local AWS; `units` are organizational units by id, each with its accounts."""

    id: str = ""
    units: dict[str, set[str]] = field(default_factory=dict)

    def of(self, account: str) -> str:
        """The id of the organization that an account is in; empty for none."""
        return self.id if any(account in accounts for accounts in self.units.values()) else ""

    def accounts(self, units: list[str]) -> dict[str, str]:
        """The accounts of these units, each with its unit."""
        return {account: unit for unit in units for account in sorted(self.units.get(unit, ()))}


ORGANIZATION = Organization()
"""One a process, as MiniStack's state is."""


def reset_organization() -> None:
    """No organization."""
    ORGANIZATION.id = ""
    ORGANIZATION.units.clear()
