"""`make soak`: thousands of bad nights, tens of thousands of malformed inputs, and a summary.

To repeat one seed, run `python -m tests.soak --seed 17 --runs 20 --inputs 0 --processes 1 --shrink`.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass

RUNS, INPUTS = 20, 1000
"""Nights, and malformed inputs, of one seed."""


@dataclass(frozen=True)
class Report:
    """The result of one seed: its figures, and the violated invariants (empty if all hold)."""

    what: str
    seed: int
    figures: dict[str, int]
    failure: str = ""


def nights(seed: int, runs: int, steps: int, *, shrink: bool) -> Report:
    """Run the bad nights of one seed."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import seed as seeded
    from hypothesis.stateful import run_state_machine_as_test

    from tests.soak import machine

    _lean()
    machine.DONE = machine.Done()
    chosen = settings(
        # The first run is the simplest one, one rule repeated, and does not count as a night.
        max_examples=runs + 1,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
    )
    failure = ""
    try:
        run_state_machine_as_test(seeded(seed)(machine.Night), settings=chosen, _min_steps=steps)
    except Exception:
        failure = traceback.format_exc()
    return Report("nights", seed, vars(machine.DONE), failure)


def inputs(seed: int, times: int) -> Report:
    """Run the malformed inputs of one seed."""
    from tests.soak.fuzz import fuzz

    _lean()
    try:
        return Report("inputs", seed, {"inputs": times, **fuzz(seed, times)})
    except Exception:
        return Report("inputs", seed, {}, traceback.format_exc())


def _lean() -> None:
    # Without this call, the garbage collector checks hundreds of megabytes of AWS's models again and again.
    gc.collect()
    gc.freeze()
    gc.disable()


def main() -> int:
    """Run all seeds, print the figures, and return 1 if an invariant is violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help=f"nights, {RUNS} of a seed")
    parser.add_argument("--steps", type=int, default=50, help="steps of a night")
    parser.add_argument("--inputs", type=int, default=20_000, help=f"malformed inputs, {INPUTS} of a seed")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no other seed after so long")
    parser.add_argument("--shrink", action="store_true", help="look for the shortest night that fails")
    asked = parser.parse_args()
    os.environ["POWERTOOLS_LOG_LEVEL"] = "CRITICAL"
    began, failures = time.monotonic(), 0
    total: dict[str, Counter[str]] = {"nights": Counter(), "inputs": Counter()}
    with ProcessPoolExecutor(asked.processes) as pool:
        for report in _until(60 * asked.minutes, pool, list(_submitted(pool, asked))):
            total[report.what].update(report.figures)
            failures += bool(report.failure)
            sys.stdout.write(f"{report.what} of seed {report.seed}: {report.failure or report.figures}\n")
            sys.stdout.flush()
    for what, figures in total.items():
        sys.stdout.write(f"{what}: {', '.join(f'{figure:,} {name}' for name, figure in figures.items())}\n")
    sys.stdout.write(f"{failures} seeds failed, {time.monotonic() - began:.0f} s\n")
    return int(bool(failures))


def _submitted(pool: ProcessPoolExecutor, asked: argparse.Namespace) -> Iterator[Future[Report]]:
    for number, start in enumerate(range(0, asked.inputs, INPUTS)):
        yield pool.submit(inputs, asked.seed + number, min(INPUTS, asked.inputs - start))
    for number, start in enumerate(range(0, asked.runs, RUNS)):
        runs = min(RUNS, asked.runs - start)
        yield pool.submit(nights, asked.seed + number, runs, asked.steps, shrink=asked.shrink)


def _until(seconds: float, pool: ProcessPoolExecutor, submitted: list[Future[Report]]) -> Iterator[Report]:
    """The reports in the order in which they finish. After `seconds`, no new seed starts."""
    began = time.monotonic()
    for future in as_completed(submitted):
        if time.monotonic() - began > seconds:
            pool.shutdown(wait=False, cancel_futures=True)
        if not future.cancelled():
            yield future.result()


if __name__ == "__main__":
    sys.exit(main())
