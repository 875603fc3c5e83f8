"""Failures of AWS and the network on demand: the caller's error, and the effect of the call."""

import json
import time
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from rolewarden_local.aws import Killed, Loss

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
LOSSES = [(Loss.RESET, ConnectionClosedError), (Loss.TIMEOUT, ReadTimeoutError)]


@pytest.fixture
def once(aws):
    """A client of IAM without retries."""
    return boto3.client("iam", config=Config(retries={"total_max_attempts": 1}))


def attached(iam, role: str) -> list[str]:
    return [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]]


@pytest.mark.parametrize(("how", "error"), LOSSES)
def test_a_call_that_never_arrives_changes_nothing_and_is_not_logged(aws, once, role, how, error):
    events, mark = len(aws.events), aws.mark()
    with aws.losing("AttachRolePolicy", how, takes_effect=False), pytest.raises(error):
        once.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert (len(aws.events), aws.calls(mark)) == (events, [])
    assert attached(once, role) == []


@pytest.mark.parametrize(("how", "error"), LOSSES)
def test_a_call_with_a_lost_answer_takes_effect_and_leaves_its_event(aws, once, role, how, error):
    with aws.losing("AttachRolePolicy", how, takes_effect=True), pytest.raises(error):
        once.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert aws.events[-1]["detail"]["eventName"] == "AttachRolePolicy"
    assert "errorCode" not in aws.events[-1]["detail"]
    assert attached(once, role) == [READ_ONLY]


def test_each_try_of_botocore_counts_as_a_call(aws, iam, role):
    mark = aws.mark()
    with aws.losing("AttachRolePolicy", Loss.RESET, takes_effect=True, times=2):
        iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert [call.operation for call in aws.calls(mark)] == ["AttachRolePolicy"] * 3


def test_calls_are_lost_after_some_answers_and_as_often_as_requested(aws, once, role):
    def lost() -> bool:
        try:
            once.get_role(RoleName=role)
        except ReadTimeoutError:
            return True
        return False

    with aws.losing("GetRole", Loss.TIMEOUT, takes_effect=False, times=2, after=1):
        assert [lost() for _ in range(4)] == [False, True, True, False]


def test_botocore_retries_without_waiting(aws, iam, role, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("somebody waits"))
    with aws.failing("GetRole", "Throttling", times=3):
        iam.get_role(RoleName=role)


@pytest.mark.parametrize("takes_effect", [True, False])
def test_a_caller_is_ended_right_after_a_call_took_effect_or_right_before(aws, iam, role, takes_effect):
    with pytest.raises(Killed), aws.dying("AttachRolePolicy", takes_effect=takes_effect):
        iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert attached(iam, role) == ([READ_ONLY] if takes_effect else [])


def test_a_caller_that_has_ended_does_not_clean_up(aws, iam, role):
    def attach_and_say_so() -> None:
        try:
            iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
        finally:
            iam.tag_role(RoleName=role, Tags=[{"Key": "attached", "Value": "yes"}])

    with pytest.raises(Killed), aws.dying("AttachRolePolicy"):
        attach_and_say_so()
    assert iam.list_role_tags(RoleName=role)["Tags"] == []
    assert attached(iam, role) == [READ_ONLY]


def test_a_caller_survives_the_requested_number_of_calls(aws, iam, role):
    def tag() -> None:
        for number in range(5):
            iam.tag_role(RoleName=role, Tags=[{"Key": f"tag{number}", "Value": ""}])

    with pytest.raises(Killed), aws.dying("TagRole", after=2):
        tag()
    assert [tag["Key"] for tag in iam.list_role_tags(RoleName=role)["Tags"]] == ["tag0", "tag1", "tag2"]


def test_a_caller_that_does_not_make_the_call_continues(aws, iam, role):
    with aws.dying("AttachRolePolicy"):
        iam.get_role(RoleName=role)


def test_after_a_reset_calls_work_again(aws, iam, role):
    with aws.dying("AttachRolePolicy"):
        with pytest.raises(Killed):
            iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
        with pytest.raises(Killed):
            iam.list_roles()
        aws.reset()
        assert iam.list_roles()["Roles"] == []


def queue() -> tuple[Any, str]:
    sqs = boto3.client("sqs")
    return sqs, sqs.create_queue(QueueName="queue")["QueueUrl"]


def received(sqs, url: str) -> list[str]:
    return [m["Body"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]


def test_the_last_messages_of_a_batch_fail(aws):
    sqs, url = queue()
    batch = [{"Id": f"m{number}", "MessageBody": f"text {number}"} for number in range(3)]
    with aws.partly_failing("SendMessageBatch", times=1):
        answer = sqs.send_message_batch(QueueUrl=url, Entries=batch)
        assert [entry["Id"] for entry in answer["Successful"]] == ["m0", "m1"]
        assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [
            ("m2", "InternalFailure", False)
        ]
        assert not sqs.send_message_batch(QueueUrl=url, Entries=batch[2:]).get("Failed")
    assert received(sqs, url) == ["text 0", "text 1", "text 2"]


def test_a_batch_of_messages_fails_whole(aws):
    sqs, url = queue()
    with aws.partly_failing("SendMessageBatch", entries=10):
        answer = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "m", "MessageBody": "text"}])
    assert [entry["Id"] for entry in answer["Failed"]] == ["m"]
    assert received(sqs, url) == []


def test_the_last_events_of_a_call_fail(aws):
    sqs, url = queue()
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = boto3.client("events")
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["here"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
    entries: list[Any] = [{"Source": "here", "DetailType": f"event {number}", "Detail": "{}"} for number in range(3)]
    with aws.partly_failing("PutEvents", entries=2, code="ThrottlingException"):
        answer = events.put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 2
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [None, *["ThrottlingException"] * 2]
    assert [json.loads(body)["detail-type"] for body in received(sqs, url)] == ["event 0"]


def test_the_last_items_of_a_batch_are_left_unprocessed(aws):
    dynamodb = boto3.client("dynamodb")
    for table in ("one", "two"):
        dynamodb.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    put = {name: {"PutRequest": {"Item": {"id": {"S": name}}}} for name in "1234"}
    wanted: Any = {"one": [put["1"], put["2"]], "two": [put["3"], put["4"]]}
    with aws.partly_failing("BatchWriteItem", entries=3, times=1):
        left = dynamodb.batch_write_item(RequestItems=wanted)["UnprocessedItems"]
        assert left == {"one": [put["2"]], "two": [put["3"], put["4"]]}
        assert dynamodb.scan(TableName="one")["Items"] == [{"id": {"S": "1"}}]
        assert dynamodb.scan(TableName="two")["Items"] == []
        assert dynamodb.batch_write_item(RequestItems=left)["UnprocessedItems"] == {}
    there = [item["id"]["S"] for table in ("one", "two") for item in dynamodb.scan(TableName=table)["Items"]]
    assert sorted(there) == list("1234")


def test_only_a_batch_can_succeed_in_part(aws):
    with pytest.raises(ValueError, match="GetRole takes no batch"), aws.partly_failing("GetRole"):
        pass
