"""Observe mode in words, and the rules as they would be after a promotion to enforce mode.

A guardrail in observe mode is published and evaluated like any other. Rolewarden attaches it to no role, so every text
that says what Rolewarden did, or will do, must name the guardrails that it only observes.
"""

from __future__ import annotations

from collections.abc import Collection

from rolewarden.guardrails import Mode, Rules

MOST_NAMED = 10
"""The number of guardrails that the banner names."""


def banner(observed: Collection[str], *, every: bool) -> str:
    """The line about the guardrails `observed` at the top of every report; empty if none is in observe mode.

    `every` says whether all guardrails are in observe mode.
    """
    if not observed:
        return ""
    names = sorted(observed)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    does = "attaches and detaches nothing" if every else "does not attach them"
    named = ", ".join(names[:MOST_NAMED]) + more
    return f"In observe mode: {named}. Rolewarden reports roles that lack them, and {does}."


def banner_of(rules: Rules) -> str:
    """The banner for `rules`."""
    return banner(rules.observed, every=rules.observes)


def promoted(rules: Rules, names: Collection[str]) -> Rules:
    """The same rules with the guardrails `names` in enforce mode."""
    guardrails = {
        name: guardrail._replace(mode=Mode.ENFORCE) if name in names else guardrail
        for name, guardrail in rules.guardrails.items()
    }
    return rules._replace(guardrails=guardrails)
