"""A contestant's side of the protocol with the bench: each order is a JSON line, and so is each result."""

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
"""The context that Lambda passes to a handler."""


def listen(start: float, handle: Callable[[dict[str, Any]], object]) -> None:
    """Report that the program is ready, then handle one order after the other. `start` is the program's start time.

    Other output, which in Lambda would go to the log, goes to the file LOG_TO. Without LOG_TO it is discarded.
    """
    ready = time.monotonic()
    heard = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.environ.get("LOG_TO", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT), 1)

    def say(**words: Any) -> None:
        print(json.dumps(words), file=heard, flush=True)

    say(ready=ready - start, cpu=time.process_time())
    for line in sys.stdin:
        order = json.loads(line)
        began, cpu = time.monotonic(), time.process_time()
        handle(order)
        sys.stdout.flush()
        say(began=began, ended=time.monotonic(), cpu=time.process_time() - cpu, peak=_peak())


def _peak() -> float:
    """The peak memory of this program in MB. 0 if the system does not report it (only Linux does).

    This function does not use ru_maxrss, because its value starts with the parent's.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0
