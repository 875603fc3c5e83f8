"""`rolewarden plan`: what enforcing guardrails.yaml would change, found out without changing anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from rolewarden.bindings import Binding
from rolewarden.verdicts import Outcome


@dataclass(frozen=True)
class PlannedPolicy:
    """A guardrail's policy, and what becomes of it: "created", "replaced", "unchanged" or "retired"."""

    name: str
    change: str


@dataclass(frozen=True)
class PlannedRole:
    """A governed role.

    `outcome` is what `reconcile` would leave: its `before` is the verdict now, `verdict` the one afterwards, `attached`
    what would be attached, `reason` why something cannot be. `bindings` are what the role works for. `carried` is how
    many managed policies it carries now, of the `quota`. `released` are guardrails that it does not need and would
    lose, `surplus` those that it does not need and keeps.
    """

    outcome: Outcome
    bindings: tuple[Binding, ...]
    carried: int
    quota: int
    released: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()


@dataclass(frozen=True)
class SharedRole:
    """A user profile that runs as its domain's role, and `guardrails` that it needs and therefore cannot have."""

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    role: str
    guardrails: tuple[str, ...]
    cure: str


@dataclass(frozen=True)
class EndingExemption:
    """An exemption that ends within a month; `roles` are the governed roles that it keeps out."""

    pattern: str
    until: date
    days_left: int
    reason: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class OpenSwitch:
    """A setting of a domain or user profile that brings generative AI into Canvas.

    `switch` is "direct deployment" (Canvas deploys JumpStart models) or "Bedrock role" (Canvas works with Bedrock as
    `role`). `user_profile` is empty for a domain's own.
    """

    account: str
    region: str
    domain_id: str
    domain_name: str
    user_profile: str
    switch: str
    role: str = ""


@dataclass(frozen=True)
class Plan:
    """What would change in one account, and what cannot.

    `deployed` is whether a stack is there whose tables were read and which keeps the guardrails by itself.
    """

    account: str
    regions: tuple[str, ...]
    at: datetime
    deployed: bool
    policies: tuple[PlannedPolicy, ...]
    roles: tuple[PlannedRole, ...]
    shared: tuple[SharedRole, ...]
    exemptions: tuple[EndingExemption, ...]
    switches: tuple[OpenSwitch, ...]
    unread: tuple[str, ...]
