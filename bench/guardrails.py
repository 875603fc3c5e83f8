"""What guardrails.yaml costs: to compile a large one, and to load the shipped one in a cold function.

Times are shown, never asserted; what a cold function pays is shown beside what boto3 costs it in the same process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from rolewarden import yamltext
from rolewarden.guardrails import read_yaml
from rolewarden.policies import compile_rules

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "layers" / "guardrails" / "guardrails.yaml"
GUARDRAILS, ASSIGNMENTS, MODELS = 50, 200, 6


def large() -> str:
    """A guardrails.yaml of 50 guardrails and 200 assignments."""
    shapes = ("bedrock: {deny: all}, jumpstart: {deny: all}", "bedrock: {allow: [%s]}", "bedrock: {deny: [%s]}")
    models = ", ".join(f"maker{number}.model-{number}-*" for number in range(MODELS))
    lines = ["guardrails:"]
    for number in range(GUARDRAILS):
        shape = shapes[number % len(shapes)]
        lines.append(f"  guardrail-{number}: {{{shape % models if '%s' in shape else shape}}}")
    lines.append("assignments:")
    lines += [
        f"  - {{guardrails: [guardrail-{number % GUARDRAILS}], domains: [domain-{number}]}}"
        for number in range(ASSIGNMENTS - 1)
    ]
    lines.append("  - guardrails: [guardrail-0]")
    return "\n".join(lines) + "\n"


def milliseconds(run: Callable[[], object], times: int) -> list[float]:
    """How long each of `times` runs took."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append((time.perf_counter() - start) * 1000)
    return taken


def cold(steps: Mapping[str, str], times: int) -> dict[str, list[float]]:
    """Milliseconds that each of `steps` took, one after the other in a fresh interpreter, `times` times over.

    The start of the interpreter is not counted, it is not a function's to save. All is compiled, as in the layer.
    """
    program = "import time\nt = time.perf_counter()\n" + "".join(
        f"{step}\nprint((time.perf_counter() - t) * 1000)\nt = time.perf_counter()\n" for step in steps.values()
    )
    taken: dict[str, list[float]] = {name: [] for name in steps}
    with tempfile.TemporaryDirectory() as compiled:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for run in range(times + 1):
            printed = subprocess.check_output([sys.executable, "-c", program], env=env, text=True)
            if run:  # the first run compiles
                for name, took in zip(steps, printed.split(), strict=True):
                    taken[name].append(float(took))
    return taken


def spread(taken: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(taken, n=4)
    return f"{middle:8.1f} ms ({low:.1f} to {high:.1f})"


def main() -> None:
    """Print the figures."""
    text = large()
    rules = read_yaml(text, today=date.today()).rules
    assert rules is not None
    print(f"a file of {GUARDRAILS} guardrails and {ASSIGNMENTS} assignments")
    print(f"  compile           {spread(milliseconds(lambda: compile_rules(rules, 'aws'), 50))}")
    print(f"  read the YAML     {spread(milliseconds(lambda: read_yaml(text, today=date.today()), 5))}")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "guardrails.json"
        built.write_text(json.dumps(yamltext.parse(SHIPPED.read_text(encoding="utf-8"))[0]), encoding="utf-8")
        load = (
            "import datetime, pathlib, rolewarden.guardrails as g\n"
            f"g.load(pathlib.Path({str(built)!r}), today=datetime.date.today())"
        )
        taken = cold({"boto3": "import boto3", "rules": load}, 15)
    share = statistics.median(taken["rules"]) / statistics.median(taken["boto3"])
    print("a cold function")
    print(f"  import boto3      {spread(taken['boto3'])}")
    print(f"  then load rules   {spread(taken['rules'])}: {share:.2f} of boto3's")


if __name__ == "__main__":
    main()
