"""Whether Rolewarden can work at all in an account: that events come from each region, and that it is let in.

Asked at the end of every sweep, and by `rolewarden doctor`. Each check is one link of the path from a change to the
central.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rolewarden.calls import ReadsPaths
from rolewarden.errors import Refused

FORWARD = "rolewarden-forward-"
"""What the names of rules and roles of forwarder.yaml begin with."""

FORWARDING_RULES = {
    about: FORWARD + about.replace(" ", "-") for about in ("subjects", "subject tags", "roles", "policies", "moves")
}
"""What each rule of forwarder.yaml is about, and its name."""

UNDELIVERED = "rolewarden-undelivered"
"""The dead-letter queue of forwarder.yaml."""

ENTRANCE = "entrance"
TRAIL = "trail"
FORWARDER = "forwarder"
QUEUE = "undelivered events"

PROBE_RECOMMENDATIONS = {
    ENTRANCE: "let the StackSet create Rolewarden's stack in the account again",
    TRAIL: "create a trail that logs management events of all regions, and start it: "
    "`aws cloudtrail start-logging --name TRAIL`",
    FORWARDER: "enable the rule, or delete the stack instance in StackSets and add it again "
    "(docs/how-to/runbook.md, Account Finding)",
    QUEUE: "find the cause in the attribute ERROR_CODE of the messages (docs/how-to/runbook.md, Account Finding), then "
    "purge the queue and run `rolewarden sweep`",
}
"""What a person does about each probe that fails."""


@dataclass(frozen=True)
class CentralStack:
    """Where the central stack is, and the ARN of its event bus. `bus` is empty if no other region sends events."""

    account: str
    region: str
    home_region: str
    bus: str = ""


@dataclass(frozen=True)
class Probe:
    """One link: `what` it is (a key of PROBE_RECOMMENDATIONS), and where. An empty `message` means that it works."""

    account: str
    region: str
    what: str
    message: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For the command line."""
        recommendation = (
            {"message": self.message, "recommendation": PROBE_RECOMMENDATIONS[self.what]} if self.message else {}
        )
        return {"account": self.account, "region": self.region, "what": self.what, **recommendation}


def probes(aws: ReadsPaths, account: str, regions: tuple[str, ...], central: CentralStack) -> Iterator[Probe]:
    """Every link of an account whose domains are in `regions`. Raises RetryLater."""
    try:
        inside = aws.within(account)
    except Refused as refused:
        yield Probe(account, "", ENTRANCE, str(refused))
        return
    if account != central.account:
        yield Probe(account, "", ENTRANCE)
    for region in dict.fromkeys([*regions, central.home_region]):
        yield Probe(account, region, TRAIL, _said(lambda region=region: _trail(inside, region)))  # type: ignore[misc]
        if (account, region) == (central.account, central.region):
            continue  # the central account's own rules hear it
        about = [*(["subjects", "subject tags"] if region in regions else [])]
        about += ["roles", "policies"] if region == central.home_region else []
        about.append("moves")
        yield Probe(account, region, FORWARDER, _said(lambda r=region, a=about: _forwarder(inside, r, a, central.bus)))  # type: ignore[misc]
        yield Probe(account, region, QUEUE, _said(lambda region=region: _undelivered(inside, region)))  # type: ignore[misc]


def _said(check: Callable[[], str]) -> str:
    """What a check finds wrong; that it may not be made is wrong as well."""
    try:
        return check()
    except Refused as refused:
        return str(refused)


def _trail(aws: ReadsPaths, region: str) -> str:
    return "" if aws.is_logged(region) else "no trail logs here: no event comes"


def _forwarder(aws: ReadsPaths, region: str, about: list[str], bus: str) -> str:
    for subject in about:
        rule = aws.rule(region, FORWARDING_RULES[subject])
        if rule is None:
            return f"there is no rule {FORWARDING_RULES[subject]}"
        if not rule.is_enabled:
            return f"rule {FORWARDING_RULES[subject]} is disabled"
        if bus not in rule.targets:
            return f"rule {FORWARDING_RULES[subject]} does not send to {bus}"
    return ""


def _undelivered(aws: ReadsPaths, region: str) -> str:
    waiting = aws.messages_in(region, UNDELIVERED)
    if waiting is None:
        return f"there is no queue {UNDELIVERED}: events that do not reach the central event bus are lost"
    return f"{waiting} events did not reach the central event bus" if waiting else ""
