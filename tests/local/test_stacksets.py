"""Stacks that a stack deploys to other regions and accounts, and roles that are assumed across accounts."""

import json
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden_local.emulated.organization import MANAGEMENT, STACK_SETS
from rolewarden_local.scenes.seed import ADMINISTRATION, EXECUTION, AccessKey, make_stack_set_roles

from tests.local.conftest import refusal

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
    "CallAs": "DELEGATED_ADMIN",
    "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
}


def settled(cloudformation, operation, **request):
    """Run an operation on a stack, and return the stack's status."""
    getattr(cloudformation, operation)(**request)
    while (status := cloudformation.describe_stacks(StackName="parent")["Stacks"][0]["StackStatus"]).endswith(
        "IN_PROGRESS"
    ):
        time.sleep(0.01)
    return status


def deployed(operation, account=CENTRAL, **request):
    assert settled(client("cloudformation", account), operation, **request) in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}


def refused(cloudformation, **request):
    """The reason why the StackSet of a new stack cannot be made."""
    assert settled(cloudformation, "create_stack", **request) == "ROLLBACK_COMPLETE"
    events = cloudformation.describe_stack_events(StackName="parent")["StackEvents"]
    [reason] = [
        event["ResourceStatusReason"]
        for event in events
        if (event["LogicalResourceId"], event["ResourceStatus"]) == ("Children", "CREATE_FAILED")
    ]
    return reason


def has_queue(account, region):
    return bool(client("sqs", account, region).list_queues(QueueNamePrefix="of-").get("QueueUrls"))


def instances(call_as="SELF", account=CENTRAL):
    asking = client("cloudformation", account)
    listed = asking.list_stack_instances(StackSetName="children", CallAs=call_as)["Summaries"]
    return {(found["Account"], found["Region"]): found["Status"] for found in listed}


def test_a_self_managed_stackset_follows_its_regions(local):
    make_stack_set_roles(client("iam"))
    deployed("create_stack", **stack(["eu-west-1", "ap-south-1"], {"Accounts": [CENTRAL]}))
    assert has_queue(CENTRAL, "eu-west-1")
    assert has_queue(CENTRAL, "ap-south-1")
    assert not has_queue(CENTRAL, "us-east-1")
    deployed("update_stack", **stack(["eu-west-1", "eu-central-1"], {"Accounts": [CENTRAL]}))
    assert instances() == {(CENTRAL, "eu-west-1"): "CURRENT", (CENTRAL, "eu-central-1"): "CURRENT"}
    assert not has_queue(CENTRAL, "ap-south-1")


def test_a_service_managed_stackset_follows_the_accounts_of_its_units(local):
    local.organize(ORGANIZATION, {"ou-root-canvas000": {MEMBER}, "ou-root-others00": {LATER}}, administrator=CENTRAL)
    deployed("create_stack", **stack(["eu-west-1"], managed("ou-root-canvas000"), **AUTOMATIC))
    assert instances("DELEGATED_ADMIN") == {(MEMBER, "eu-west-1"): "CURRENT"}
    local.organize(ORGANIZATION, {"ou-root-canvas000": {MEMBER, LATER}})
    assert has_queue(LATER, "eu-west-1")
    local.organize(ORGANIZATION, {"ou-root-canvas000": {LATER}})
    assert instances("DELEGATED_ADMIN") == {(LATER, "eu-west-1"): "CURRENT"}
    assert not has_queue(MEMBER, "eu-west-1")


def test_instances_are_listed_by_region_in_pages(local):
    local.organize(ORGANIZATION, {"ou-root-canvas000": {MEMBER, LATER}}, administrator=CENTRAL)
    deployed("create_stack", **stack(["eu-west-1", "us-east-1"], managed("ou-root-canvas000"), **AUTOMATIC))
    pages = (
        client("cloudformation")
        .get_paginator("list_stack_instances")
        .paginate(
            StackSetName="children",
            StackInstanceRegion="eu-west-1",
            CallAs="DELEGATED_ADMIN",
            PaginationConfig={"PageSize": 1},
        )
    )
    assert [len(page["Summaries"]) for page in pages] == [1, 1]


def test_deleting_the_stack_deletes_the_stacks_of_its_stacksets(local):
    make_stack_set_roles(client("iam"))
    deployed("create_stack", **stack(["eu-west-1"], {"Accounts": [CENTRAL]}))
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName="parent")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="parent", WaiterConfig={"Delay": 0, "MaxAttempts": 500}
    )
    assert not has_queue(CENTRAL, "eu-west-1")
    with pytest.raises(ClientError, match="StackSetNotFoundException"):
        instances()


# Permissions for service-managed StackSets

UNITS = {"ou-root-security": {CENTRAL}, "ou-root-canvas000": {MEMBER, MANAGEMENT}}
SERVICE_MANAGED = stack(["eu-west-1"], managed("ou-root-canvas000"), **AUTOMATIC)
BY_THE_MANAGEMENT = stack(["eu-west-1"], managed("ou-root-canvas000"), **{**AUTOMATIC, "CallAs": "SELF"})


def register(account=MANAGEMENT, administrator=CENTRAL):
    client("organizations", account).register_delegated_administrator(
        AccountId=administrator, ServicePrincipal=STACK_SETS
    )


def test_a_service_managed_stackset_is_rejected_until_stacksets_are_activated(local):
    local.organize(ORGANIZATION, UNITS)
    client("s3").delete_object(Bucket="templates", Key="child.json")
    client("s3").delete_bucket(Bucket="templates")
    client("s3", MANAGEMENT).create_bucket(Bucket="templates")
    client("s3", MANAGEMENT).put_object(Bucket="templates", Key="child.json", Body=json.dumps(CHILD))
    management = client("cloudformation", MANAGEMENT)
    # Trusted access alone does not activate StackSets.
    client("organizations", MANAGEMENT).enable_aws_service_access(ServicePrincipal=STACK_SETS)
    assert management.describe_organizations_access()["Status"] == "DISABLED"
    reason = refused(management, **BY_THE_MANAGEMENT)
    assert '"You must enable organizations access to operate a service managed stack set (Service: Cloud' in reason
    management.activate_organizations_access()
    assert management.describe_organizations_access()["Status"] == "ENABLED"
    management.delete_stack(StackName="parent")
    deployed("create_stack", account=MANAGEMENT, **BY_THE_MANAGEMENT)
    # StackSets does not deploy to the management account in any unit.
    assert instances(account=MANAGEMENT) == {(MEMBER, "eu-west-1"): "CURRENT"}


def test_a_delegated_administrator_is_rejected_until_it_is_registered(local):
    local.organize(ORGANIZATION, UNITS)
    cloudformation = client("cloudformation")
    client("cloudformation", MANAGEMENT).activate_organizations_access()
    assert '"Account used is not a delegated administrator' in refused(cloudformation, **SERVICE_MANAGED)
    with pytest.raises(ClientError, match=r"ValidationError.*Account used is not a delegated administrator"):
        instances("DELEGATED_ADMIN")
    register()
    cloudformation.delete_stack(StackName="parent")
    deployed("create_stack", **SERVICE_MANAGED)
    assert instances("DELEGATED_ADMIN") == instances(account=MANAGEMENT) == {(MEMBER, "eu-west-1"): "CURRENT"}
    with pytest.raises(ClientError, match="StackSetNotFoundException"):
        instances()


@pytest.mark.parametrize("account", [CENTRAL, MEMBER, "999988887777"])
def test_only_the_management_account_can_call_without_call_as(local, account):
    local.organize(ORGANIZATION, UNITS, administrator=CENTRAL)
    assert "You must be the management account or delegated admin account" in refused(
        client("cloudformation", account), **BY_THE_MANAGEMENT
    )


def test_only_the_management_account_activates_and_registers(local):
    assert refusal(register)[0] == "AWSOrganizationsNotInUseException"
    assert refusal(client("cloudformation").activate_organizations_access)[0] == "InvalidOperationException"
    local.organize(ORGANIZATION, UNITS)
    assert refusal(register)[0] == "ConstraintViolationException"  # StackSets does not have trusted access yet.
    client("cloudformation", MANAGEMENT).activate_organizations_access()
    assert refusal(register, account=CENTRAL)[0] == "AccessDeniedException"
    assert refusal(register, administrator="999988887777")[0] == "AccountNotFoundException"
    organizations = client("organizations")
    assert refusal(organizations.list_delegated_administrators)[0] == "AccessDeniedException"
    register()
    assert refusal(register)[0] == "AccountAlreadyRegisteredException"
    listed = organizations.list_delegated_administrators(ServicePrincipal=STACK_SETS)["DelegatedAdministrators"]
    assert [found["Id"] for found in listed] == [CENTRAL]


def carrying(*actions):
    """Make a user of the central account with these permissions on `*`, and return a client of CloudFormation."""
    iam = client("iam")
    iam.create_user(UserName="deployer")
    statement = {"Effect": "Allow", "Action": [*actions], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="deployer", PolicyName="may", PolicyDocument=document)
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    return AccessKey(key["AccessKeyId"], key["SecretAccessKey"]).session().client("cloudformation", "us-east-1")


@pytest.mark.parametrize("may_list", [False, True])
def test_a_caller_that_cannot_list_delegated_administrators_gets_the_error_that_the_account_is_none(local, may_list):
    local.organize(ORGANIZATION, UNITS, administrator=CENTRAL)
    more = ["organizations:ListDelegatedAdministrators"] if may_list else []
    with local.authorizing():
        theirs = carrying("cloudformation:*", *more)
        if may_list:
            assert settled(theirs, "create_stack", **SERVICE_MANAGED) == "CREATE_COMPLETE"
        else:
            assert '"Account used is not a delegated administrator' in refused(theirs, **SERVICE_MANAGED)
            client("cloudformation").delete_stack(StackName="parent")
            deployed("create_stack", **SERVICE_MANAGED)
        asks = {"StackSetName": "children", "CallAs": "DELEGATED_ADMIN"}
        if may_list:
            assert theirs.list_stack_instances(**asks)["Summaries"]
        else:
            code, message, status = refusal(theirs.list_stack_instances, **asks)
            assert (code, message, status) == ("ValidationError", "Account used is not a delegated administrator", 400)


# Roles of self-managed StackSets


def rights(role, *statements):
    client("iam").put_role_policy(
        RoleName=role,
        PolicyName="Administrator",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [*statements]}),
    )


ALL_BUT_TAGS = [
    {"Effect": "Allow", "Action": "cloudformation:*", "Resource": "*"},
    {"Effect": "Allow", "Action": "sqs:*", "Resource": "arn:aws:sqs:*:*:of-*"},
    {"Effect": "Deny", "Action": "sqs:TagQueue", "Resource": "*"},
]
SELF_MANAGED = stack(["eu-west-1"], {"Accounts": [CENTRAL]})


def test_a_resource_that_the_execution_role_cannot_make_fails_the_stack(local):
    make_stack_set_roles(client("iam"))
    rights(EXECUTION, *ALL_BUT_TAGS)
    tagged = {**SELF_MANAGED, "Tags": [{"Key": "team", "Value": "platform"}]}
    reason = refused(client("cloudformation"), **tagged)
    assert f":assumed-role/{EXECUTION}/" in reason
    assert "is not authorized to perform: sqs:TagQueue" in reason
    # Without tags, the handler does not need the permission.
    client("cloudformation").delete_stack(StackName="parent")
    deployed("create_stack", **SELF_MANAGED)


def test_the_tags_of_a_stack_are_those_of_the_resources_of_its_stackset(local):
    make_stack_set_roles(client("iam"))
    deployed("create_stack", **SELF_MANAGED, Tags=[{"Key": "team", "Value": "platform"}])
    sqs = client("sqs", CENTRAL, "eu-west-1")
    tags = sqs.list_queue_tags(QueueUrl=sqs.get_queue_url(QueueName=f"of-{CENTRAL}")["QueueUrl"])["Tags"]
    assert tags["team"] == "platform"


def test_the_execution_role_needs_all_of_cloudformation_on_everything(local):
    make_stack_set_roles(client("iam"))
    own = "arn:aws:cloudformation:*:*:stack/StackSet-children-*"
    rights(EXECUTION, {**ALL_BUT_TAGS[0], "Resource": own}, ALL_BUT_TAGS[1])
    assert "is not authorized to perform: cloudformation:CreateStack on resource: *" in refused(
        client("cloudformation"), **SELF_MANAGED
    )


@pytest.mark.parametrize("lacking", ["administration", "right", "trust", "execution"])
def test_the_execution_role_is_assumed_as_the_administration_role(local, lacking):
    iam = client("iam")
    if lacking != "administration":
        make_stack_set_roles(iam)
    if lacking == "right":
        rights(ADMINISTRATION, ALL_BUT_TAGS[0])
    if lacking == "trust":
        iam.update_assume_role_policy(RoleName=EXECUTION, PolicyDocument=trusting(f"arn:aws:iam::{CENTRAL}:role/Other"))
    if lacking == "execution":
        iam.delete_role_policy(RoleName=EXECUTION, PolicyName="Administrator")
        iam.delete_role(RoleName=EXECUTION)
    assert refused(client("cloudformation"), **SELF_MANAGED) == (
        f"Account {CENTRAL} should have '{EXECUTION}' role with trust relationship to Role '{ADMINISTRATION}'."
    )


def test_the_boundary_of_the_execution_role_limits_it_and_a_stack_gives_a_role_its_boundary(local):
    iam = client("iam")
    make_stack_set_roles(iam)
    document = json.dumps({"Version": "2012-10-17", "Statement": ALL_BUT_TAGS[:1]})
    limit = iam.create_policy(PolicyName="limit", PolicyDocument=document)["Policy"]["Arn"]
    role = {"AssumeRolePolicyDocument": json.loads(trusting(f"arn:aws:iam::{CENTRAL}:root")), "RoleName": "Made"}

    def made(boundary):
        resource = {"Type": "AWS::IAM::Role", "Properties": {**role, "PermissionsBoundary": boundary}}
        body = json.dumps({"Resources": {"Made": resource}})
        return {"StackName": "parent", "TemplateBody": body, "Capabilities": ["CAPABILITY_NAMED_IAM"]}

    assert settled(client("cloudformation"), "create_stack", **made(f"{limit}s")) == "ROLLBACK_COMPLETE"
    client("cloudformation").delete_stack(StackName="parent")
    deployed("create_stack", **made(limit))
    assert iam.get_role(RoleName="Made")["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == limit
    client("cloudformation").delete_stack(StackName="parent")
    iam.put_role_permissions_boundary(RoleName=EXECUTION, PermissionsBoundary=limit)
    assert "is not authorized to perform: sqs:CreateQueue" in refused(client("cloudformation"), **SELF_MANAGED)


@pytest.mark.parametrize("key", ["aws:SourceAccount", "aws:SourceArn"])
def test_the_trust_policy_of_the_administration_role_can_require_a_source_account_and_stackset(local, key):
    make_stack_set_roles(client("iam"))
    right = {
        "aws:SourceAccount": ("StringEquals", CENTRAL),
        "aws:SourceArn": ("ArnLike", f"arn:aws:cloudformation:us-east-1:{CENTRAL}:stackset/children:*"),
    }[key]

    def only(value):
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "cloudformation.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {right[0]: {key: value}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        client("iam").update_assume_role_policy(RoleName=ADMINISTRATION, PolicyDocument=document)

    only(right[1].replace(CENTRAL, MEMBER))
    assert "should have" in refused(client("cloudformation"), **SELF_MANAGED)
    only(right[1])
    client("cloudformation").delete_stack(StackName="parent")
    deployed("create_stack", **SELF_MANAGED)


@pytest.mark.parametrize("region", ["ap-east-1", "me-central-1", "mx-central-1"])
def test_a_region_that_is_disabled_by_default_needs_trust_in_its_own_principal(local, region):
    make_stack_set_roles(client("iam"))
    there = stack([region], {"Accounts": [CENTRAL]})
    assert "should have" in refused(client("cloudformation"), **there)
    client("cloudformation").delete_stack(StackName="parent")
    services = ["cloudformation.amazonaws.com", f"cloudformation.{region}.amazonaws.com"]
    statement = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    client("iam").update_assume_role_policy(
        RoleName=ADMINISTRATION, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    deployed("create_stack", **there)
    assert has_queue(CENTRAL, region)


# Roles


def trusting(principal):
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def assumed(session, arn):
    """Assume the role with the credentials `session` or as root, and return a client of the new session."""
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
def test_a_role_of_another_account_can_be_assumed_if_both_accounts_allow_it(local, trusted, organization, enters):
    local.organize(organization, {"ou-root-canvas000": {MEMBER}})
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


def test_the_session_of_a_deleted_role_is_rejected(local):
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
