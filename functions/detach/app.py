"""DetachFunction: detaches and deletes surplus guardrails that a sweep found, and handles the stack's deletion."""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden import cloudformation, detach
from rolewarden.aws import Aws
from rolewarden.clock import Clock
from rolewarden.detach import Detacher
from rolewarden.history import History
from rolewarden.record import Recorder, logger, metrics
from rolewarden.runtime import Runtime
from rolewarden.settings import DetachSettings, history
from rolewarden.work import body_of

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@cache
def detacher() -> Detacher:
    # This does not run at the cold start, so that CloudFormation can create and delete a stack with invalid guardrails.
    settings = DetachSettings.read(os.environ)
    return Detacher.of(Runtime(settings), settings)


def work(record: SQSRecord) -> dict[str, Any]:
    return detacher().handle_message(body_of(record.body))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if not cloudformation.is_request(event):
        with detacher().recorder.together():
            return dict(
                process_partial_response(event=event, record_handler=work, processor=processor, context=context)
            )

    clock = Clock()
    clock.end_with(context.get_remaining_time_in_millis)
    aws, account = Aws(), context.invoked_function_arn.split(":")[4]
    own = cloudformation.OwnStack.read(os.environ)
    # The recorder does not read the guardrails, so that a stack with invalid guardrails has a history, too.
    recorder = Recorder(History(aws, history(os.environ)))

    def work_off() -> dict[str, Any]:
        try:
            return detach.stack(aws, account, event["RequestType"], own=own, recorder=recorder, clock=clock)
        except cloudformation.ForgedRequestError as forged:
            recorder.record_forged_request(account, "DetachFunction", str(forged))
            raise

    try:
        own.verify(event, aws)
    except cloudformation.ForgedRequestError as forged:
        # The request gets no answer, because the caller may have chosen the address of the answer.
        recorder.record_forged_request(account, "DetachFunction", str(forged))
        return {"refused": str(forged)}
    return cloudformation.answer_request(event, work_off, seconds_left=clock.seconds_left(), try_again=True)
