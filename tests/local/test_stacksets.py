"""Stacks that a stack puts into other regions and accounts, and roles that are assumed across accounts."""

import json
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

CENTRAL, MEMBER, LATER = "111122223333", "222233334444", "333344445555"
ORGANIZATION = "o-exampleorg1"
CHILD = {
    "Parameters": {"Hub": {"Type": "String"}},
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "of-${Hub}"}}},
    },
}


@pytest.fixture
def local(aws):
    aws.reset()
    boto3.client("s3").create_bucket(Bucket="templates")
    boto3.client("s3").put_object(Bucket="templates", Key="child.json", Body=json.dumps(CHILD))
    return aws


def client(service, account=CENTRAL, region="us-east-1"):
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="x", region_name=region)


def stack(regions, targets, **more):
    properties = {
        "StackSetName": "children",
        "TemplateURL": "https://s3.us-east-1.amazonaws.com/templates/child.json",
        "Parameters": [{"ParameterKey": "Hub", "ParameterValue": CENTRAL}],
        "StackInstancesGroup": [{"DeploymentTargets": targets, "Regions": regions}],
        "PermissionModel": "SELF_MANAGED",
        **more,
    }
    resource = {"Type": "AWS::CloudFormation::StackSet", "Properties": properties}
    return {"StackName": "parent", "TemplateBody": json.dumps({"Resources": {"Children": resource}})}


def managed(*units):
    return {"OrganizationalUnitIds": list(units)}


AUTOMATIC = {
    "PermissionModel": "SERVICE_MANAGED",
    "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
}


def deployed(operation, **request):
    cloudformation = client("cloudformation")
    getattr(cloudformation, operation)(**request)
    while (status := cloudformation.describe_stacks(StackName="parent")["Stacks"][0]["StackStatus"]).endswith(
        "IN_PROGRESS"
    ):
        time.sleep(0.01)
    assert status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}


def has_queue(account, region):
    return bool(client("sqs", account, region).list_queues(QueueNamePrefix="of-").get("QueueUrls"))


def instances():
    listed = client("cloudformation").list_stack_instances(StackSetName="children")["Summaries"]
    return {(found["Account"], found["Region"]): found["Status"] for found in listed}


def test_a_self_managed_one_goes_with_its_regions(local):
    deployed("create_stack", **stack(["eu-west-1", "ap-south-1"], {"Accounts": [CENTRAL]}))
    assert has_queue(CENTRAL, "eu-west-1")
    assert has_queue(CENTRAL, "ap-south-1")
    assert not has_queue(CENTRAL, "us-east-1")
    deployed("update_stack", **stack(["eu-west-1", "eu-central-1"], {"Accounts": [CENTRAL]}))
    assert instances() == {(CENTRAL, "eu-west-1"): "CURRENT", (CENTRAL, "eu-central-1"): "CURRENT"}
    assert not has_queue(CENTRAL, "ap-south-1")


def test_a_service_managed_one_follows_the_accounts_of_its_units(local):
    local.organize(ORGANIZATION, ou_root_canvas={MEMBER}, ou_root_other={LATER})
    deployed("create_stack", **stack(["eu-west-1"], managed("ou-root-canvas"), **AUTOMATIC))
    assert instances() == {(MEMBER, "eu-west-1"): "CURRENT"}
    local.organize(ORGANIZATION, ou_root_canvas={MEMBER, LATER})
    assert has_queue(LATER, "eu-west-1")
    local.organize(ORGANIZATION, ou_root_canvas={LATER})
    assert instances() == {(LATER, "eu-west-1"): "CURRENT"}
    assert not has_queue(MEMBER, "eu-west-1")


def test_instances_are_listed_by_region_in_pages(local):
    local.organize(ORGANIZATION, ou_root_canvas={MEMBER, LATER})
    deployed("create_stack", **stack(["eu-west-1", "us-east-1"], managed("ou-root-canvas"), **AUTOMATIC))
    pages = (
        client("cloudformation")
        .get_paginator("list_stack_instances")
        .paginate(StackSetName="children", StackInstanceRegion="eu-west-1", PaginationConfig={"PageSize": 1})
    )
    assert [len(page["Summaries"]) for page in pages] == [1, 1]


def test_a_deleted_stack_takes_its_stacks_along(local):
    deployed("create_stack", **stack(["eu-west-1"], {"Accounts": [CENTRAL]}))
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName="parent")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="parent", WaiterConfig={"Delay": 0, "MaxAttempts": 500}
    )
    assert not has_queue(CENTRAL, "eu-west-1")
    with pytest.raises(ClientError, match="StackSetNotFoundException"):
        instances()


# Roles


def trusting(principal):
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def assumed(session, arn):
    """A client of the role's session, made by the session `session` (credentials), or by root."""
    keys: dict[str, Any] = {"aws_access_key_id": CENTRAL, "aws_secret_access_key": "x"}
    if session:
        keys = {
            "aws_access_key_id": session["AccessKeyId"],
            "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }
    return boto3.client("sts", **keys).assume_role(RoleArn=arn, RoleSessionName="visit")["Credentials"]


@pytest.mark.parametrize(
    ("trusted", "organization", "enters"),
    [
        (f"arn:aws:iam::{CENTRAL}:role/Function", ORGANIZATION, True),
        (f"arn:aws:iam::{CENTRAL}:role/Another", ORGANIZATION, False),
        (f"arn:aws:iam::{CENTRAL}:role/Function", "o-somebodys1", False),
    ],
)
def test_a_role_of_another_account_is_assumed_where_both_sides_allow_it(local, trusted, organization, enters):
    local.organize(organization, ou_root_canvas={MEMBER})
    theirs = client("iam", MEMBER).create_role(RoleName="Theirs", AssumeRolePolicyDocument=trusting(trusted))["Role"]
    iam = client("iam")
    ours = iam.create_role(RoleName="Function", AssumeRolePolicyDocument=trusting(f"arn:aws:iam::{CENTRAL}:root"))[
        "Role"
    ]
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": "arn:aws:iam::*:role/Theirs",
        "Condition": {"StringEquals": {"aws:ResourceOrgID": ORGANIZATION}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="Function", PolicyName="enter", PolicyDocument=document)
    session = assumed(None, ours["Arn"])
    if enters:
        keys = assumed(session, theirs["Arn"])
        sts = boto3.client("sts", aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key="x")
        assert sts.get_caller_identity()["Account"] == MEMBER
    else:
        with pytest.raises(ClientError, match="AccessDenied"):
            assumed(session, theirs["Arn"])


def test_the_session_of_a_deleted_role_is_worth_nothing(local):
    iam = client("iam")
    ours = iam.create_role(RoleName="Function", AssumeRolePolicyDocument=trusting(f"arn:aws:iam::{CENTRAL}:root"))[
        "Role"
    ]
    keys = assumed(None, ours["Arn"])
    visitor = boto3.client(
        "iam",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    visitor.list_roles()
    iam.delete_role(RoleName="Function")
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        visitor.list_roles()
