"""Observe mode: the changes that enforcing would make, and the events after which Rolewarden would have acted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rolewarden.own_events import RoleFinding, RoleRemediated
from rolewarden.verdicts import Outcome, Verdict

from rolewarden_cli.history import Entry


@dataclass(frozen=True)
class Promotion:
    """The changes that enforcing guardrails would make that are in observe mode now.

    - `guardrails`: the guardrails that change their mode together.
    - `would_change`: the roles that would get a policy or a fallback boundary.
    - `could_not`: the roles that could not be protected, each with the reason.
    """

    guardrails: tuple[str, ...]
    would_change: tuple[str, ...]
    could_not: Mapping[str, str]


def promotion(guardrails: Collection[str], outcomes: Iterable[tuple[Outcome, Outcome]]) -> Promotion:
    """Compare the outcomes of each role: the one by the rules as they are, and the one after the promotion."""
    changed: list[str] = []
    could_not: dict[str, str] = {}
    for now, then in outcomes:
        is_new = (then.attached, then.boundary, then.remediation) != (now.attached, now.boundary, now.remediation)
        if then.has_written and is_new:
            changed.append(then.role)
        if then.verdict is Verdict.UNENFORCEABLE and now.verdict is not Verdict.UNENFORCEABLE:
            could_not[then.role] = str(then.reason or "")
    return Promotion(tuple(guardrails), tuple(changed), could_not)


@dataclass(frozen=True)
class ObservedEvents:
    """The events since Rolewarden observes, as the history has them.

    - `since`: the time of the first of them; None without one.
    - `remediated`: the number of events after which Rolewarden would have remediated the role.
    - `could_not`: the number of those after which it could not have, because the role had no free slot.
    """

    since: datetime | None = None
    remediated: int = 0
    could_not: int = 0


def count_events(
    entries: Iterable[Entry],
    observed: Mapping[str, Collection[str]],
    quota: int,
    has_fallback: Callable[[str], bool] = lambda _: False,
) -> ObservedEvents:
    """Count the events about roles that lack guardrails which are in observe mode now.

    - `entries`: the history.
    - `observed`: the policies of each guardrail in observe mode.
    - `quota`: the number of policies that a role can have attached.
    - `has_fallback`: whether a fallback boundary would protect a role without a free slot. It is asked once a role.

    A guardrail was in enforce mode if Rolewarden attached it, so an earlier event does not count. A finding of a sweep
    does not count either, because it does not belong to an event.
    """
    policies = {policy for names in observed.values() for policy in names}
    bounded: dict[str, bool] = {}
    found: list[tuple[Entry, bool]] = []
    for entry in sorted(entries, key=lambda entry: entry.at, reverse=True):
        row = entry.row
        attached = policies & set(row.get("attached", ()))
        if entry.kind in {RoleRemediated.detail_type, RoleFinding.detail_type} and attached:
            policies -= attached
        missing = policies & set(row.get("missing", ()))
        caused = dict(row.get("cause") or {}).get("event_id")
        if entry.kind == RoleFinding.detail_type and entry.remediation == "observed" and missing and caused:
            fits = len(row.get("attached_policies", ())) + len(missing) <= quota
            if not fits:
                if entry.about not in bounded:
                    bounded[entry.about] = has_fallback(entry.about)
                fits = bounded[entry.about]
            found.append((entry, fits))
    since = found[-1][0].at if found else None
    return ObservedEvents(since, sum(fits for _, fits in found), sum(not fits for _, fits in found))


def in_words(events: ObservedEvents) -> str:
    """The counts as a sentence."""
    if events.since is None:
        return "Rolewarden would have remediated none of the events so far"
    noun = "event" if events.remediated == 1 else "events"
    times = f"Since {events.since:%Y-%m-%d %H:%M} UTC, {events.remediated:,} {noun} would have been remediated"
    return f"{times}, and {events.could_not:,} could not have been"
