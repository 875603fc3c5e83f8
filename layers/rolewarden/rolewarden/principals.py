"""The principals of an assignment: the roles and users that a service control policy (SCP) can recognize.

An SCP sees the ARN of the caller (`aws:PrincipalArn`) and no domain, user profile or tag. A principal of an assignment
is an exception from statements of the SCP, so its ARN must match no caller that the file does not mean. A wildcard in a
condition also matches `/`: `role/canvas-*` matches the role `role/canvas-x/any/Name`. Therefore a principal is the ARN
of one role or user of one account, or everything under one path:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rolewarden.guardrails import Assignment, Exemption
from rolewarden.matching import matches_any, matches_name
from rolewarden.names import same
from rolewarden.problems import Path_, Problems

_SEGMENT = r"[\w+=,.@-]"
ROLE_OR_USER = re.compile(rf"arn:[a-z-]+:iam::[0-9]{{12}}:(?:role|user)/(?:{_SEGMENT}+/)*{_SEGMENT}{{1,64}}", re.ASCII)
"""The ARN of one role or user."""

PATH_OF_ROLES = re.compile(rf"arn:[a-z-]+:iam::[0-9]{{12}}:role/(?:{_SEGMENT}+/)+\*", re.ASCII)
"""The pattern of the ARNs of all roles under a path."""

PERMISSION_SET = re.compile(
    r"(arn:[a-z-]+:iam::[0-9]{12}:role/aws-reserved/sso\.amazonaws\.com/(?:[a-z0-9-]+/)?AWSReservedSSO_[\w+=,.@-]{1,32}_)"
    r"(?:\*|\?{16})",
    re.ASCII,
)
"""The ARN of a permission set's role, with a pattern for the suffix that IAM Identity Center chooses."""

SOURCE_IDENTITY = r"[A-Za-z0-9](-?[A-Za-z0-9]){1,62}"
"""The name of a user profile that can be a source identity, which has at least two characters:
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""

SUFFIX = "?" * 16
"""The suffix of a permission set's role. It has a fixed length, because `*` would also match other permission sets."""

ANY_PRINCIPALS = (
    "a list of ARNs of roles, or of paths of roles, for example `[arn:aws:iam::111122223333:role/canvas/approved/*]`"
)

_INSTEAD = "write the ARN of a role, for example `arn:aws:iam::111122223333:role/canvas/Research`"
_TOO_WIDE = (
    (
        r"arn:[^:]*:sts::[^:]*:assumed-role/.*",
        "is the ARN of a session, and AWS compares the ARN of its role: " + _INSTEAD,
    ),
    (
        r"arn:[^:]*:sts::[^:]*:federated-user/.*",
        "names a federated user, and each caller with sts:GetFederationToken chooses this name: " + _INSTEAD,
    ),
    (
        r"arn:[^:]*:iam::[^:]*:root|[0-9]{12}",
        "names a whole account or its root user, which can have no exception: " + _INSTEAD,
    ),
    (
        r"arn:[^:]*:iam::[^:]*:role/aws-service-role(/.*)?",
        "names a service-linked role, which no SCP restricts: remove it",
    ),
    (
        r"arn:[^:]*:iam::(?![0-9]{12}:)[^:]*:.*",
        "names no single account, so an administrator of another account could create a principal that matches: write "
        "the 12 digits of the account, and one ARN for each account",
    ),
    (
        r"arn:[^:]*:iam::[0-9]{12}:(role|user)?/?[*?]+",
        "matches every role or user of the account, so nothing is left to prevent: name a path, for example "
        "`arn:aws:iam::111122223333:role/canvas/approved/*`",
    ),
    (
        r"arn:[^:]*:iam::[0-9]{12}:role/(service-role|aws-reserved)/([^*?]*/)?\*",
        "matches roles that consoles and IAM Identity Center create under this path for other uses: write the whole "
        "ARN of each role (`.../AWSReservedSSO_NAME_*` for the role of a permission set)",
    ),
    (
        r"arn:[^:]*:iam::[0-9]{12}:user/.*[*?].*",
        "is a pattern of users, and a caller with iam:UpdateUser can move another user there: write the whole ARN of "
        "the user",
    ),
)
"""Forms of ARNs that match too much or nothing, each with the reason and the correction."""

_WILDCARD = (
    "has a wildcard in a name, which also matches `/` and so roles under other paths: write the whole ARN, or a path "
    "that ends in `/*`"
)


def problem_of(principal: str) -> str:
    """The mistake in the form of a principal, with the correction; "" if the form is right."""
    if PERMISSION_SET.fullmatch(principal):
        return ""
    if problem := next((problem for form, problem in _TOO_WIDE if re.fullmatch(form, principal)), ""):
        return problem
    if ROLE_OR_USER.fullmatch(principal) or PATH_OF_ROLES.fullmatch(principal):
        return ""
    return _WILDCARD if set(principal) & set("*?") else "is not the ARN of a role or of a path of roles: " + _INSTEAD


def pattern_of(principal: str) -> str:
    """The pattern of a principal in a condition: a permission set's role with a suffix of a fixed length."""
    found = PERMISSION_SET.fullmatch(principal)
    return f"{found[1]}{SUFFIX}" if found else principal


def account_of(principal: str) -> str:
    """The account of a principal."""
    return principal.split(":")[4]


def overlap(one: str, other: str) -> bool:
    """Whether an ARN can match both principals."""
    one, other = pattern_of(one), pattern_of(other)
    for path, within in ((one, other), (other, one)):
        if path.endswith("/*"):
            return within.startswith(path[:-1]) or (within.endswith("/*") and path.startswith(within[:-1]))
    return len(one) == len(other) and all(a == b or "?" in (a, b) for a, b in zip(one, other, strict=True))


def exempt_patterns(exemption: Exemption, partition: str) -> tuple[str, ...]:
    """The patterns of the ARN of an exempt role; empty if the exemption names no account.

    An exemption has no path. A name is unique in an account, so the second pattern matches no other role.
    """
    if not exemption.account:
        return ()
    roles = f"arn:{partition}:iam::{exemption.account}:role/"
    return f"{roles}{exemption.role}", f"{roles}*/{exemption.role}"


def add_contradictions(assignments: Sequence[Assignment], exemptions: Sequence[Exemption], problems: Problems) -> None:
    """Add an error for each principal that contradicts its assignment, another assignment or an exemption."""
    first = next((principal for one in assignments for principal in one.principals), "")
    earlier: list[tuple[int, str]] = []
    for number, assignment in enumerate(assignments):
        for place, principal in enumerate(assignment.principals):
            path: Path_ = ("assignments", number, "principals", place)
            found = [*_contradictions(assignment, principal, first, earlier), *_exempt(principal, exemptions)]
            for problem in found:
                problems.add_error(path, f"`{principal}` {problem}")
        earlier += [(number, principal) for principal in assignment.principals]


def _contradictions(
    assignment: Assignment, principal: str, first: str, earlier: Sequence[tuple[int, str]]
) -> Iterator[str]:
    account, partition = account_of(principal), principal.split(":")[1]
    if partition != first.split(":")[1]:
        yield f"is in another partition than `{first}`: write one guardrails.yaml for each partition"
    if not matches_any(assignment.accounts, account):
        yield f"is in the account {account}, which `accounts` of this assignment does not match: add it there"
    name = principal.rpartition("/")[2]
    if _is_one_role(principal) and assignment.roles and not matches_name(assignment.roles, name):
        yield f"has the name {name}, which `roles` of this assignment does not match: add it there"
    for number, other in earlier:
        if overlap(principal, other):
            yield f"also belongs to assignment {number + 1} by `{other}`, and a caller has one assignment: keep one"
        elif same(principal, other) and not principal.endswith("/*"):
            yield f"differs from `{other}` of assignment {number + 1} only in case, and IAM has one such role: keep one"


def _exempt(principal: str, exemptions: Sequence[Exemption]) -> Iterator[str]:
    name = principal.rpartition("/")[2]
    for number, exemption in enumerate(exemptions, start=1):
        here = exemption.account in ("", account_of(principal))
        if here and _is_one_role(principal) and same(name, exemption.role):
            yield f"is also the exempt role of exemption {number}, which belongs to no assignment: remove one of them"


def _is_one_role(principal: str) -> bool:
    return ":role/" in principal and not set(principal) & set("*?")
