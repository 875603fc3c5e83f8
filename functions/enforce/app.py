"""EnforceFunction: a CloudTrail event about a domain, a user profile or a role."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.record import logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings

rolewarden = Rolewarden(Settings.read(os.environ))
rolewarden.aws.prepare()


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    rolewarden.seconds_left = lambda: context.get_remaining_time_in_millis() / 1000
    return rolewarden.enforce(event)
