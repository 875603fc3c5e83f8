"""`rolewarden enforce` carries out the plan: completely, in part, and repeatedly."""

import boto3
import pytest
from rolewarden.policies import policy_arn
from rolewarden_cli import enforce as enforcing
from rolewarden_cli import inventory, options
from rolewarden_cli import plan as planning
from rolewarden_cli.connect import Where, connected
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import seed

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY

pytestmark = pytest.mark.long

OURS = policy_arn("", "aws", ACCOUNT_ID)
NEEDS = {
    "CanvasAnalytics": {"no-generative-ai"},
    "CanvasAnalyticsSpaces": {"no-generative-ai"},
    "CanvasBedrockAnalytics": {"no-generative-ai"},
    "CanvasOmar": {"no-generative-ai"},
    "CanvasResearch": {"only-nova-and-sonnet"},
    "CanvasRosa": {"only-nova-and-sonnet"},
}
BARE: dict[str, set] = {role: set() for role in NEEDS}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    monkeypatch.setattr(enforcing, "ENFORCE_PAUSES", (0.0, 0.0))


@pytest.fixture
def library(world, monkeypatch):
    """The connection, inventory, plan and rules of the command, for the account of `world`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://in-process")
    with connected(Where(local=True)) as connection:
        rules = world.runtime.rules
        found = inventory.take(connection, rules)
        yield connection, found, planning.make(connection.aws, found, rules, TODAY, deployed=True), rules


def carried(world):
    return {role: world.attached(role) for role in NEEDS}


def test_the_roles_have_the_planned_policies_and_the_history_names_the_caller(world):
    done = json_answer("enforce", "--yes", exit_code=2)  # One role is full.
    assert carried(world) == NEEDS
    assert {role["role"]: role["verdict"] for role in done["roles"]} == dict.fromkeys(NEEDS, "compliant")
    [row] = world.history("CanvasRosa")
    assert row["cause"] == {"event_name": "rolewarden enforce", "actor": f"arn:aws:iam::{ACCOUNT_ID}:root"}
    assert row["attached"] == ["only-nova-and-sonnet"]


def test_a_second_run_changes_and_writes_nothing(world):
    json_answer("enforce", "--yes", exit_code=2)
    mark = world.aws.mark()
    assert json_answer("enforce", "--yes", exit_code=2)["roles"] == []
    made = {call.operation for call in world.aws.calls(mark)}
    assert {name for name in made if not name.startswith(("Get", "List", "Describe", "Query", "Scan"))} == set()


def test_the_exit_code_is_0_if_everything_is_done(world_with):
    world = world_with("guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"
                       "fallback: boundary\n")  # fmt: skip
    done = json_answer("enforce", "--yes", "--guardrails", world.environment["GUARDRAILS_FILE"])
    remediations = {role["role"]: role["remediation"] for role in done["roles"]}
    assert remediations["CanvasFull"] == "bounded"
    assert world.iam.get_role(RoleName="CanvasFull")["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == (
        f"{OURS}boundary.none"
    )
    assert set(remediations.values()) == {"attached", "bounded"}


def test_without_a_stack_enforce_publishes_first_and_records_nothing(aws):
    aws.reset()
    seed(aws)
    mark = aws.mark()
    done = json_answer("enforce", "--yes", exit_code=2)
    assert done["policies"] == {"no-generative-ai": "created", "only-nova-and-sonnet": "created"}
    attached = boto3.client("iam").list_attached_role_policies(RoleName="CanvasRosa")["AttachedPolicies"]
    assert f"{OURS}only-nova-and-sonnet" in {policy["PolicyArn"] for policy in attached}
    assert {call.operation for call in aws.calls(mark)} & {"PutItem", "PutEvents", "BatchWriteItem"} == set()


def test_without_yes_and_without_a_terminal_nothing_is_changed(world):
    result = rolewarden("enforce")
    assert result.exit_code == 1
    assert "CanvasRosa" in result.stdout
    assert "read the list of changes without --json, then give --yes" in result.stderr
    assert carried(world) == BARE


@pytest.mark.parametrize(("answer", "exit_code", "done"), [("n\n", 1, False), ("y\n", 2, True)])
def test_the_answer_to_the_question_decides(world, monkeypatch, answer, exit_code, done):
    monkeypatch.setattr(options, "is_a_terminal", lambda: True)
    result = rolewarden("enforce", answer=answer)
    assert result.exit_code == exit_code
    assert (carried(world) == NEEDS) is done
    assert (carried(world) == BARE) is not done


def test_an_interrupted_run_ends_between_two_roles_and_the_next_run_continues(world, library):
    looks = iter([False, False, True, True])
    connection, found, plan, rules = library
    done = enforcing.enforce_rules(connection, found, plan, rules, TODAY, stop=lambda: next(looks))
    assert (len(done.outcomes), len(done.left), done.stopped) == (2, 4, True)
    assert {role: bool(policies) for role, policies in carried(world).items()} == {
        role: role not in done.left for role in NEEDS
    }
    again = json_answer("enforce", "--yes", exit_code=2)
    assert {role["role"] for role in again["roles"]} == set(done.left)
    assert carried(world) == NEEDS


def test_a_run_that_is_interrupted_in_its_last_role_is_complete(world, library):
    connection, found, plan, rules = library
    looks = iter([False] * len(plan.changed_roles) + [True] * 9)
    done = enforcing.enforce_rules(connection, found, plan, rules, TODAY, stop=lambda: next(looks))
    assert (done.left, done.stopped) == ((), False)
    assert carried(world) == NEEDS


def test_a_role_with_a_temporary_error_does_not_block_others(world):
    with world.aws.failing("AttachRolePolicy", "ServiceFailure", times=1):
        done = json_answer("enforce", "--yes", exit_code=2)
    assert [line.partition(":")[0] for line in done["postponed"]] == ["CanvasAnalytics"]
    assert carried(world) == {**NEEDS, "CanvasAnalytics": set()}


def test_a_policy_that_iam_does_not_show_yet_is_attached_as_soon_as_it_does(world):
    text = f"Policy {OURS}no-generative-ai does not exist or is not attachable."
    with world.aws.failing("AttachRolePolicy", "NoSuchEntity", text, times=1):
        json_answer("enforce", "--yes", exit_code=2)
    assert carried(world) == NEEDS


def test_a_policy_that_cannot_be_written_ends_it_before_any_role_is_touched(world):
    other = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}]}'
    world.iam.create_policy_version(PolicyArn=f"{OURS}no-generative-ai", PolicyDocument=other, SetAsDefault=True)
    with world.aws.failing("CreatePolicyVersion", "AccessDenied", "no"):
        result = rolewarden("enforce", "--yes")
    assert result.exit_code == 1
    assert "CreatePolicyVersion: AccessDenied" in result.stderr
    assert carried(world) == BARE


def test_surplus_policies_are_detached_and_those_of_removed_guardrails_deleted(world_with):
    world = world_with("guardrails: {none: {bedrock: {deny: all}}, old: {bedrock: {deny: all}}}\n"
                       "assignments: [{guardrails: [none, old]}]\n")  # fmt: skip
    json_answer("enforce", "--yes", "--guardrails", world.environment["GUARDRAILS_FILE"], exit_code=2)
    world.iam.attach_role_policy(RoleName="BuildServer", PolicyArn=f"{OURS}none")
    fewer = world_with("guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"
                       "surplus: detach\n", keep="unpublished")  # fmt: skip
    done = json_answer("enforce", "--yes", "--guardrails", fewer.environment["GUARDRAILS_FILE"], exit_code=2)
    assert world.attached("CanvasRosa") == {"none"}
    assert world.attached("BuildServer") == set()
    assert done["policies"]["old"] == "retired"
    assert world.listed_policies() == {"none"}


def test_the_output_has_the_result_for_each_role_in_eighty_columns(world):
    result = rolewarden("enforce", "--yes")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "CanvasRosa  drifted > compliant  + only-nova-and-sonnet" in result.stdout
    assert result.stdout.splitlines()[-1] == "6 roles changed, 1 cannot be protected: CanvasFull"
