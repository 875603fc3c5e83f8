"""Sessions that services begin with a role, roles that calls pass to services, and the identity of a stack."""

import json
from typing import Any

import boto3
import pytest
from rolewarden_local.emulated.passing import PARAMETERS
from rolewarden_local.emulated.service_sessions import NotTrustedError
from rolewarden_local.scenes.seed import TRUST, trusting

from tests.callers import user_with
from tests.local.conftest import policy, refusal

ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
ACCOUNT = "111122223333"
IAM = f"arn:aws:iam::{ACCOUNT}"
TEMPLATE = "arn:aws:iam::aws:role-template/sagemaker.amazonaws.com/Canvas:1"


def session(key):
    return boto3.Session(key, "-", "-", "us-east-1")


@pytest.fixture
def made(iam):
    """A function that makes a role with all permissions, and returns its ARN."""

    def make(name, trust=TRUST):
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(ALLOW_ALL))
        return arn

    return make


def test_a_service_begins_a_session_only_of_a_role_that_trusts_it(aws, made):
    arn = made("canvas")
    caller = session(aws.work_as("sagemaker.amazonaws.com", arn, "SageMaker")).client("sts").get_caller_identity()
    assert caller["Arn"].endswith(":assumed-role/canvas/SageMaker")
    assert caller["UserId"].endswith(":SageMaker")
    for service, role in (("lambda.amazonaws.com", arn), ("sagemaker.amazonaws.com", f"{arn}2")):
        with pytest.raises(NotTrustedError):
            aws.work_as(service, role, "work")


def test_a_presigned_url_opens_the_user_profile_with_its_role_or_that_of_its_domain(aws, made):
    sagemaker = boto3.client("sagemaker", "us-east-1")
    settings: Any = {"ExecutionRole": made("of-domain")}
    domain = sagemaker.create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings=settings, VpcId="v",
                                     SubnetIds=["s"])["DomainArn"].rpartition("/")[2]  # fmt: skip
    sagemaker.create_user_profile(DomainId=domain, UserProfileName="ana")
    own: Any = {"UserSettings": {"ExecutionRole": made("own")}}
    sagemaker.create_user_profile(DomainId=domain, UserProfileName="ben", **own)
    opened = {}
    for name in ("ana", "ben"):
        url = sagemaker.create_presigned_domain_url(DomainId=domain, UserProfileName=name)["AuthorizedUrl"]
        opened[name] = session(aws.open_profile(url)).client("sts").get_caller_identity()["Arn"].split("/")[1]
    assert opened == {"ana": "of-domain", "ben": "own"}
    assert refusal(sagemaker.create_presigned_domain_url, DomainId=domain, UserProfileName="eve")[0] == (
        "ResourceNotFound"
    )


def test_a_session_ends_with_its_role_also_if_another_role_gets_its_name(aws, iam, made):
    old = session(aws.work_as("sagemaker.amazonaws.com", made("canvas"), "SageMaker")).client("iam")
    assert old.list_roles()["Roles"]
    iam.delete_role_policy(RoleName="canvas", PolicyName="all")
    iam.delete_role(RoleName="canvas")
    made("canvas")
    assert refusal(old.list_roles)[0] == "InvalidClientTokenId"


def stack(client, name, properties, **more):
    """The final status of a new stack with a role."""
    template = {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}}
    client.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"], **more)
    return finished(client, name)


def finished(client, name):
    while True:
        [found] = client.describe_stacks(StackName=name)["Stacks"]
        if not found["StackStatus"].endswith("_IN_PROGRESS"):
            return found["StackStatus"]


def test_a_stack_makes_a_role_with_the_permissions_of_its_caller_or_service_role(aws, iam, made):
    properties = {"RoleName": "made", "AssumeRolePolicyDocument": json.loads(TRUST)}
    service = made("service", trusting("cloudformation.amazonaws.com"))
    with aws.authorizing():
        eve = user_with(iam, "eve", "cloudformation:*", "iam:PassRole").client("cloudformation", "us-east-1")
        assert stack(eve, "s1", properties) == "ROLLBACK_COMPLETE"
        assert stack(eve, "s2", properties, RoleARN=made("untrusting")) == "ROLLBACK_COMPLETE"
        assert stack(eve, "s3", properties, RoleARN=service) == "CREATE_COMPLETE"
        # The stack keeps its role, so this caller needs no permission to pass it.
        ben = user_with(iam, "ben", "cloudformation:*").client("cloudformation", "us-east-1")
        template = {
            "Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {**properties, "MaxSessionDuration": 7200}}}
        }
        ben.update_stack(StackName="s3", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"])
        assert finished(ben, "s3") == "UPDATE_COMPLETE"
        admin = user_with(iam, "admin", "*").client("cloudformation", "us-east-1")
        assert stack(admin, "s4", {**properties, "RoleName": "another"}) == "CREATE_COMPLETE"


PASSES = {
    ("codebuild", "CreateProject"): {
        "name": "pp", "source": {"type": "NO_SOURCE"}, "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL"},
        "serviceRole": "ROLE",
    },
    ("ecs", "RegisterTaskDefinition"): {"family": "f", "containerDefinitions": [], "taskRoleArn": "ROLE"},
    ("glue", "CreateJob"): {"Name": "j", "Role": "ROLE", "Command": {}},
    ("states", "CreateStateMachine"): {"name": "m", "definition": "{}", "roleArn": "ROLE"},
    ("states", "UpdateStateMachine"): {"stateMachineArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m",
                                       "roleArn": "ROLE"},
}  # fmt: skip


@pytest.mark.parametrize(("service", "operation"), PASSES)
def test_a_call_that_gives_a_role_to_a_service_needs_pass_role(aws, iam, made, service, operation):
    assert (service, operation) in PARAMETERS
    parameters = json.loads(json.dumps(PASSES[service, operation]).replace("ROLE", made("worker")))
    snake = {"CreateProject": "create_project", "RegisterTaskDefinition": "register_task_definition",
             "CreateJob": "create_job",
             "CreateStateMachine": "create_state_machine", "UpdateStateMachine": "update_state_machine"}  # fmt: skip
    with aws.authorizing():
        eve = user_with(iam, "eve", f"{service}:*")
        client = eve.client("stepfunctions" if service == "states" else service, "us-east-1")
        _, message, _ = refusal(getattr(client, snake[operation]), **parameters)
    assert f"is not authorized to perform: iam:PassRole on resource: {IAM}:role/worker" in message


def test_a_role_of_a_template_is_created_with_the_permission_to_create_it(aws, iam):
    values: Any = {"RoleName": {"Values": ["Canvas"]}, "Path": {"Values": ["/a/"]}}
    with aws.authorizing():
        eve = user_with(iam, "eve", "iam:AcquireRole").client("iam")
        _, message, _ = refusal(eve.acquire_role, TemplateArn=TEMPLATE, ReplacementValues=values)
        assert f"iam:CreateRole on resource: {IAM}:role/a/Canvas" in message
        admin = user_with(iam, "admin", "iam:CreateRole").client("iam")
        admin.acquire_role(TemplateArn=TEMPLATE, ReplacementValues=values)
    assert iam.get_role(RoleName="Canvas")["Role"]["Path"] == "/a/"


def test_a_restored_account_has_its_organization(aws):
    aws.organize("o-exampleorg1", {"ou-root-canvas000": {ACCOUNT}})
    restore = aws.saved()
    for _ in range(2):
        aws.reset()
        client = boto3.client("organizations")
        assert refusal(client.describe_organization)[0] == "AWSOrganizationsNotInUseException"
        restore()
        assert client.describe_organization()["Organization"]["Id"] == "o-exampleorg1"
