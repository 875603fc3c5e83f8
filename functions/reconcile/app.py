"""ReconcileFunction: evaluates the roles in the work queue, one role for each message."""

import os
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.enforce import Enforcer
from rolewarden.record import logger, metrics
from rolewarden.runtime import Runtime
from rolewarden.settings import EnforceSettings
from rolewarden.work import body_of

settings = EnforceSettings.read(os.environ)
runtime = Runtime(settings)
runtime.aws.prepare()
enforcer = Enforcer.of(runtime, settings)
# Only a failed message returns to the queue, and not its batch.
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def work(record: SQSRecord) -> dict[str, Any]:
    return enforcer.handle_message(body_of(record.body))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    runtime.clock.end_with(context.get_remaining_time_in_millis)
    with enforcer.recorder.together():
        return dict(process_partial_response(event=event, record_handler=work, processor=processor, context=context))
