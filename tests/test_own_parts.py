"""The sweep reports a topic that reaches nobody, but not while a new subscription waits for its confirmation."""

import time

import boto3
import pytest
from rolewarden.aws import Aws
from rolewarden.clock import Clock
from rolewarden.own_parts import CONFIRMATION_SECONDS, OwnParts, OwnResource
from rolewarden_local.aws import ACCOUNT_ID

SILENT = ("AlarmTopic", "AlarmTopic has no confirmed subscription, so alarms and alerts have no receiver")


class Parts(OwnParts):
    """The parts of a stack that has only a topic and its subscription."""

    def __init__(self, topic, subscribed):
        super().__init__(Aws(), ACCOUNT_ID, "rolewarden", "", Clock())
        self.topic, self.subscribed = topic, subscribed

    def resources(self):
        return [
            OwnResource("AlarmTopic", "AWS::SNS::Topic", self.topic, self.subscribed),
            OwnResource("AlarmSubscription", "AWS::SNS::Subscription", "pending", self.subscribed),
        ]


@pytest.mark.parametrize(
    ("age", "confirmed", "problems"),
    [
        (60, False, []),
        (CONFIRMATION_SECONDS - 60, False, []),
        (CONFIRMATION_SECONDS + 60, False, [SILENT]),
        (CONFIRMATION_SECONDS + 60, True, []),
    ],
)
def test_a_topic_without_a_confirmed_subscription_is_a_problem_after_two_days(aws, age, confirmed, problems):
    aws.reset()
    sns = boto3.client("sns")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    if confirmed:
        aws.confirm_subscriptions()
    assert list(Parts(topic, time.time() - age).problems()) == problems
