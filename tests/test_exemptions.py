"""A role is exempt only while AWS confirms that it is the role, with the users, that guardrails.yaml exempts."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.sagemaker.models import sagemaker_backends
from rolewarden.bindings import row_key
from rolewarden.errors import RulesError
from rolewarden.guardrails_file import read_yaml
from rolewarden.listed import modified
from rolewarden.publish import Publications
from rolewarden.settings import PublishSettings
from rolewarden.verdicts import RECOMMENDATIONS
from rolewarden_cli.account import DeployedStack
from rolewarden_cli.plan import compared
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated._ministack import cloudformation, iam
from rolewarden_local.emulated.sagemaker import members_of
from rolewarden_local.scenes.seed import ANALYTICS, RESEARCH, TRUST

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY
from tests.published import publish_at
from tests.volume import volume

ROLE = "CanvasBreakGlass"
ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/{ROLE}"
RULES = """guardrails:
  strict: {bedrock: {deny: all}}
assignments:
  - guardrails: [strict]
exemptions:
  - role: CanvasBreakGlass
    account: "111122223333"
    until: 2999-01-31
"""
BY_NAME = RULES + "    user_profiles: [breakglass]\n"
NAMED = BY_NAME + f"    domains: [{ANALYTICS}]\n"
ALONE = {"Resources": {"Alone": {"Type": "AWS::SNS::Topic"}}}
ABSENT, NEWER = "exempt role not found", "exempt role is newer than the rules"
TRUSTING = "exempt role has another trust policy"
OTHER, REPLACED = "exempt role has another ID", "another exempt role was confirmed"
BEYOND, GAINED = "exempt role has a use that its exemption does not name", "exempt role may have a new user"


@pytest.fixture
def deployed(world_with):
    """A function that makes an account with these rules, which a stack has just deployed, swept and protected."""

    def make(text):
        world = world_with(text)
        made = boto3.client("cloudformation").create_stack(StackName="rolewarden", TemplateBody=json.dumps(ALONE))
        world.environment = {**world.environment, "STACK_ID": made["StackId"]}
        deploy_again(world)
        world.sweep()
        assert verdict(world) == "exempt"
        assert findings(world) == []
        return world

    return make


def deploy_again(world, *, ago=0):
    """Record that the stack published the guardrails `ago` seconds ago.

    SageMaker's times have milliseconds, so a change in the same millisecond could count as later.
    """
    publish_at("rolewarden", datetime.now(UTC) - timedelta(seconds=ago) + timedelta(milliseconds=1))
    world.assemble(world.runtime.aws)


def verdict(world):
    return world.verdict(ROLE)["verdict"]


def findings(world):
    """The reasons of the findings about the exemption, and "resolved", oldest first."""
    return [row.get("reason", "resolved") for row in world.history(f"account/exemption of {ROLE}")]


def deleted(world):
    for policy in world.iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]:
        world.iam.detach_role_policy(RoleName=ROLE, PolicyArn=policy["PolicyArn"])
    world.iam.delete_role(RoleName=ROLE)


def recreated(world, name=ROLE):
    """Delete the exempt role and create it again with another trust policy, some seconds after the deployment."""
    deleted(world)
    world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST.replace("sagemaker", "lambda"))
    later = datetime.now(UTC) + timedelta(seconds=5)
    iam._roles.get_scoped(ACCOUNT_ID, None, name)["CreateDate"] = later.strftime("%Y-%m-%dT%H:%M:%SZ")


def given_to_domain(world, domain=RESEARCH):
    world.sagemaker.update_domain(DomainId=domain, DefaultUserSettings={"ExecutionRole": ARN})
    return world.event("UpdateDomain")


@pytest.mark.parametrize("name", [ROLE, ROLE.upper()])
def test_a_recreated_role_is_governed_and_reported_until_the_next_deployment(deployed, name):
    world = deployed(RULES)
    recreated(world, name)
    world.enforce(world.event("CreateRole"))
    assert world.attached(ROLE) == {"strict"}
    assert findings(world) == [NEWER]
    world.sweep()
    assert (verdict(world), findings(world)) == ("compliant", [NEWER, NEWER])  # the event has one, and the sweep
    deploy_again(world, ago=-10)
    assert verdict(world) == "exempt"
    world.sweep()
    assert findings(world) == [NEWER, NEWER, "resolved", REPLACED]


def test_an_update_of_the_stack_that_publishes_nothing_confirms_no_exemption(deployed):
    world = deployed(RULES)
    recreated(world)
    stack = cloudformation._stacks.get_scoped(ACCOUNT_ID, "us-east-1", "rolewarden")
    stack["LastUpdatedTime"] = (datetime.now(UTC) + timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert verdict(world) == "compliant"
    world.sweep()
    assert NEWER in findings(world)


def test_a_deployment_that_confirms_another_role_than_before_is_a_finding(deployed):
    world = deployed(RULES)
    recreated(world)
    deploy_again(world, ago=-10)
    assert verdict(world) == "exempt"
    world.sweep()
    [row] = [row for row in world.history(f"account/exemption of {ROLE}") if row.get("reason") == REPLACED]
    assert world.iam.get_role(RoleName=ROLE)["Role"]["RoleId"] in row["message"]
    world.sweep()
    assert findings(world) == [REPLACED]


def with_id(world):
    """The rules, in which the exemption has the unique ID of its role, and the account with them."""
    unique = world.iam.get_role(RoleName=ROLE)["Role"]["RoleId"]
    path = Path(world.environment["GUARDRAILS_FILE"])
    path.write_text(RULES + f"    role_id: {unique}\n")
    world.assemble(world.runtime.aws)
    return world


def test_an_exemption_with_an_id_holds_for_the_one_role_whenever_it_was_created(deployed):
    world = deployed(RULES)
    recreated(world)
    assert verdict(world) == "compliant"
    with_id(world)
    assert verdict(world) == "exempt"
    world.sweep()
    assert findings(world)[-1] == "resolved"


@pytest.mark.parametrize("ago", [0, -10])
def test_no_deployment_confirms_a_role_that_has_another_id_than_its_exemption(deployed, ago):
    world = with_id(deployed(RULES))
    assert verdict(world) == "exempt"
    recreated(world)
    deploy_again(world, ago=ago)
    world.enforce(world.event("CreateRole"))
    assert world.attached(ROLE) == {"strict"}
    world.sweep()
    assert findings(world) == [OTHER, OTHER]
    assert world.history(f"account/exemption of {ROLE}")[-1]["recommendation"] == RECOMMENDATIONS[OTHER] != ""


@pytest.mark.parametrize(
    "unique", ["CanvasBreakGlass", "AIDAEXAMPLEEXAMPLE12", "aroaexampleexample12", "AROA*", 7, "AROA"]
)
def test_an_id_that_is_none_of_a_role_is_an_error(unique):
    found = read_yaml(RULES + f'    role_id: "{unique}"\n' if unique != 7 else RULES + "    role_id: 7\n", today=TODAY)
    [error] = found.errors
    assert "exemptions[1].role_id: must be the unique ID of the role" in str(error)


def test_the_finding_says_which_role_it_is_and_what_to_do(deployed):
    world = deployed(RULES)
    recreated(world)
    world.sweep()
    [row] = world.history(f"account/exemption of {ROLE}")
    assert world.iam.get_role(RoleName=ROLE)["Role"]["RoleId"] in row["message"]
    assert row["recommendation"] == RECOMMENDATIONS[NEWER] != ""


def test_a_recreated_role_without_a_user_is_reported(deployed):
    world = deployed(RULES)
    world.sagemaker.delete_user_profile(DomainId=ANALYTICS, UserProfileName="breakglass")
    world.enforce(world.event("DeleteUserProfile"))
    recreated(world)
    world.enforce(world.event("CreateRole"))
    assert findings(world) == [NEWER]


def test_a_sweep_has_a_recreated_role_protected_without_an_event(deployed):
    world = deployed(RULES)
    recreated(world)
    world.sweep()
    assert (world.attached(ROLE), findings(world)) == ({"strict"}, [NEWER])


def test_a_recreated_role_keeps_its_guardrail_although_surplus_is_detached(deployed):
    world = deployed("surplus: detach\n" + RULES)
    recreated(world)
    world.sweep()
    world.detacher.detach_from(ACCOUNT_ID, ROLE, ["strict"])
    assert world.attached(ROLE) == {"strict"}


def test_a_deleted_role_is_reported_and_resolved_by_a_deployment_of_a_new_one(deployed):
    world = deployed(RULES)
    deleted(world)
    world.enforce(world.event("DeleteRole"))
    world.sweep()
    assert findings(world) == [ABSENT, ABSENT]
    world.iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=TRUST)
    deploy_again(world)
    world.sweep()
    assert findings(world) == [ABSENT, ABSENT, "resolved", REPLACED]


def test_a_role_of_another_account_with_the_name_of_an_exempt_role_is_not_exempt(deployed):
    world = deployed(RULES)
    foreign = ARN.replace(ACCOUNT_ID, "222233334444")
    world.sagemaker.update_domain(DomainId=RESEARCH, DefaultUserSettings={"ExecutionRole": foreign})
    [outcome] = [found for found in world.enforce(world.event("UpdateDomain")) if found["account"] != ACCOUNT_ID]
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "other account")


@pytest.mark.parametrize("text", [RULES, NAMED])
def test_a_new_user_of_an_exempt_role_is_reported_at_once_with_its_caller(deployed, text):
    world = deployed(text)
    event = given_to_domain(world)
    world.enforce(event)
    [row] = world.history(f"account/exemption of {ROLE}")
    assert row["reason"] == (GAINED if text == RULES else BEYOND)
    assert "research default-user" in row["message"]
    assert row["cause"]["event_name"] == "UpdateDomain"
    assert row["recommendation"]


def test_the_role_of_an_exemption_without_subjects_stays_exempt_for_a_new_user(deployed):
    world = deployed(RULES)
    world.enforce(given_to_domain(world))
    world.sweep()
    assert (verdict(world), world.attached(ROLE), findings(world)) == ("exempt", set(), [GAINED, GAINED])


SETTINGS = {
    "execution": {"ExecutionRole": ARN},
    "bedrock": {"CanvasAppSettings": {"GenerativeAiSettings": {"AmazonBedrockRoleArn": ARN}}},
    "emr": {"CanvasAppSettings": {"EmrServerlessSettings": {"ExecutionRoleArn": ARN, "Status": "ENABLED"}}},
    "forecast": {"CanvasAppSettings": {"TimeSeriesForecastingSettings": {"AmazonForecastRoleArn": ARN}}},
}
OF = ("domain", "profile")


@pytest.mark.volume
@pytest.mark.parametrize(("via", "of"), volume([("execution", "domain"), ("emr", "profile")], [*product(SETTINGS, OF)]))
def test_a_role_that_is_used_beyond_its_exemption_needs_its_guardrails(deployed, via, of):
    world, settings = deployed(NAMED), SETTINGS[via]
    if of == "domain":
        world.sagemaker.update_domain(DomainId=ANALYTICS, DefaultUserSettings=settings)
    else:
        world.sagemaker.update_user_profile(DomainId=RESEARCH, UserProfileName="rosa", UserSettings=settings)
    world.sweep()
    assert (world.attached(ROLE), findings(world)) == ({"strict"}, [BEYOND])


def test_a_use_in_shared_spaces_is_beyond_an_exemption_of_a_user_profile(deployed):
    world = deployed(NAMED)
    world.sagemaker.update_domain(DomainId=ANALYTICS, DefaultSpaceSettings={"ExecutionRole": ARN, "SecurityGroups": []})
    world.sweep()
    assert (world.attached(ROLE), findings(world)) == ({"strict"}, [BEYOND])


def test_a_further_new_user_is_another_finding(deployed):
    world = deployed(RULES)
    given_to_domain(world)
    world.sweep()
    world.sweep()
    assert findings(world) == [GAINED]
    given_to_domain(world, ANALYTICS)
    world.sweep()
    assert findings(world) == [GAINED, GAINED]


def test_a_new_user_profile_that_inherits_an_exempt_role_from_its_domain_is_a_finding(deployed):
    world = deployed(RULES)
    given_to_domain(world)
    deploy_again(world)
    world.sweep()
    assert findings(world) == []
    world.sagemaker.create_user_profile(DomainId=RESEARCH, UserProfileName="late")
    world.sweep()
    [row] = world.history(f"account/exemption of {ROLE}")
    assert (row["reason"], "research/late" in row["message"], "ravi" in row["message"]) == (GAINED, True, False)


def test_a_sweep_reports_another_trust_policy_until_the_next_deployment(deployed):
    world = deployed(NAMED)
    everyone = TRUST.replace('"Service": "sagemaker.amazonaws.com"', '"AWS": "*"')
    world.iam.update_assume_role_policy(RoleName=ROLE.lower(), PolicyDocument=everyone)
    with world.aws.failing("UpdateAssumeRolePolicy", "AccessDenied"), pytest.raises(ClientError):
        world.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=TRUST)
    world.sweep()
    assert (verdict(world), findings(world)) == ("exempt", [TRUSTING])
    deploy_again(world, ago=-10)
    world.sweep()
    assert findings(world) == [TRUSTING, "resolved"]


def test_a_user_that_the_exemption_names_is_no_finding_whenever_it_changed(deployed):
    world = deployed(NAMED)
    world.sagemaker.update_user_profile(
        DomainId=ANALYTICS, UserProfileName="breakglass", UserSettings={"ExecutionRole": ARN}
    )
    world.sweep()
    assert (verdict(world), findings(world)) == ("exempt", [])


@pytest.mark.parametrize("by", ["event", "sweep"])
@pytest.mark.parametrize("text", [BY_NAME, BY_NAME + "    domains: [analyt*, mine]\n"], ids=["profile", "and domain"])
def test_a_domain_of_a_caller_with_a_user_profile_of_the_exempt_name_is_a_finding(deployed, text, by):
    world = deployed(text)
    domain = world.sagemaker.create_domain(
        DomainName="mine", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": world.role("CanvasMine")}
    )["DomainId"]
    world.sagemaker.create_user_profile(
        DomainId=domain, UserProfileName="BreakGlass", UserSettings={"ExecutionRole": ARN}
    )
    if by == "event":
        world.enforce(world.event("CreateUserProfile"))
    else:
        world.sweep()
    [row] = world.history(f"account/exemption of {ROLE}")
    assert (row["reason"], "mine/breakglass" in row["message"]) == (GAINED, True)


def test_a_domain_that_is_named_like_the_id_of_the_exemption_is_beyond_it(deployed):
    world = deployed(NAMED.replace(ANALYTICS, f"{ANALYTICS}, d-elsewhere001"))
    domain = world.sagemaker.create_domain(
        DomainName="d-elsewhere001", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": world.role("CanvasMine")}
    )["DomainId"]
    world.sagemaker.create_user_profile(
        DomainId=domain, UserProfileName="breakglass", UserSettings={"ExecutionRole": ARN}
    )
    world.enforce(world.event("CreateUserProfile"))
    assert (world.attached(ROLE), findings(world)) == ({"strict"}, [BEYOND])


MODEL: Any = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
STATUSES = {status for name in ("DomainStatus", "UserProfileStatus") for status in MODEL.shape_for(name).enum}


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_a_subject_has_a_time_unless_sagemaker_is_still_changing_it(status):
    is_changing = status in {"Pending", "Updating", "Deleting"}
    assert modified({"Status": status, "LastModifiedTime": datetime.fromtimestamp(5, UTC)}) == (
        "" if is_changing else "5.000"
    )


@pytest.mark.parametrize("status", ["Update_Failed", "Failed", "Delete_Failed", "Pending", "Updating"])
def test_a_new_user_of_an_exempt_role_is_reported_in_every_status(deployed, status):
    world = deployed(RULES)
    world.sagemaker.create_user_profile(DomainId=RESEARCH, UserProfileName="eve", UserSettings={"ExecutionRole": ARN})
    backend = sagemaker_backends[ACCOUNT_ID]["us-east-1"]
    next(one for one in members_of(backend) if one.name == "eve").status = status
    world.sweep()
    world.sweep()
    assert findings(world) == [GAINED]


def test_a_finding_about_a_new_user_is_resolved_when_the_role_is_taken_away(deployed):
    world = deployed(NAMED)
    given_to_domain(world)
    world.sweep()
    back = world.seeded.roles["CanvasResearch"]
    world.sagemaker.update_domain(DomainId=RESEARCH, DefaultUserSettings={"ExecutionRole": back})
    world.sweep()
    assert (verdict(world), findings(world)) == ("exempt", [BEYOND, "resolved"])


def test_a_forged_row_does_not_extend_an_exemption(deployed):
    """The table has no row that could: the attacker makes each row about the new user look old and known."""
    world = deployed(RULES)
    given_to_domain(world)
    recreated(world)
    world.sweep()
    for row in list(world.runtime.aws.scan(world.environment["BINDINGS_TABLE"])):
        if row.get("role_name") == ROLE:
            world.runtime.aws.put(world.environment["BINDINGS_TABLE"], {**row, "modified": "1.000"})
    world.sweep()
    assert verdict(world) == "compliant"
    deploy_again(world, ago=-10)
    given_to_domain(world)
    deploy_again(world, ago=1)
    iam._roles.get_scoped(ACCOUNT_ID, None, ROLE)["CreateDate"] = "2020-01-01T00:00:00Z"
    for binding in world.bindings.all():
        if binding.role and binding.role.name == ROLE:
            row = {**binding._replace(modified="1.000").as_row(), **row_key(binding.key)}
            world.runtime.aws.put(world.environment["BINDINGS_TABLE"], row)
    world.sweep()
    assert findings(world)[-2:] == [GAINED, REPLACED]


def test_a_role_that_iam_does_not_describe_is_governed(deployed):
    world = deployed(RULES)
    with world.aws.failing("GetRole", "AccessDenied"):
        assert verdict(world) == "compliant"
    assert world.attached(ROLE) == {"strict"}
    assert findings(world) == ["access denied"]


def test_the_time_of_the_deployment_is_read_again_before_a_role_counts_as_newer(deployed):
    """A function lives on after a deployment that changes another function only."""
    world = deployed(RULES)
    recreated(world)
    lasting = world.enforcer
    deploy_again(world, ago=-10)
    world.enforcer = lasting
    assert verdict(world) == "exempt"


def test_a_stack_that_covers_an_organization_refuses_an_exemption_without_an_account(world_with):
    world = world_with(RULES.replace('    account: "111122223333"\n', ""))
    settings = PublishSettings.read({**world.environment, "MEMBER_ROLE": "rolewarden-publish"})
    with pytest.raises(RulesError, match="names no account, and the stack covers an organization: write `account:"):
        Publications.of(world.runtime, settings)


def test_a_plan_for_a_stack_that_covers_an_organization_needs_the_account_of_each_exemption(world_with):
    world = world_with(RULES.replace('    account: "111122223333"\n', ""))
    stack = DeployedStack("rolewarden", "arn", (), {"OrganizationId": "o-exampleorg1"})
    connection: Any = SimpleNamespace(stack=stack)
    inventory: Any = None  # The command ends before it needs one.
    with pytest.raises(RulesError, match="names no account"):
        compared(connection, inventory, world.runtime.rules, TODAY)


def test_a_plan_shows_why_an_exemption_is_in_doubt(deployed):
    world = deployed(RULES)
    recreated(world)
    [doubt] = json_answer("plan", "--guardrails", world.environment["GUARDRAILS_FILE"], exit_code=2)["doubts"]
    assert (doubt["role"], doubt["reason"], doubt["ends"]) == (ROLE, NEWER, True)
    assert doubt["recommendation"] == RECOMMENDATIONS[NEWER]


def test_the_status_and_an_explanation_show_why_an_exemption_does_not_hold(deployed):
    world = deployed(RULES)
    recreated(world)
    world.sweep()
    names = {"BindingsTable": world.environment["BINDINGS_TABLE"], "HistoryTable": world.environment["HISTORY_TABLE"]}
    kept = {
        name: {"PhysicalResourceId": found, "LogicalResourceId": name, "ResourceType": "AWS::DynamoDB::Table",
               "ResourceStatus": "CREATE_COMPLETE", "Timestamp": "2026-01-01T00:00:00Z"}
        for name, found in names.items()
    }  # fmt: skip
    cloudformation._stacks.get_scoped(ACCOUNT_ID, "us-east-1", "rolewarden")["_resources"] = kept
    text = " ".join(rolewarden("status").stdout.split())
    assert f"exemption of {ROLE} {NEWER}" in text
    assert "find the caller of CreateRole in CloudTrail" in text
    file = world.environment["GUARDRAILS_FILE"]
    said = " ".join(rolewarden("explain", ROLE, "amazon.nova-pro-v1:0", "--guardrails", file).stdout.split())
    assert f"Its exemption does not hold (exemption of {ROLE}: role AROA" in said
