"""A few resources of a deployed stack in the local AWS, in good order, for `rolewarden doctor`."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import boto3
from rolewarden_cli import options
from rolewarden_cli.account import DeployedStack, OperatorCalls
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import TODAY
from tests.stacks import ID

DEAD_LETTERS = ("WorkDeadLetterQueue", "EventsDeadLetterQueue", "InvocationsDeadLetterQueue")
ALARMS = ("HeartbeatAlarm", "SweepErrorsAlarm")
BUS = "rolewarden-central"


class Clinic:
    """The stack, with the resources that the checks read. `SweepFunction` answers as the sweeper of `world`."""

    def __init__(self, world: Any, monkeypatch: Any) -> None:
        self.world, self.aws = world, world.aws
        self.parameters = {"Concurrency": "5", "StackSetsCallAs": "DELEGATED_ADMIN"}
        self.stack_sets: dict[str, str] = {}
        self.topic = boto3.client("sns").create_topic(Name="AlarmTopic")["TopicArn"]
        boto3.client("sns").subscribe(TopicArn=self.topic, Protocol="email", Endpoint="oncall@example.com")
        self.aws.confirm_subscriptions()
        for name in ALARMS:
            self.put_alarm(name)
        self.put_rules()
        self.function, self.mapping = self.make_function()
        monkeypatch.setattr(options, "utc_today", lambda: TODAY)
        monkeypatch.setattr(OperatorCalls, "stack", lambda *_: self.stack)
        monkeypatch.setattr(OperatorCalls, "run", lambda _, __, event: world.sweeper.handle_event(event))

    @property
    def options(self) -> list[str]:
        """The options that name the deployed rules."""
        return ["--guardrails", self.world.environment["GUARDRAILS_FILE"]]

    @property
    def stack(self) -> DeployedStack:
        """The stack as CloudFormation describes it."""
        queues = [(name, "AWS::SQS::Queue", self.queue(name)) for name in (*DEAD_LETTERS, "WorkQueue")]
        resources = (
            *queues,
            *((name, "AWS::CloudWatch::Alarm", name) for name in ALARMS),
            ("AlarmTopic", "AWS::SNS::Topic", self.topic),
            ("Subjects", "AWS::Events::Rule", "Subjects"),
            ("CentralSubjects", "AWS::Events::Rule", f"{BUS}|CentralSubjects"),
            ("SweepMessages", "AWS::Lambda::EventSourceMapping", self.mapping),
            ("SweepFunction", "AWS::Lambda::Function", self.function),
            *((logical, "AWS::CloudFormation::StackSet", name) for logical, name in self.stack_sets.items()),
        )
        arn = f"arn:aws:cloudformation:us-east-1:{ACCOUNT_ID}:stack/rolewarden/{ID}"
        return DeployedStack("rolewarden", arn, resources, self.parameters)

    def queue(self, name: str) -> str:
        """The URL of a queue."""
        return boto3.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]

    def put_alarm(self, name: str, **more: Any) -> None:
        """Create or change an alarm."""
        boto3.client("cloudwatch").put_metric_alarm(
            **{
                "AlarmName": name,
                "Namespace": "Rolewarden",
                "MetricName": "Heartbeat",
                "Statistic": "Sum",
                "Period": 3600,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "LessThanThreshold",
                "AlarmActions": [self.topic],
                **more,
            }
        )

    def put_rules(self) -> None:
        """Create a rule on the default bus, and one on the central bus."""
        events = boto3.client("events")
        events.put_rule(Name="Subjects", EventPattern='{"source": ["aws.sagemaker"]}')
        events.create_event_bus(Name=BUS)
        events.put_rule(Name="CentralSubjects", EventBusName=BUS, EventPattern='{"source": ["aws.sagemaker"]}')

    def make_function(self, name: str = "SweepFunction") -> tuple[str, str]:
        """Create a function with a queue that stays empty; gives its name and the ID of its mapping."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("app.py", "def handler(event, context): pass")
        functions, sqs = boto3.client("lambda"), boto3.client("sqs")
        functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=f"arn:aws:iam::{ACCOUNT_ID}:role/{name}Role",
            Handler="app.handler",
            Code={"ZipFile": file.getvalue()},
        )
        url = sqs.create_queue(QueueName=f"idle-{name}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        mapping = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)
        return name, mapping["UUID"]
