"""The command `rolewarden` on the account of a test in this process."""

import json
import os
from typing import Any
from unittest import mock

from rolewarden_cli.main import app
from typer.testing import CliRunner, Result

COLUMNS = "80"
"""The width of the terminal."""


def rolewarden(*arguments: str, answer: str | None = None) -> Result:
    """Run a command, and return its output and exit code. `answer` is the user's input."""
    # With an endpoint in the environment, `--local` uses the account of this process, and no call leaves it.
    with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://in-process", "COLUMNS": COLUMNS}):
        return CliRunner().invoke(app, [*arguments, "--local"], input=answer)


def json_answer(*arguments: str, exit_code: int = 0) -> Any:
    """Run a command with `--json`, and return its answer."""
    result = rolewarden(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)
