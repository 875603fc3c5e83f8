"""The verification of exemptions, so that a role is exempt only if it is the role that an administrator exempted.

guardrails.yaml names an exempt role by its account and name. Anybody who can delete and create roles can give that name
to another role, and anybody who can change a domain can give the role to all its users. Each evaluation therefore
compares an exemption with AWS:

- The role must be older than the last deployment of the rules. IAM gives a role that is created again another unique
  ID and a later creation time, so this comparison recognizes the ID without storing it.
- If the exemption names subjects, all uses of the role must be among them.
- Otherwise, a subject counts as known at the deployment if its settings have not changed since then.

The deployment's time comes from CloudFormation, the role from IAM, and the subject's time from SageMaker. Rolewarden
stores none of this, so a forged row of a table cannot extend an exemption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from rolewarden.bindings import ROLE, Binding, RoleKey
from rolewarden.calls import DescribesRoles
from rolewarden.errors import Gone, Refused
from rolewarden.guardrails import Exemption
from rolewarden.listed import RoleDescription
from rolewarden.verdicts import Doubt, Reason

SOME_USES = 5
"""The number of uses of a role that a doubt names."""


class JudgesExemptions(Protocol):
    """Judges whether the exemption of a role holds."""

    def doubt(self, exemption: Exemption, role: RoleKey, bindings: Sequence[Binding]) -> Doubt | None:
        """As `Exemptions.doubt`."""


class TrustedExemptions:
    """Trusts every exemption, for tests and tools that only compile rules."""

    def doubt(self, exemption: Exemption, role: RoleKey, bindings: Sequence[Binding]) -> Doubt | None:  # noqa: ARG002
        """None."""
        return None


class Exemptions:
    """Compares exemptions with AWS.

    `deployed` gives the time at which the last deployment of the rules began, in seconds of the epoch. It gives None if
    the rules are not deployed yet: a deployment would exempt every role as it is now.
    """

    def __init__(self, aws: DescribesRoles, deployed: Callable[[], float | None]) -> None:
        self.aws = aws
        self._read_deployed = deployed
        self._deployed: float | None = None

    def doubt(self, exemption: Exemption, role: RoleKey, bindings: Sequence[Binding]) -> Doubt | None:
        """The first doubt about the exemption of `role`; None if there is none.

        `bindings` are all uses of the role. Raises RetryLater.
        """
        name = f"exemption of {exemption.role}"
        try:
            found: RoleDescription | None = self.aws.within(role.account).role(role.name)
        except Gone:
            message = f"{name}: account {role.account} has no role of this name"
            return Doubt(Reason.EXEMPT_ABSENT, message, ends=True)
        except Refused as refused:
            if refused.reason is not Reason.NOT_ENTERED:
                return Doubt(refused.reason or Reason.REFUSED, f"{name}: {refused}", ends=True)
            # Without a way into the account, Rolewarden can attach nothing to the role, whether it is exempt or not.
            found = None
        doubt = self._of_age(name, found) if found else None
        return doubt or self._of_uses(name, exemption, [binding for binding in bindings if binding.kind != ROLE])

    def _of_age(self, name: str, found: RoleDescription) -> Doubt | None:
        if deployed := self._before(found.created):
            message = f"{name}: role {found.id} was created {_at(found.created)}, after the deployment {_at(deployed)}"
            return Doubt(Reason.EXEMPT_NEWER, message, ends=True)
        return None

    def _of_uses(self, name: str, exemption: Exemption, uses: Sequence[Binding]) -> Doubt | None:
        if exemption.names_subjects:
            beyond = [use for use in uses if not exemption.covers(use.subject)]
            message = f"{name}: it does not name {_named(beyond)}"
            return Doubt(Reason.EXEMPT_BEYOND, message, ends=True) if beyond else None
        # A subject that SageMaker is still changing has no time yet. A recheck follows.
        gained = [use for use in uses if use.modified and self._before(float(use.modified))]
        message = f"{name}: since the last deployment, a caller changed {_named(gained)}"
        return Doubt(Reason.EXEMPT_GAINED, message, ends=False) if gained else None

    def _before(self, time: float) -> float | None:
        """The time of the last deployment if it is before `time`; otherwise None."""
        if self._deployed is None or self._deployed < time:
            # A function can outlive a deployment that does not change it.
            self._deployed = self._read_deployed()
        return self._deployed if self._deployed is not None and self._deployed < time else None


class VerifiedExemption(NamedTuple):
    """An exemption that guardrails.yaml has for a role, and the doubt about it; None without one."""

    exemption: Exemption
    doubt: Doubt | None

    @property
    def holds(self) -> bool:
        """Whether the role is exempt."""
        return not (self.doubt and self.doubt.ends)


def _named(uses: Sequence[Binding]) -> str:
    labels = sorted({use.label for use in uses})
    more = f" and {len(labels) - SOME_USES} more" if len(labels) > SOME_USES else ""
    return f"{', '.join(labels[:SOME_USES])}{more}"


def _at(time: float) -> str:
    return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
