"""The command `rolewarden` on the account of a test in this process."""

import json
import os
import signal
from typing import Any
from unittest import mock

import pytest
from rolewarden.aws import Aws
from rolewarden_cli.main import app
from typer.testing import CliRunner, Result

COLUMNS = "80"
"""The width of the terminal."""


def rolewarden(*arguments: str, answer: str | None = None) -> Result:
    """Run a command, and return its output and exit code. `answer` is the user's input."""
    # With an endpoint in the environment, `--local` uses the account of this process, and no call leaves it.
    with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://in-process", "COLUMNS": COLUMNS}):
        return CliRunner().invoke(app, [*arguments, "--local"], input=answer)


def press_ctrl_c_at_detachments(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Press Ctrl-C at the beginning of each detachment. Gives the list of the roles, which grows with each of them."""
    detached: list[str] = []
    detach = Aws.detach

    def press(self: Aws, role: str, *arguments: Any, **more: Any) -> bool:
        detached.append(role)
        signal.raise_signal(signal.SIGINT)
        return detach(self, role, *arguments, **more)

    monkeypatch.setattr(Aws, "detach", press)
    return detached


def json_answer(*arguments: str, exit_code: int = 0) -> Any:
    """Run a command with `--json`, and return its answer."""
    result = rolewarden(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)
