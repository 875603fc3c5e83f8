"""SweepFunction: on a schedule, after a publication, or by hand."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.record import logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings

rolewarden = Rolewarden(Settings.read(os.environ))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    account = context.invoked_function_arn.split(":")[4]
    return rolewarden.sweep(account, rolewarden.aws.region)
