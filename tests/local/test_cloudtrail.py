"""EventBridge events of changing calls: their shape, their caller and their region."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden_local.scenes.seed import TRUST, log, seed

from tests.local.conftest import policy

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
SETTINGS: Any = {"ExecutionRole": "arn:aws:iam::111122223333:role/analyst"}


@pytest.fixture
def logged(aws):
    """Have a trail that logs all regions, because nothing arrives without one."""
    log(boto3.client("cloudtrail", "us-east-1"))
    return aws


def last(aws) -> dict:
    return aws.events[-1]["detail"]


def listen(region: str, **pattern: object):
    """Add a queue to the default bus of `region`, and return a function that receives its events."""
    sqs, events = boto3.client("sqs", region), boto3.client("events", region)
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])

    def heard() -> list[dict]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]

    return heard


def test_an_event_has_the_fields_of_a_captured_one(aws, iam, role, root):
    iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    iam.detach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    captured = json.loads((root / "events" / "detach_role_policy.json").read_text())
    event = aws.events[-1]
    assert event.keys() == captured.keys()
    assert captured["detail"].keys() - event["detail"].keys() <= {"sessionCredentialFromConsole", "tlsDetails"}
    assert event["source"] == "aws.iam"
    assert event["detail"]["eventSource"] == "iam.amazonaws.com"
    assert event["detail"]["eventName"] == "DetachRolePolicy"
    assert event["detail"]["requestParameters"] == {"roleName": role, "policyArn": READ_ONLY}
    assert event["detail"]["responseElements"] is None
    assert event["detail"]["readOnly"] is False
    assert "errorCode" not in event["detail"]


def test_an_event_is_delivered_as_the_log_has_it(logged, iam, role):
    heard = listen("us-east-1", source=["aws.iam"])
    iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert heard() == [logged.events[-1]]


def test_iam_events_arrive_only_in_us_east_1(logged, role):
    here, there = listen("us-east-1", source=["aws.iam"]), listen("eu-west-1", source=["aws.iam"])
    # With a custom endpoint, a client signs for its region. IAM's real endpoint makes it sign for us-east-1.
    iam = boto3.client("iam", "eu-west-1", endpoint_url="http://localhost")
    iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert [event["detail"]["awsRegion"] for event in here()] == ["us-east-1"]
    assert there() == []


def test_sagemaker_events_arrive_in_the_region_of_the_call(logged):
    here, there = listen("us-east-1", source=["aws.sagemaker"]), listen("eu-west-1", source=["aws.sagemaker"])
    studio = boto3.client("sagemaker", "eu-west-1")
    made = studio.create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings=SETTINGS)
    [event] = there()
    assert here() == []
    assert (event["region"], event["account"]) == ("eu-west-1", "111122223333")
    assert event["detail"]["requestParameters"]["defaultUserSettings"] == {
        "executionRole": "arn:aws:iam::111122223333:role/analyst"
    }
    assert event["detail"]["responseElements"] == {"domainArn": made["DomainArn"]}


def test_a_new_profile_shows_its_settings_tags_and_arn(aws):
    studio = boto3.client("sagemaker", "eu-west-1")
    domain = studio.create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings=SETTINGS)["DomainId"]
    arn = studio.create_user_profile(
        DomainId=domain, UserProfileName="ana", UserSettings=SETTINGS, Tags=[{"Key": "Team", "Value": "X"}]
    )["UserProfileArn"]
    assert last(aws)["requestParameters"] == {
        "domainId": domain,
        "userProfileName": "ana",
        "userSettings": {"executionRole": "arn:aws:iam::111122223333:role/analyst"},
        "tags": [{"key": "Team", "value": "X"}],
    }
    assert last(aws)["responseElements"] == {"userProfileArn": arn}
    studio.update_user_profile(DomainId=domain, UserProfileName="ana", UserSettings=SETTINGS)
    assert last(aws)["responseElements"] is None


def test_parameters_have_types_and_a_policy_stays_text(aws, iam):
    arn = iam.create_policy(PolicyName="p", PolicyDocument=policy(), Tags=[{"Key": "k", "Value": "v"}])["Policy"]["Arn"]
    assert last(aws)["requestParameters"]["tags"] == [{"key": "k", "value": "v"}]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(), SetAsDefault=True)
    assert last(aws)["requestParameters"] == {"policyArn": arn, "policyDocument": policy(), "setAsDefault": True}
    version = last(aws)["responseElements"]["policyVersion"]
    assert (version["versionId"], version["isDefaultVersion"]) == ("v2", True)


def test_a_new_role_shows_in_the_answer(aws, iam, role):
    assert last(aws)["responseElements"]["role"]["arn"] == f"arn:aws:iam::111122223333:role/service-role/{role}"


def test_events_omit_secrets(aws, iam):
    iam.create_user(UserName="alice")
    iam.create_access_key(UserName="alice")
    assert "secretAccessKey" not in last(aws)["responseElements"]["accessKey"]


def test_reading_leaves_no_event(aws, iam, role):
    before = len(aws.events)
    iam.get_role(RoleName=role)
    iam.list_roles()
    boto3.client("sagemaker").list_domains()
    boto3.client("sqs").create_queue(QueueName="changes-but-is-neither-iam-nor-sagemaker")
    assert len(aws.events) == before


def test_a_failed_call_leaves_an_event_with_its_error(aws, iam):
    with pytest.raises(ClientError):
        iam.detach_role_policy(RoleName="none", PolicyArn=READ_ONLY)
    assert last(aws)["errorCode"] == "NoSuchEntityException"
    assert last(aws)["errorMessage"] == "The role with name none cannot be found."
    assert last(aws)["requestParameters"] == {"roleName": "none", "policyArn": READ_ONLY}
    with pytest.raises(ClientError):
        boto3.client("sagemaker").update_domain(DomainId="d-none")
    assert last(aws)["errorCode"] == "ResourceNotFound"


def test_the_event_of_a_denied_call_has_no_parameters(aws, iam, role):
    with aws.failing("DetachRolePolicy", "AccessDenied", status=403), pytest.raises(ClientError):
        iam.detach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert last(aws)["errorCode"] == "AccessDenied"
    assert last(aws)["requestParameters"] is None
    assert last(aws)["responseElements"] is None


def test_an_event_names_a_user_without_a_session_issuer(aws, role):
    alice = seed(aws).access_keys["alice"].session()
    alice.client("iam").attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    who = last(aws)["userIdentity"]
    assert (who["type"], who["arn"]) == ("IAMUser", "arn:aws:iam::111122223333:user/alice")
    assert who["sessionContext"]["sessionIssuer"] == {}


def test_an_event_of_a_session_has_the_path_of_its_role(aws, iam, role):
    made = iam.create_role(RoleName="enforce", Path="/rolewarden/", AssumeRolePolicyDocument=TRUST)["Role"]
    key = boto3.client("sts").assume_role(RoleArn=made["Arn"], RoleSessionName="visit")["Credentials"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
    session.client("iam").attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    who = last(aws)["userIdentity"]
    assert (who["type"], who["arn"]) == ("AssumedRole", "arn:aws:sts::111122223333:assumed-role/enforce/visit")
    assert who["sessionContext"]["sessionIssuer"] == {
        "type": "Role",
        "principalId": made["RoleId"],
        "arn": "arn:aws:iam::111122223333:role/rolewarden/enforce",
        "accountId": "111122223333",
        "userName": "enforce",
    }


def test_every_other_key_is_root(aws, iam, role):
    assert last(aws)["userIdentity"]["type"] == "Root"
