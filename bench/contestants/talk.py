"""A contestant's side of the talk with the bench: a JSON line says what to do, a JSON line back how it went."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ARN = "arn:aws:lambda:us-east-1:111122223333:function:contestant"

CONTEXT = SimpleNamespace(
    function_name="contestant",
    function_version="$LATEST",
    invoked_function_arn=ARN,
    memory_limit_in_mb=256,
    aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
    get_remaining_time_in_millis=lambda: 120_000,
)
"""What Lambda hands to a handler beside the event."""


def listen(start: float, handle: Callable[[dict[str, Any]], object]) -> None:
    """Say that all is ready, `start` being when the program began, then handle one order after the other.

    What anybody else prints, in Lambda it would go to the log, goes to the file LOG_TO, or nowhere without one.
    """
    ready = time.monotonic()
    heard = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.environ.get("LOG_TO", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT), 1)

    def say(**words: Any) -> None:
        print(json.dumps(words), file=heard, flush=True)

    say(ready=ready - start, cpu=time.process_time())
    for line in sys.stdin:
        order = json.loads(line)
        began = time.monotonic()
        handle(order)
        sys.stdout.flush()
        say(began=began, ended=time.monotonic(), peak=_peak())


def _peak() -> float:
    """The most memory that this program has had, in MB; 0 where the system does not say (only Linux does).

    Not ru_maxrss, which starts at what the parent had.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0
