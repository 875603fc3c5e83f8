"""A seeded account as it is just before the first sweep, without deploying anything.

What the stack would own is made by its logical ids, the guardrails are published and every subject is bound; no role
carries a guardrail yet. `rolewarden replay` and `sam local invoke` start from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import boto3
from rolewarden.aws import Aws
from rolewarden.origin import DEPLOYMENT
from rolewarden.publish import Publications
from rolewarden.runtime import Runtime
from rolewarden.settings import PublishSettings, SweepSettings
from rolewarden.sweep import Sweep, Sweeper

from rolewarden_local.scenes.template import Template

_TABLE = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")


def stage(template: Template, aws: Aws, *, account: str, guardrails: Path) -> Mapping[str, str]:
    """Make the stage, in the region of `aws`; gives the environment in which the template's functions work on it."""
    dynamodb = boto3.client("dynamodb", region_name=aws.region)
    sqs = boto3.client("sqs", region_name=aws.region)
    for name, table in template.resources("AWS::DynamoDB::Table").items():
        dynamodb.create_table(TableName=name, **{key: value for key, value in table.items() if key in _TABLE})
    sns = boto3.client("sns", region_name=aws.region)
    for name in template.resources("AWS::SNS::Topic"):
        sns.create_topic(Name=name)
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in template.resources("AWS::SQS::Queue")}
    environment: dict[str, str] = {}
    for function in template.resources("AWS::Lambda::Function"):
        environment |= template.environment(function)
    environment |= {name: urls[value] for name, value in environment.items() if name.endswith("_QUEUE_URL")}
    environment["GUARDRAILS_FILE"] = str(guardrails)
    publish, sweep = PublishSettings.read(environment), SweepSettings.read(environment)
    runtime = Runtime(publish, aws)
    Publications.of(runtime, publish).run(account, DEPLOYMENT)
    Sweeper.of(runtime, sweep).bind(Sweep(account, runtime.clock.now()), aws.region)
    return environment
