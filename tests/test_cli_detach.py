"""`rolewarden detach` detaches surplus policies and keeps those that a role needs."""

import json

import boto3
import pytest
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails_file import read_yaml
from rolewarden.policies import policy_arn
from rolewarden_cli import options
from rolewarden_cli.commands import detach as commands
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import TRUST, seed

from tests.commands import json_answer, press_ctrl_c_at_detachments, rolewarden
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


def test_detach_detaches_surplus_policies_although_the_file_says_keep(world_with):
    world = world_with(NONE).protected()
    surplus(world)
    done = json_answer("detach", "--yes", *rules(world))
    assert (done["detached"], done["deleted"]) == ({"BuildServer": ["none"]}, [])
    assert (world.attached("BuildServer"), world.attached("CanvasRosa")) == (set(), {"none"})
    [row] = world.history("BuildServer")
    assert row["cause"] == {"event_name": "rolewarden detach", "actor": f"arn:aws:iam::{ACCOUNT_ID}:root"}


def test_without_an_answer_nothing_is_changed_and_the_output_has_the_plan(world_with):
    world = world_with(NONE).protected()
    surplus(world)
    result = rolewarden("detach", *rules(world))
    assert result.exit_code == 1
    assert "BuildServer  - none" in result.stdout
    assert world.attached("BuildServer") == {"none"}


def test_only_the_named_roles_lose_policies(world_with):
    world = world_with(NONE).protected()
    world.role("Other")
    surplus(world)
    surplus(world, "Other")
    json_answer("detach", "Other", "--yes", *rules(world))
    assert (world.attached("BuildServer"), world.attached("Other")) == ({"none"}, set())
    assert "has no role `Nobody`" in rolewarden("detach", "Nobody", "--yes", *rules(world)).stderr


def test_the_policy_of_a_removed_guardrail_is_detached_and_deleted(world_with):
    world = world_with(TWO).protected()
    surplus(world, policy="old")
    fewer = world_with(NONE, keep="unpublished")
    done = json_answer("detach", "--yes", *rules(fewer))
    assert (done["detached"], done["deleted"]) == ({"BuildServer": ["old"]}, ["old"])
    assert world.listed_policies() == {"none"}


def test_a_policy_that_another_role_keeps_is_not_deleted(world_with):
    world = world_with(TWO).protected()
    world.role("Other")
    surplus(world, policy="old")
    surplus(world, "Other", "old")
    fewer = world_with(NONE, keep="unpublished")
    done = json_answer("detach", "Other", "--yes", *rules(fewer))
    assert (done["planned"]["policies"], done["deleted"]) == ([], [])
    assert world.attached("BuildServer") == {"old"}


def test_a_role_that_needs_its_policies_again_meanwhile_loses_nothing(world_with, monkeypatch):
    world = world_with(NONE).protected()
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
    assert world.attached("Late") == {"none"}


def test_a_row_without_its_role_does_not_hide_a_need(world_with):
    world = world_with(NONE).protected()
    table = world.bindings
    rows = [b for b in table.all() if b.role and b.role.name == "CanvasRosa"]
    table.write([row._replace(role=None) for row in rows])
    assert json_answer("detach", "--yes", *rules(world))["detached"] == {}
    assert world.attached("CanvasRosa") == {"none"}


def test_it_refuses_if_a_subject_could_not_be_read(world_with):
    world = world_with(NONE).protected()
    surplus(world)
    with world.aws.failing("DescribeUserProfile", "AccessDeniedException", "not allowed"):
        result = rolewarden("detach", "--yes", *rules(world))
    assert result.exit_code == 1
    assert "an unread subject can need a policy" in result.stderr
    assert world.attached("BuildServer") == {"none"}


def test_a_policy_that_iam_does_not_detach_stays_and_the_exit_code_is_2(world_with):
    world = world_with(NONE).protected()
    surplus(world)
    with world.aws.failing("DetachRolePolicy", "AccessDenied", "no"):
        done = json_answer("detach", "--yes", *rules(world), exit_code=2)
    assert [line.partition(":")[0] for line in done["left"]] == ["BuildServer"]


def test_in_observe_mode_nothing_is_detached_and_the_plan_names_no_command(world_with):
    world = world_with(f"mode: observe\n{NONE}")
    surplus(world)
    assert json_answer("detach", "--yes", *rules(world))["planned"] == {"roles": {}, "policies": [], "needed": {}}
    assert json_answer("plan", *rules(world))["next"] is None


def test_a_plan_of_surplus_alone_names_detach(world_with):
    world = world_with(NONE + "fallback: boundary\n").protected()
    surplus(world)
    assert rolewarden("plan", *rules(world)).stdout.splitlines()[-1] == (
        "`rolewarden detach` removes the policies that no role needs"
    )
    assert json_answer("plan", *rules(world), exit_code=2)["next"]["command"] == "rolewarden detach"


def test_without_a_stack_the_next_command_is_enforce_unless_a_stack_is_elsewhere(aws):
    aws.reset()
    seed(aws)
    assert json_answer("plan", exit_code=2)["next"]["command"] == "rolewarden enforce"
    boto3.client("iam").create_role(Path="/rolewarden/", RoleName="rolewarden-enforce", AssumeRolePolicyDocument=TRUST)
    assert json_answer("plan", exit_code=2)["next"]["command"] == "sam build && sam deploy"
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
def test_different_rules_have_different_fingerprints(other):
    def of(text):
        read = read_yaml(text, today=TODAY).rules
        assert read, read_yaml(text, today=TODAY)
        return fingerprint(read, "aws")

    assert of(other) != of(NONE)
    assert of(f"# a comment\n{NONE}") == of(NONE)


def test_ctrl_c_stops_after_the_current_role_and_deletes_no_policy(world_with, monkeypatch):
    world = world_with(NONE).protected()
    surplus(world)
    surplus(world, "DataLake")
    detached = press_ctrl_c_at_detachments(monkeypatch)
    result = rolewarden("detach", *rules(world), "--yes")
    assert (result.exit_code, detached) == (2, ["BuildServer"])
    assert "BuildServer  - none" in result.stdout
    assert "not done: what comes after these roles, because you stopped the command" in result.stdout
