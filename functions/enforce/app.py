"""EnforceFunction: evaluates the roles that a CloudTrail event about a domain, a user profile or a role concerns."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.enforce import Enforcer
from rolewarden.record import logger, metrics
from rolewarden.runtime import Runtime
from rolewarden.settings import EnforceSettings

settings = EnforceSettings.read(os.environ)
runtime = Runtime(settings)
runtime.aws.prepare()
enforcer = Enforcer.of(runtime, settings)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    runtime.clock.end_with(context.get_remaining_time_in_millis)
    return enforcer.handle_event(event)
