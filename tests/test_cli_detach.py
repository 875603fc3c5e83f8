"""`rolewarden detach`: surplus policies go, and everything that a role needs stays."""

import json

import boto3
import pytest
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails import read_yaml
from rolewarden.policies import policy_arn
from rolewarden_cli import options
from rolewarden_cli.commands import detach as commands
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import TRUST, seed

from tests.commands import rolewarden, told
from tests.conftest import TODAY

pytestmark = pytest.mark.long

OURS = policy_arn("", "aws", ACCOUNT_ID)
NONE = "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"
TWO = "guardrails: {none: {bedrock: {deny: all}}, old: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)


def rules(world):
    return ("--guardrails", world.environment["GUARDRAILS_FILE"])


def surplus(world, role="BuildServer", policy="none"):
    world.iam.attach_role_policy(RoleName=role, PolicyArn=f"{OURS}{policy}")


def test_it_takes_off_what_a_role_does_not_need_although_the_file_says_keep(world_with):
    world = world_with(NONE).guarded()
    surplus(world)
    done = told("detach", "--yes", *rules(world))
    assert (done["detached"], done["deleted"]) == ({"BuildServer": ["none"]}, [])
    assert (world.carried("BuildServer"), world.carried("CanvasRosa")) == (set(), {"none"})
    [row] = world.history("BuildServer")
    assert row["cause"] == {"event_name": "rolewarden detach", "actor": f"arn:aws:iam::{ACCOUNT_ID}:root"}


def test_without_an_answer_nothing_is_changed_and_the_page_has_shown_it(world_with):
    world = world_with(NONE).guarded()
    surplus(world)
    result = rolewarden("detach", *rules(world))
    assert result.exit_code == 1
    assert "BuildServer  - none" in result.stdout
    assert world.carried("BuildServer") == {"none"}


def test_only_the_roles_that_are_named_lose_something(world_with):
    world = world_with(NONE).guarded()
    world.role("Other")
    surplus(world)
    surplus(world, "Other")
    told("detach", "Other", "--yes", *rules(world))
    assert (world.carried("BuildServer"), world.carried("Other")) == ({"none"}, set())
    assert "has no role `Nobody`" in rolewarden("detach", "Nobody", "--yes", *rules(world)).stderr


def test_a_policy_of_a_guardrail_that_is_out_of_the_file_is_detached_and_deleted(world_with):
    world = world_with(TWO).guarded()
    surplus(world, policy="old")
    fewer = world_with(NONE, keep="unpublished")
    done = told("detach", "--yes", *rules(fewer))
    assert (done["detached"], done["deleted"]) == ({"BuildServer": ["old"]}, ["old"])
    assert world.runtime.aws.own_policies() == ("none",)


def test_a_policy_that_another_role_keeps_is_not_to_be_deleted(world_with):
    world = world_with(TWO).guarded()
    world.role("Other")
    surplus(world, policy="old")
    surplus(world, "Other", "old")
    fewer = world_with(NONE, keep="unpublished")
    done = told("detach", "Other", "--yes", *rules(fewer))
    assert (done["planned"]["policies"], done["deleted"]) == ([], [])
    assert world.carried("BuildServer") == {"old"}


def test_a_role_that_is_needed_by_the_time_it_is_reached_loses_nothing(world_with, monkeypatch):
    world = world_with(NONE).guarded()
    arn = world.role("Late", TRUST)
    surplus(world, "Late")
    shown = commands.show_surplus

    def meanwhile(*arguments):
        shown(*arguments)
        world.sagemaker.create_user_profile(
            DomainId="d-research0001", UserProfileName="late", UserSettings={"ExecutionRole": arn}
        )

    monkeypatch.setattr(commands, "show_surplus", meanwhile)
    assert rolewarden("detach", "--yes", *rules(world)).exit_code == 0
    assert world.carried("Late") == {"none"}


def test_a_row_of_the_table_that_hides_a_need_is_not_believed(world_with):
    world = world_with(NONE).guarded()
    table = world.bindings
    rows = [b for b in table.all() if b.role and b.role.name == "CanvasRosa"]
    table.write([row._replace(role=None) for row in rows])
    assert told("detach", "--yes", *rules(world))["detached"] == {}
    assert world.carried("CanvasRosa") == {"none"}


def test_it_refuses_if_a_subject_could_not_be_read(world_with):
    world = world_with(NONE).guarded()
    surplus(world)
    with world.aws.failing("DescribeUserProfile", "AccessDeniedException", "not allowed"):
        result = rolewarden("detach", "--yes", *rules(world))
    assert result.exit_code == 1
    assert "an unread subject can need a policy" in result.stderr
    assert world.carried("BuildServer") == {"none"}


def test_a_policy_that_iam_does_not_let_go_is_left_with_exit_code_2(world_with):
    world = world_with(NONE).guarded()
    surplus(world)
    with world.aws.failing("DetachRolePolicy", "AccessDenied", "no"):
        done = told("detach", "--yes", *rules(world), exit_code=2)
    assert [line.partition(":")[0] for line in done["left"]] == ["BuildServer"]


def test_in_observe_mode_nothing_is_detached_and_the_plan_names_no_command(world_with):
    world = world_with(f"mode: observe\n{NONE}")
    surplus(world)
    assert told("detach", "--yes", *rules(world))["planned"] == {"roles": {}, "policies": []}
    assert told("plan", *rules(world))["next"] is None


def test_a_plan_of_surplus_alone_names_detach(world_with):
    world = world_with(NONE + "fallback: boundary\n").guarded()
    surplus(world)
    assert rolewarden("plan", *rules(world)).stdout.splitlines()[-1] == (
        "`rolewarden detach` removes the policies that no role needs"
    )
    assert told("plan", *rules(world), exit_code=2)["next"]["command"] == "rolewarden detach"


def test_where_nothing_is_deployed_the_next_command_is_enforce_but_not_beside_a_stack_elsewhere(aws):
    aws.reset()
    seed(aws)
    assert told("plan", exit_code=2)["next"]["command"] == "rolewarden enforce"
    boto3.client("iam").create_role(Path="/rolewarden/", RoleName="rolewarden-enforce", AssumeRolePolicyDocument=TRUST)
    assert told("plan", exit_code=2)["next"]["command"] == "sam build && sam deploy"
    result = rolewarden("enforce", "--yes")
    assert (result.exit_code, "its rules are not known" in result.stderr) == (1, True)
    assert json.loads(rolewarden("enforce", "--yes", "--despite-stack", "--json").stdout)["policies"]


@pytest.mark.parametrize(
    "other",
    [
        NONE.replace("all", "[amazon.nova-*]"),
        NONE.replace("[{guardrails", "[{guardrails: [], roles: [Canvas*]}, {guardrails"),
        f"mode: observe\n{NONE}",
        f"{NONE}surplus: detach\n",
        f"{NONE}fallback: boundary\n",
        f"{NONE}exemptions: [{{role: CanvasOmar, until: 2030-01-31}}]\n",
        f"{NONE}also_govern: {{roles: [Batch*]}}\n",
    ],
)
def test_rules_that_differ_in_anything_have_another_fingerprint(other):
    def of(text):
        read = read_yaml(text, today=TODAY).rules
        assert read, read_yaml(text, today=TODAY)
        return fingerprint(read, "aws")

    assert of(other) != of(NONE)
    assert of(f"# a comment\n{NONE}") == of(NONE)
