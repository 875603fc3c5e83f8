"""SweepFunction: evaluates every subject and role.

A schedule, a publication or `rolewarden sweep` starts a sweep. A message of its queue continues one.
"""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.record import logger, metrics
from rolewarden.runtime import Runtime
from rolewarden.settings import SweepSettings
from rolewarden.sweep import Sweeper
from rolewarden.work import body_of

settings = SweepSettings.read(os.environ)
runtime = Runtime(settings)
sweeper = Sweeper.of(runtime, settings)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    runtime.clock.end_with(context.get_remaining_time_in_millis)
    if "Records" in event:
        [record] = event["Records"]
        return sweeper.handle_message(body_of(record["body"]))
    return sweeper.handle_event(event)
