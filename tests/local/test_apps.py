"""Apps of user profiles, and the source identity of their sessions."""

import json
from typing import Any

import boto3
import pytest
from rolewarden_local.emulated import apps
from rolewarden_local.emulated.service_sessions import NotTrustedError
from rolewarden_local.scenes.seed import trusting

from tests.local.conftest import policy, refusal

ACCOUNT, REGION = "111122223333", "us-east-1"
SETS = {"ExecutionRoleIdentityConfig": "USER_PROFILE_NAME"}
ONLY_ANA = policy(
    {"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"},
    Condition={"StringEqualsIgnoreCase": {"aws:SourceIdentity": "ana"}},
)


def trust(*actions, principal=None):
    statement = json.loads(trusting("sagemaker.amazonaws.com"))["Statement"][0]
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {**statement, "Action": list(actions), **({"Principal": {"AWS": principal}} if principal else {})}
            ],
        }
    )


BOTH = trust("sts:AssumeRole", "sts:SetSourceIdentity")


@pytest.fixture
def sagemaker(aws):
    return boto3.client("sagemaker", REGION)


def shared_domain(sagemaker, settings=SETS, trust_policy=BOTH):
    iam = boto3.client("iam", REGION)
    role = iam.create_role(RoleName="Shared", AssumeRolePolicyDocument=trust_policy)["Role"]["Arn"]
    iam.put_role_policy(RoleName="Shared", PolicyName="only-ana", PolicyDocument=ONLY_ANA)
    made = sagemaker.create_domain(
        DomainName="shared", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": role}, DomainSettings=settings
    )
    domain = made["DomainArn"].rpartition("/")[2]
    for name in ("Ana", "ben"):
        sagemaker.create_user_profile(DomainId=domain, UserProfileName=name)
    return domain


def can_list(aws, session):
    with aws.authorizing():
        try:
            return bool(session.client("iam").list_roles())
        except session.client("iam").exceptions.ClientError:
            return False


def test_a_session_of_an_app_carries_the_name_of_its_user_profile(aws, sagemaker):
    domain = shared_domain(sagemaker)
    ana, ben = (apps.user_session(REGION, ACCOUNT, domain, name) for name in ("Ana", "ben"))
    assert [can_list(aws, session) for session in (ana, ben)] == [True, False]


def test_a_session_behind_a_presigned_url_carries_the_name_of_its_user_profile_too(aws, sagemaker):
    domain = shared_domain(sagemaker)
    opened = []
    for name in ("ana", "ben"):
        url = sagemaker.create_presigned_domain_url(DomainId=domain, UserProfileName=name)["AuthorizedUrl"]
        opened.append(can_list(aws, boto3.Session(aws.open_profile(url), "-", "-", REGION)))
    assert opened == [True, False]
    boto3.client("iam").update_assume_role_policy(RoleName="Shared", PolicyDocument=trust("sts:AssumeRole"))
    with pytest.raises(NotTrustedError, match="sts:SetSourceIdentity"):
        aws.open_profile(url)


def test_cloudtrail_records_the_source_identity(aws, sagemaker):
    domain = shared_domain(sagemaker)
    iam = boto3.client("iam", REGION)
    iam.put_role_policy(RoleName="Shared", PolicyName="tag", PolicyDocument=policy(Action="iam:TagRole"))
    ana = apps.user_session(REGION, ACCOUNT, domain, "Ana")
    ana.client("iam").tag_role(RoleName="Shared", Tags=[{"Key": "a", "Value": "b"}])
    [event] = [found for found in aws.events if found["detail"]["eventName"] == "TagRole"]
    assert event["detail"]["userIdentity"]["sessionContext"]["sourceIdentity"] == "Ana"


def test_jobs_and_domains_without_the_setting_carry_none(aws, sagemaker):
    domain = shared_domain(sagemaker, settings={})
    role = sagemaker.describe_domain(DomainId=domain)["DefaultUserSettings"]["ExecutionRole"]
    assert not can_list(aws, apps.user_session(REGION, ACCOUNT, domain, "ana"))
    assert not can_list(aws, apps.job_session(REGION, role))


@pytest.mark.parametrize("carries", [False, True])
def test_a_job_of_a_user_carries_the_source_identity_or_not(aws, sagemaker, carries):
    domain = shared_domain(sagemaker)
    role = sagemaker.describe_domain(DomainId=domain)["DefaultUserSettings"]["ExecutionRole"]
    apps.JOBS.carry = carries
    ana = apps.user_session(REGION, ACCOUNT, domain, "Ana")
    assert can_list(aws, apps.job_session(REGION, role, ana)) is carries


def test_no_app_starts_if_the_trust_policy_lets_sagemaker_set_no_source_identity(aws, sagemaker):
    domain = shared_domain(sagemaker, trust_policy=trust("sts:AssumeRole"))
    with pytest.raises(NotTrustedError, match="sts:SetSourceIdentity"):
        apps.user_session(REGION, ACCOUNT, domain, "ana")


def test_the_setting_changes_only_without_running_apps(aws, sagemaker):
    domain = shared_domain(sagemaker, settings={})
    app = {"DomainId": domain, "UserProfileName": "Ana", "AppType": "Canvas", "AppName": "default"}
    sagemaker.create_app(**app)
    change = {"DomainId": domain, "DomainSettingsForUpdate": SETS}
    code, message, _ = refusal(sagemaker.update_domain, **change)
    assert (code, "InService" in message) == ("ResourceInUse", True)
    sagemaker.delete_app(**app)
    sagemaker.update_domain(**change)
    assert sagemaker.describe_domain(DomainId=domain)["DomainSettings"] == SETS


def test_a_caller_chooses_a_source_identity_only_if_the_trust_policy_lets_it(aws, sagemaker):
    root = f"arn:aws:iam::{ACCOUNT}:root"
    shared_domain(sagemaker, trust_policy=trust("sts:AssumeRole", principal=root))
    sts, iam = boto3.client("sts", REGION), boto3.client("iam", REGION)
    chosen: Any = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/Shared", "RoleSessionName": "me", "SourceIdentity": "ana"}
    code, message, _ = refusal(sts.assume_role, **chosen)
    assert (code, "sts:SetSourceIdentity" in message) == ("AccessDenied", True)
    both = trust("sts:AssumeRole", "sts:SetSourceIdentity", principal=root)
    iam.update_assume_role_policy(RoleName="Shared", PolicyDocument=both)
    given = sts.assume_role(**chosen)["Credentials"]
    assert can_list(aws, boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], REGION))


def test_a_chained_session_keeps_its_source_identity(aws, sagemaker):
    domain = shared_domain(sagemaker)
    iam = boto3.client("iam", REGION)
    session = f"arn:aws:iam::{ACCOUNT}:root"
    second = iam.create_role(
        RoleName="Second",
        AssumeRolePolicyDocument=trust("sts:AssumeRole", "sts:SetSourceIdentity", principal=session),
    )["Role"]["Arn"]
    iam.put_role_policy(RoleName="Second", PolicyName="only-ana", PolicyDocument=ONLY_ANA)
    iam.put_role_policy(RoleName="Shared", PolicyName="chain", PolicyDocument=policy(Action="sts:*"))
    ana = apps.user_session(REGION, ACCOUNT, domain, "ana").client("sts")
    given = ana.assume_role(RoleArn=second, RoleSessionName="next")["Credentials"]
    assert can_list(aws, boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], REGION))
    code, *_ = refusal(ana.assume_role, RoleArn=second, RoleSessionName="next", SourceIdentity="ben")
    assert code == "AccessDenied"
