"""docs/explanation/benchmarks.md, made of bench/results.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from figures import Aim, Row, shown, table
from stand import CUSTODIAN, FLOOR, OURS, PRECOMPILED

AIMS = (
    Aim("warm drifted event, until attached", "warm", "a drifted role", "until attached", CUSTODIAN, 0.5),
    Aim("warm drifted event, until attached", "warm", "a drifted role", "until attached", FLOOR, 1.5),
    Aim("calls until attached", "warm", "a drifted role", "calls until attached", FLOOR, 1),
    Aim("cold: import to ready", "cold", "a new process", "import to ready", CUSTODIAN, 0.35),
    Aim(
        "cold: import to ready",
        "cold",
        "a new process",
        "import to ready",
        PRECOMPILED,
        0.35,
        "its Lambda mode packages no bytecode, so this is faster than what one gets. What is left to Rolewarden is "
        "what both import: standard library, botocore, urllib3 "
        "([profile](architecture.md#cold-start-and-bundling)).",
    ),
    Aim("cold: import to ready", "cold", "a new process", "import to ready", FLOOR, 1.15),
    Aim("sweep of 10,000, steady: calls", "sweep-10000", "10,000 roles, steady", "calls", CUSTODIAN, 0.01),
    Aim(
        "sweep of 10,000, steady: calls",
        "sweep-10000",
        "10,000 roles, steady",
        "calls",
        FLOOR,
        1.2,
        "some twenty calls are the same for ten roles and for ten thousand, and the floor has none of them: six ask "
        "CloudTrail's event history for unrecorded remediations, two whether the trail logs, the others read "
        "and write bindings, findings, how far the sweep is, and its end.",
    ),
    Aim(
        "sweep of 10,000, 1 % drift: wall",
        "sweep-10000",
        "10,000 roles, 1 % drifted",
        "wall",
        CUSTODIAN,
        0.1,
        "the floor, which makes the fewest calls, takes {floor} of Custodian's time. Here a call is next to nothing, "
        "and a page of a thousand roles is much; in AWS each of Custodian's calls takes some fifty milliseconds.",
    ),
    Aim("code layer unzipped, MB", "size", "RolewardenLayer", "unzipped", "", 12),
    Aim("peak memory, enforce", "memory", "enforce", "peak", CUSTODIAN, 0.7),
    Aim("peak memory, enforce", "memory", "enforce", "peak", FLOOR, 1.2),
)

ABOUT = {
    "warm": (
        "An event, warm",
        "A process that has handled events before. Time runs from the handler's start to the moment at which the "
        "local AWS has answered AttachRolePolicy, and to the handler's end; the floor keeps no record.",
    ),
    "cold": (
        "A new process",
        "*Import* is all that happens before the first event, *to ready* goes on till the first question about the "
        "role is answered: Custodian reads its configuration, asks who it is and loads its resources at the first "
        "event. *Attached* is when that event's drifted role carries its guardrail again. Rolewarden and the floor are "
        "precompiled, as its layer is; Custodian is as its Lambda mode packages it, and with bytecode beside. The "
        "start of the interpreter is not counted in the times, it is in *of a CPU*.",
    ),
    "sweep-100": (
        "Looking at everything",
        "Half of the roles belong to user profiles, half are governed by name. Rolewarden's wall time is that of its "
        "sweep and of all the work that it sends, one message after the other in one process; deployed, five copies "
        "share the work. Custodian's two policies of pull mode share a cache, as `custodian run` "
        "has it; its start is not counted.",
    ),
    "sweep-1000": ("A thousand roles", ""),
    "sweep-10000": ("Ten thousand roles", "One round: it is a hundred thousand calls."),
    "rules": (
        "guardrails.yaml",
        "What a large file costs to read and to compile, and what the shipped one costs a cold function to load.",
    ),
    "container": (
        "In Lambda's container",
        "What `sam local invoke` reports of a new container's first event, which makes no call, init included: the "
        "emulator's `Init Duration` is next to nothing. The floor is boto3 of the runtime, a client for IAM and "
        "Powertools' Logger, precompiled.",
    ),
    "size": (
        "What is deployed",
        "With bytecode, as `sam build` packages it; all functions share the layers. Beside it, "
        "what Custodian's Lambda mode uploads for each policy.",
    ),
    "memory": (
        "Memory",
        "The most that a process has had which has handled one event that gave it something to do; for "
        "a sweep of thousands of roles see above.",
    ),
}


def whole(results: Mapping[str, Any]) -> str:
    """The page."""
    parts = [
        "# Benchmarks",
        "Made by `make bench` (`bench/page.py` of `bench/results.json`): do not edit. Rolewarden beside Cloud "
        "Custodian, on the same guardrails, and the floor: the fewest calls that could do it, straight boto3. "
        "All three talk to the same local AWS in turn, each from a process of its own, another first each round. "
        "Figures are medians with quartiles in brackets (of fewer than four figures, the least and the greatest). "
        "**Calls are exact; times are those of a local AWS on a small machine: compare them with each other, not with "
        "AWS.**",
        f"## What was aimed at\n\n{aims(results)}",
    ]
    for name, (title, about) in ABOUT.items():
        if part := results["parts"].get(name):
            rows = of_part(map(Row.from_dict, part["rows"]))
            parts += [f"## {title}", *([about] if about else []), rows, f"{part['measured']}, {part['machine']}."]
    return "\n\n".join(parts) + "\n"


def of_part(rows: Iterable[Row]) -> str:
    """The table of one part: a line a figure, a column a contestant, and what ours is of the others'."""
    rows = list(rows)
    names = [name for name in (OURS, CUSTODIAN, FLOOR) if any(name in row.of for row in rows)]
    names += sorted({name for row in rows for name in row.of} - set(names))
    against = [name for name in (CUSTODIAN, PRECOMPILED, FLOOR) if name in names and OURS in names]
    lines = [
        [
            row.case,
            f"{row.figure}, {row.unit}" if row.unit != "calls" else row.figure,
            *(shown(row.of[name], row.unit) if name in row.of else "" for name in names),
            *(_ratio(row.ratio(OURS, other)) for other in against),
        ]
        for row in rows
    ]
    return table(["", "", *names, *(f"of {name}" for name in against)], lines)


def aims(results: Mapping[str, Any]) -> str:
    """Each aim, what it came to, and whether that is enough."""
    lines, missed = [], []
    for aim in AIMS:
        part = results["parts"].get(aim.part, {"rows": []})
        found = [Row.from_dict(r) for r in part["rows"] if (r["case"], r["figure"]) == (aim.case, aim.figure)]
        if not found:
            continue
        reached = found[0].ratio(OURS, aim.against) if aim.against else found[0].of[OURS].median
        if reached is not None:
            against = f"of {aim.against}" if aim.against else ""
            met = "yes" if reached <= aim.most else "**no**"
            lines.append([aim.what, against, f"{aim.most:g}", _ratio(reached), met])
            if reached > aim.most and aim.why:
                floor = _ratio(found[0].ratio(FLOOR, CUSTODIAN))
                missed.append(f"*{aim.what}, {against}*: {aim.why.format(floor=floor)}")
    return "\n\n".join([table(["", "", "at most", "is", "met"], lines), *missed])


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}"
