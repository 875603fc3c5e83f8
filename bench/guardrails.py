"""The time to check and to compile a large guardrails.yaml, and the time of a cold function to load the shipped one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from commands import CHECK, cpu_seconds
from figures import Gathered
from rolewarden import yamltext
from rolewarden.guardrails_file import read_yaml
from rolewarden.policies import compile_rules
from rolewarden_cli.rules import CheckedFile
from stand import OURS, Stand

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "layers" / "guardrails" / "guardrails.yaml"
GUARDRAILS, ASSIGNMENTS, MODELS = 50, 200, 6
FEW_PATTERNS, MANY_PATTERNS = 1_000, 10_000


def large() -> str:
    """A guardrails.yaml with 50 guardrails and 200 assignments."""
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


def rules(_stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Measure reading and compiling in this process, and the load of a cold function in new processes."""
    text = large()
    found = read_yaml(text, today=date.today()).rules
    assert found is not None
    case = f"{GUARDRAILS} guardrails, {ASSIGNMENTS} assignments"
    few, many = listing(FEW_PATTERNS), listing(MANY_PATTERNS)
    for _ in range(rounds):
        short, long = checked(few), checked(many)
        gathered.add(f"{FEW_PATTERNS:,} patterns", "check", "s", OURS, short)
        gathered.add(f"{MANY_PATTERNS:,} patterns", "check", "s", OURS, long)
        gathered.add(f"{MANY_PATTERNS:,} patterns", f"check, times that of {FEW_PATTERNS:,}", "", OURS, long / short)
        gathered.add(
            "the shipped file", "rolewarden check in a new process, of a CPU", "s", OURS, cpu_seconds(ROOT, CHECK)
        )
        gathered.add(case, "read the YAML", "ms", OURS, milliseconds(lambda: read_yaml(text, today=date.today())))
        gathered.add(case, "compile", "ms", OURS, milliseconds(lambda: compile_rules(found, "aws")))
        gathered.add("the shipped file", "load in a new process", "ms", OURS, cold_load())


def listing(number: int) -> str:
    """A guardrails.yaml that denies this number of models."""
    models = "".join(f"        - maker{place % 40}.model-{place}*\n" for place in range(number))
    return f"guardrails:\n  a:\n    bedrock:\n      deny:\n{models}assignments:\n  - guardrails: [a]\n"


def checked(text: str) -> float:
    """Measure the seconds of a CPU in which `rolewarden check` works on a file, without the start of the process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "guardrails.yaml"
        file.write_text(text, encoding="utf-8")
        start = time.process_time()
        found = CheckedFile.at(file)
        found.problems()
        found.costs()
        return time.process_time() - start


def milliseconds(run: Callable[[], object]) -> float:
    """Run a function, and return the milliseconds that it took."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1000


def cold_load() -> float:
    """Measure the milliseconds in a new interpreter to import the reader and to read the shipped file."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "guardrails.json"
        built.write_text(json.dumps(yamltext.parse_yaml(SHIPPED.read_text(encoding="utf-8"))[0]), encoding="utf-8")
        program = (
            "import datetime, pathlib, time\n"
            "start = time.perf_counter()\n"
            "import rolewarden.guardrails_file as g\n"
            f"g.load(pathlib.Path({str(built)!r}), today=datetime.date.today())\n"
            "print((time.perf_counter() - start) * 1000)"
        )
        return float(subprocess.check_output([sys.executable, "-c", program], text=True))
