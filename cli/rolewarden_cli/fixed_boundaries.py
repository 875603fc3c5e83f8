"""Fixed boundaries: prevention for accounts without room for the service control policies (SCPs) of models.

The model SCPs have the statements of every assignment. Here, each assignment has a permissions boundary with its
statements instead, and each of its roles must have this boundary. One set of SCPs does the rest:

- It denies creating a role of an assignment without the boundary, and removing or replacing the boundary.
- It denies changing the boundary policies, except for the role of StackSets in the accounts of an organization.
- It denies every other caller the calls that any guardrail denies.

A boundary is never swapped: it depends on the ARN of the role, and a role cannot change its ARN.

Facts about `iam:PermissionsBoundary`: it is the requested boundary in iam:CreateRole and
iam:PutRolePermissionsBoundary, and absent in a call without one, see
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rolewarden.guardrails import Assignment, Guardrail, Rules
from rolewarden.packing import POLICY_SIZE, SCP_SIZE, Document, Statement, by_name, document_of, numbered, packed, size
from rolewarden.policies import ALL_THAT_IS_NOT_DENIED, boundary_name
from rolewarden.prevention import compile_prevention, enforced
from rolewarden.principals import account_of, pattern_of

from rolewarden_cli.protect import IAM_READS, POLICY_WRITES, STACKSETS

SCP_NAME = "rolewarden-boundaries"
"""The name of the first SCP. Further ones end in a number."""

PATH = "/rolewarden-boundaries/"
"""The path of the boundary policies. It is not `/rolewarden/`, because Rolewarden removes boundaries of that path from
roles that do not need them."""

_CALLER, _BOUNDARY = "aws:PrincipalArn", "iam:PermissionsBoundary"


class FixedBoundary(NamedTuple):
    """The boundary of the roles of assignments with the same guardrails. `roles` are patterns of their ARNs."""

    name: str
    document: Document
    roles: tuple[str, ...]

    @property
    def arns(self) -> tuple[str, ...]:
        """The ARN of the policy in each account that has one of the roles."""
        accounts = dict.fromkeys((role.split(":")[1], account_of(role)) for role in self.roles)
        return tuple(f"arn:{partition}:iam::{account}:policy{PATH}{self.name}" for partition, account in accounts)


class FixedBoundaries(NamedTuple):
    """The boundaries of a file, the SCPs that hold them in place, and the principals that get the strictest rules.

    `left_out` has each such principal with the reason.
    """

    boundaries: tuple[FixedBoundary, ...]
    scps: dict[str, Document]
    left_out: tuple[tuple[str, str], ...]


def compile_fixed_boundaries(rules: Rules, partition: str) -> FixedBoundaries:
    """The fixed boundaries of `rules` and their SCPs. Raises the same errors as `compile_prevention`.

    A statement that holds the boundaries is shorter than one with all principals, so it fits if these do.
    """
    boundaries: dict[str, FixedBoundary] = {}
    free: list[str] = []
    left_out: list[tuple[str, str]] = []
    for assignment in rules.assignments:
        patterns = []
        for principal in assignment.principals:
            if reason := _reason(assignment, principal):
                left_out.append((principal, reason))
            else:
                patterns.append(pattern_of(principal))
        guardrails = enforced(rules.guardrails[name] for name in assignment.guardrails)
        if {*guardrails} == {*enforced(rules.guardrails.values())}:
            continue  # These roles have the strictest rules like every other caller.
        if not guardrails:
            free += patterns
        elif patterns:
            made = _boundary(guardrails, partition, patterns)
            if isinstance(made, str):
                left_out += [(pattern, made) for pattern in patterns]
            else:
                before = boundaries.get(made.name)
                boundaries[made.name] = made._replace(roles=(*before.roles, *made.roles)) if before else made
    carried = [role for one in boundaries.values() for role in one.roles]
    elsewhere = rules._replace(assignments=(Assignment((), principals=(*free, *carried)),))
    statements = compile_prevention(elsewhere, partition).statements
    statements += _holding(tuple(boundaries.values()), partition) if boundaries else ()
    scps = by_name(SCP_NAME, packed(numbered(statements), SCP_SIZE))
    return FixedBoundaries(tuple(boundaries.values()), scps, tuple(left_out))


def _reason(assignment: Assignment, principal: str) -> str:
    """The reason why the principal of an assignment cannot have a fixed boundary; "" if it can."""
    if ":user/" in principal:
        return "a user can be renamed, and SCPs do not hold its boundary"
    if ":role/aws-reserved/" in principal:
        return "IAM Identity Center sets the boundary of this role"
    if assignment.source_identities:
        return "a boundary applies to all users of the role"
    return ""


def _boundary(guardrails: Iterable[Guardrail], partition: str, roles: Iterable[str]) -> FixedBoundary | str:
    """The boundary of some roles, or the reason why it does not fit a policy.

    It has the statements that the SCPs of a file with only these guardrails have.
    """
    of_file = {guardrail.name: guardrail for guardrail in guardrails}
    document = document_of([ALL_THAT_IS_NOT_DENIED, *compile_prevention(Rules(of_file, ()), partition).statements])
    if size(document) > POLICY_SIZE:
        return f"its boundary takes {size(document):,} of the {POLICY_SIZE:,} characters of an IAM policy"
    return FixedBoundary(boundary_name(of_file), document, tuple(roles))


def _holding(boundaries: tuple[FixedBoundary, ...], partition: str) -> Iterator[Statement]:
    """The statements that hold the boundaries in place."""
    keeper = f"arn:{partition}:iam::*:{STACKSETS}"
    others = {"ArnNotLike": {_CALLER: keeper}}
    for one in boundaries:
        yield {
            "Sid": "WithoutBoundary",
            "Effect": "Deny",
            "Action": ["iam:CreateRole", "iam:PutRolePermissionsBoundary"],
            "Resource": list(one.roles),
            # StringNotEquals is true for a call without a boundary.
            "Condition": {"StringNotEquals": {_BOUNDARY: list(one.arns)}},
        }
    yield {
        "Sid": "BoundariesStay",
        "Effect": "Deny",
        "Action": "iam:DeleteRolePermissionsBoundary",
        "Resource": [role for one in boundaries for role in one.roles],
    }
    policies = f"arn:{partition}:iam::*:policy{PATH}*"
    yield {
        "Sid": "BoundaryPolicies",
        "Effect": "Deny",
        "Action": list(POLICY_WRITES),
        "Resource": policies,
        "Condition": others,
    }
    yield {"Sid": "Keepers", "Effect": "Deny", "NotAction": list(IAM_READS), "Resource": keeper, "Condition": others}
