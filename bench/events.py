"""From an event to the remediation, in a warm process and in a new process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from figures import Gathered
from rolewarden_local.scenes.crowd import detach_all
from stand import ALL, CUSTODIAN, FLOOR, OURS, OUT_OF_SCOPE, PRECOMPILED, Contestant, Run, Stand, event_of

ARGUMENTS = {OURS: ("enforce",), CUSTODIAN: ("lambda",), PRECOMPILED: ("lambda",), FLOOR: ()}


def turns(rounds: int, names: Sequence[str] = ALL) -> Iterator[tuple[int, list[str]]]:
    """The number of each round and its contestants. Each round starts with another contestant."""
    for number in range(rounds):
        first = number % len(names)
        yield number, [*names[first:], *names[:first]]


def warm(stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Measure each contestant in a process that has handled events before. In a round, all have the same role."""
    people = stand.fill(4 * rounds)
    bind(stand)
    stand.guard(people)
    with ExitStack() as stack:
        contestants = {name: stack.enter_context(stand.contestant(name, *ARGUMENTS[name])) for name in ALL}
        for name in ALL:
            remediated(contestants[name], people.roles[0])
        for number, names in turns(rounds):
            # Each round has its own role, because a role that becomes unprotected several times is contested.
            role = people.roles[number + 1]
            for name in names:
                does = contestants[name].does
                _add(gathered, "a role out of scope", name, does(event=event_of("TagRole", OUT_OF_SCOPE)))
                _add(gathered, "a compliant role", name, does(event=event_of("TagRole", role)))
                _add(gathered, "a drifted role", name, remediated(contestants[name], role))


def cold(stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Measure each contestant in a new process each time. Its first event is about a drifted role."""
    people = stand.fill(4 * rounds)
    bind(stand)
    stand.guard(people)
    for number, names in turns(rounds, (OURS, CUSTODIAN, PRECOMPILED, FLOOR)):
        for name in names:
            with stand.contestant(name, *ARGUMENTS[name]) as contestant:
                run = remediated(contestant, people.roles[number])
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
    """Fill the bindings table with a sweep by Rolewarden. The floor finds its roles in it, too."""
    with stand.contestant(OURS, "sweep", "reconcile") as ours:
        ours.sweeps()


def remediated(contestant: Contestant, role: str) -> Run:
    """Detach a role's policies and send the contestant the event."""
    detach_all([role])
    return contestant.does(event=event_of("DetachRolePolicy", role))


def _add(gathered: Gathered, case: str, name: str, run: Run) -> None:
    if run.until_attached is not None:
        gathered.add(case, "until attached", "ms", name, run.until_attached)
        gathered.add(case, "calls until attached", "calls", name, run.calls_until_attached)
    gathered.add(case, "until done", "ms", name, run.milliseconds)
    gathered.add(case, "calls", "calls", name, len(run.calls))
