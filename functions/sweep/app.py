"""SweepFunction: on a schedule, after a publication, by hand, or going on from a message of its queue."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.record import logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings
from rolewarden.work import body_of

rolewarden = Rolewarden(Settings.read(os.environ))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    sweeper = rolewarden.sweeper
    sweeper.seconds_left = lambda: context.get_remaining_time_in_millis() / 1000
    if "Records" in event:
        [record] = event["Records"]
        return sweeper.handle_message(body_of(record["body"]))
    return rolewarden.sweep(event)
