"""The number of modules that a reader opens to follow one path through the code.

A module counts if it can reach AWS: it imports `rolewarden.calls` or `rolewarden.aws`, directly or through others.
Modules of values and pure functions, such as `rolewarden.names`, do not count, because their names explain them.
"""

import ast
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from rolewarden import sweep

from tests.commands import json_answer

PACKAGES = ("rolewarden.", "rolewarden_cli.")


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the product that a module imports, also inside its functions."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return frozenset()
    found = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return frozenset(name for name in found if name.startswith(PACKAGES) and _is_module(name))


@cache
def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def reaches_aws(module: str) -> bool:
    """Whether a module imports the calls to AWS, directly or through others."""
    seen: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name in {"rolewarden.calls", "rolewarden.aws"}:
            return True
        seen.add(name)
        left += imports(name) - seen
    return False


def entered(do: Callable[[], object], until: str = "") -> list[str]:
    """The counted modules whose functions run while `do` runs, up to the first call of the method `until`."""
    found: dict[str, None] = {}
    ended = False

    def note(frame, event, _):
        nonlocal ended
        module = frame.f_globals.get("__name__", "")
        if event == "call" and not ended and module.startswith(PACKAGES):
            found[module] = None
            ended = bool(until) and f"{module}.{frame.f_code.co_name}" == until

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(before)
    assert ended or not until
    return [module for module in found if reaches_aws(module)]


def test_an_event_passes_through_at_most_six_modules_before_the_attachment(world):
    world.protected()
    event = world.detach("CanvasOmar", "no-generative-ai")
    found = entered(lambda: world.enforcer.handle_event(event), until="rolewarden.aws.attach")
    assert found[0] == "rolewarden.enforce"
    assert len(found) <= 6, found


def test_a_sweep_message_passes_through_at_most_eleven_modules(world, monkeypatch):
    monkeypatch.setattr(sweep, "CHUNK", 1)
    world.bindings.write((), [binding.key for binding in world.bindings.all()])
    world.sweeper.start()
    steps = set()
    while bodies := world.queued("SWEEP_QUEUE_URL"):
        for body in bodies:
            found = entered(partial(world.sweeper.handle_message, body))
            assert found[0] == "rolewarden.sweep"
            assert len(found) <= 11, (body["step"], found)
            steps.add(body["step"])
    assert steps == {"describe", "compare", "audit", "drills", "regions"}


def test_plan_passes_through_at_most_twelve_modules(world):
    json_answer("plan", exit_code=2)  # An import is not a part of the path.
    found = entered(lambda: json_answer("plan", exit_code=2))
    assert "rolewarden_cli.commands.plan" in found
    assert len(found) <= 12, found
