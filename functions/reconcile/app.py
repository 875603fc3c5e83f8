"""ReconcileFunction: messages of the work queue, a role each."""

import os
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.record import logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings
from rolewarden.work import body_of

rolewarden = Rolewarden(Settings.read(os.environ))
rolewarden.aws.prepare()
# A message that failed goes back alone; its batch is done.
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def work(record: SQSRecord) -> dict[str, Any]:
    return rolewarden.handle_message(body_of(record.body))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    rolewarden.seconds_left = lambda: context.get_remaining_time_in_millis() / 1000
    with rolewarden.recorder.together():
        return dict(process_partial_response(event=event, record_handler=work, processor=processor, context=context))
