"""PublishFunction: a deployment (custom resource), an event about a policy, a message of its queue, or the clock."""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden import cloudformation
from rolewarden.events import CHECK, CLOUDTRAIL, DEPLOYMENT
from rolewarden.record import logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings
from rolewarden.work import body_of


@cache
def rolewarden() -> Rolewarden:
    # Not at the cold start: CloudFormation is to hear of guardrails that cannot be used.
    return Rolewarden(Settings.read(os.environ))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    account = context.invoked_function_arn.split(":")[4]
    if cloudformation.is_request(event):
        # On delete nothing is done: the policies stay where they are attached, see ReleaseFunction.
        deletes = event["RequestType"] == "Delete"
        return cloudformation.answered(
            event,
            lambda: {} if deletes else rolewarden().publish(account, DEPLOYMENT),
            seconds_left=context.get_remaining_time_in_millis() / 1000,
        )
    if "Records" in event:
        [record] = event["Records"]
        return rolewarden().publish_message(body_of(record["body"]))
    if event.get("detail-type") == CLOUDTRAIL:
        return rolewarden().restore(event)
    return rolewarden().publish(account, CHECK)
