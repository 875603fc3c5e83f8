"""A large company in the local AWS: thousands of domains, user profiles and roles, written directly into its stores.

Benchmarks and tests that count calls use it. The API makes one object of each kind, and the others are copies of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import boto3
from moto.sagemaker.models import sagemaker_backends

from rolewarden_local.emulated._ministack import ACCOUNT_ID, REGION, iam
from rolewarden_local.emulated.sagemaker import PROFILE, put_member
from rolewarden_local.scenes.seed import TRUST

GUARDRAILS = """
guardrails:
  strict: {bedrock: {deny: all}, jumpstart: {deny: all}}
  approved: {bedrock: {allow: [amazon.nova-*]}}
assignments:
  - {guardrails: [strict], roles: [also-*]}
  - guardrails: [approved]
also_govern:
  roles: [also-*]
"""
"""A guardrails.yaml for a crowd: one guardrail for the roles of user profiles, another for roles without a user."""


@dataclass(frozen=True)
class Crowd:
    """Domain IDs, roles of user profiles (`person-<n>`, one each), and roles without a user (`also-<n>`)."""

    domains: tuple[str, ...]
    roles: tuple[str, ...]
    also: tuple[str, ...]


def crowd(*, domains: int, profiles: int, also: int = 0) -> Crowd:
    """Make the crowd. The `profiles` are spread evenly over the `domains`, and each has its own role."""
    sagemaker = boto3.client("sagemaker", region_name=REGION)
    _make_roles(["domain"])
    ids = [
        sagemaker.create_domain(
            DomainName=f"domain-{number}",
            AuthMode="IAM",
            VpcId="vpc-1",
            SubnetIds=["subnet-1"],
            DefaultUserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/domain"},
        )["DomainArn"].rsplit("/", 1)[-1]
        for number in range(domains)
    ]
    people = [f"person-{number}" for number in range(profiles)]
    others = [f"also-{number}" for number in range(also)]
    _make_roles([*people, *others])
    backend = sagemaker_backends[ACCOUNT_ID][REGION]
    for number, name in enumerate(people):
        settings = {"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"}
        put_member(backend, PROFILE, ids[number % domains], name, settings)
    return Crowd(tuple(ids), tuple(people), tuple(others))


def attach_all(roles: Iterable[str], policy_arn: str) -> None:
    """Attach a policy to all these roles."""
    for name in roles:
        iam._roles[name]["AttachedPolicies"].append(policy_arn)
        iam._policies[policy_arn]["AttachmentCount"] += 1


def detach_all(roles: Iterable[str]) -> None:
    """Detach every policy from these roles."""
    for name in roles:
        for arn in iam._roles[name]["AttachedPolicies"]:
            iam._policies[arn]["AttachmentCount"] -= 1
        iam._roles[name]["AttachedPolicies"] = []


def _make_roles(names: list[str]) -> None:
    boto3.client("iam").create_role(RoleName=names[0], AssumeRolePolicyDocument=TRUST)
    model = iam._roles[names[0]]
    for number, name in enumerate(names[1:]):
        role = {**copy.deepcopy(dict(model)), "RoleName": name, "Arn": f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"}
        iam._roles[name] = {**role, "RoleId": f"AROA{names[0].upper()[:6]}{number:010d}"}
