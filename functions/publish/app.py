"""PublishFunction: a deployment (CloudFormation custom resource), or an event about one of Rolewarden's policies."""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden import cloudformation
from rolewarden.events import Cause
from rolewarden.record import logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings


@cache
def rolewarden() -> Rolewarden:
    # Not at the cold start: CloudFormation is to hear of guardrails that cannot be used.
    return Rolewarden(Settings.read(os.environ))


def publish(event: dict[str, Any], account: str) -> dict[str, Any]:
    if "detail-type" in event:
        return rolewarden().restore(event)
    return rolewarden().publish(account, Cause(event_name="Deployment"))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    account = context.invoked_function_arn.split(":")[4]
    if cloudformation.is_request(event):
        return cloudformation.answered(event, lambda: publish(event, account))
    return publish(event, account)
