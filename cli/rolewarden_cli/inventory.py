"""What an account has: domains and user profiles with the roles that they work with, and what these roles carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rolewarden.aws import RoleDetail
from rolewarden.bindings import Binding


@dataclass(frozen=True)
class Domain:
    """A Studio domain; `deploys` where Canvas may deploy JumpStart models by itself (DirectDeploySettings)."""

    account: str
    region: str
    id: str
    name: str
    deploys: bool


@dataclass(frozen=True)
class Inventory:
    """Everything that `plan` and `access` look at, read at `at`.

    `roles` are all roles of the account by name, `policies_per_role` is the quota of managed policies that one may
    carry. `unread` says what AWS did not let us read, a line each.
    """

    account: str
    partition: str
    regions: tuple[str, ...]
    at: datetime
    bindings: tuple[Binding, ...]
    domains: tuple[Domain, ...]
    roles: Mapping[str, RoleDetail]
    policies_per_role: int
    unread: tuple[str, ...] = ()
