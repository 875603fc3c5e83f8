"""Measure, print a table, and write bench/results.json with the pages benchmarks.md and cost.md of docs/explanation.

To measure only some parts, name them (`python bench/run.py warm cold`). The results of other parts stay as they are.
With `--pages`, the script measures nothing and only writes the pages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cost
import page
from accounts import accounts
from commands import commands
from container import container
from figures import Gathered
from footprint import memory, size
from guardrails import rules
from rotation import rotation
from stand import CUSTODIAN_PYTHON, standing
from sweeps import sweep

from events import cold, warm

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs/explanation/benchmarks.md"
COST = ROOT / "docs/explanation/cost.md"

PARTS: dict[str, tuple[Callable[..., None], int]] = {
    "warm": (warm, 40),
    "cold": (cold, 12),
    "sweep-100": (partial(sweep, size=100), 7),
    "sweep-1000": (partial(sweep, size=1_000), 3),
    "sweep-10000": (partial(sweep, size=10_000), 1),
    "rotation": (rotation, 1),
    "accounts": (accounts, 1),
    "rules": (rules, 7),
    "commands": (commands, 5),
    "container": (container, 5),
    "size": (size, 1),
    "memory": (memory, 3),
}
"""The parts of the bench, each with its function and its number of rounds."""

ALONE = frozenset({"accounts", "commands", "rotation", "rules"})
"""The parts that run only Rolewarden."""


def main(arguments: list[str] | None = None) -> int:
    """Measure the named parts, or all parts."""
    parser = argparse.ArgumentParser(description="Compare Rolewarden with Cloud Custodian and the floor.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; default: all")
    parser.add_argument("--rounds", type=int, help="maximum number of rounds")
    parser.add_argument(
        "--pages", action="store_true", help="measure nothing, and write the pages from the stored results"
    )
    options = parser.parse_args(arguments)
    if options.pages:
        _write_pages(_results())
        return 0
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"unknown part: {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    if not CUSTODIAN_PYTHON.exists() and not ALONE.issuperset(options.parts or PARTS):
        parser.error("Cloud Custodian is not installed: run `make bench`, which installs it")
    # Log output would add to the measured times.
    os.environ["POWERTOOLS_LOG_LEVEL"] = "CRITICAL"
    with standing() as stand:
        for name in options.parts or PARTS:
            print(f"\n{name}", flush=True)
            part, rounds = PARTS[name]
            gathered = Gathered()
            save = partial(_save, name, gathered)
            part(stand, gathered, save, min(rounds, options.rounds or rounds))
            save()
            print(page.of_part(gathered.rows()), flush=True)
    print(f"\n{page.aims(_results())}")
    return 0


def _results() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"parts": {}}
    return results


def _save(name: str, gathered: Gathered) -> None:
    """Save the results of a part so far, and write the pages."""
    results = _results()
    results["parts"][name] = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "rows": [row.as_dict() for row in gathered.rows()],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    _write_pages(results)


def _write_pages(results: dict[str, Any]) -> None:
    PAGE.write_text(page.whole(results), encoding="utf-8")
    if bill := cost.whole(results):
        COST.write_text(bill, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
