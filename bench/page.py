"""Make docs/explanation/benchmarks.md from bench/results.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from figures import Aim, Row, shown, table
from stand import BEFORE, BEFORE_COMMIT, CUSTODIAN, FLOOR, OURS, PRECOMPILED

STEADY, OF_COMPARISON = "sweep-10000", "calls for the comparison"

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
        "Custodian's Lambda mode packages no bytecode, so this case is faster than its real deployment. The rest of "
        "Rolewarden's time is for modules that both import: the standard library, botocore and urllib3 "
        "([profile](architecture.md#cold-start-and-bundling)).",
    ),
    Aim("cold: import to ready", "cold", "a new process", "import to ready", FLOOR, 1.15),
    Aim("sweep of 10,000, steady: calls", "sweep-10000", "10,000 roles, steady", "calls", CUSTODIAN, 0.01),
    Aim("sweep of 10,000, steady: the comparison", STEADY, "10,000 roles, steady", OF_COMPARISON, FLOOR, 1.2),
    Aim("sweep of 10,000, steady: proofs, calls", STEADY, "10,000 roles, steady", "calls for proofs", "", 20),
    Aim("sweep of 10,000, steady: pulses, calls", STEADY, "10,000 roles, steady", "calls for pulses", "", 6),
    Aim(
        "subjects that a day of hourly sweeps reads again, for each of 100",
        "rotation",
        "100 unchanged user profiles, SweepInterval 1h",
        "subjects read again in a day",
        "",
        200,
    ),
    Aim("sweep of 10,000, all missing: calls", "sweep-10000", "10,000 roles, all missing", "calls", FLOOR, 1.3),
    Aim(
        "sweep of 10,000, all missing: wall",
        "sweep-10000",
        "10,000 roles, all missing",
        "wall",
        CUSTODIAN,
        0.6,
        "the floor takes {floor} of Custodian's time. A profile of 3,000 roles: 36 % of Rolewarden's CPU time is for "
        "the attachments, which the floor makes, too. The sweep, which reads IAM, SageMaker and the table, takes 29 %. "
        "The history and the events, which Custodian does not write, take 18 %, and the reads that evaluations share "
        "10 %. In AWS the calls decide: Rolewarden makes 0.39 of Custodian's, and five copies of its function share "
        "them.",
    ),
    Aim("sweep of 1,000, all missing: calls", "sweep-1000", "1,000 roles, all missing", "calls", FLOOR, 1.3),
    Aim("sweep of 1,000, all missing: wall", "sweep-1000", "1,000 roles, all missing", "wall", CUSTODIAN, 0.6),
    Aim(
        "sweep of 10,000, 1 % drift: wall",
        "sweep-10000",
        "10,000 roles, 1 % drifted",
        "wall",
        CUSTODIAN,
        0.1,
        "the floor, which makes the fewest calls, takes {floor} of Custodian's time. On the local AWS, a call takes "
        "almost no time, and a page of a thousand roles takes long. In AWS, each of Custodian's calls takes about "
        "fifty milliseconds.",
    ),
    Aim("replay of one event: of a CPU", "commands", "rolewarden replay of one event", "of a CPU", BEFORE, 0.55),
    Aim(
        "first replay on a machine: of a CPU",
        "commands",
        "rolewarden replay of one event, first on a machine",
        "of a CPU",
        BEFORE,
        0.55,
        "it imports SAM's translator and translates the template, which later replays read from the cache folder.",
    ),
    Aim(
        "check: of a CPU",
        "commands",
        "rolewarden check",
        "of a CPU",
        BEFORE,
        0.5,
        "Typer, which imports Pydantic, and Rich take more than a third of the time.",
    ),
    Aim("check of 1,000 patterns, s", "rules", "1,000 patterns", "check", "", 0.5),
    Aim("check of 10,000 patterns, s", "rules", "10,000 patterns", "check", "", 5),
    Aim(
        "check of 10,000 patterns, times that of 1,000",
        "rules",
        "10,000 patterns",
        "check, times that of 1,000",
        "",
        12,
    ),
    Aim(
        "check of the shipped file, s of a CPU",
        "rules",
        "the shipped file",
        "rolewarden check in a new process, of a CPU",
        "",
        0.3,
        "more than a third of it goes to the libraries of the command line: Typer, which needs Pydantic, and Rich.",
    ),
    Aim("code layer unzipped, MB", "size", "RolewardenLayer", "unzipped", "", 12),
    Aim("peak memory, enforce", "memory", "enforce", "peak", CUSTODIAN, 0.7),
    Aim("peak memory, enforce", "memory", "enforce", "peak", FLOOR, 1.2),
)

ABOUT = {
    "warm": (
        "An event, warm",
        "A process that has handled events before. The time starts with the handler. It ends when the local AWS has "
        "answered AttachRolePolicy (*until attached*), or when the handler ends (*until done*). The floor keeps no "
        "record.",
    ),
    "cold": (
        "A new process",
        "*Import* is everything before the first event. *To ready* ends with the answer to the first call about the "
        "role, because Custodian reads its configuration, gets its caller identity and loads its resources with the "
        "first event. *Attached* ends when the drifted role has its guardrail again. Rolewarden and the floor are "
        "precompiled, as Rolewarden's layer is. Custodian is measured as its Lambda mode packages it, and also with "
        "bytecode. Only *of a CPU* includes the start of the interpreter.",
    ),
    "sweep-100": (
        "A sweep of a hundred roles",
        "User profiles use half of the roles, and `also_govern` names the other half. Rolewarden's wall time includes "
        "its sweep and all messages that the sweep sends, one after the other in one process. In a deployed stack, "
        "five copies share the messages. Custodian's two policies in pull mode share a cache, as with `custodian run`, "
        "and its start is not counted. *Of a CPU* is the time of the contestant's own process, without the time of the "
        "local AWS. *Calls for proofs* show that events arrive, that the history is complete and that sweeps end. "
        "*Calls for pulses* judge the drills and restore the canary. All other calls are *for the comparison*.",
    ),
    "sweep-1000": ("A sweep of a thousand roles", ""),
    "sweep-10000": (
        "A sweep of ten thousand roles",
        "One round, because it makes a hundred thousand calls.",
    ),
    "rotation": (
        "Unchanged subjects that sweeps read again",
        "Each sweep describes a share of the unchanged subjects, so that two readings of a subject are never more than "
        "a day apart. The other tables have no such calls. The clock is virtual, and a day has all its sweeps.",
    ),
    "rules": (
        "Reading guardrails.yaml",
        "The time to check, to read and to compile a large file, and the time of a cold function to load the shipped "
        "file. The files of 1,000 and 10,000 patterns are refused, because no role can have so many policies.",
    ),
    "commands": (
        "Commands in a new process",
        f"*Before* is commit {BEFORE_COMMIT}, measured in turns with the new version. A profile of a replay without "
        "the cache: of 5.6 seconds of a CPU, the import of SAM's translator takes 1.5 (1.3 of them for grammars of "
        "IRIs that no template needs), the translation 0.4, and repeated reads of botocore's service models 0.9. "
        "Replays now skip these. The rest is MiniStack and moto (0.6), the seed and the stage of the account (1.0), "
        "the event and the start of the program.",
    ),
    "container": (
        "In Lambda's container",
        "The time that `sam local invoke` reports for the first event of a new container, which makes no call. It "
        "includes the initialization, because the emulator's `Init Duration` is almost zero. The floor is boto3 of the "
        "runtime, a client for IAM and the Logger of Powertools, precompiled.",
    ),
    "size": (
        "Size of the deployment",
        "With bytecode, as `sam build` packages it. All functions share the layers. Custodian's Lambda mode uploads "
        "its package for each policy.",
    ),
    "memory": (
        "Memory",
        "The peak memory of a process that has handled one event with a remediation. The tables above have the "
        "memory of a sweep of thousands of roles.",
    ),
}


def whole(results: Mapping[str, Any]) -> str:
    """The whole page."""
    parts = [
        "# Benchmarks",
        "`make bench` writes this page (`bench/page.py`, from `bench/results.json`): do not edit it. It compares "
        "Rolewarden with Cloud Custodian for the same guardrails, and with the floor: the fewest calls that can do "
        "the work, made with boto3 alone. The three take turns on the same local AWS, each in a process of its own, "
        "and the order changes with each round. A figure is a median with the quartiles in brackets; of fewer than "
        "four figures, the brackets have the smallest and the largest. **The numbers of calls are exact. The times "
        "are those of a local AWS on a small machine: compare them with each other, not with AWS.**",
        f"## Goals\n\n{aims(results)}",
    ]
    for name, (title, about) in ABOUT.items():
        if part := results["parts"].get(name):
            rows = of_part(map(Row.from_dict, part["rows"]))
            parts += [f"## {title}", *([about] if about else []), rows, f"{part['measured']}, {part['machine']}."]
    return "\n\n".join(parts) + "\n"


def of_part(rows: Iterable[Row]) -> str:
    """The table of one part: a row for each figure, a column for each contestant, and the ratios of Rolewarden's."""
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
    return table(["case", "figure", *names, *(f"of {name}" for name in against)], lines)


def aims(results: Mapping[str, Any]) -> str:
    """The table of the aims, their figures, and whether each is reached."""
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
    return "\n\n".join([table(["figure", "compared with", "at most", "is", "met"], lines), *missed])


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}"
