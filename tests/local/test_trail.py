"""CloudTrail's event history: its calls, its lookup attributes, its order and its pages."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden_local.scenes.seed import TRUST, seed

from tests.local.conftest import refusal

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


@pytest.fixture
def trail(aws):
    return boto3.client("cloudtrail", "us-east-1")


def by(key: str, value: str) -> dict:
    return {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}


def names(found: Mapping[str, Any]) -> list[str]:
    return [event["EventName"] for event in found["Events"]]


def test_the_history_has_the_changing_calls_newest_first(trail, iam, role):
    iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    iam.get_role(RoleName=role)
    assert names(trail.lookup_events()) == ["AttachRolePolicy", "CreateRole"]


def test_an_entry_has_the_record_that_eventbridge_delivers(aws, trail, role):
    [event] = trail.lookup_events()["Events"]
    record = aws.events[-1]["detail"]
    assert json.loads(event["CloudTrailEvent"]) == record
    assert event["EventId"] == record["eventID"]
    assert (event["EventName"], event["EventSource"]) == ("CreateRole", "iam.amazonaws.com")
    assert (event["Username"], event["ReadOnly"]) == ("root", "false")
    assert event["EventTime"] == datetime.fromisoformat(record["eventTime"])


def test_an_event_is_found_by_its_name_and_by_its_id(trail, iam, role):
    iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    [event] = trail.lookup_events(**by("EventName", "AttachRolePolicy"))["Events"]
    assert names(trail.lookup_events(**by("EventId", event["EventId"]))) == ["AttachRolePolicy"]
    assert names(trail.lookup_events(**by("EventName", "DeleteRole"))) == []


def test_a_user_is_found_by_name_and_an_assumed_role_by_the_name_of_its_session(aws, trail, iam, role):
    seed(aws).access_keys["alice"].session().client("iam").attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    arn = iam.create_role(RoleName="enforce", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    key = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="enforce-function")["Credentials"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
    session.client("iam").detach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert names(trail.lookup_events(**by("Username", "alice"))) == ["AttachRolePolicy"]
    assert names(trail.lookup_events(**by("Username", "enforce-function"))) == ["DetachRolePolicy"]


def test_events_are_found_between_two_times(trail, role):
    now, hour = datetime.now(UTC), timedelta(hours=1)
    assert names(trail.lookup_events(StartTime=now - hour, EndTime=now + hour)) == ["CreateRole"]
    assert names(trail.lookup_events(StartTime=now + hour)) == []
    assert names(trail.lookup_events(EndTime=now - hour)) == []


def test_events_come_in_pages_that_new_ones_do_not_shift(trail, iam, role):
    def tag(number: int) -> None:
        iam.tag_role(RoleName=role, Tags=[{"Key": f"tag{number}", "Value": ""}])

    def tags(found: dict) -> list[str]:
        records = [json.loads(event["CloudTrailEvent"]) for event in found["Events"]]
        return [record["requestParameters"]["tags"][0]["key"] for record in records]

    for number in range(5):
        tag(number)
    first = trail.lookup_events(**by("EventName", "TagRole"), MaxResults=2)
    tag(5)
    second = trail.lookup_events(**by("EventName", "TagRole"), MaxResults=2, NextToken=first["NextToken"])
    last = trail.lookup_events(**by("EventName", "TagRole"), MaxResults=2, NextToken=second["NextToken"])
    assert [tags(page) for page in (first, second, last)] == [["tag4", "tag3"], ["tag2", "tag1"], ["tag0"]]
    assert "NextToken" not in last


def test_a_page_has_fifty_events_at_most(trail, iam, role):
    for number in range(50):
        iam.tag_role(RoleName=role, Tags=[{"Key": f"tag{number}", "Value": ""}])
    assert len(trail.lookup_events()["Events"]) == 50
    assert len(names({"Events": list(trail.get_paginator("lookup_events").paginate().search("Events[]"))})) == 51
    assert refusal(trail.lookup_events, MaxResults=51)[0] == "InvalidMaxResultsException"


def test_an_unsupported_lookup_is_rejected(trail, role):
    two = by("EventName", "CreateRole")["LookupAttributes"] + by("Username", "root")["LookupAttributes"]
    assert refusal(trail.lookup_events, LookupAttributes=two)[0] == "InvalidLookupAttributesException"
    assert refusal(trail.lookup_events, **by("Nickname", role))[0] == "InvalidLookupAttributesException"
    assert refusal(trail.lookup_events, NextToken="none")[0] == "InvalidNextTokenException"
    now = datetime.now(UTC)
    assert refusal(trail.lookup_events, StartTime=now, EndTime=now - timedelta(1))[0] == "InvalidTimeRangeException"


def test_each_account_and_region_has_a_history_of_its_own(trail, role):
    settings: Any = {"ExecutionRole": "arn:aws:iam::111122223333:role/analyst"}
    studio = boto3.client("sagemaker", "eu-west-1")
    studio.create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings=settings)
    other: dict[str, Any] = {"aws_access_key_id": "444455556666", "aws_secret_access_key": "any"}
    boto3.client("iam", **other).create_user(UserName="bob")
    assert names(trail.lookup_events()) == ["CreateRole"]
    assert names(boto3.client("cloudtrail", "eu-west-1").lookup_events()) == ["CreateDomain"]
    assert names(boto3.client("cloudtrail", "us-east-1", **other).lookup_events()) == ["CreateUser"]


def test_the_request_id_of_an_answer_is_the_one_in_the_event(aws, iam, role):
    def told(answer: Mapping[str, Any]) -> bool:
        return answer["ResponseMetadata"]["RequestId"] == aws.events[-1]["detail"]["requestID"]

    assert told(iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY))
    assert told(boto3.client("sagemaker").create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings={}))
    with pytest.raises(ClientError) as refused:
        iam.delete_role(RoleName="nobody")
    assert told(refused.value.response)
    with aws.failing("TagRole", "AccessDenied", status=403), pytest.raises(ClientError) as refused:
        iam.tag_role(RoleName=role, Tags=[])
    assert told(refused.value.response)


def asked(model: str, region: str = "us-east-1") -> dict[str, Any]:
    """Call a model, and return the record of the call."""
    boto3.client("bedrock-runtime", region).converse(modelId=model, messages=[])
    [event, *_] = boto3.client("cloudtrail", region).lookup_events(**by("EventName", "Converse"))["Events"]
    found: dict[str, Any] = json.loads(event["CloudTrailEvent"])
    return found


def test_a_call_of_a_model_is_a_read_only_event_with_the_model_as_the_caller_gave_it(aws):
    arn = "arn:aws:bedrock:eu-west-1:111122223333:application-inference-profile/abc"
    for model in ("anthropic.claude-v2:1", arn):
        record = asked(model, "eu-west-1")
        assert record["requestParameters"] == {"modelId": model}
        assert (record["eventSource"], record["awsRegion"]) == ("bedrock.amazonaws.com", "eu-west-1")
        assert (record["readOnly"], record["eventCategory"]) == (True, "Management")
        assert "additionalEventData" not in record


def test_a_call_through_a_cross_region_profile_has_the_region_that_served_it(aws):
    record = asked("eu.amazon.nova-pro-v1:0", "eu-west-1")
    assert (record["awsRegion"], record["additionalEventData"]) == ("eu-west-1", {"inferenceRegion": "eu-central-1"})


def test_every_way_to_call_a_model_is_found_by_its_source_and_goes_to_no_rule(aws, trail):
    runtime = boto3.client("bedrock-runtime", "us-east-1")
    runtime.converse_stream(modelId="amazon.nova-pro-v1:0", messages=[])
    runtime.invoke_model(modelId="amazon.nova-pro-v1:0", body=b"{}")
    runtime.invoke_model_with_response_stream(modelId="amazon.nova-pro-v1:0", body=b"{}")
    found = trail.lookup_events(**by("EventSource", "bedrock.amazonaws.com"))
    assert names(found) == ["InvokeModelWithResponseStream", "InvokeModel", "ConverseStream"]


def test_an_event_of_iam_is_found_by_its_resource(trail, iam, role):
    iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert names(trail.lookup_events(**by("ResourceName", role))) == ["AttachRolePolicy", "CreateRole"]
    assert names(trail.lookup_events(**by("ResourceName", READ_ONLY))) == ["AttachRolePolicy"]
    assert names(trail.lookup_events(**by("ResourceType", "AWS::IAM::Policy"))) == ["AttachRolePolicy"]
    assert names(trail.lookup_events(**by("ResourceName", "another"))) == []
