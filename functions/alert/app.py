"""AlertFunction: sends alerts about findings, and about changes to Rolewarden itself, to the alarm topic."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.alert import compose
from rolewarden.aws import Aws
from rolewarden.own_operations import OwnOperations
from rolewarden.record import logger
from rolewarden.settings import alarm_topic, own_operations, queues_of_mappings
from rolewarden.stacks import StackReader

aws = Aws()
topic = alarm_topic(os.environ)
queues = queues_of_mappings(os.environ)
operations = OwnOperations(StackReader(aws), *own_operations(os.environ))


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    alert = compose(event, aws.partition, queues)
    if operations.caused(event):
        logger.info("no alert: an operation of Rolewarden's own stack or StackSets", extra={"subject": alert.headline})
        return {"alert": ""}
    aws.notify(topic, alert.headline, alert.body)
    logger.info("alert", extra={"subject": alert.headline})
    return {"alert": alert.headline}
