"""An account under all service control policies together: who becomes an approver, and who gives wider access."""

import json
from typing import Any

import boto3
import pytest
from rolewarden.prevention import compile_prevention
from rolewarden_cli.protect import Protection, compact
from rolewarden_local.aws import LocalAws
from rolewarden_local.emulated.organization import MANAGEMENT

from tests.admission import (
    APPROVE,
    APPROVE_SET,
    APPROVE_USER,
    DOCUMENTS,
    IAM,
    OLD,
    PROVIDER,
    RULES,
)
from tests.becoming import ALLOW_ALL, BY_POLICY, TO_EVERYBODY, attempts, error_of, of_provider, trust
from tests.callers import user_with
from tests.stacks import ACCOUNT, MEMBER, deployed, whole

UNIT = "ou-root-canvas000"
TO_BOTH = trust(AWS=f"{IAM}:root", Service="sagemaker.amazonaws.com")
TO_SAGEMAKER = trust(Service="sagemaker.amazonaws.com")
SET_ROLE = f"{APPROVE_SET}0123456789abcdef"
TAGS = [{"Key": "team", "Value": "research"}]


IN_SOME, IN_NONE = f"{IAM}:role/canvas/some/x-some", f"{IAM}:role/canvas/none/x-none"
JOB = {
    "TrainingJobName": "j",
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket"},
    "ResourceConfig": {"VolumeSizeInGB": 1},
    "StoppingCondition": {},
}


@pytest.fixture(scope="module")
def company():
    """The local AWS, and sessions of an administrator and an approver under all service control policies together."""
    aws = LocalAws.start()
    aws.reset()
    with aws.connected(), aws.authorizing():
        iam, sagemaker = boto3.client("iam"), boto3.client("sagemaker", "us-east-1")
        for arn in (APPROVE, SET_ROLE, IN_SOME, OLD, IN_NONE):
            path, _, name = arn.partition(":role")[2].rpartition("/")
            iam.create_role(RoleName=name, Path=f"{path}/", AssumeRolePolicyDocument=TO_BOTH)
        iam.create_instance_profile(InstanceProfileName="build")
        sessions = {
            "mallory": user_with(iam, "mallory", "*"),
            "approver": user_with(iam, "approver", "*", Path="/ci/"),
            "batch": user_with(iam, "batch", "*", Path="/apps/"),
        }
        settings: Any = {"ExecutionRole": IN_NONE}
        domain = sagemaker.create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings=settings, VpcId="v",
                                         SubnetIds=["s"])["DomainArn"].rpartition("/")[2]  # fmt: skip
        sagemaker.create_user_profile(DomainId=domain, UserProfileName="alice")
        aws.organize("o-exampleorg1", {UNIT: {ACCOUNT, MEMBER}})
        organizations = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
        documents = [
            *(policy.document for policy in compile_prevention(RULES, "aws").policies),
            Protection(deployed(whole())).service_control_policy(),
            *DOCUMENTS.values(),
        ]
        for number, document in enumerate(documents):
            made = organizations.create_policy(
                Name=f"p{number}", Description="", Type="SERVICE_CONTROL_POLICY", Content=compact(document)
            )
            organizations.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId=UNIT)
        yield aws, sessions, domain
        aws.reset()


def test_an_administrator_cannot_become_an_approver_or_change_who_signs_one_in(company):
    session = company[1]["mallory"]
    calls = [
        *attempts(APPROVE, SET_ROLE, APPROVE_USER, "mallory"),
        *(("iam", *call) for call in of_provider(PROVIDER, f"{IAM}:saml-provider/AWSSSO_0123_DO_NOT_DELETE")),
        *(("sts", "assume_role", {"RoleArn": arn, "RoleSessionName": "xx"}) for arn in (APPROVE, SET_ROLE)),
    ]
    assert len(calls) > 40
    for service, call, parameters in calls:
        assert (error_of(session, service, call, **parameters) or "").endswith(BY_POLICY), (call, parameters)


def wider(domain):
    """The ways to give wider access, except by UpdateDomain and UpdateUserProfile: service, call and parameters."""
    yield "iam", "create_role", {"RoleName": "m", "Path": "/canvas/some/", "AssumeRolePolicyDocument": TO_SAGEMAKER}
    yield "iam", "create_role", {"RoleName": "Chat", "Path": "/apps/", "AssumeRolePolicyDocument": TO_EVERYBODY}
    yield "iam", "create_role", {"RoleName": "Visitor", "Path": "/any/", "AssumeRolePolicyDocument": TO_EVERYBODY}
    yield "iam", "update_assume_role_policy", {"RoleName": "x-some", "PolicyDocument": TO_SAGEMAKER}
    yield "iam", "update_assume_role_policy", {"RoleName": "OLD", "PolicyDocument": TO_SAGEMAKER}
    yield "iam", "add_role_to_instance_profile", {"RoleName": "Old", "InstanceProfileName": "build"}
    yield "iam", "create_access_key", {"UserName": "batch"}
    yield "sts", "assume_role", {"RoleArn": IN_SOME, "RoleSessionName": "xx"}
    yield "sts", "assume_role", {"RoleArn": IN_SOME, "RoleSessionName": "SageMaker", "Tags": TAGS}
    of_role = {"UserSettings": {"ExecutionRole": IN_SOME}}
    yield "sagemaker", "create_user_profile", {"DomainId": domain, "UserProfileName": "eve", **of_role}
    yield "sagemaker", "create_training_job", {**JOB, "RoleArn": IN_SOME}


def test_an_administrator_cannot_give_wider_access_and_an_approver_can(company):
    _, sessions, domain = company
    for service, call, parameters in wider(domain):
        error = error_of(sessions["mallory"], service, call, **parameters)
        assert (error or "").endswith(BY_POLICY), (call, parameters, error)
    for service, call, parameters in wider(domain):
        assert BY_POLICY not in (error_of(sessions["approver"], service, call, **parameters) or ""), (call, parameters)


def test_an_approver_can_deploy_a_role_with_the_calls_of_terraform(company):
    iam = company[1]["approver"].client("iam")
    arn, name = "arn:aws:iam::aws:policy/AmazonSageMakerCanvasFullAccess", {"RoleName": "terraform"}
    iam.create_role(**name, Path="/canvas/some/", AssumeRolePolicyDocument=TO_SAGEMAKER, Tags=TAGS)
    iam.attach_role_policy(**name, PolicyArn=arn)
    iam.update_assume_role_policy(**name, PolicyDocument=TO_SAGEMAKER)
    iam.tag_role(**name, Tags=TAGS)
    for read in (
        iam.get_role,
        iam.list_role_policies,
        iam.list_attached_role_policies,
        iam.list_instance_profiles_for_role,
    ):
        read(**name)
    iam.detach_role_policy(**name, PolicyArn=arn)
    iam.delete_role(**name)


@pytest.mark.parametrize("is_checked", [True, False])
def test_updates_of_subjects_are_denied_only_if_aws_checks_pass_role(company, is_checked):
    aws, sessions, domain = company
    profile = {"DomainId": domain, "UserProfileName": "alice", "UserSettings": {"ExecutionRole": IN_SOME}}
    updates = [("update_user_profile", profile),
               ("update_domain", {"DomainId": domain, "DefaultUserSettings": {"ExecutionRole": IN_SOME}})]  # fmt: skip
    with aws.authorizing(updates_pass_roles=is_checked):
        for call, parameters in updates:
            error = error_of(sessions["mallory"], "sagemaker", call, **parameters)
            assert (error or "").endswith(BY_POLICY) is is_checked, (call, error)
            assert error_of(sessions["approver"], "sagemaker", call, **parameters) is None
            strict = json.loads(json.dumps(parameters).replace(IN_SOME, IN_NONE))
            assert error_of(sessions["mallory"], "sagemaker", call, **strict) is None


def test_a_session_of_sagemaker_can_neither_choose_a_role_nor_open_another_profile(company):
    _, sessions, domain = company
    role = {"RoleArn": IN_NONE, "RoleSessionName": "SageMaker"}
    boto3.client("iam").put_role_policy(RoleName="x-none", PolicyName="all", PolicyDocument=ALLOW_ALL)
    given = sessions["mallory"].client("sts").assume_role(**role)["Credentials"]
    canvas = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")
    profile = {"DomainId": domain, "UserProfileName": "alice"}
    for call, parameters in (
        ("create_presigned_domain_url", profile),
        ("update_user_profile", {**profile, "UserSettings": {"ExecutionRole": IN_NONE}}),
        ("create_user_profile", {**profile, "UserProfileName": "eve"}),
        ("update_domain", {"DomainId": domain}),
    ):
        assert (error_of(canvas, "sagemaker", call, **parameters) or "").endswith(BY_POLICY), call
    assert error_of(canvas, "sagemaker", "describe_user_profile", **profile) is None
    assert BY_POLICY not in (error_of(canvas, "sagemaker", "create_training_job", **JOB, RoleArn=IN_NONE) or "")
