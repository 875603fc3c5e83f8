"""DrillFunction: sends pulses and full drills, which show whether events arrive and are acted on."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.aws import Aws
from rolewarden.clock import Clock
from rolewarden.driller import Driller
from rolewarden.record import logger, metrics
from rolewarden.settings import DrillSettings

settings = DrillSettings.read(os.environ)
clock = Clock()
aws = Aws(account=settings.account, member_role=settings.member_role, clock=clock)
driller = Driller.of(aws, settings, clock)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    clock.end_with(context.get_remaining_time_in_millis)
    return driller.handle(event)
