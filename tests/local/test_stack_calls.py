"""The traces of operations of CloudFormation and StackSets: events, calls in the trail, operations."""

import json
import time

import boto3
import pytest
from rolewarden_local.scenes.seed import make_stack_set_roles

DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}
TRUST = {"Version": "2012-10-17", "Statement": []}
ROLE = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "worker", "AssumeRolePolicyDocument": TRUST}}
POLICY = {
    "Type": "AWS::IAM::Policy",
    "Properties": {"PolicyName": "extra", "Roles": [{"Ref": "Role"}], "PolicyDocument": DENY},
}


@pytest.fixture
def local(aws):
    aws.reset()
    aws.records_stack_calls = True
    return aws


def settle(operation, resources):
    cloudformation = boto3.client("cloudformation")
    template = json.dumps({"Resources": resources})
    getattr(cloudformation, operation)(StackName="s", TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])
    while cloudformation.describe_stacks(StackName="s")["Stacks"][0]["StackStatus"].endswith("IN_PROGRESS"):
        time.sleep(0.01)
    assert cloudformation.describe_stacks(StackName="s")["Stacks"][0]["StackStatus"] in {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
    }, [
        event.get("ResourceStatusReason")
        for event in cloudformation.describe_stack_events(StackName="s")["StackEvents"]
    ]


def made(local):
    calls = [event["detail"] for event in local.events if event["detail"]["sourceIPAddress"].startswith("cloudf")]
    return [(call["eventName"], call["requestParameters"]["roleName"]) for call in calls]


def test_the_calls_for_the_resources_of_a_stack_are_in_the_trail_without_the_name_of_the_stack(local):
    settle("create_stack", {"Role": ROLE})
    settle("update_stack", {"Role": ROLE, "Policy": POLICY})
    assert made(local) == [("CreateRole", "worker"), ("PutRolePolicy", "worker")]
    [call] = [event["detail"] for event in local.events if event["detail"]["eventName"] == "PutRolePolicy"]
    assert call["userIdentity"]["invokedBy"] == call["userAgent"] == "cloudformation.amazonaws.com"
    assert call["requestParameters"]["policyName"] == "extra"
    assert "stack/" not in json.dumps(call)


def test_the_operations_of_a_stack_set_have_times_and_places(local):
    make_stack_set_roles(boto3.client("iam"))
    boto3.client("s3").create_bucket(Bucket="templates")
    queue = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "child"}}}
    boto3.client("s3").put_object(Bucket="templates", Key="child.json", Body=json.dumps({"Resources": queue}))
    targets = {"DeploymentTargets": {"Accounts": ["111122223333"]}, "Regions": ["eu-west-1"]}
    properties = {
        "StackSetName": "children", "PermissionModel": "SELF_MANAGED", "StackInstancesGroup": [targets],
        "TemplateURL": "https://s3.us-east-1.amazonaws.com/templates/child.json",
    }  # fmt: skip
    settle("create_stack", {"Children": {"Type": "AWS::CloudFormation::StackSet", "Properties": properties}})
    cloudformation = boto3.client("cloudformation")
    [operation] = cloudformation.list_stack_set_operations(StackSetName="children")["Summaries"]
    assert (operation["Action"], operation["Status"]) == ("CREATE", "SUCCEEDED")
    assert operation["CreationTimestamp"] <= operation["EndTimestamp"]
    results = cloudformation.list_stack_set_operation_results(
        StackSetName="children", OperationId=operation["OperationId"]
    )["Summaries"]
    assert [(each["Account"], each["Region"]) for each in results] == [("111122223333", "eu-west-1")]
