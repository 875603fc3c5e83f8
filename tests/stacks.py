"""The stack with the names that CloudFormation gives its resources, and the call that deletes each of them."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import yaml
from rolewarden_cli.account import DeployedStack
from rolewarden_local.scenes.template import Template

from tests.conftest import ROOT

ACCOUNT = "111122223333"
MEMBER = "222233334444"
ID = "1f357b5b-3e36-838c-94a4-e671aa807118"
SUFFIX = "1A2B3C4D5E6F"

WORKERS = (
    "EnforceFunction",
    "ReconcileFunction",
    "SweepFunction",
    "PublishFunction",
    "DetachFunction",
    "DrillFunction",
)
"""The functions that read or write IAM."""

LISTENED_TO = frozenset({"DetachFunction", "DrillFunction"})
"""The functions whose own calls the rules select."""

FUNCTIONS = (*WORKERS, "AlertFunction")
"""The functions that every stack has."""

RECEIVERS = {
    "WorkQueue": "ReconcileFunction",
    "SweepQueue": "SweepFunction",
    "DetachQueue": "DetachFunction",
    "PublishQueue": "PublishFunction",
}
"""The function that receives the messages of each queue."""

EVERYTHING = {
    "AlarmEmail": "ops@example.com",
    "OrganizationId": "o-exampleorg1",
    "OrganizationalUnits": "ou-root-canvas000",
    "Regions": "us-east-1,eu-west-1",
    "SecurityHub": "on",
    "Fallback": "boundary",
    "OperatorArn": "arn:aws:iam::111122223333:role/Operator",
}
"""Parameters with which a stack has every resource of the template, except those that KmsKeyArn changes."""


def aliases(text: str) -> list[str]:
    """The YAML anchors and aliases in a template's text. CloudFormation rejects them."""
    tokens = yaml.scan(text, yaml.SafeLoader)
    return [token.value for token in tokens if isinstance(token, yaml.AnchorToken | yaml.AliasToken)]


@cache
def translated(region: str = "us-east-1", **parameters: str) -> Template:
    """template.yaml for ACCOUNT. The tests share this object and must not change it."""
    return Template(ROOT / "template.yaml", region=region, account=ACCOUNT, parameters=parameters)


def whole() -> Template:
    """The template with EVERYTHING."""
    return translated(**EVERYTHING)


def instances(template: Template, name: str) -> dict[str, bool] | None:
    """Whether each Region of a StackSet's stacks has domains."""
    found = template.resources("AWS::CloudFormation::StackSet").get(name)
    if found is None:
        return None
    return {
        region: not group.get("ParameterOverrides")
        for group in found["StackInstancesGroup"]
        for region in group["Regions"]
    }


def forwarder(template: Template, name: str, account: str, region: str, stack: str = "rolewarden") -> Template:
    """forwarder.yaml as a StackSet of `template` deploys it to an account and region. `stack` is the central stack."""
    stack_set = template.resources("AWS::CloudFormation::StackSet")[name]
    given = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack_set["Parameters"]}
    if not (instances(template, name) or {}).get(region, True):
        given["HasDomains"] = "no"
    return _forwarder(region, account, instance(name.lower(), stack), tuple(given.items()))


@cache
def _forwarder(region: str, account: str, stack: str, given: tuple[tuple[str, str], ...]) -> Template:
    return Template(ROOT / "forwarder.yaml", region=region, account=account, parameters=dict(given), stack=stack)


def forwarder_of_whole(account: str, region: str) -> Template:
    """The template that the StackSets of `whole` deploy to another account or region."""
    return forwarder(whole(), "Forwarders" if account == ACCOUNT else "Members", account, region)


def instance(stack_set: str, stack: str = "rolewarden") -> str:
    """The name that StackSets gives a stack. `stack` is the central stack."""
    return f"StackSet-{stack}-{stack_set}-{ID}"


def made(template: Template) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The logical ID, type and properties of every resource of the template."""
    for kind in sorted({resource["Type"] for resource in template.body["Resources"].values()}):
        for logical, properties in template.resources(kind).items():
            yield logical, kind, properties


def deployed(
    template: Template,
    *,
    name: str = "rolewarden",
    region: str = "us-east-1",
    partition: str = "aws",
    physical: Callable[[str], str] | None = None,
) -> DeployedStack:
    """Every resource of the template with the physical ID of a deployment. `physical` has other names."""

    def arn(service: str, resource: str) -> str:
        return f"arn:{partition}:{service}:{region}:{ACCOUNT}:{resource}"

    def physical_id(logical: str, kind: str, properties: Mapping[str, Any]) -> str:
        own = physical(logical) if physical else f"{name}-{logical}-{SUFFIX}"
        return {
            "AWS::CloudFormation::StackSet": f"{name}-{logical.lower()}:{ID}",
            "AWS::Events::EventBus": f"{name}-central",
            "AWS::Events::Rule": f"{name}-central|{own}" if "EventBusName" in properties else own,
            "AWS::KMS::Key": ID,
            "AWS::Lambda::EventSourceMapping": ID,
            "AWS::Lambda::LayerVersion": arn(
                "lambda", f"layer:{logical[:-10]}:3"
            ),  # SAM adds ten characters of a hash.
            "AWS::SNS::Topic": arn("sns", own),
            "AWS::SQS::Queue": f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{properties.get('QueueName', own)}",
        }.get(kind, own)

    resources = tuple(
        (logical, kind, physical_id(logical, kind, properties)) for logical, kind, properties in made(template)
    )
    return DeployedStack(name, arn("cloudformation", f"stack/{name}/{ID}"), resources, template.parameters)


def deploy(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands find the stack, with the tables and queues of `World`, which have their logical IDs."""
    found = deployed(template, physical=lambda logical: logical)
    monkeypatch.setattr("rolewarden_cli.account.OperatorCalls.stack", lambda _, name: found._replace(name=name))


NOT_APART = {
    "AWS::CloudFormation::WaitConditionHandle": "makes nothing; it is for a stack without other resources",
    "AWS::CloudWatch::Dashboard": "shows data that other resources have, and protects nothing",
    "AWS::Events::EventBusPolicy": "goes with RemovePermission on the bus",
    "AWS::IAM::ManagedPolicy": "is the canary's: CloudFormation creates it again, and until then drills find the cut",
    "AWS::IAM::Policy": "is inside the roles that it names",
    "AWS::Lambda::EventInvokeConfig": "is a function's, as are its writes",
    "AWS::Lambda::Permission": "is a function's, as are its writes",
    "AWS::SageMaker::AppImageConfig": "is the canary's: drills in the region find the cut",
    "AWS::SNS::Subscription": "goes with Unsubscribe on the topic; its ARN is known to SNS alone",
    "AWS::SNS::TopicPolicy": "goes with SetTopicAttributes on the topic",
    "AWS::SQS::QueuePolicy": "goes with SetQueueAttributes on the queue",
    "Custom::RolewardenGuardrails": "is no resource but a call in a deployment",
    "Custom::RolewardenDetach": "is no resource but a call in a deployment",
}
"""Types of resources that no call of their own deletes, with the reason."""

CANARY = "CanaryRole"
"""The role that drills change all the time. The judge of drills finds its deletion."""

DELETIONS = {
    "AWS::CloudFormation::StackSet": ("cloudformation:DeleteStackSet", "stackSetName", "stackset/{}"),
    "AWS::CloudWatch::Alarm": ("cloudwatch:DeleteAlarms", "alarmNames", "alarm:{}"),
    "AWS::DynamoDB::Table": ("dynamodb:DeleteTable", "tableName", "table/{}"),
    "AWS::Events::EventBus": ("events:DeleteEventBus", "name", "event-bus/{}"),
    "AWS::Events::Rule": ("events:DeleteRule", "name", "rule/{}"),
    "AWS::IAM::Role": ("iam:DeleteRole", "roleName", "role/rolewarden/{}"),
    "AWS::KMS::Key": ("kms:ScheduleKeyDeletion", "keyId", "key/{}"),
    "AWS::Lambda::EventSourceMapping": ("lambda:DeleteEventSourceMapping", "uuid", "event-source-mapping:{}"),
    "AWS::Lambda::Function": ("lambda:DeleteFunction", "functionName", "function:{}"),
    "AWS::Lambda::LayerVersion": ("lambda:DeleteLayerVersion", "layerName", "layer:{}"),
    "AWS::Logs::LogGroup": ("logs:DeleteLogGroup", "logGroupName", "log-group:{}"),
    "AWS::SNS::Topic": ("sns:DeleteTopic", "topicArn", "{}"),
    "AWS::SQS::Queue": ("sqs:DeleteQueue", "queueUrl", "{}"),
}
"""For each type: the action that deletes it, the parameter with its name, and the resource part of its ARN."""
