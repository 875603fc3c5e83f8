"""`rolewarden` on the account that a test has in this process."""

import json
import os
from typing import Any
from unittest import mock

from rolewarden_cli.main import app
from typer.testing import CliRunner, Result


def rolewarden(*arguments: str, answer: str | None = None) -> Result:
    """What the command prints and exits with; `answer` is what somebody types."""
    # Where an endpoint is named `--local` makes no account of its own, and no call leaves this process.
    with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://in-process", "COLUMNS": "80"}):
        return CliRunner().invoke(app, [*arguments, "--local"], input=answer)


def told(*arguments: str, exit_code: int = 0) -> Any:
    """What the command says as JSON."""
    result = rolewarden(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)
