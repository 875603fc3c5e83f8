"""`rolewarden detach --all` removes what a deleted stack left, and nothing else."""

import boto3
import pytest
from rolewarden.canary import CANARY_ROLE
from rolewarden.policies import DESCRIPTION, policy_arn
from rolewarden_cli.account import OperatorCalls
from rolewarden_cli.main import app
from rolewarden_local.aws import ACCOUNT_ID
from typer.testing import CliRunner

from tests.answers import wrong
from tests.commands import json_answer, press_ctrl_c_at_detachments, rolewarden
from tests.stacks import deployed

pytestmark = pytest.mark.long

NONE = "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\nfallback: boundary\n"


@pytest.fixture
def left(world_with):
    """An account with attached guardrails and a boundary, without a stack."""
    return world_with(NONE).protected()


def attached(left, *roles):
    return {role: left.attached(role) for role in roles}


def boundary(role):
    return boto3.client("iam").get_role(RoleName=role)["Role"].get("PermissionsBoundary", {}).get(
        "PermissionsBoundaryArn", ""
    )  # fmt: skip


def test_every_policy_and_boundary_is_detached_and_the_policies_stay_in_iam(left):
    assert boundary("CanvasFull").startswith(policy_arn("", "aws", ACCOUNT_ID))
    before = left.listed_policies()
    result = rolewarden("detach", "--all", "--yes")
    assert result.exit_code == 0, result.output
    assert attached(left, "CanvasRosa", "CanvasAnalytics") == {"CanvasRosa": set(), "CanvasAnalytics": set()}
    assert boundary("CanvasFull") == ""
    assert left.listed_policies() == before
    assert "stay in IAM: --delete-policies deletes them" in result.stdout


def test_with_delete_policies_nothing_of_rolewarden_is_left(left):
    answer = json_answer("detach", "--all", "--delete-policies", "--yes")
    assert wrong("detach", answer) == []
    assert "none" in answer["deleted"]
    assert left.listed_policies() == set()
    again = rolewarden("detach", "--all", "--delete-policies")
    assert again.exit_code == 0
    assert "the account has no policy of Rolewarden" in again.stdout


def test_without_an_answer_nothing_changes_and_the_list_is_shown(left):
    result = rolewarden("detach", "--all", "--delete-policies")
    assert result.exit_code == 1
    assert "CanvasRosa  - none" in result.stdout
    assert "deletes policy none" in result.stdout
    assert left.attached("CanvasRosa") == {"none"}
    assert "none" in left.listed_policies()


def test_a_policy_without_the_description_and_one_outside_of_the_path_stay(left):
    iam = boto3.client("iam")
    text = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}'
    made = [
        iam.create_policy(PolicyName="theirs", Path="/rolewarden/", PolicyDocument=text),
        iam.create_policy(PolicyName="copy", Path="/team/", PolicyDocument=text, Description=DESCRIPTION),
    ]
    others = [one["Policy"]["Arn"] for one in made]
    for arn in others:
        iam.attach_role_policy(RoleName="CanvasRosa", PolicyArn=arn)
    result = rolewarden("detach", "--all", "--delete-policies", "--yes")
    assert "keeps policy theirs, because it does not have Rolewarden's description" in " ".join(result.stdout.split())
    still = {one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName="CanvasRosa")["AttachedPolicies"]}
    assert {*others} <= still
    assert policy_arn("none", "aws", ACCOUNT_ID) not in still
    assert left.listed_policies() == {"theirs"}


def test_a_boundary_of_somebody_else_stays(left):
    iam = boto3.client("iam")
    other = "arn:aws:iam::aws:policy/PowerUserAccess"
    iam.put_role_permissions_boundary(RoleName="CanvasRosa", PermissionsBoundary=other)
    rolewarden("detach", "--all", "--yes")
    assert boundary("CanvasRosa") == other


def test_a_refused_detachment_is_named_and_the_other_roles_follow(left):
    with left.aws.failing("DetachRolePolicy", "AccessDenied", "no", times=1):
        result = rolewarden("detach", "--all", "--delete-policies", "--yes")
    assert result.exit_code == 2
    assert "not done: none stays on" in " ".join(result.stdout.split())
    roles = [role["RoleName"] for page in left.iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
    assert len([role for role in roles if left.attached(role) and role != CANARY_ROLE]) == 1
    assert "none" in left.listed_policies()


def test_it_refuses_while_the_stack_exists(left, template, monkeypatch):
    monkeypatch.setattr(OperatorCalls, "stack", lambda _, name: deployed(template, name=name))
    result = rolewarden("detach", "--all", "--yes")
    assert result.exit_code == 1
    assert "stack rolewarden exists and would attach everything again: delete it first" in result.stderr
    assert left.attached("CanvasRosa") == {"none"}


def test_it_refuses_while_the_roles_of_a_stack_exist(left):
    left.iam.create_role(RoleName="rolewarden-enforce", Path="/rolewarden/", AssumeRolePolicyDocument="{}")
    result = rolewarden("detach", "--all", "--yes")
    assert result.exit_code == 1
    assert "role rolewarden-enforce is under /rolewarden/" in result.stderr
    assert left.attached("CanvasRosa") == {"none"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--all", "CanvasRosa"], "--all means every role"),
        (["--delete-policies"], "--delete-policies works only with --all"),
    ],
)
def test_options_that_conflict_are_one_line(left, arguments, says):
    result = rolewarden("detach", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


def test_ctrl_c_stops_after_the_current_role_and_the_output_names_what_was_done(left, monkeypatch):
    detached = press_ctrl_c_at_detachments(monkeypatch)
    result = rolewarden("detach", "--all", "--delete-policies", "--yes")
    assert (result.exit_code, len(detached)) == (2, 1)
    assert f"{detached[0]}  - none" in result.stdout
    assert "not done: what comes after these roles, because you stopped the command" in result.stdout
    assert "0 policies deleted" in result.stdout
    assert "none" in left.listed_policies()


def test_no_note_names_a_file_with_rules_which_the_command_does_not_read(left, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    result = CliRunner().invoke(app, ["detach", "--all", "--local"], env={"COLUMNS": "80"})
    assert "no policy of Rolewarden" in result.stdout or "--delete-policies" in result.stdout
    assert "guardrails.yaml" not in result.stderr
