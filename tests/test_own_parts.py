"""The sweep reports a part that is switched on and reaches nobody, or that a caller changed after its deployment."""

import io
import time
import zipfile

import boto3
import pytest
from rolewarden.aws import Aws
from rolewarden.clock import Clock
from rolewarden.own_parts import CONFIRMATION_SECONDS, DEPLOYMENT_SECONDS, OwnParts, OwnResource
from rolewarden_local.aws import ACCOUNT_ID

SILENT = ("Topic", "Topic has no confirmed mail subscription, so alarms and alerts reach nobody")
FILTERED = (
    "Topic",
    "Topic has no confirmed mail subscription without a filter, so alarms and alerts reach nobody",
)


class Parts(OwnParts):
    """The parts of a stack that has only these resources."""

    def __init__(self, *found):
        super().__init__(Aws(), ACCOUNT_ID, "rolewarden", "", Clock())
        self.found = found

    def resources(self):
        return list(self.found)


@pytest.fixture
def topic(aws):
    aws.reset()
    topic = boto3.client("sns").create_topic(Name="alarms")["TopicArn"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    return topic


def of_topic(topic, age):
    """The problems of a topic that template.yaml does not have, if the stack's subscription has this age in seconds."""
    changed = time.time() - age
    subscription = OwnResource("AlarmSubscription", "AWS::SNS::Subscription", "pending", changed)
    return list(Parts(OwnResource("Topic", "AWS::SNS::Topic", topic, changed), subscription).problems())


@pytest.mark.parametrize(
    ("age", "confirmed", "problems"),
    [
        (60, False, []),
        (CONFIRMATION_SECONDS - 60, False, []),
        (CONFIRMATION_SECONDS + 60, False, [SILENT]),
        (CONFIRMATION_SECONDS + 60, True, []),
    ],
)
def test_a_topic_without_a_confirmed_subscription_is_a_problem_after_two_days(aws, topic, age, confirmed, problems):
    if confirmed:
        aws.confirm_subscriptions()
    assert of_topic(topic, age) == problems


def test_a_confirmed_mail_with_a_filter_reaches_nobody(aws, topic):
    aws.confirm_subscriptions()
    sns = boto3.client("sns")
    [found] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    nothing = {"AttributeName": "FilterPolicy", "AttributeValue": '{"nothing": ["x"]}'}
    sns.set_subscription_attributes(SubscriptionArn=found["SubscriptionArn"], **nothing)
    assert of_topic(topic, CONFIRMATION_SECONDS + 60) == [FILTERED]
    # Another mail without a filter gets everything.
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="second@example.com")
    aws.confirm_subscriptions()
    assert of_topic(topic, CONFIRMATION_SECONDS + 60) == []


def test_a_queue_of_a_caller_does_not_take_the_place_of_the_mail(topic):
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    [mail] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert mail["SubscriptionArn"] == "PendingConfirmation"
    url = sqs.create_queue(QueueName="mine")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    assert of_topic(topic, CONFIRMATION_SECONDS + 60) == [SILENT]


@pytest.mark.parametrize(
    ("seconds", "is_changing", "problem"),
    [
        # CloudFormation completes a change after Lambda.
        (0, False, ""),
        (DEPLOYMENT_SECONDS - 30, False, ""),
        (DEPLOYMENT_SECONDS + 30, False, "the code or configuration of AlertFunction was changed after its deployment"),
        # A sweep can run during a deployment.
        (DEPLOYMENT_SECONDS + 30, True, ""),
    ],
)
def test_a_function_that_changed_after_its_deployment_is_a_problem(aws, seconds, is_changing, problem):
    aws.reset()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): pass")
    role = f"arn:aws:iam::{ACCOUNT_ID}:role/any"
    boto3.client("lambda").create_function(
        FunctionName="a",
        Runtime="python3.13",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": file.getvalue()},
    )
    function = OwnResource("AlertFunction", "AWS::Lambda::Function", "a", time.time() - seconds, is_changing)
    assert [found for _, found in Parts(function).problems()] == [problem] * bool(problem)


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_a_key_of_the_topic_that_cannot_be_used_is_a_problem(aws, state):
    aws.reset()
    kms = boto3.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    parts = Parts(OwnResource("AlarmKey", "AWS::KMS::Key", key, 0))
    assert list(parts.problems()) == []
    if state == "Disabled":
        kms.disable_key(KeyId=key)
    else:
        kms.schedule_key_deletion(KeyId=key)
    assert list(parts.problems()) == [("AlarmKey", f"key AlarmKey is {state}, so alarms and alerts reach nobody")]


def test_an_alarm_that_a_mute_rule_silences_changes_its_state_and_notifies_nobody(aws):
    aws.reset()
    cloudwatch, sns, sqs = boto3.client("cloudwatch"), boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def goes_off(name):
        """The number of messages about an alarm that treats its missing data as a breach."""
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="n",
            MetricName=name,
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
            AlarmActions=[topic],
        )
        cloudwatch.describe_alarms(AlarmNames=[name])
        if name == "muted":
            schedule = {"Schedule": {"Expression": "cron(0 0 * * *)", "Duration": "PT24H"}}
            cloudwatch.put_alarm_mute_rule(Name="quiet", Rule=schedule, MuteTargets={"AlarmNames": [name]})
        cloudwatch.put_metric_data(Namespace="n", MetricData=[{"MetricName": name, "Value": 1}])
        [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        assert alarm["StateValue"] == "ALARM"
        assert alarm["ActionsEnabled"]
        return len(sqs.receive_message(QueueUrl=url).get("Messages", ()))

    assert goes_off("heard") == 1
    assert goes_off("muted") == 0
    parts = [OwnResource(name.title(), "AWS::CloudWatch::Alarm", name, 0) for name in ("heard", "muted")]
    found = dict(Parts(OwnResource("Topic", "AWS::SNS::Topic", topic, 0), *parts).problems())
    assert found == {"Muted": "alarm Muted is muted by the mute rule quiet"}


@pytest.mark.parametrize(
    ("operation", "code", "problems"),
    [
        ("ListAlarmMuteRules", "InvalidAction", []),
        ("ListAlarmMuteRules", "AccessDenied", ["alarms"]),
        ("GetDataProtectionPolicy", "InvalidAction", []),
        ("GetDataProtectionPolicy", "AuthorizationError", []),
    ],
)
def test_a_call_that_the_region_lacks_is_no_problem(aws, topic, operation, code, problems):
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName="a",
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )
    parts = Parts(OwnResource("Topic", "AWS::SNS::Topic", topic, 0), OwnResource("A", "AWS::CloudWatch::Alarm", "a", 0))
    with aws.failing(operation, code, status=400):
        assert [logical for logical, _ in parts.problems()] == problems
