"""The events that EventBridge gets: only those that a trail that logs selects."""

import json

import boto3
import pytest
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.organization import MANAGEMENT

from tests.company import client
from tests.local.conftest import refusal

WEST = "eu-west-1"
MANAGEMENT_EVENTS = {"Field": "eventCategory", "Equals": ["Management"]}


def trail(account=ACCOUNT_ID, region="us-east-1", **settings):
    """Create a trail and start it; gives its client."""
    trails = client("cloudtrail", account, region)
    trails.create_trail(Name="trail", S3BucketName="bucket", **settings)
    trails.start_logging(Name="trail")
    return trails


def arrive():
    """Whether an event of IAM, and one of SageMaker in each of two regions, arrive at a rule."""
    return [has_arrived("aws.iam", "us-east-1"), *(has_arrived("aws.sagemaker", r) for r in ("us-east-1", WEST))]


def has_arrived(source, region):
    sqs, events = client("sqs", ACCOUNT_ID, region), client("events", ACCOUNT_ID, region)
    url = sqs.create_queue(QueueName=source.replace(".", "-"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=source, Targets=[{"Id": "queue", "Arn": arn}])
    if source == "aws.iam":
        client("iam", ACCOUNT_ID).create_user(UserName="somebody")
        client("iam", ACCOUNT_ID).delete_user(UserName="somebody")
    else:
        client("sagemaker", ACCOUNT_ID, region).create_model(
            ModelName="model", ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT_ID}:role/model"
        )
        client("sagemaker", ACCOUNT_ID, region).delete_model(ModelName="model")
    return bool(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"))


@pytest.fixture
def empty(aws):
    aws.reset()
    return aws


def test_without_a_trail_nothing_arrives_and_the_history_has_it(empty):
    assert arrive() == [False, False, False]
    assert boto3.client("cloudtrail", "us-east-1").lookup_events()["Events"]


def test_a_trail_that_is_stopped_delivers_nothing(empty):
    trail(IsMultiRegionTrail=True).stop_logging(Name="trail")
    assert arrive() == [False, False, False]


@pytest.mark.parametrize(
    ("region", "settings", "expected"),
    [
        ("us-east-1", {"IsMultiRegionTrail": True}, [True, True, True]),
        (WEST, {"IsMultiRegionTrail": True}, [True, True, True]),
        ("us-east-1", {}, [True, True, False]),
        ("us-east-1", {"IncludeGlobalServiceEvents": False}, [False, True, False]),
        (WEST, {}, [False, False, True]),
    ],
)
def test_a_trail_covers_its_regions_and_perhaps_global_services(empty, region, settings, expected):
    trail(region=region, **settings)
    assert arrive() == expected


@pytest.mark.parametrize(
    ("selectors", "is_selected"),
    [
        ([{"ReadWriteType": "All"}], True),
        ([{"ReadWriteType": "WriteOnly"}], True),
        ([{"ReadWriteType": "ReadOnly"}], False),
        ([{"IncludeManagementEvents": False}], False),
        ([{"ExcludeManagementEventSources": ["kms.amazonaws.com"]}], True),
        ([{"IncludeManagementEvents": False}, {"ReadWriteType": "WriteOnly"}], True),
    ],
)
def test_classic_selectors_select(empty, selectors, is_selected):
    trail(IsMultiRegionTrail=True).put_event_selectors(TrailName="trail", EventSelectors=selectors)
    assert arrive() == [is_selected] * 3


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([MANAGEMENT_EVENTS], [True, True, True]),
        ([MANAGEMENT_EVENTS, {"Field": "readOnly", "Equals": ["false"]}], [True, True, True]),
        ([MANAGEMENT_EVENTS, {"Field": "readOnly", "Equals": ["true"]}], [False, False, False]),
        ([MANAGEMENT_EVENTS, {"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]}], [True, True, True]),
        ([MANAGEMENT_EVENTS, {"Field": "eventSource", "NotStartsWith": ["sagemaker"]}], [True, False, False]),
        ([{"Field": "eventCategory", "Equals": ["Data"]}], [False, False, False]),
    ],
)
def test_advanced_selectors_select(empty, fields, expected):
    selectors = [{"FieldSelectors": fields}]
    trail(IsMultiRegionTrail=True).put_event_selectors(TrailName="trail", AdvancedEventSelectors=selectors)
    assert arrive() == expected


def test_a_trail_of_all_regions_has_global_service_events(empty):
    code, *_ = refusal(trail, IsMultiRegionTrail=True, IncludeGlobalServiceEvents=False)
    assert code == "InvalidParameterCombinationException"
    code, *_ = refusal(trail(IsMultiRegionTrail=True).update_trail, Name="trail", IncludeGlobalServiceEvents=False)
    assert code == "InvalidParameterCombinationException"


def test_a_trail_of_the_organization_covers_its_accounts_and_answers_only_its_own(empty):
    empty.organize("o-exampleorg1", {"ou-root-canvas000": {ACCOUNT_ID}})
    owner = trail(MANAGEMENT, IsMultiRegionTrail=True, IsOrganizationTrail=True)
    assert arrive() == [True, True, True]
    member = client("cloudtrail", ACCOUNT_ID, WEST)
    [found] = member.describe_trails()["trailList"]
    assert (found["IsOrganizationTrail"], found["HomeRegion"]) == (True, "us-east-1")
    assert refusal(member.get_trail_status, Name=found["TrailARN"])[0] == "TrailNotFoundException"
    assert refusal(member.get_event_selectors, TrailName=found["TrailARN"])[0] == "TrailNotFoundException"
    assert owner.get_trail_status(Name=found["TrailARN"])["IsLogging"]
    empty.organize("o-exampleorg1", {"ou-root-canvas000": set()})
    assert member.describe_trails()["trailList"] == []
    assert arrive() == [False, False, False]
