"""The expected state at the end, derived from the calls of users and Rolewarden and not from Rolewarden's output.

Each IAM call leaves an event with its caller. The calls of users, replayed on the state at the start, give the expected
state of every role. The calls of Rolewarden must be allowed ones, and the history must have them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rolewarden.canary import CANARY_ROLE
from rolewarden.policies import is_boundary, policy_arn
from rolewarden.signature import SIGNATURE
from rolewarden_local.aws import ACCOUNT_ID, REGION
from rolewarden_local.emulated import sagemaker
from rolewarden_local.emulated._ministack import iam

from tests.world import OWN_ROLE

OURS = policy_arn("", "aws", ACCOUNT_ID)
ROLEWARDEN = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{OWN_ROLE}/{OWN_ROLE}"
"""The role of Rolewarden. No other caller uses it."""

Role = dict[str, Any]


def roles_now() -> dict[str, Role]:
    """Every role of the account, from IAM's own store, but the canary: tests/test_drills.py has the attacks on it."""
    kept = ("AttachedPolicies", "PermissionsBoundary", "AssumeRolePolicyDocument", "InlinePolicies", "Tags")
    return {name: {key: deepcopy(iam._roles[name][key]) for key in kept} for name in iam._roles if name != CANARY_ROLE}


def policies_now() -> dict[str, str]:
    """The document of the default version of every policy of the account, by ARN."""
    return {arn: policy["Versions"][policy["DefaultVersionId"]]["Document"] for arn, policy in iam._policies.items()}


def named_now() -> list[tuple[str, str, str]]:
    """The role ARNs of every domain and user profile, after the names of the domain and of the user profile, if any."""
    found = sagemaker.state()[(ACCOUNT_ID, REGION)]
    named = []
    for domain in found["domains"].values():
        profiles = found.get("rolewarden_user-profile", {}).items()
        members = [(name, made.settings) for (_, name), made in profiles if made.domain_id == domain.id]
        for profile, settings in (("", domain.default_user_settings), ("", domain.default_space_settings), *members):
            named += [(domain.domain_name, profile, arn) for arn in arns_in(settings)]
    return named


def arns_in(settings: Any) -> Iterable[str]:
    """All ARNs of roles in a subject's settings or an event's parameters."""
    if isinstance(settings, Mapping):
        for value in settings.values():
            yield from arns_in(value)
    elif isinstance(settings, str) and ":role/" in settings:
        yield settings


def name_of(arn: str) -> str:
    """The role's name, or its ARN for a role of another account."""
    return arn.rsplit("/", 1)[-1] if f":{ACCOUNT_ID}:" in arn else arn


class Call(NamedTuple):
    """A call of Rolewarden: its name, its parameters, and the correlation ID of its remediation."""

    name: str
    said: Mapping[str, Any]
    mark: str


@dataclass
class Ledger:
    """The state at the start, and the changes by users since then.

    - `guardrails`: what the subjects of a domain need, by its name. "" stands for every other one.
    - `exempt`: the exempt roles and those that are never governed, if they are older than `deployed`.
    - `uses`: the only uses of an exempt role that its exemption names, by domain and user profile. A role that is not
      in it can have every use.
    - `deployed`: the time of the deployment, as IAM writes the creation time of a role.
    - `everyone`: what each role needs that SageMaker can assume.
    - `detaches`: whether surplus policies are detached.
    - `lapsed`: the exempt roles that AWS or a row of the bindings table ever gave a reason to govern.
    - `wronged`: the exempt roles to which Rolewarden attached something although they had not lapsed.
    """

    guardrails: Mapping[str, str]
    exempt: frozenset[str]
    uses: Mapping[str, frozenset[tuple[str, str]]]
    deployed: str
    everyone: str = ""
    detaches: bool = False
    roles: dict[str, Role] = field(default_factory=roles_now)
    theirs: dict[str, str] = field(default_factory=lambda: _theirs(policies_now()))
    needed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    lapsed: set[str] = field(default_factory=set)
    wronged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.domains = {
            domain.id: domain.domain_name for domain in sagemaker.state()[(ACCOUNT_ID, REGION)]["domains"].values()
        }
        for domain, _, arn in named_now():
            self.needed[name_of(arn)].add(self.guardrail(domain))
        if self.everyone:
            for role, found in self.roles.items():
                self._trusts(role, found["AssumeRolePolicyDocument"])

    def guardrail(self, domain: str) -> str:
        """The guardrails that the subjects of a domain with this name need."""
        return self.guardrails.get(domain, self.guardrails[""])

    def needs_now(self) -> dict[str, set[str]]:
        """The policies that each role must have, by its name, or by its ARN for another account's role."""
        needs: dict[str, set[str]] = defaultdict(set)
        for domain, _, arn in named_now():
            needs[name_of(arn)].add(self.guardrail(domain))
        if self.everyone:
            for role, found in roles_now().items():
                if "sagemaker.amazonaws.com" in found["AssumeRolePolicyDocument"]:
                    needs[role].add(self.everyone)
        return {role: needed for role, needed in needs.items() if not self.is_exempt(role)}

    def is_exempt(self, role: str) -> bool:
        """Whether IAM and SageMaker confirm now that a role is exempt or never governed."""
        name = role.rsplit("/", 1)[-1]
        if name not in self.exempt or role.startswith("arn:") or name not in iam._roles:
            return name in self.exempt
        used = {(domain, profile) for domain, profile, arn in named_now() if name_of(arn) == name}
        return iam._roles[name]["CreateDate"] <= self.deployed and used <= self.uses.get(name, used)

    def play(self, events: Iterable[Mapping[str, Any]]) -> list[Call]:
        """Replay the calls of users, and return those of Rolewarden in their order."""
        ours = []
        for event in events:
            detail = event["detail"]
            if "errorCode" in detail:
                continue
            name, parameters = detail["eventName"], detail["requestParameters"] or {}
            if detail["userIdentity"]["arn"] == ROLEWARDEN:
                ours.append(Call(name, parameters, detail["userAgent"].rpartition(SIGNATURE)[2]))
                role = parameters.get("roleName", "")
                if name in {"AttachRolePolicy", "PutRolePermissionsBoundary"} and role in self.exempt - self.lapsed:
                    self.wronged.append(role)
            elif detail["eventSource"] == "iam.amazonaws.com":
                self._iam(name, parameters)
            else:
                self._sagemaker(name, parameters, detail["responseElements"] or {})
        return ours

    def _sagemaker(self, name: str, parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        if name == "CreateDomain":
            self.domains[answer["domainArn"].rsplit("/", 1)[-1]] = parameters["domainName"]
        domain = parameters.get("domainName") or self.domains.get(parameters.get("domainId", ""), "")
        for arn in arns_in(parameters):
            name = name_of(arn)
            self.needed[name].add(self.guardrail(domain))
            if name in self.uses and (domain, parameters.get("userProfileName", "")) not in self.uses[name]:
                self.lapsed.add(name)

    def _iam(self, name: str, said: Mapping[str, Any]) -> None:
        role_name = said.get("roleName", "")
        if name == "CreateRole":
            self.roles[role_name] = deepcopy(_NEW_ROLE)
            self.lapsed.add(role_name)
        elif name == "DeleteRole":
            del self.roles[role_name]
        elif name == "CreatePolicy":
            arn = f"arn:aws:iam::{ACCOUNT_ID}:policy{said.get('path', '/')}{said['policyName']}"
            self.theirs |= _theirs({arn: said["policyDocument"]})
        elif name == "DeletePolicy":
            self.theirs.pop(said["policyArn"], None)
        if name in _CHANGES:
            _CHANGES[name](self.roles[role_name], said)
        if trust := said.get("assumeRolePolicyDocument") or (
            name == "UpdateAssumeRolePolicy" and said["policyDocument"]
        ):
            self._trusts(role_name, trust)

    def _trusts(self, role: str, trust: str) -> None:
        if self.everyone and "sagemaker.amazonaws.com" in trust:
            self.needed[role].add(self.everyone)

    def others(self, roles: Mapping[str, Role]) -> dict[str, Any]:
        """`roles` without the guardrails and boundaries that Rolewarden can change on roles that ever needed some."""
        left = {}
        published = {OURS + name for name in {*self.guardrails.values(), self.everyone}}
        for name, role in roles.items():
            boundary = role["PermissionsBoundary"] or ""
            governed = self.detaches or bool(self.needed.get(name))
            attached = {arn for arn in role["AttachedPolicies"] if not (governed and arn in published)}
            left[name] = {
                "attached": attached,
                "boundary": "" if governed and boundary.startswith(OURS) else boundary,
                "trust": json.loads(role["AssumeRolePolicyDocument"]),
                "inline": role["InlinePolicies"],
                "tags": {tag["Key"]: tag["Value"] for tag in role["Tags"]},
            }
        return left


_NEW_ROLE: Role = {"AttachedPolicies": [], "PermissionsBoundary": "", "InlinePolicies": {}, "Tags": []}


def _attach(role: Role, said: Mapping[str, Any]) -> None:
    role["AttachedPolicies"] = [
        *(arn for arn in role["AttachedPolicies"] if arn != said["policyArn"]),
        said["policyArn"],
    ]


def _detach(role: Role, said: Mapping[str, Any]) -> None:
    role["AttachedPolicies"] = [arn for arn in role["AttachedPolicies"] if arn != said["policyArn"]]


def _tag(role: Role, said: Mapping[str, Any]) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in role["Tags"]} | {tag["key"]: tag["value"] for tag in said["tags"]}
    role["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]


_CHANGES: Mapping[str, Callable[[Role, Mapping[str, Any]], Any]] = {
    "CreateRole": lambda role, said: role.update(AssumeRolePolicyDocument=said["assumeRolePolicyDocument"]),
    "AttachRolePolicy": _attach,
    "DetachRolePolicy": _detach,
    "PutRolePermissionsBoundary": lambda role, said: role.update(PermissionsBoundary=said["permissionsBoundary"]),
    "DeleteRolePermissionsBoundary": lambda role, _: role.update(PermissionsBoundary=""),
    "PutRolePolicy": lambda role, said: role["InlinePolicies"].update({said["policyName"]: said["policyDocument"]}),
    "DeleteRolePolicy": lambda role, said: role["InlinePolicies"].pop(said["policyName"]),
    "TagRole": _tag,
    "UpdateAssumeRolePolicy": lambda role, said: role.update(AssumeRolePolicyDocument=said["policyDocument"]),
}
"""The effect of users' calls on a role."""


def _theirs(policies: Mapping[str, str]) -> dict[str, str]:
    """Policies outside of Rolewarden's path."""
    return {arn: document for arn, document in policies.items() if not arn.startswith(OURS)}


def remediations_made(calls: Iterable[Call]) -> Counter[tuple[str, ...]]:
    """The effects of Rolewarden's calls, each once. The retry of an unanswered call has the same correlation ID."""
    made: set[tuple[str, ...]] = set()
    for name, said, mark in calls:
        role, policy = said.get("roleName", ""), said.get("policyArn", "").removeprefix(OURS)
        if name == "AttachRolePolicy":
            made.add((mark, "attached", role, policy))
        elif name == "DetachRolePolicy":
            made.add((mark, "detached", role, policy))
        elif name == "PutRolePermissionsBoundary":
            made.add((mark, "bounded", role))
        elif name == "DeleteRolePermissionsBoundary":
            made.add((mark, "unbounded", role))
        elif name == "CreatePolicy":
            made.add((mark, "created", said["policyName"]))
        elif name == "CreatePolicyVersion":
            made.add((mark, "replaced", policy))
    return Counter(made)


def remediations_recorded(rows: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, ...]]:
    """The same effects, counted in the rows of the history."""
    told: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        role, mark = row.get("role", ""), row.get("correlation_id", "")
        if row["kind"] == "Role Contested":
            continue
        told.update((mark, "attached", role, policy) for policy in row.get("attached", ()))
        told.update(
            (mark, "unbounded", role) if is_boundary(policy) else (mark, "detached", role, policy)
            for policy in row.get("detached", ())
        )
        if row.get("remediation") == "bounded":
            told[mark, "bounded", role] += 1
        if row.get("boundary_removed"):
            told[mark, "unbounded", role] += 1
        if row["kind"] == "Policy Restored" and row["remediation"] != "undone":
            told[mark, row["remediation"], row["policy"]] += 1
        if row["kind"] == "Guardrails Published":
            told.update((mark, change, policy) for policy, change in row["policies"].items())
    return told
