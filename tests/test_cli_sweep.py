"""`rolewarden sweep` asks the deployed stack, and says so in one line."""

import json

import boto3
from rolewarden_cli.main import app
from typer.testing import CliRunner


def test_a_sweep_is_asked_for_on_the_bus_that_both_functions_listen_to(world, template):
    listening = [rule.function for rule in template.rules() if "Sweep Requested" in rule.pattern.get("detail-type", ())]
    assert sorted(listening) == ["PublishFunction", "SweepFunction"]
    [pattern] = {
        json.dumps(rule.pattern) for rule in template.rules()
        if rule.pattern.get("detail-type") == ["Sweep Requested"]
    }  # fmt: skip
    url = world.sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = boto3.client("events")
    events.put_rule(Name="asked", EventPattern=pattern)
    events.put_targets(Rule="asked", Targets=[{"Id": "1", "Arn": arn}])
    result = CliRunner().invoke(app, ["sweep", "--region", "us-east-1"])
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert result.stdout.startswith("asked for a sweep in us-east-1")
    [message] = world.sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"])["detail-type"] == "Sweep Requested"


def test_a_request_that_aws_does_not_take_is_an_error_with_its_reason(world):
    with world.aws.failing("PutEvents", "AccessDeniedException", "not allowed to PutEvents"):
        result = CliRunner().invoke(app, ["sweep", "--region", "us-east-1"])
    assert "not allowed to PutEvents" in str(result.exception)
