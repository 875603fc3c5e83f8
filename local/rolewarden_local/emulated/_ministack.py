"""The modules of MiniStack that the local AWS uses, imported with its settings.

MiniStack reads its settings when it is imported and keeps its state in module globals, so a process has one local AWS.
No other module imports MiniStack.
"""

import importlib
import logging
import os
from typing import Any, Final

from rolewarden_local.emulated.patches import environment_variables

ACCOUNT_ID: Final = "111122223333"
REGION: Final = "us-east-1"

_SETTINGS: Final = {
    "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
    "MINISTACK_REGION": REGION,
    "MINISTACK_AUTOCREATE_AWS_MANAGED": "1",  # MiniStack has few of AWS's managed policies.
    "LAMBDA_EXECUTOR": "local",  # Functions run as Python subprocesses and never in Docker.
    "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2",  # AWS waits a minute before it retries a failed function.
    "IOT_MTLS_ENABLED": "0",
    "SFTP_ENABLED": "0",
}


def _import(module: str) -> Any:
    """Import a MiniStack module without log output, and restore the root logger.

    LOG_LEVEL is set only during the import, because functions inherit the environment and Powertools reads LOG_LEVEL.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with environment_variables({"LOG_LEVEL": "WARNING"}):
        loaded = importlib.import_module(f"ministack.{module}")
    root.handlers[:] = handlers
    root.setLevel(level)
    return loaded


# After it translates a SAM template, this logger warns about metrics that no code collects.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

app: Final = _import("app")
evaluator: Final = _import("core.iam_evaluator")
iam_actions: Final = _import("core.iam_actions")
lambda_runtime: Final = _import("core.lambda_runtime")
responses: Final = _import("core.responses")
router: Final = _import("core.router")
cfn_changesets: Final = _import("services.cloudformation.changesets")
cfn_engine: Final = _import("services.cloudformation.engine")
cfn_handlers: Final = _import("services.cloudformation.handlers")
cfn_helpers: Final = _import("services.cloudformation.helpers")
cfn_stacks: Final = _import("services.cloudformation.stacks")
cloudformation: Final = _import("services.cloudformation")
cloudtrail: Final = _import("services.cloudtrail")
cloudwatch: Final = _import("services.cloudwatch")
custom_resource: Final = _import("services.cloudformation.custom_resource")
dynamodb: Final = _import("services.dynamodb")
ec2: Final = _import("services.ec2")
eventbridge: Final = _import("services.eventbridge")
iam: Final = _import("services.iam")
lambda_svc: Final = _import("services.lambda_svc")
organizations: Final = _import("services.organizations")
provisioners: Final = _import("services.cloudformation.provisioners")
sns: Final = _import("services.sns")
sqs: Final = _import("services.sqs")
sts: Final = _import("services.sts")
tagging: Final = _import("services.tagging")
