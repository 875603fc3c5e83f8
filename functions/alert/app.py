"""AlertFunction: sends alerts about findings, and about changes to Rolewarden itself, to the alarm topic."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.alerting import Alerter
from rolewarden.aws import Aws
from rolewarden.own_operations import OwnOperations
from rolewarden.record import logger, metrics
from rolewarden.settings import AlertSettings, own_operations
from rolewarden.stacks import StackReader

settings = AlertSettings.read(os.environ)
aws = Aws(account=settings.account, member_role=settings.member_role)
operations = OwnOperations(StackReader(aws), *own_operations(os.environ))
alerter = Alerter.of(aws, settings, operations)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return alerter.handle(event)
