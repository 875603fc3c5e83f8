"""Only the callers in `trusted_taggers` can set the tags by which assignments match: a finding, and a policy."""

import json

import pytest
from rolewarden.errors import ProtectionError
from rolewarden.guardrails_file import read_yaml
from rolewarden.verdicts import RECOMMENDATIONS, Reason
from rolewarden_cli.protect import Protection
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.judge import judge

from tests.conftest import TODAY
from tests.stacks import EVERYTHING, deployed, translated, whole

PLATFORM = f"arn:aws:iam::{ACCOUNT_ID}:role/ci/platform"
DEPLOYER = f"arn:aws:iam::{ACCOUNT_ID}:role/deploy-rolewarden"
TAGGED = """
guardrails:
  strict: {bedrock: {deny: all}}
assignments:
  - {guardrails: [], tags: {team: research}}
  - guardrails: [strict]
"""
TRUSTED = f"{TAGGED}trusted_taggers: ['{PLATFORM}']\n"
OMAR = f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:user-profile/d-analytics0001/omar"
ABOUT = "account/tags of d-analytics0001/omar"


def tagged(world, key="team", principal="", call="AddTags"):
    """The event of a call that changed a tag of Omar's user profile, made by the session of this role."""
    if call == "AddTags":
        world.sagemaker.add_tags(ResourceArn=OMAR, Tags=[{"Key": key, "Value": "research"}])
    else:
        world.sagemaker.delete_tags(ResourceArn=OMAR, TagKeys=[key])
    event = json.loads(json.dumps(world.event(call)))
    if principal:
        session = principal.replace(":iam:", ":sts:").replace("role/ci/", "assumed-role/") + "/alice"
        event["detail"]["userIdentity"] = {
            "type": "AssumedRole", "arn": session, "sessionContext": {"sessionIssuer": {"arn": principal}},
        }  # fmt: skip
    return event


@pytest.mark.parametrize("call", ["AddTags", "DeleteTags"])
def test_a_tag_that_another_caller_sets_is_reported_once_and_counts(world_with, call):
    world = world_with(TRUSTED).protected()
    event = tagged(world, call=call)
    world.enforce(event)
    world.enforce(event)
    [row] = world.history(ABOUT)
    assert row["kind"] == "Account Finding"
    assert (row["reason"], row["recommendation"]) == (Reason.TAGGED, RECOMMENDATIONS[Reason.TAGGED])
    assert row["message"].endswith("set or removed team")
    assert row["cause"]["event_name"] == call
    world.sweep()
    assert len(world.history(ABOUT)) == 1


def test_a_user_profile_that_is_created_with_a_tag_is_reported(world_with):
    world = world_with(TRUSTED).protected()
    tags = [{"Key": "team", "Value": "research"}]
    world.sagemaker.create_user_profile(DomainId="d-analytics0001", UserProfileName="eve", Tags=tags)
    world.enforce(world.event("CreateUserProfile"))
    assert len(world.history("account/tags of d-analytics0001/eve")) == 1


@pytest.mark.parametrize(
    ("text", "key", "principal"),
    [
        (TRUSTED, "team", PLATFORM),
        (TRUSTED, "cost-center", ""),
        (TAGGED, "team", ""),
    ],
    ids=["a trusted tagger", "another tag", "a file that names nobody"],
)
def test_no_other_change_of_a_tag_is_reported(world_with, text, key, principal):
    world = world_with(text).protected()
    world.enforce(tagged(world, key, principal))
    assert world.history(ABOUT) == []


@pytest.mark.parametrize(
    "principal",
    [f"arn:aws:iam::{ACCOUNT_ID}:role/platform", "arn:aws:iam::444455556666:role/ci/platform"],
    ids=["another path", "another account"],
)
def test_a_role_of_that_name_elsewhere_is_no_trusted_tagger(world_with, principal):
    world = world_with(TRUSTED).protected()
    world.enforce(tagged(world, principal=principal))
    assert len(world.history(ABOUT)) == 1


def test_a_record_without_the_tags_is_reported(world_with):
    world = world_with(TRUSTED).protected()
    event = tagged(world)
    del event["detail"]["requestParameters"]["tags"]
    world.enforce(event)
    [row] = world.history(ABOUT)
    assert row["message"].endswith("an unknown tag")


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{ACCOUNT_ID}:role/*",
        "arn:aws:iam::*:role/platform",
        f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/platform/alice",
        f"arn:aws:iam::{ACCOUNT_ID}:root",
        "platform",
    ],
)
def test_a_trusted_tagger_is_the_whole_arn_of_one_role_or_user(arn):
    [error] = read_yaml(f"{TAGGED}trusted_taggers: ['{arn}']\n", today=TODAY).errors
    assert "is not the whole ARN of one role or user" in error.message


def test_trusted_taggers_without_an_assignment_by_tags_are_an_error():
    text = TRUSTED.replace("tags: {team: research}", "domains: [research]")
    [error] = read_yaml(text, today=TODAY).errors
    assert (error.where, error.message) == (
        "trusted_taggers", "no assignment matches by tags: add one, or remove `trusted_taggers`"
    )  # fmt: skip


def decided(document, principal, action="sagemaker:AddTags", resource=OMAR):
    policies = {"all": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}}
    keys = {"aws:PrincipalArn": principal, "aws:RequestedRegion": "us-east-1"}
    return judge({**policies, "scp": document}, action, resource, keys).decision


@pytest.mark.parametrize("boundary", [False, True], ids=["scp", "boundary"])
def test_the_policy_lets_only_trusted_taggers_and_deployers_tag_subjects(boundary):
    stack = deployed(translated()) if boundary else deployed(whole())
    protection = Protection(stack, (DEPLOYER,), taggers=(PLATFORM,))
    document = protection.boundary() if boundary else protection.service_control_policy()
    if boundary and "TrustedTaggers" not in {statement["Sid"] for statement in document["Statement"]}:
        assert any("tags of domains" in line for line in protection.left_out())
        return
    administrator = f"arn:aws:iam::{ACCOUNT_ID}:role/Administrator"
    elsewhere = OMAR.replace("us-east-1", "eu-west-1")
    for action in ("sagemaker:AddTags", "sagemaker:DeleteTags"):
        for resource in (OMAR, elsewhere, f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:domain/d-analytics0001"):
            assert decided(document, administrator, action, resource) == "explicitDeny"
            assert decided(document, PLATFORM, action, resource) == "allowed"
            assert decided(document, DEPLOYER, action, resource) == "allowed"
    model = f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:model/churn"
    assert decided(document, administrator, "sagemaker:AddTags", model) == "allowed"
    # An administrator who changes a trusted tagger could act as it.
    assert decided(document, administrator, "iam:UpdateAssumeRolePolicy", PLATFORM) == "explicitDeny"
    # A trusted tagger is no deployer.
    assert decided(document, PLATFORM, "iam:UpdateAssumeRolePolicy", DEPLOYER) == "explicitDeny"


def test_the_policy_covers_the_accounts_of_an_organization_and_only_with_trusted_taggers():
    there = OMAR.replace(ACCOUNT_ID, "444455556666")
    role = "arn:aws:iam::444455556666:role/Administrator"
    stack = deployed(translated(**EVERYTHING))
    document = Protection(stack, (DEPLOYER,), taggers=(PLATFORM,)).service_control_policy()
    assert decided(document, role, resource=there) == "explicitDeny"
    assert decided(Protection(stack, (DEPLOYER,)).service_control_policy(), role, resource=there) == "allowed"


def test_many_trusted_taggers_do_not_fit_and_the_command_says_so():
    many = tuple(f"arn:aws:iam::{ACCOUNT_ID}:role/platform-{number:03}" for number in range(100))
    with pytest.raises(ProtectionError, match="fewer deployers and trusted taggers"):
        Protection(deployed(whole()), (DEPLOYER,), taggers=many).service_control_policy()
