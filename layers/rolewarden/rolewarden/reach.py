"""The event path of an account: whether its events arrive, and whether Rolewarden can enter the account.

Each probe tests one link of the path from a change to the central account. Every sweep makes the probes at its end, and
so does `rolewarden doctor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rolewarden.calls import ReadsPaths
from rolewarden.errors import Refused
from rolewarden.verdicts import RECOMMENDATIONS, Reason

FORWARD = "rolewarden-forward-"
"""The beginning of the names of the rules and roles in forwarder.yaml."""

FORWARDING_RULES = {
    about: FORWARD + about.replace(" ", "-") for about in ("subjects", "subject tags", "roles", "policies", "moves")
}
"""The name of each rule in forwarder.yaml, by the events that it forwards."""

UNDELIVERED = "rolewarden-undelivered"
"""The name of the dead-letter queue in forwarder.yaml."""

MEMBERS = "member accounts"
ENTRANCE = "entrance"
TRAIL = "trail"
FORWARDER = "forwarder"
QUEUE = "undelivered events"

PROBE_RECOMMENDATIONS = {
    MEMBERS: "look in StackSets for the StackSet of the member accounts, and deploy Rolewarden's stack again",
    ENTRANCE: "let the StackSet create Rolewarden's stack in the account again",
    TRAIL: "create a trail that logs management events of all regions, and start it: "
    "`aws cloudtrail start-logging --name TRAIL`",
    FORWARDER: "enable the rule, or delete the stack instance in StackSets and add it again "
    "(docs/how-to/runbook.md, Account Finding)",
    QUEUE: "find the cause in the attribute ERROR_CODE of the messages (docs/how-to/runbook.md, Account Finding), then "
    "purge the queue and run `rolewarden sweep`",
}
"""The recommended action for each probe that fails."""


@dataclass(frozen=True)
class CentralStack:
    """The location of the central stack.

    - `home_region`: the region in which CloudTrail delivers IAM's events.
    - `bus`: the ARN of the central event bus. Empty if no other region or account sends events.
    """

    account: str
    region: str
    home_region: str
    bus: str = ""


@dataclass(frozen=True)
class Probe:
    """The result of the test of one link.

    - `account`, `region`: the place of the link. `region` is empty for ENTRANCE and MEMBERS.
    - `what`: the link, a key of PROBE_RECOMMENDATIONS.
    - `message`: the problem. Empty if the link works.
    - `reason`: the reason of the finding if the link does not work.
    """

    account: str
    region: str
    what: str
    message: str = ""
    reason: Reason = Reason.UNHEARD

    def as_dict(self) -> dict[str, Any]:
        """The fields for the command line, with the message and the recommended action if the link does not work."""
        probe = {"account": self.account, "region": self.region, "what": self.what}
        if not self.message:
            return probe
        of_reason = RECOMMENDATIONS[self.reason] if self.reason is Reason.NOT_DELEGATED else ""
        return {**probe, "message": self.message, "recommendation": of_reason or PROBE_RECOMMENDATIONS[self.what]}


def probes(aws: ReadsPaths, account: str, regions: tuple[str, ...], central: CentralStack) -> Iterator[Probe]:
    """Test every link of an account. `regions` are the regions that the stack covers. Raises RetryLater."""
    try:
        inside = aws.within(account)
    except Refused as refused:
        yield Probe(account, "", ENTRANCE, str(refused))
        return
    if account != central.account:
        yield Probe(account, "", ENTRANCE)
    for region in dict.fromkeys([*regions, central.home_region]):
        yield Probe(account, region, TRAIL, _problem(partial(_trail, inside, region)))
        if (account, region) == (central.account, central.region):
            continue  # the rules of the central stack itself match these events
        about = [*(["subjects", "subject tags"] if region in regions else [])]
        about += ["roles", "policies"] if region == central.home_region else []
        about.append("moves")
        yield Probe(account, region, FORWARDER, _problem(partial(_forwarder, inside, region, about, central.bus)))
        yield Probe(account, region, QUEUE, _problem(partial(_undelivered, inside, region)))


def _problem(probe: Callable[[], str]) -> str:
    """The problem that a probe finds, or the refusal if AWS does not allow the probe; empty if the link works."""
    try:
        return probe()
    except Refused as refused:
        return str(refused)


def _trail(aws: ReadsPaths, region: str) -> str:
    return "" if aws.is_logged(region) else "no active trail covers this region, so its events do not arrive"


def _forwarder(aws: ReadsPaths, region: str, about: list[str], bus: str) -> str:
    for subject in about:
        rule = aws.rule(region, FORWARDING_RULES[subject])
        if rule is None:
            return f"rule {FORWARDING_RULES[subject]} does not exist"
        if not rule.is_enabled:
            return f"rule {FORWARDING_RULES[subject]} is disabled"
        if bus not in rule.targets:
            return f"rule {FORWARDING_RULES[subject]} does not send to {bus}"
    return ""


def _undelivered(aws: ReadsPaths, region: str) -> str:
    waiting = aws.messages_in(region, UNDELIVERED)
    if waiting is None:
        return f"queue {UNDELIVERED} does not exist: events that do not reach the central event bus are lost"
    return f"{waiting} events did not reach the central event bus" if waiting else ""
