"""`rolewarden plan` shows possible and impossible changes, before and after a deployment."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rolewarden.policies import policy_arn
from rolewarden_cli import options
from rolewarden_cli.account import DeployedStack
from rolewarden_cli.commands.plan import show_plan
from rolewarden_cli.connect import Where, connected
from rolewarden_cli.plan import read_plan
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import seed

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY
from tests.guardrail_texts import BY_DOMAIN

pytestmark = pytest.mark.long

OURS = policy_arn("", "aws", ACCOUNT_ID)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)


@pytest.fixture
def undeployed(aws):
    """The seeded account without Rolewarden."""
    aws.reset()
    seed(aws)
    return aws


def planned(*arguments, exit_code=2):
    plan = json_answer("plan", *arguments, exit_code=exit_code)
    return plan, {role["role"]: role for role in plan["roles"]}


def rules(world):
    return "--guardrails", world.environment["GUARDRAILS_FILE"]


def test_before_a_deployment_plan_shows_the_first_sweep_and_only_reads(undeployed):
    mark = undeployed.mark()
    plan, roles = planned()
    assert not plan["deployed"]
    assert plan["policies"] == {"no-generative-ai": "created", "only-nova-and-sonnet": "created"}
    assert {name: role["attached"] for name, role in roles.items() if role["changes"]} == {
        "CanvasAnalytics": ["no-generative-ai"],
        "CanvasAnalyticsSpaces": ["no-generative-ai"],
        "CanvasBedrockAnalytics": ["no-generative-ai"],
        "CanvasOmar": ["no-generative-ai"],
        "CanvasResearch": ["only-nova-and-sonnet"],
        "CanvasRosa": ["only-nova-and-sonnet"],
    }
    made = {call.operation for call in undeployed.calls(mark)}
    assert {name for name in made if not name.startswith(("Get", "List", "Describe"))} == set()


def test_each_role_has_its_verdict_its_slots_and_its_users(world):
    _, roles = planned()
    rosa, full, exempt = roles["CanvasRosa"], roles["CanvasFull"], roles["CanvasBreakGlass"]
    assert (rosa["before"], rosa["verdict"], rosa["missing"]) == ("drifted", "compliant", ["only-nova-and-sonnet"])
    assert (rosa["attached_policies"], rosa["quota"]) == (3, 10)
    [subject] = rosa["subjects"]
    assert (subject["account"], subject["region"]) == (ACCOUNT_ID, "us-east-1")
    assert (subject["domain_name"], subject["user_profile"]) == ("research", "rosa")
    assert (full["verdict"], full["reason"], full["attached_policies"]) == ("unenforceable", "quota full", 10)
    assert "raise the quota" in full["recommendation"]
    assert (exempt["verdict"], exempt["changes"]) == ("exempt", False)


REST = """
guardrails:
  none: {bedrock: {deny: all}, jumpstart: {deny: all}}
  some: {bedrock: {allow: [amazon.nova-*]}}
assignments:
  - {guardrails: [some], domains: [research]}
  - guardrails: [none]
"""


@pytest.mark.parametrize(
    "more",
    ["", "fallback: boundary", "mode: observe", "also_govern: {trusting: [glue.amazonaws.com], roles: [Build*]}"],
    ids=["as it is", "fallback", "observe", "also_govern"],
)
def test_a_sweep_does_for_each_role_what_the_plan_says(world_with, more):
    world = world_with(f"{REST}\n{more}\n")
    plan, _ = planned(*rules(world), exit_code=0 if more == "mode: observe" else 2)
    done = {outcome["role"]: outcome for outcome in world.sweep()}
    for role in plan["roles"]:
        outcome = done.get(role["role"])
        if outcome:
            assert (role["before"], role["verdict"], role["remediation"]) == (
                outcome["before"], outcome["verdict"], outcome["remediation"],
            )  # fmt: skip
            assert role["attached"] == outcome.get("attached", [])
        else:
            assert role["verdict"] in {"compliant", "exempt"}, role
    assert done.keys() <= {role["role"] for role in plan["roles"]}
    left = 0 if more in {"fallback: boundary", "mode: observe"} else 2  # The full role cannot be protected.
    assert planned(*rules(world), exit_code=left)[0]["next"] is None


def test_a_role_with_all_its_policies_needs_no_change(world_with):
    world = world_with(f"{REST}\nfallback: boundary\n")
    world.protected()
    plan, roles = planned(*rules(world), exit_code=0)
    assert not plan["has_changes"]
    assert roles["CanvasRosa"]["before"] == "compliant"


def test_a_policy_with_other_text_is_planned_for_restoration(world):
    open_door = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}]}'
    world.iam.create_policy_version(PolicyArn=f"{OURS}no-generative-ai", PolicyDocument=open_door, SetAsDefault=True)
    assert planned()[0]["policies"] == {"no-generative-ai": "replaced", "only-nova-and-sonnet": "unchanged"}


def test_the_file_decides_whether_a_surplus_guardrail_stays(world_with):
    kept = world_with(REST)
    kept.iam.attach_role_policy(RoleName="BuildServer", PolicyArn=f"{OURS}none")
    role = planned(*rules(kept))[1]["BuildServer"]
    assert (role["surplus"], role["detached"], role["changes"]) == (["none"], [], False)
    detached = world_with(f"{REST}\nsurplus: detach\n", keep=True)
    role = planned(*rules(detached))[1]["BuildServer"]
    assert (role["surplus"], role["detached"], role["changes"]) == ([], ["none"], True)


def test_a_guardrail_that_was_removed_from_the_file_is_planned_for_removal(world_with):
    world_with(REST)
    fewer = world_with(
        "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n", keep="unpublished"
    )
    assert planned(*rules(fewer))[0]["policies"] == {"none": "replaced", "some": "retired"}


def test_a_rule_for_a_profile_that_runs_as_its_domains_role_cannot_be_kept(world_with):
    world = world_with(
        "guardrails: {none: {bedrock: {deny: all}}, hard: {jumpstart: {deny: all}}}\n"
        "assignments: [{guardrails: [hard], user_profiles: [ana]}, {guardrails: [none]}]\n"
    )
    [shared] = planned(*rules(world))[0]["shared_roles"]
    assert (shared["domain_name"], shared["user_profile"], shared["role"]) == ("analytics", "ana", "CanvasAnalytics")
    assert shared["guardrails"] == ["hard"]
    assert "execution role of its own" in shared["recommendation"]


@pytest.mark.parametrize(("until", "told_of"), [("2027-02-14", True), ("2027-02-15", False), ("2027-01-15", True)])
def test_an_exemption_that_ends_within_thirty_days_is_reported(world_with, until, told_of):
    world = world_with(f"{REST}\nexemptions: [{{role: CanvasRosa, until: {until}, reason: trial}}]\n")
    endings = planned(*rules(world))[0]["exemptions"]
    assert [ending["roles"] for ending in endings] == ([["CanvasRosa"]] if told_of else [])


def test_the_enabled_features_of_canvas_are_reported_with_their_domain(world):
    switches = planned()[0]["switches"]
    assert [(found["domain_name"], found["switch"], found["role"]) for found in switches] == [
        ("analytics", "direct deployment", ""),
        ("analytics", "Bedrock role", "CanvasBedrockAnalytics"),
    ]


def test_a_user_profile_with_direct_deployment_is_reported_without_describing_it(world):
    canvas = {"CanvasAppSettings": {"DirectDeploySettings": {"Status": "ENABLED"}}}
    world.sagemaker.update_user_profile(DomainId="d-research0001", UserProfileName="rosa", UserSettings=canvas)
    world.sweep()  # The table now has this profile.
    calls = world.aws.mark()
    switched = {(found["domain_name"], found["user_profile"]) for found in planned()[0]["switches"]}
    assert switched == {("analytics", ""), ("research", "rosa")}
    assert "DescribeUserProfile" not in {call.operation for call in world.aws.calls(calls)}


def test_unreadable_subjects_are_reported_and_nothing_is_detached(world_with):
    world = world_with(f"{REST}\nsurplus: detach\n")
    world.iam.attach_role_policy(RoleName="BuildServer", PolicyArn=f"{OURS}none")
    with world.aws.failing("ListUserProfiles", "AccessDeniedException", "no"):
        plan, roles = planned(*rules(world))
    assert len(plan["unread"]) == 2
    assert all("ListUserProfiles: AccessDeniedException" in line for line in plan["unread"])
    assert roles["BuildServer"]["detached"] == []


def test_domains_in_several_regions_are_planned_together(world):
    plan, _ = planned("--region", "us-east-1", "--region", "eu-west-1")
    assert plan["regions"] == ["us-east-1", "eu-west-1"]


@pytest.mark.parametrize(
    ("operation", "code", "says"),
    [
        ("GetAccountAuthorizationDetails", "AccessDenied", "give your role this permission"),
        ("GetAccountSummary", "ServiceFailure", "run the command again"),
        ("GetCallerIdentity", "AccessDenied", "cannot use your credentials"),
    ],
)
def test_an_error_of_aws_is_one_line_with_a_solution_and_exit_code_1(world, operation, code, says):
    with world.aws.failing(operation, code, "no"):
        result = rolewarden("plan")
    assert result.exit_code == 1
    *_, line = result.stderr.splitlines()
    assert line.startswith("rolewarden: ")
    assert operation in line
    assert says in line
    assert result.stdout == ""


def test_a_mistake_in_the_options_exits_1_because_2_means_changes(world):
    assert rolewarden("plan", "--nonsense").exit_code == 1
    assert rolewarden("plan", "--help").exit_code == 0


def test_a_file_with_errors_is_a_line_for_each_and_exit_code_1(world, tmp_path):
    (tmp_path / "g.yaml").write_text("guardrails: {none: {bedrock: {deny: [claude-v2]}}}\n")
    result = rolewarden("plan", "--guardrails", str(tmp_path / "g.yaml"))
    assert result.exit_code == 1
    assert "g.yaml:1: guardrails.none.bedrock.deny" in result.stderr


def test_a_role_can_be_assumed_first(world):
    world.role("auditor")
    mark = world.aws.mark()
    assert rolewarden("plan", "--assume-role", f"arn:aws:iam::{ACCOUNT_ID}:role/auditor").exit_code == 2
    callers = {call.operation: call.caller for call in world.aws.calls(mark)}
    assert "auditor" in callers["GetAccountAuthorizationDetails"]


def test_a_role_that_cannot_be_assumed_is_an_error_of_one_line(world):
    result = rolewarden("plan", "--assume-role", f"arn:aws:iam::{ACCOUNT_ID}:role/nobody")
    assert result.exit_code == 1
    assert f"cannot use role arn:aws:iam::{ACCOUNT_ID}:role/nobody: AssumeRole: AccessDenied" in result.stderr


def test_the_output_fits_eighty_columns_and_has_no_colours_without_a_terminal(world):
    result = rolewarden("plan", "--all")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout
    for expected in (
        "CanvasFull",
        "10/10",
        "fatima",
        "quota full",
        "exemptions that end soon",
        "switched on in Canvas",
    ):
        assert expected in result.stdout


def test_a_role_with_a_name_that_aws_gave_it_stands_on_one_line(world):
    name = "AmazonSageMaker-ExecutionRole-20261125T101010"
    world.role(name)
    world.sagemaker.update_user_profile(
        DomainId="d-research0001", UserProfileName="rosa",
        UserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"},
    )  # fmt: skip
    lines = rolewarden("plan").stdout.splitlines()
    assert lines[lines.index(f"  {name}") + 1].split() == ["drifted", "0/10", "rosa"]
    assert max(map(len, lines)) <= 80


def test_an_account_is_planned_the_same_with_the_table_and_without(world):
    with_table = planned()[1]
    world.aws.reset()
    seed(world.aws)
    assert planned()[1] == with_table


LOOSENED = """
guardrails:
  strict: {bedrock: {deny: all}}
  loose: {bedrock: {allow: [amazon.nova-*]}}
assignments:
  - {guardrails: [], tags: {team: data-science}}
  - {guardrails: [loose], user_profiles: [o*, nobody]}
  - {guardrails: [loose], domains: [none]}
  - guardrails: [strict]
"""


@pytest.mark.parametrize("organization", ["", "o-exampleorg1"])
def test_the_plan_names_the_subjects_that_have_an_assignment_by_a_choice(world_with, monkeypatch, organization):
    world = world_with(LOOSENED)
    arn = f"arn:aws:cloudformation:us-east-1:{ACCOUNT_ID}:stack/rolewarden/1"
    stack = DeployedStack("rolewarden", arn, (), {"OrganizationId": organization})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://in-process")
    with connected(Where(local=True)) as connection:
        _, plan = read_plan(replace(connection, stack=stack), world.runtime.rules, TODAY)
    by_name = [(2, ("analytics/omar",)), (3, ())]
    assert [(rule.assignment, rule.subjects) for rule in plan.loosened] == [
        (1, ("research/rosa",)), *(by_name if organization else []),
    ]  # fmt: skip
    assert "every caller who can tag a domain or user profile can get it" in plan.loosened[0].why
    printed = io.StringIO()
    show_plan(Console(file=printed, width=200), plan)
    text = " ".join(printed.getvalue().split())
    assert "assignment 1 matches research/rosa now denies less than the last assignment and matches by tags" in text
    assert ("assignment 3 matches no subject of this account now" in text) == bool(organization)


@pytest.mark.parametrize(
    ("keys", "change", "text"),
    [
        ("", "kept", "only-nova-and-sonnet stays attached to CanvasResearch, CanvasRosa, and denies, until `rolewarden "
                     "detach` detaches it Until then, it counts against the quota of attached policies."),
        ("surplus: detach\n", "retired", "only-nova-and-sonnet is detached from 2 roles after the policies that they "
                                         "need, then deleted"),
    ],
)  # fmt: skip
def test_plan_says_before_a_rename_what_happens_to_the_earlier_policy(world_with, tmp_path, keys, change, text):
    world_with(BY_DOMAIN).protected()
    file = tmp_path / "renamed.yaml"
    file.write_text(keys + BY_DOMAIN.replace("only-nova-and-sonnet", "two-families"))
    plan, roles = planned("--guardrails", str(file))
    assert plan["policies"]["only-nova-and-sonnet"] == change
    rosa, stays = roles["CanvasRosa"], change == "kept"
    assert rosa["attached"] == ["two-families"]
    assert rosa["surplus" if stays else "detached"] == ["only-nova-and-sonnet"]
    assert text in " ".join(rolewarden("plan", "--guardrails", str(file)).stdout.split())
    done = json_answer("enforce", "--yes", "--despite-stack", "--guardrails", str(file), exit_code=2)
    assert (done["postponed"], "only-nova-and-sonnet" in done["policies"]) == ([], not stays)
