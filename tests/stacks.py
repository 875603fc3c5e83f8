"""The stack as CloudFormation would tell of it, with names as it gives them."""

from collections.abc import Callable

from rolewarden.aws import DeployedStack
from rolewarden_local.template import Template

ACCOUNT = "111122223333"
ID = "1f357b5b-3e36-838c-94a4-e671aa807118"
SUFFIX = "1A2B3C4D5E6F"


def deployed(
    template: Template,
    *,
    name: str = "rolewarden",
    region: str = "us-east-1",
    partition: str = "aws",
    physical: Callable[[str], str] | None = None,
) -> DeployedStack:
    """Every resource of the template with the physical id that it would have; `physical` gives other names."""

    def arn(service, resource):
        return f"arn:{partition}:{service}:{region}:{ACCOUNT}:{resource}"

    def physical_id(logical, kind):
        own = physical(logical) if physical else f"{name}-{logical}-{SUFFIX}"
        return {
            "AWS::KMS::Key": ID,
            "AWS::Lambda::EventSourceMapping": ID,
            "AWS::Lambda::LayerVersion": arn("lambda", f"layer:{logical[:-10]}:3"),  # SAM adds ten characters of a hash
            "AWS::SNS::Topic": arn("sns", own),
            "AWS::SQS::Queue": f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{own}",
        }.get(kind, own)

    resources = tuple(
        (logical, resource["Type"], physical_id(logical, resource["Type"]))
        for logical, resource in template.body["Resources"].items()
    )
    return DeployedStack(name, arn("cloudformation", f"stack/{name}/{ID}"), resources)
