"""`make soak`: bad nights by the thousand and malformed input by the ten thousand, and the figures.

A run is repeated by its seed: `python -m tests.soak --seed 17 --runs 20 --processes 1 --shrink`.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

CHUNK = 20
"""Runs of one seed."""


@dataclass(frozen=True)
class Report:
    """What became of the runs of one seed; `failure` is empty where all is well."""

    seed: int
    figures: dict[str, int]
    failure: str = ""


def nights(seed: int, runs: int, steps: int, *, shrink: bool) -> Report:
    """Bad nights, all of one seed."""
    os.environ["POWERTOOLS_LOG_LEVEL"] = "CRITICAL"
    from hypothesis import HealthCheck, Phase, Verbosity, settings
    from hypothesis import seed as seeded
    from hypothesis.stateful import run_state_machine_as_test

    from tests.soak import machine

    # Some hundred megabytes of AWS's models are looked through again and again for nothing.
    gc.collect()
    gc.freeze()
    gc.disable()
    machine.DONE = machine.Done()
    chosen = settings(
        # The first is the simplest that there is, one rule over and over: it is not counted.
        max_examples=runs + 1,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        verbosity=Verbosity.normal,
    )
    failure = ""
    try:
        run_state_machine_as_test(seeded(seed)(machine.Night), settings=chosen, _min_steps=steps)
    except Exception:
        failure = traceback.format_exc()
    return Report(seed, vars(machine.DONE), failure)


def main() -> int:
    """Run them and print the figures; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help=f"the first seed; each counts for {CHUNK} runs")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shrink", action="store_true", help="look for the shortest run that fails")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no other seed after so long")
    asked = parser.parse_args()
    began, total, failures = time.monotonic(), dict[str, int](), 0
    with ProcessPoolExecutor(asked.processes) as pool:
        sizes = [min(CHUNK, asked.runs - start) for start in range(0, asked.runs, CHUNK)]
        reports = [
            pool.submit(nights, asked.seed + number, size, asked.steps, shrink=asked.shrink)
            for number, size in enumerate(sizes)
        ]
        for submitted in as_completed(reports):
            if time.monotonic() - began > 60 * asked.minutes:
                pool.shutdown(wait=False, cancel_futures=True)
            if submitted.cancelled():
                continue
            report = submitted.result()
            for name, figure in report.figures.items():
                total[name] = total.get(name, 0) + figure
            failures += bool(report.failure)
            sys.stdout.write(f"seed {report.seed}: {report.failure or report.figures}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{total} in {time.monotonic() - began:.0f} s, {failures} seeds failed\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
