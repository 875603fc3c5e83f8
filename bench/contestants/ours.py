"""Rolewarden: its handlers, called as Lambda does, one after the other. Arguments: the functions to load."""

import time

START = time.monotonic()

import importlib.util  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


def load(name: str) -> Callable[..., Any]:
    """Import the handler of a function as Lambda does."""
    spec = importlib.util.spec_from_file_location(f"{name}_app", FUNCTIONS / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[..., Any] = module.handler
    return handler


from rolewarden.rotation import Rotation  # noqa: E402

# Which unchanged subjects are due depends on the time of day. The part "rotation" measures them.
Rotation.is_due = lambda *_: False  # type: ignore[method-assign]
HANDLERS = {name: load(name) for name in sys.argv[1:]}

from talk import CONTEXT, listen  # noqa: E402


def handle(order: dict[str, Any]) -> None:
    """Pass one event to a function. If the order does not name a function, it is the one that was loaded first."""
    HANDLERS[order.get("function", sys.argv[1])](order["event"], CONTEXT)


listen(START, handle)
