"""An alarm, a mapping or a topic that is switched on is compared with its whole definition in the template."""

import json

import boto3
import pytest
from rolewarden.own_definitions import ALARM_DEFINITION, MAPPING_DEFINITION, OwnDefinitions

from tests.stacks import ACCOUNT, EVERYTHING, deployed, translated

HERE = "us-east-1"
TEMPLATE = translated(**EVERYTHING)
ALARMS = TEMPLATE.resources("AWS::CloudWatch::Alarm")
MAPPINGS = TEMPLATE.resources("AWS::Lambda::EventSourceMapping")
EXPECTED = OwnDefinitions("aws", ACCOUNT, HERE, {logical: logical for logical, _, _ in deployed(TEMPLATE).resources})

ALARM_APART = {
    "ActionConfiguration", "ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmName", "InsufficientDataActions",
    "OKActions", "Tags",
}  # fmt: skip
"""Parameters of PutMetricAlarm that do not decide when the alarm goes off. The sweep tests its actions besides."""

MAPPING_APART = {
    "UUID", "Enabled",
    # They decide how many messages Lambda reads at once, and how long it waits for more: five minutes at most.
    "BatchSize", "MaximumBatchingWindowInSeconds", "ScalingConfig", "ProvisionedPollerConfig",
    # These are about streams, topics of Kafka, and databases.
    "BisectBatchOnFunctionError", "DestinationConfig", "DocumentDBEventSourceConfig", "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts", "ParallelizationFactor", "SourceAccessConfigurations", "TumblingWindowInSeconds",
    "AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig", "LoggingConfig", "MetricsConfig",
}  # fmt: skip
"""Parameters of UpdateEventSourceMapping that lose no message of a queue."""


def as_read(logical, **changes):
    """A mapping as Lambda answers with it, with some properties changed."""
    mapping = {**MAPPINGS[logical], **changes}
    return {**mapping, "FunctionArn": f"arn:aws:lambda:{HERE}:{ACCOUNT}:function:{mapping['FunctionName']}"}


@pytest.mark.parametrize("logical", ALARMS)
def test_the_deployed_alarm_has_no_problem_and_each_other_value_is_one(logical):
    alarm = ALARMS[logical]
    assert EXPECTED.alarm_problem(logical, alarm) == ""
    # CloudWatch answers with numbers, and may add defaults.
    defaults = {
        "DatapointsToAlarm": alarm["EvaluationPeriods"],
        "EvaluationWindow": {"SlidingWindow": {}},
        "Unit": None,
    }
    answered = defaults | alarm | {"Threshold": float(alarm["Threshold"])}
    assert EXPECTED.alarm_problem(logical, answered) == ""
    other = [{"Name": "FunctionName", "Value": "other"}]
    edits = dict.fromkeys(ALARM_DEFINITION, "other") | {"Dimensions": other, "Threshold": 1e9, "Period": 86400}
    for key, value in edits.items():
        assert f"another {key} " in EXPECTED.alarm_problem(logical, {**alarm, key: value}).replace(" and", ""), key


@pytest.mark.parametrize("logical", MAPPINGS)
def test_the_deployed_mapping_has_no_problem_and_each_other_value_is_one(logical):
    assert EXPECTED.mapping_problem(logical, as_read(logical)) == ""
    assert EXPECTED.mapping_problem(logical, as_read(logical, FilterCriteria={"Filters": []})) == ""
    for changes in (
        {"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}},
        {"FilterCriteriaError": {"ErrorCode": "KMS", "Message": "no"}},
        {"KMSKeyArn": f"arn:aws:kms:{HERE}:{ACCOUNT}:key/mine"},
        {"FunctionName": "other"},
        {"FunctionName": f"{MAPPINGS[logical]['FunctionName']}:version"},
        {"EventSourceArn": f"arn:aws:sqs:{HERE}:{ACCOUNT}:other"},
        {
            "FunctionResponseTypes": []
            if MAPPINGS[logical].get("FunctionResponseTypes")
            else ["ReportBatchItemFailures"]
        },
    ):
        assert "than its template" in EXPECTED.mapping_problem(logical, as_read(logical, **changes)), changes


POLICY = next(iter(TEMPLATE.resources("AWS::SNS::TopicPolicy").values()))["PolicyDocument"]
ALLOWS = {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "sns:Subscribe", "Resource": "*"}
DENIES = {"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}


def of_topic(*statements, key="AlarmKey"):
    """The problem of the topic with these statements in its policy, and this key."""
    policy = json.dumps({"Version": "2012-10-17", "Id": "any", "Statement": list(statements)})
    return EXPECTED.topic_problem("AlarmTopic", {"Policy": policy, "KmsMasterKeyId": key})


def test_the_deployed_topic_has_no_problem_and_one_that_refuses_alarms_has():
    alarms_publish, only_alarms = POLICY["Statement"]
    assert of_topic(alarms_publish, only_alarms) == ""
    assert of_topic(only_alarms, ALLOWS, alarms_publish) == ""
    everybody = {**only_alarms, "Principal": {"AWS": ["*"]}, "Action": ["SNS:Publish"]}
    assert of_topic(alarms_publish, everybody) == ""
    assert of_topic(alarms_publish, only_alarms, key=f"arn:aws:kms:{HERE}:{ACCOUNT}:key/AlarmKey") == ""
    for statements in (
        [only_alarms],
        [alarms_publish],
        [],
        [alarms_publish, only_alarms, DENIES],
        [{**alarms_publish, "Principal": {"Service": "s3.amazonaws.com"}}, only_alarms],
        [alarms_publish, {**only_alarms, "Condition": {}}],
    ):
        assert "is not that of its template" in of_topic(*statements), statements
    assert "has another key" in of_topic(*POLICY["Statement"], key="alias/aws/sns")
    assert "is not that of its template" in EXPECTED.topic_problem("AlarmTopic", {"Policy": "{"})


@pytest.mark.parametrize(
    ("service", "operation", "compared", "apart"),
    [
        ("cloudwatch", "PutMetricAlarm", ALARM_DEFINITION, ALARM_APART),
        ("lambda", "UpdateEventSourceMapping", MAPPING_DEFINITION, MAPPING_APART),
    ],
)
def test_each_parameter_by_which_a_caller_changes_the_part_is_compared_or_harmless(service, operation, compared, apart):
    """A parameter that AWS adds is decided when the service models are updated."""
    model = boto3.client(service, HERE).meta.service_model.operation_model(operation)
    assert set(model.input_shape.members) <= {*compared, *apart}
