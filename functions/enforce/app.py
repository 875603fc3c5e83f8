"""EnforceFunction: a CloudTrail event about a domain, a user profile or a role."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.record import logger, metrics
from rolewarden.service import Rolewarden
from rolewarden.settings import Settings

rolewarden = Rolewarden(Settings.read(os.environ))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return rolewarden.enforce(event)
