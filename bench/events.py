"""From an event to the remediation: warm, and in a process that has just begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from figures import Gathered
from rolewarden_local.scenes.crowd import detach_all
from stand import ALL, CUSTODIAN, FLOOR, OF_NO_CONCERN, OURS, PRECOMPILED, Contestant, Run, Stand, event_of

ARGUMENTS = {OURS: ("enforce",), CUSTODIAN: ("lambda",), PRECOMPILED: ("lambda",), FLOOR: ()}


def turns(rounds: int, names: Sequence[str] = ALL) -> Iterator[tuple[int, list[str]]]:
    """The number of each round and the contestants, another first each time."""
    for number in range(rounds):
        first = number % len(names)
        yield number, [*names[first:], *names[:first]]


def warm(stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Each contestant in a process that has handled events before, on the same role in the same round."""
    people = stand.fill(4 * rounds)
    bind(stand)
    stand.guard(people)
    with ExitStack() as stack:
        contestants = {name: stack.enter_context(stand.contestant(name, *ARGUMENTS[name])) for name in ALL}
        for name in ALL:
            mended(contestants[name], people.roles[0])
        for number, names in turns(rounds):
            # A role of its own for each round: one that is bared again and again is a contested one.
            role = people.roles[number + 1]
            for name in names:
                does = contestants[name].does
                _add(gathered, "a role of no concern", name, does(event=event_of("TagRole", OF_NO_CONCERN)))
                _add(gathered, "a compliant role", name, does(event=event_of("TagRole", role)))
                _add(gathered, "a drifted role", name, mended(contestants[name], role))


def cold(stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Each contestant in a process of its own each time, all of it compiled; the first event finds a drifted role."""
    people = stand.fill(4 * rounds)
    bind(stand)
    stand.guard(people)
    for number, names in turns(rounds, (OURS, CUSTODIAN, PRECOMPILED, FLOOR)):
        for name in names:
            with stand.contestant(name, *ARGUMENTS[name]) as contestant:
                run = mended(contestant, people.roles[number])
                assert run.until_attached is not None
                assert run.until_asked is not None
                figures = {
                    "import": contestant.ready,
                    "import, of a CPU": contestant.cpu,
                    "import to ready": contestant.ready + run.until_asked,
                    "import to attached": contestant.ready + run.until_attached,
                }
                for figure, value in figures.items():
                    gathered.add("a new process", figure, "ms", name, value)
                gathered.add("a new process", "calls until attached", "calls", name, run.calls_until_attached)


def bind(stand: Stand) -> None:
    """Let a sweep of ours fill the table, which the floor knows its roles by too."""
    with stand.contestant(OURS, "sweep", "reconcile") as ours:
        ours.sweeps()


def mended(contestant: Contestant, role: str) -> Run:
    """Bare a role and let the contestant hear of it."""
    detach_all([role])
    return contestant.does(event=event_of("DetachRolePolicy", role))


def _add(gathered: Gathered, case: str, name: str, run: Run) -> None:
    if run.until_attached is not None:
        gathered.add(case, "until attached", "ms", name, run.until_attached)
        gathered.add(case, "calls until attached", "calls", name, run.calls_until_attached)
    gathered.add(case, "until done", "ms", name, run.milliseconds)
    gathered.add(case, "calls", "calls", name, len(run.calls))
