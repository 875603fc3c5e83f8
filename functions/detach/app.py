"""DetachFunction: what the sweep says may be taken off a role or deleted; and the stack's deletion."""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden import cloudformation, detach
from rolewarden.aws import Aws
from rolewarden.history import History
from rolewarden.record import Recorder, logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings, history
from rolewarden.work import body_of

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@cache
def rolewarden() -> Rolewarden:
    # Not at the cold start: a stack whose guardrails cannot be used is to be made, and deleted, all the same.
    return Rolewarden(Settings.read(os.environ))


def work(record: SQSRecord) -> dict[str, Any]:
    return rolewarden().detacher.handle_message(body_of(record.body))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if not cloudformation.is_request(event):
        with rolewarden().recorder.together():
            return dict(
                process_partial_response(event=event, record_handler=work, processor=processor, context=context)
            )

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    aws, account = Aws(), context.invoked_function_arn.split(":")[4]
    own = cloudformation.OwnStack.read(os.environ)
    # Without the guardrails: a stack whose rules cannot be used writes its history, too.
    recorder = Recorder(History(aws, history(os.environ)))

    def work_off() -> dict[str, Any]:
        try:
            return detach.stack(
                aws, account, event["RequestType"], own=own, recorder=recorder, seconds_left=seconds_left
            )
        except cloudformation.ForgedRequestError as forged:
            recorder.record_forged_request(account, "DetachFunction", str(forged))
            raise

    try:
        own.verify(event, aws)
    except cloudformation.ForgedRequestError as forged:
        # It is not answered: the answer would go to an address of the caller's choice.
        recorder.record_forged_request(account, "DetachFunction", str(forged))
        return {"refused": str(forged)}
    return cloudformation.answer_request(event, work_off, seconds_left=seconds_left(), try_again=True)
