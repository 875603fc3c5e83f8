"""PublishFunction: keeps the guardrail policies in IAM equal to guardrails.yaml.

A deployment (custom resource), an event about a policy, a message of its queue or a schedule invokes it.
"""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden import cloudformation
from rolewarden.aws import Aws
from rolewarden.errors import RetryLater
from rolewarden.events import CLOUDTRAIL
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.publish import Publications
from rolewarden.record import logger, metrics
from rolewarden.runtime import Runtime
from rolewarden.settings import PublishSettings
from rolewarden.work import body_of


@cache
def publications() -> Publications:
    # This does not run at the cold start, so that CloudFormation gets the error message about invalid guardrails.
    settings = PublishSettings.read(os.environ)
    return Publications.of(Runtime(settings), settings)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    account = context.invoked_function_arn.split(":")[4]
    if cloudformation.is_request(event):
        # A Delete request changes nothing here, because DetachFunction handles the deletion of the stack.
        deletes = event["RequestType"] == "Delete"
        own, aws = cloudformation.OwnStack.read(os.environ), Aws()
        unknown: RetryLater | None = None
        try:
            own.verify(event, aws)
            if not deletes:
                own.need_deployment(aws)
        except RetryLater as error:
            unknown = error
        except cloudformation.ForgedRequestError as forged:
            # A scheduled check reports the edited policies that it restores. A deployment would not.
            publications().publisher.recorder.record_forged_request(account, "PublishFunction", str(forged))
            return {**publications().run(account, SCHEDULED_CHECK), "refused": str(forged)}

        def work() -> dict[str, Any]:
            if unknown:
                raise unknown
            if deletes:
                return {}
            return publications().run(account, DEPLOYMENT)

        return cloudformation.answer_request(
            event,
            work,
            seconds_left=context.get_remaining_time_in_millis() / 1000,
        )
    if "Records" in event:
        [record] = event["Records"]
        return publications().handle_message(body_of(record["body"]))
    if event.get("detail-type") == CLOUDTRAIL:
        return publications().handle_event(event)
    return publications().run(account, SCHEDULED_CHECK)
