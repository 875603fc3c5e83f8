"""SecurityHubFunction: imports findings into AWS Security Hub, and archives them when they are resolved."""

import os
import time
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from rolewarden.aws import Aws
from rolewarden.confirm import confirmed_row
from rolewarden.history import HistoryKey, StoredHistory
from rolewarden.record import logger, metrics
from rolewarden.securityhub import finding
from rolewarden.settings import history, own_account

aws = Aws()
account = own_account(os.environ)
stored = StoredHistory(aws, history(os.environ))


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    row = confirmed_row(event, account, stored, time.time())
    if row is None:
        metrics.add_metric("UnconfirmedEvents", MetricUnit.Count, 1)
        logger.warning("the history has no row of this event")
        return {"imported": None}
    # Security Hub keeps the finding with the later time. A repeated event cannot change the time of the row.
    at = HistoryKey.of(row["at"]).time.isoformat()
    found = finding({**event, "time": at, "region": aws.region}, aws.partition)
    if found is None:
        logger.warning("the event is not a finding")
        return {"imported": None}
    aws.import_finding(found)
    return {"imported": found["Id"]}
