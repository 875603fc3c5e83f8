"""Users of a shared role in words: how to tell them apart, and the gaps of that."""

from __future__ import annotations

from rolewarden.bindings import Binding, SharedProfile
from rolewarden.shared_roles import Obstacle, SharedUse
from rolewarden.verdicts import RECOMMENDATIONS, Reason

HOW_TO = "docs/how-to/prevention.md, One user of a shared role"

JOBS = "jobs, notebook instances and shared spaces of the role have no source identity, or may have none"


def recommendation(why: Obstacle, domain: Binding) -> str:
    """The recommended action for a user profile that does not get its assignment, with the commands."""
    role = domain.role.name if domain.role else ""
    trust = (
        "let `sagemaker.amazonaws.com`, and no other principal, call sts:AssumeRole and sts:SetSourceIdentity in the "
        f"trust policy (`aws iam update-assume-role-policy --role-name {role} --policy-document file://trust.json`)"
    )
    of_domain = f"--region {domain.region} --domain-id {domain.domain_id}"
    apps = f"`aws sagemaker list-apps --region {domain.region} --domain-id-equals {domain.domain_id}`"
    setting = "--domain-settings-for-update ExecutionRoleIdentityConfig=USER_PROFILE_NAME"
    switch_on = (
        f"1. {trust}; 2. stop all apps of the domain once ({apps} shows them, and users lose unsaved work); "
        f"3. `aws sagemaker update-domain {of_domain} {setting}`"
    )
    own_role = "give the user profile an execution role of its own"
    ways = {
        Obstacle.FALLBACK: f"{own_role}, or remove `fallback: boundary` from guardrails.yaml",
        Obstacle.UNNAMED: f"{own_role}, assign the guardrail to its whole domain, or name the user profile exactly "
        "under `user_profiles` of its assignment",
        Obstacle.SWITCHED_OFF: f"{own_role}, assign the guardrail to its whole domain, or let the domain set source "
        f"identities: {switch_on} ({HOW_TO}; {JOBS})",
        Obstacle.TRUST: f"{trust}; until then, the guardrails of the role count for all its users ({HOW_TO})",
        Obstacle.OUTSIDE: "add the region to the parameter Regions and deploy, or delete its domains; if a region "
        "could not be read, let SweepFunction's role in the account call ec2:DescribeRegions and "
        "sagemaker:ListDomains, also in regions that an SCP closes (`rolewarden doctor` names the region); then run "
        f"`rolewarden sweep` ({HOW_TO})",
        Obstacle.SAME_NAME: "rename one of the user profiles of this name, or give one of their domains another role",
        Obstacle.BEDROCK_ROLE: f"{own_role} and a Bedrock role of its own, or assign the guardrail to its whole domain",
        Obstacle.TOO_LONG: f"{own_role}, or write shorter lists in the guardrail",
    }
    return ways.get(why, RECOMMENDATIONS[Reason.SHARES_ROLE])


def limits(shared: SharedProfile, use: SharedUse) -> str:
    """The access that telling a user apart by the source identity does not cover."""
    found = []
    if use.only:
        found.append(
            f"{', '.join(use.only)} only in sessions of the user's apps: the user can get around it by a job, "
            "because a job has no source identity, or may have none"
        )
    if use.free_of:
        found.append(f"jobs are denied as for the other users ({', '.join(use.free_of)})")
    if shared.uses_bedrock_role:
        found.append("Canvas calls Bedrock as the Bedrock role of the domain, which has its guardrails for all users")
    return "; ".join(found)
