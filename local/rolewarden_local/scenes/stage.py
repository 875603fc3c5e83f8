"""A seeded account in the state before the first sweep, without a deployment.

The stage makes the stack's resources under their logical IDs, publishes the guardrails, and binds every subject. No
role has a guardrail attached yet. `rolewarden replay` and `sam local invoke` start with this account.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from rolewarden.aws import Aws
from rolewarden.guardrails import Fallback
from rolewarden.origin import DEPLOYMENT
from rolewarden.publish import Publications
from rolewarden.runtime import Runtime
from rolewarden.settings import PublishSettings, SweepSettings
from rolewarden.sweep import Sweeper
from rolewarden.sweep_messages import Sweep

from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.scenes.seed import seed
from rolewarden_local.scenes.template import Template

_TABLE = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")


@dataclass(frozen=True)
class StagedAccount:
    """The local AWS with the stage of a template. `environment` has the variables of the template's functions."""

    aws: LocalAws
    template: Template
    environment: Mapping[str, str]
    account: str = ACCOUNT_ID
    region: str = REGION


@contextmanager
def staged_account(root: Path) -> Iterator[StagedAccount]:
    """Reset the local AWS of this process, seed it, and make the stage of the project in `root`.

    Every boto3 client of this process calls it while the block runs.
    """
    template = Template(root / "template.yaml", region=REGION, account=ACCOUNT_ID)
    aws = LocalAws.start()
    with aws.connected():
        aws.reset()
        seed(aws)
        session = boto3.Session("test", "test", region_name=REGION)
        guardrails = root / "layers" / "guardrails" / "guardrails.yaml"
        environment = stage(template, Aws(session), account=ACCOUNT_ID, guardrails=guardrails)
        here = {"AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
        yield StagedAccount(aws, template, {**environment, **here})


def _make_canary(template: Template, region: str) -> None:
    """Make the canary of drills in the account and region."""
    iam, sagemaker = boto3.client("iam", region_name=region), boto3.client("sagemaker", region_name=region)
    arns = {}
    for name, policy in template.resources("AWS::IAM::ManagedPolicy").items():
        document = json.dumps(policy["PolicyDocument"])
        made = iam.create_policy(
            PolicyName=policy["ManagedPolicyName"],
            Path=policy["Path"],
            PolicyDocument=document,
            Description=policy["Description"],
        )
        arns[name] = made["Policy"]["Arn"]
    role = template.resources("AWS::IAM::Role")["CanaryRole"]
    trust = json.dumps(role["AssumeRolePolicyDocument"])
    iam.create_role(RoleName=role["RoleName"], Path=role["Path"], AssumeRolePolicyDocument=trust, Tags=role["Tags"])
    for arn in arns.values():
        iam.attach_role_policy(RoleName=role["RoleName"], PolicyArn=arn)
    for config in template.resources("AWS::SageMaker::AppImageConfig").values():
        sagemaker.create_app_image_config(AppImageConfigName=config["AppImageConfigName"], Tags=config["Tags"])


def stage(template: Template, aws: Aws, *, account: str, guardrails: Path) -> Mapping[str, str]:
    """Make the stage in the region of `aws`, and return the environment variables of the template's functions."""
    dynamodb = boto3.client("dynamodb", region_name=aws.region)
    sqs = boto3.client("sqs", region_name=aws.region)
    for name, table in template.resources("AWS::DynamoDB::Table").items():
        made = dynamodb.create_table(TableName=name, **{key: value for key, value in table.items() if key in _TABLE})
        policy = json.dumps(table["ResourcePolicy"]["PolicyDocument"])
        dynamodb.put_resource_policy(ResourceArn=made["TableDescription"]["TableArn"], Policy=policy)
    sns = boto3.client("sns", region_name=aws.region)
    for name in template.resources("AWS::SNS::Topic"):
        sns.create_topic(Name=name)
    _make_canary(template, aws.region)
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in template.resources("AWS::SQS::Queue")}
    environment: dict[str, str] = {}
    for function in template.resources("AWS::Lambda::Function"):
        environment |= template.environment(function)
    environment |= {name: urls[value] for name, value in environment.items() if name.endswith("_QUEUE_URL")}
    environment |= {"GUARDRAILS_FILE": str(guardrails), "FALLBACK": Fallback.BOUNDARY.value}
    publish, sweep = PublishSettings.read(environment), SweepSettings.read(environment)
    runtime = Runtime(publish, aws)
    Publications.of(runtime, publish).run(account, DEPLOYMENT)
    Sweeper.of(runtime, sweep).bind(Sweep(account, runtime.clock.now()), aws.region)
    return environment
