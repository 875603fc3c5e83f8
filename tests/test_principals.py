"""`principals` in guardrails.yaml: ARNs that a service control policy can recognize, and that match no other caller."""

from __future__ import annotations

import itertools

import pytest
from rolewarden.principals import overlap, problem_of

from tests.guardrail_files import WAY_OUT, yaml
from tests.guardrails.prevention import INSIDE, OUTSIDE, PERMISSION_SET, PRINCIPALS, belongs

ACCOUNT = "arn:aws:iam::111122223333:"
FILE = """
guardrails:
  none: {bedrock: {deny: all}}
  some: {bedrock: {allow: [amazon.nova-*]}}
assignments:
"""
MISTAKES = [
    ("CanvasResearch", "is not the ARN of a role or of a path of roles"),
    ("*", "has a wildcard in a name"),
    ("111122223333", "names a whole account or its root user"),
    (f"{ACCOUNT}root", "names a whole account or its root user"),
    (f"{ACCOUNT}*", "matches every role or user of the account"),
    (f"{ACCOUNT}role/*", "matches every role or user of the account"),
    (f"{ACCOUNT}role/**", "matches every role or user of the account"),
    (f"{ACCOUNT}user/*", "matches every role or user of the account"),
    ("arn:aws:iam::*:role/canvas/approved/*", "names no single account"),
    ("arn:aws:iam::11112222333?:role/canvas/approved/*", "names no single account"),
    ("arn:aws:iam::1111:role/canvas/Nova", "names no single account"),
    (f"{ACCOUNT}role/service-role/*", "matches roles that consoles and IAM Identity Center create"),
    (f"{ACCOUNT}role/aws-reserved/*", "matches roles that consoles and IAM Identity Center create"),
    (f"{ACCOUNT}role/aws-reserved/sso.amazonaws.com/*", "matches roles that consoles and IAM Identity Center create"),
    (f"{ACCOUNT}role/aws-service-role/*", "names a service-linked role"),
    (f"{ACCOUNT}role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX", "names a service-linked role"),
    (f"{ACCOUNT}user/team/*", "is a pattern of users"),
    (f"{ACCOUNT}role/canvas-*", "has a wildcard in a name, which also matches `/`"),
    (f"{ACCOUNT}role/canvas/appr*/Nova", "has a wildcard in a name, which also matches `/`"),
    (f"{ACCOUNT}role/canvas/*/Nova", "has a wildcard in a name, which also matches `/`"),
    (f"{ACCOUNT}role/canvas/approved*", "has a wildcard in a name, which also matches `/`"),
    (f"{ACCOUNT}role/canvas/approved/**", "has a wildcard in a name, which also matches `/`"),
    (f"{ACCOUNT}role/canvas/approved/?", "has a wildcard in a name, which also matches `/`"),
    (f"{ACCOUNT}role/Nov?", "has a wildcard in a name, which also matches `/`"),
    (f"{ACCOUNT}group/analysts", "is not the ARN of a role or of a path of roles"),
    (f"{ACCOUNT}role/", "is not the ARN of a role or of a path of roles"),
    (f"{ACCOUNT}role/a//b", "is not the ARN of a role or of a path of roles"),
    (f"{ACCOUNT}role/${{aws:username}}", "is not the ARN of a role or of a path of roles"),
    ("arn:aws:sts::111122223333:assumed-role/Nova/SageMaker", "is the ARN of a session"),
    ("arn:aws:sts::111122223333:federated-user/nova", "names a federated user"),
    ("arn:aws:bedrock:us-east-1::foundation-model/a.b", "is not the ARN of a role or of a path of roles"),
]


@pytest.mark.parametrize(("principal", "words"), MISTAKES)
def test_a_principal_that_matches_too_much_or_nothing_is_an_error_with_a_correction(principal: str, words: str) -> None:
    text = f"{FILE}  - {{guardrails: [some], principals: ['{principal}'], roles: [r]}}\n  - guardrails: [none]\n"
    [error] = yaml(text).errors
    assert str(error).startswith(f"guardrails.yaml:6: assignments[1].principals[1]: `{principal}` {words}")
    assert WAY_OUT.search(error.message.partition(words)[2])


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_a_role_a_path_a_user_and_a_permission_set_are_principals(principal: str) -> None:
    assert problem_of(principal) == ""


def file(first: str, second: str = "", more: str = "") -> str:
    return f"{FILE}  - {{guardrails: [some], {first}}}\n{second}  - guardrails: [none]\n{more}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            file(f"domains: [a], principals: ['{ACCOUNT}role/canvas/*']",
                 f"  - {{guardrails: [], domains: [b], principals: ['{ACCOUNT}role/canvas/deep/Nova']}}\n"),
            f"assignments[2].principals[1]: `{ACCOUNT}role/canvas/deep/Nova` also belongs to assignment 1 by "
            f"`{ACCOUNT}role/canvas/*`, and a caller has one assignment: keep one",
        ),
        (
            file(f"domains: [a], principals: ['{ACCOUNT}role/canvas/Nova']",
                 f"  - {{guardrails: [], domains: [b], principals: ['{ACCOUNT}role/canvas/nova']}}\n"),
            "only in case, and IAM has one such role: keep one",
        ),
        (
            file(f"accounts: ['444455556666'], principals: ['{ACCOUNT}role/canvas/*']"),
            "is in the account 111122223333, which `accounts` of this assignment does not match: add it there",
        ),
        (
            file(f"roles: [Other*], principals: ['{ACCOUNT}role/canvas/Nova']"),
            "has the name Nova, which `roles` of this assignment does not match: add it there",
        ),
        (
            file(f"domains: [a], principals: ['{ACCOUNT}role/x/*', 'arn:aws-cn:iam::111122223333:role/y/*']"),
            "is in another partition than",
        ),
        (
            file(f"domains: [a], principals: ['{ACCOUNT}role/Visitor']",
                 more="exemptions: [{role: visitor, account: '111122223333', until: 2027-01-31}]\n"),
            "is also the exempt role of exemption 1, which belongs to no assignment: remove one of them",
        ),
        (
            file(f"principals: ['{ACCOUNT}role/canvas/*']"),
            "or add `roles` or `accounts` to it, because `principals` chooses no subjects",
        ),
        (file("domains: [a], principals: []"), "is empty: write a list of ARNs of roles"),
    ],
)  # fmt: skip
def test_a_principal_that_contradicts_the_file_is_an_error_with_a_correction(text: str, words: str) -> None:
    [error] = yaml(text).errors
    assert words in str(error)
    assert WAY_OUT.search(error.message)


def test_principals_do_not_decide_which_subjects_match() -> None:
    reading = yaml(file(f"roles: [Nova], principals: ['{ACCOUNT}role/canvas/Nova']"))
    assert reading.rules is not None, reading.errors
    listed = reading.rules.assignments[0]
    assert not listed.matches_everyone
    assert listed._replace(roles=()).matches_everyone
    assert reading.rules.prevents


def test_two_principals_overlap_exactly_if_a_caller_belongs_to_both() -> None:
    paths = [f"{ACCOUNT}role/canvas/*", f"{ACCOUNT}role/canvas/approved/deeper/*"]
    every = [*PRINCIPALS, *paths, *INSIDE]
    callers = [*INSIDE, *OUTSIDE, f"{ACCOUNT}role/canvas/approved/deeper/Nova"]
    for one, other in itertools.product(every, every):
        if ":sts:" not in one + other and (found := [c for c in callers if belongs(c, one) and belongs(c, other)]):
            assert overlap(one, other), (one, other, found)
    assert not any(overlap(one, other) for one, other in itertools.permutations(PRINCIPALS, 2))
    assert not overlap(f"{PERMISSION_SET}*", f"{PERMISSION_SET}Website_*")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("source_identities: [ana]", "restricts `principals`, and this assignment has none"),
        ("principals: [{arn}]\n    source_identities: ['an*']", "`an*` is not the name of one user profile"),
        ("principals: [{arn}]\n    source_identities: [a]", "`a` is not the name of one user profile"),
        ("principals: [{arn}]\n    source_identities: [ana/x]", "`ana/x` is not the name of one user profile"),
        ("principals: [{arn}]\n    source_identities: []", "is empty"),
        ("principals: [{arn}]\n    source_identities: [ana, user-2]", ""),
    ],
)
def test_source_identities_are_whole_names_of_users_of_principals(more, message):
    named = more.replace("{arn}", "'arn:aws:iam::111122223333:role/Shared'")
    text = f"""
guardrails:
  none: {{bedrock: {{deny: all}}}}
assignments:
  - guardrails: []
    accounts: ["111122223333"]
    {named}
  - guardrails: [none]
"""
    reading = yaml(text)
    assert bool(reading.errors) is bool(message)
    assert all(message in str(error) for error in reading.errors)
