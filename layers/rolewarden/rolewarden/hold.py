"""First uses: a role that other services use gets its first guardrail, or is held until an operator decides.

Every caller who can change a user profile can name somebody else's production role in it. Rolewarden would then attach
a deny to that role. `never_govern` in guardrails.yaml names roles that get no guardrail like this. For the others, the
first guardrail of a suspicious role is reported, and `hold: suspicious` keeps it away meanwhile.

A held role has no guardrail, so a hold must not become a way to lose one. A role is held only if nothing says that it
was governed before:

- It has no policy and no boundary of Rolewarden.
- It is older than the last deployment of the rules, by IAM and CloudFormation. A new role is governed at once.
- The history shows no remediation of it, and the evaluation does not follow the removal of a guardrail.
- All its uses are newer than the last deployment, by SageMaker, or the history shows that it was held already.

A caller who only changes the trust policy of a governed role therefore changes nothing. A forged row of the history can
end a hold, and then Rolewarden attaches the guardrails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from rolewarden.bindings import ROLE, Binding, RoleKey
from rolewarden.contest import UNDOING
from rolewarden.guardrails import Hold, Rules
from rolewarden.listed import RoleDescription
from rolewarden.names import about
from rolewarden.origin import Origin
from rolewarden.own_events import RoleRemediated
from rolewarden.trust import service_of
from rolewarden.verdicts import Reason

FIRST_USE_OF = "first use of "
"""The beginning of the message of a finding about a first guardrail. The name of the role follows."""

CANVAS_SERVICES = frozenset({"sagemaker", "bedrock", "forecast", "emr-serverless"})
"""The services, without their domain, that assume the roles of Canvas."""

_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn")
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
SOME_SERVICES = 3
"""The number of services that a suspicion names."""


class ReadsHistory(Protocol):
    """Reads the history of a role."""

    def rows(self, about: str, since: datetime) -> list[dict[str, Any]]:
        """As `History.rows`."""


def suspicion(role: RoleDescription) -> str:
    """The reasons why a role may belong to another team, and not to Canvas; empty if nothing says so."""
    others = sorted(name for name in role.trust.services if service_of(name) not in CANVAS_SERVICES)
    if others:
        more = f" and {len(others) - SOME_SERVICES} more" if len(others) > SOME_SERVICES else ""
        return f"the role trusts {', '.join(others[:SOME_SERVICES])}{more}"
    usable = any(role.trust.includes(name + domain) for name in CANVAS_SERVICES for domain in _DOMAINS)
    return "" if usable else "no service of Canvas can assume the role"


@dataclass
class Holds:
    """Decides whether a suspicious role is held.

    `deployed` gives the time of the last deployment of the rules, in seconds of the epoch; None if there was none.
    """

    rules: Rules
    deployed: Callable[[], float | None]
    history: ReadsHistory

    def is_held(self, role: RoleDescription, key: RoleKey, bindings: Sequence[Binding], origin: Origin) -> bool:
        """Whether a suspicious role without a policy of Rolewarden gets none for now. Raises RetryLater."""
        if self.rules.hold is Hold.NONE or origin.call in UNDOING or self.rules.confirms(key.name):
            return False
        if any(binding.kind == ROLE for binding in bindings) or (deployed := self.deployed()) is None:
            return False
        if role.created >= deployed:
            return False
        rows = self.history.rows(about(key.account, key.name), _BEGINNING)
        if any(row.get("kind") == RoleRemediated.detail_type for row in rows):
            return False
        was_held = any(row.get("reason") == Reason.HELD.value for row in rows)
        return was_held or all(not one.modified or float(one.modified) > deployed for one in bindings)
