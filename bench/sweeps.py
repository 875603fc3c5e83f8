"""Sweeps of every role, when no role, one in a hundred, or every role is unprotected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from figures import Gathered
from rolewarden_local.scenes.crowd import detach_all
from stand import ALL, COMPARISON, CUSTODIAN, FLOOR, OURS, PROOFS, PULSES, Run, Stand

from events import turns

FIRST_SWEEP_OF = 1_000
"""The maximum number of roles for which Rolewarden's first sweep fills the table and is measured. Above it, the bench
fills the table directly."""

ARGUMENTS = {OURS: ("sweep", "reconcile"), CUSTODIAN: ("pull",), FLOOR: ()}


def sweep(stand: Stand, gathered: Gathered, save: Callable[[], None], rounds: int, size: int) -> None:
    """Measure each contestant in a process that has already swept. In a round, all have the same roles."""
    people = stand.fill(size)
    everybody = [*people.roles, *people.also]
    cases = {
        "steady": [],
        "1 % drifted": everybody[:: max(1, size // max(1, size // 100))],
        "all missing": everybody,
    }
    with ExitStack() as stack:
        contestants = {name: stack.enter_context(stand.contestant(name, *ARGUMENTS[name])) for name in ALL}
        # The floor finds its roles in the table that Rolewarden fills.
        if size <= FIRST_SWEEP_OF:
            _add(gathered, f"{size:,} roles, first sweep", OURS, contestants[OURS].sweeps())
        else:
            stand.bind(people)
            stand.guard(people)
            contestants[OURS].sweeps()  # This sweep binds the domains.
        for _, names in turns(rounds):
            for case, bared in cases.items():
                for name in names:
                    stand.guard(people)
                    detach_all(bared)
                    _add(gathered, f"{size:,} roles, {case}", name, contestants[name].sweeps())
                    save()


def _add(gathered: Gathered, case: str, name: str, run: Run) -> None:
    gathered.add(case, "calls", "calls", name, len(run.calls))
    for purpose in (COMPARISON, PROOFS, PULSES):
        # Every call of the floor compares or protects, and Rolewarden's other calls have rows of their own.
        number = run.by_purpose.get(purpose, 0) if name == OURS else len(run.calls) if purpose == COMPARISON else None
        if name != CUSTODIAN:
            gathered.add(case, f"calls for {purpose}", "calls", name, number)
    gathered.add(case, "wall", "s", name, run.milliseconds / 1000)
    gathered.add(case, "of a CPU", "s", name, run.cpu / 1000)
    gathered.add(case, "peak memory so far", "MB", name, run.peak)
