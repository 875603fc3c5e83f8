"""`rolewarden access`: who can reach which model, as IAM itself judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Statement:
    """A statement that decided: the name of its policy, its Sid (or `statement 3`), and whether it is a deny."""

    policy: str
    sid: str
    denies: bool


@dataclass(frozen=True)
class Model:
    """A column: `family` is "bedrock" or "jumpstart", `provider` groups them (the first part of a Bedrock id)."""

    id: str
    family: str
    provider: str


@dataclass(frozen=True)
class Decision:
    """What IAM says to a role that wants a model.

    Allowed by `route` (as "on demand", "inference profile us.meta.llama3-70b-instruct-v1:0"), the first that gets
    through; else denied on every route, and `statements` are the denies, empty where nothing allows it.
    """

    allowed: bool
    route: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Row:
    """A user profile and the roles by which it works: names, the execution role first, then those of Canvas' own.

    A domain's default user and its shared spaces are rows too, with an empty `user_profile`; `kind` tells them apart.
    `inherits` where the profile runs as its domain's role.
    """

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    kind: str
    label: str
    roles: tuple[str, ...]
    inherits: bool = False


@dataclass(frozen=True)
class AccessMatrix:
    """Rows, columns, and the decisions by role: `decisions[role][n]` is on `models[n]`.

    `models_from` tells where the list of Bedrock models comes from: "live", or the day of the shipped list.
    """

    account: str
    regions: tuple[str, ...]
    at: datetime
    models_from: str
    models: tuple[Model, ...]
    rows: tuple[Row, ...]
    decisions: Mapping[str, tuple[Decision, ...]]
    unread: tuple[str, ...] = ()

    def cell(self, row: Row, model: int) -> Decision:
        """What a user profile reaches: the decision of the first of its roles that is allowed, else of the first."""
        found = [self.decisions[role][model] for role in row.roles]
        return next((decision for decision in found if decision.allowed), found[0])
