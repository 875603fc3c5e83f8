"""Find changes to the compiler that no test would detect: run the tests against each mutant of mutmut.

    make mutants                                                   # of the compiler and the reader of guardrails.yaml
    .venv/bin/python bench/mutants.py policies '_parted|_pieces'   # of some functions only

This script collects the tests once. For each mutant it forks a process, which runs the tests that call the changed
function. The test that detected a mutant last runs first, then the fastest. A test module that reads the code during
collection reads the original. Only parameters of tests do so.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents
from mutmut.state import state

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "layers" / "rolewarden" / "rolewarden"
FILES = ["tests/test_guardrails.py", "tests/test_guardrail_options.py"]
TESTS = {"policies": ["tests/guardrails"], "guardrails": FILES, "families": FILES, "guardrails_file": FILES}
EXAMPLES = 20
SECONDS = 300


class Mutants:
    """A pytest plugin that runs the collected tests once for each mutant, in a separate process."""

    def __init__(self, module: str, mutated: MutatedFile, chosen: str, place: str) -> None:
        self.module = module
        self.mutated = mutated
        self.names = [name for name in mutated.mutant_names if re.search(chosen, name)]
        self.measured = Path(place, "measured.json")
        self.noticed = Path(place, "noticed.txt")
        self.calls: dict[str, tuple[float, list[str]]] | None = None

    def pytest_sessionstart(self) -> None:
        from hypothesis import HealthCheck, Phase, settings  # pytest must be loaded first, because it rewrites asserts.

        settings.register_profile(
            "mutants",
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if not self.forked("stats"):
            self.calls = {}
            return None  # Pytest's own loop runs the tests.
        measured = json.loads(self.measured.read_text(encoding="utf-8"))
        lived = 0
        noticing: dict[str, list[str]] = {}
        for number, name in enumerate(self.names, start=1):
            function = f"rolewarden.{self.module}.{re.sub(r'__mutmut_[0-9]+$', '', name)}"
            latest = noticing.setdefault(function, [])
            items = [item for item in session.items if function in measured[item.nodeid][1]]
            if not self.forked(f"rolewarden.{self.module}.{name}"):
                first = {nodeid: place for place, nodeid in enumerate(reversed(latest), start=-len(latest))}
                session.items = sorted(items, key=lambda item: first.get(item.nodeid, measured[item.nodeid][0]))
                return None
            if self.passed:
                lived += 1
                print(self.change(name))
            elif self.noticed.exists():
                latest.append(self.noticed.read_text(encoding="utf-8"))
            print(f"{number} of {len(self.names)}, {lived} live", end="\n" if number % 20 == 0 else "\r", flush=True)
        return True

    def forked(self, mutant: str) -> bool:
        """Fork a process for a mutant, and return whether this is the parent, with the child's result in `passed`."""
        child = os.fork()
        if not child:
            os.environ["MUTANT_UNDER_TEST"] = mutant
            signal.alarm(SECONDS)
            return False
        self.passed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if self.calls is not None:
            state()._stats.clear()
            for module in [module for name, module in sys.modules.items() if name.startswith("tests.")]:
                for value in vars(module).values():
                    if hasattr(value, "cache_clear"):
                        value.cache_clear()
        began = time.perf_counter()
        result = yield
        if self.calls is not None:
            self.calls[item.nodeid] = time.perf_counter() - began, sorted(state()._stats)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Iterator[None]:
        try:
            return (yield)
        except BaseException:
            # Any error means that the test detected the mutant. A report of it would take longer than the test.
            if self.calls is not None:
                raise
            self.noticed.write_text(pyfuncitem.nodeid, encoding="utf-8")
            os._exit(1)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self.calls is not None and exitstatus == 0:
            self.measured.write_text(json.dumps(self.calls), encoding="utf-8")

    def change(self, name: str) -> str:
        """The difference between the mutant and its function."""
        original = self.body(re.sub(r"\d+$", "orig", name))
        lines = difflib.unified_diff(original, self.body(name), name, name, n=0, lineterm="")
        return "\n".join(line for line in lines if not line.startswith(("---", "@@")))

    def body(self, name: str) -> list[str]:
        span = self.mutated.line_span_by_function_name[name]
        lines = self.mutated.code.splitlines()[span.start - 1 : span.end]
        return [line for line in lines if f"def {name}" not in line]


def run(module: str, chosen: str = "") -> None:
    """Print the mutants of `module` that no test detects, among those whose names match the pattern `chosen`."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(PACKAGE, Path(place, "rolewarden"))
        source = Path(place, "rolewarden", f"{module}.py")
        mutated = mutate_file_contents(source.name, source.read_text(encoding="utf-8"))
        source.write_text(mutated.code, encoding="utf-8")
        sys.path.insert(0, place)
        parent = os.getpid()
        options = ["-x", "-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider"]
        code = pytest.main([*options, *TESTS[module]], plugins=[Mutants(module, mutated, chosen, place)])
        if os.getpid() != parent:
            os._exit(code)


if __name__ == "__main__":
    run(*sys.argv[1:])
