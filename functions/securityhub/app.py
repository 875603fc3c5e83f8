"""SecurityHubFunction: imports findings into AWS Security Hub, and archives them when they are resolved."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.aws import Aws
from rolewarden.record import logger
from rolewarden.securityhub import finding

aws = Aws()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    found = finding(event, aws.partition)
    if found is None:
        logger.warning("the event is not a finding")
        return {"imported": None}
    aws.import_finding(found)
    return {"imported": found["Id"]}
