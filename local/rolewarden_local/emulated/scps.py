"""The decision of an organization's service control policies on a request, in calls and in simulations.

MiniStack keeps service control policies and never evaluates them.

- Each level from the root to the account must allow the request, and no level may deny it:
  https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_evaluation.html
- They restrict users, roles and the root user of member accounts. They do not restrict the management account,
  service-linked roles and service principals:
  https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
"""

from __future__ import annotations

from collections.abc import Mapping

from rolewarden_local.emulated.judge import Decision, Values, judge
from rolewarden_local.emulated.organization import FULL_ACCESS, ORGANIZATION, scp_levels

SERVICE_LINKED = ":role/aws-service-role/"
"""A part of the ARN of each service-linked role."""


def organizations_decision(principal: str, action: str, resource: str, keys: Mapping[str, Values]) -> Decision:
    """Decide a request of a principal (ARN of a role, user or root user) by service control policies alone."""
    account = principal.split(":")[4]
    if SERVICE_LINKED in principal or not ORGANIZATION.is_restricted(account):
        return "allowed"
    decisions: set[Decision] = set()
    for level in scp_levels(account):
        if set(level) != {FULL_ACCESS}:
            decisions.add(judge(level, action, resource, keys).decision)
    if "explicitDeny" in decisions:
        return "explicitDeny"
    return "implicitDeny" if "implicitDeny" in decisions else "allowed"
