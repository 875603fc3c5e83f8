"""The event path of an account: whether its events arrive, and whether Rolewarden can enter the account.

Each probe tests one link of the path from a change to the central account. Every sweep makes the probes at its end, and
so does `rolewarden doctor`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from rolewarden.calls import ReadsPaths, ReadsTrails
from rolewarden.discovery import other_regions
from rolewarden.errors import Refused
from rolewarden.listed import ListedRule, ListedTrail
from rolewarden.own_parts import OwnParts
from rolewarden.own_rules import OwnRules
from rolewarden.verdicts import RECOMMENDATIONS, Reason

FORWARD = "rolewarden-forward-"
"""The beginning of the names of the rules and roles in forwarder.yaml."""

FORWARDING_RULES = {about: FORWARD + about for about in ("subjects", "roles", "policies", "moves")}
"""The name of each rule in forwarder.yaml, by the events that it forwards."""

UNDELIVERED = "rolewarden-undelivered"
"""The name of the dead-letter queue in forwarder.yaml."""

MEMBERS = "member accounts"
ENTRANCE = "entrance"
TRAIL = "trail"
FORWARDER = "forwarder"
QUEUE = "undelivered events"
OUTSIDE = "other regions"
PREVENTION = "prevention"
PARTS = "central stack"

PROBE_RECOMMENDATIONS = {
    MEMBERS: "look in StackSets for the StackSet of the member accounts, and deploy Rolewarden's stack again",
    ENTRANCE: "let the StackSet create Rolewarden's stack in the account again",
    TRAIL: "have a trail of all regions log write management events and global service events, and start it: "
    "`aws cloudtrail start-logging --name TRAIL` (docs/how-to/runbook.md, Account Finding)",
    FORWARDER: "enable the rule, or delete the stack instance in StackSets and add it again "
    "(docs/how-to/runbook.md, Account Finding)",
    QUEUE: "find the cause in the attribute ERROR_CODE of the messages (docs/how-to/runbook.md, Account Finding), then "
    "purge the queue and run `rolewarden sweep`",
    PARTS: "restore the stack (docs/how-to/runbook.md, Restore the stack), and find the caller in CloudTrail",
    OUTSIDE: "allow the role of SweepFunction in the account ec2:DescribeRegions and sagemaker:ListDomains; if "
    "an SCP closes the region to every caller, no action is needed, except for users of a shared role "
    "(docs/how-to/prevention.md, One user of a shared role)",
    PREVENTION: "allow the role of SweepFunction in the account iam:SimulatePrincipalPolicy on itself",
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

    - `account`, `region`: the place of the link. `region` is empty for ENTRANCE and MEMBERS, and for all other regions.
    - `what`: the link, a key of PROBE_RECOMMENDATIONS.
    - `message`: the problem. Empty if the link works.
    - `reason`: the reason of the finding if the link does not work.
    - `is_warning`: whether the problem may be intended, so that it is no finding.
    - `in_order`: what is in order, in words, if the link works and this says more than its name.
    """

    account: str
    region: str
    what: str
    message: str = ""
    reason: Reason = Reason.UNHEARD
    is_warning: bool = False
    in_order: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields for the command line, with the message and the recommended action if the link does not work."""
        probe = {"account": self.account, "region": self.region, "what": self.what}
        if not self.message:
            return {**probe, "in_order": self.in_order} if self.in_order else probe
        of_reason = self.reason in {Reason.NOT_DELEGATED, Reason.OUTSIDE, Reason.NOT_PREVENTED}
        recommendation = RECOMMENDATIONS[self.reason] if of_reason else PROBE_RECOMMENDATIONS[self.what]
        warning = {"warning": True} if self.is_warning else {}
        return {**probe, **warning, "message": self.message, "recommendation": recommendation}


def probes(
    aws: ReadsPaths, account: str, regions: tuple[str, ...], central: CentralStack, rules: OwnRules | None = None
) -> Iterator[Probe]:
    """Test every link of an account.

    - `regions`: the regions that the stack covers.
    - `rules`: the rules of the templates. None if they cannot be read now.

    Raises RetryLater.
    """
    try:
        inside = aws.within(account)
    except Refused as refused:
        yield Probe(account, "", ENTRANCE, str(refused))
        return
    if account != central.account:
        yield Probe(account, "", ENTRANCE)
    for region in dict.fromkeys([*regions, central.home_region]):
        sources = _sources(region, regions, central.home_region)
        yield Probe(account, region, TRAIL, _problem(partial(trail_problem, inside, region, sources)))
        if (account, region) == (central.account, central.region):
            continue  # the rules of the central stack itself match these events; `own_probes` tests them
        about = ["subjects"] if region in regions else []
        about += ["roles", "policies"] if region == central.home_region else []
        about.append("moves")
        whole = partial(rules.forwarder_problem, account, region) if rules else None
        yield Probe(
            account, region, FORWARDER, _problem(partial(forwarder_problem, inside, region, about, central.bus, whole))
        )
        yield Probe(account, region, QUEUE, _problem(partial(_undelivered, inside, region)))


def own_probes(parts: OwnParts, central: CentralStack) -> Iterator[Probe]:
    """Test the parts of the central stack, with one probe that names each problem. Raises RetryLater."""
    try:
        problems = [message for _, message in parts.problems()]
    except Refused as refused:
        problems = [str(refused)]
    yield Probe(central.account, central.region, PARTS, "; ".join(problems))


class NamedTrail(NamedTuple):
    """A trail as a call names it: by its name or ARN, in the region of the call."""

    name: str
    region: str

    def is_at(self, arn: str) -> bool:
        """Whether the trail has this ARN."""
        if self.name.startswith("arn:"):
            return arn == self.name
        return arn.endswith(f":trail/{self.name}") and f":{self.region}:" in arn


def unlogged(aws: ReadsTrails, regions: tuple[str, ...], home_region: str, without: Collection[NamedTrail] = ()) -> str:
    """The events that no trail logs if the trails `without` do not count, and why; empty if other trails log them all.

    - `regions`: the regions that the stack covers.
    - `home_region`: the region in which CloudTrail delivers IAM's events.

    Raises Refused and RetryLater.
    """

    def counts(trail: ListedTrail) -> bool:
        return not any(named.is_at(trail.arn) for named in without)

    for region in dict.fromkeys([*regions, home_region]):
        if problem := trail_problem(aws, region, _sources(region, regions, home_region), counts):
            return f"{region}: {problem}"
    return ""


_ENDING = frozenset({"DeleteTrail", "StopLogging"})
"""The calls after which a trail logs nothing. The trail does not count, even if it has been started again."""


def narrowed(record: Mapping[str, Any], regions: tuple[str, ...], home_region: str) -> bool:
    """Whether a CloudTrail record says that a trail logs less than all events that Rolewarden needs.

    The record decides and not the trail as it is now, because a caller can restore a trail within seconds. A record
    without its parameters, which CloudTrail cuts if they are long, counts as one that narrows.
    """
    call, parameters = str(record.get("eventName")), record.get("requestParameters")
    if call in _ENDING or not isinstance(parameters, Mapping):
        return True
    if call == "UpdateTrail":
        is_one_region = parameters.get("isMultiRegionTrail") is False
        is_enough = {*regions, home_region} == {record.get("awsRegion")}
        return (is_one_region and not is_enough) or parameters.get("includeGlobalServiceEvents") is False
    said = [parameters.get(name) for name in ("eventSelectors", "advancedEventSelectors")]
    selectors = [_capitalized(selector) for found in said if isinstance(found, list) for selector in found]
    try:
        return not all(
            any(_selects_writes(selector, f"{source}.amazonaws.com") for selector in selectors)
            for source in ("iam", "sagemaker")
        )
    except (AttributeError, KeyError, TypeError):
        return True


def _capitalized(value: Any) -> Any:
    """A parameter of a record in the form of the API. CloudTrail writes the first letter of each key in lower case."""
    if isinstance(value, Mapping):
        return {f"{key[:1].upper()}{key[1:]}": _capitalized(each) for key, each in value.items()}
    return [_capitalized(each) for each in value] if isinstance(value, list) else value


def _sources(region: str, regions: tuple[str, ...], home_region: str) -> list[str]:
    return [*(["sagemaker"] if region in regions else []), *(["iam"] if region == home_region else [])]


def regional_probes(aws: ReadsPaths, account: str, covered: tuple[str, ...]) -> Iterator[Probe]:
    """Look for domains in the regions that the stack does not cover. Raises RetryLater.

    Gives a probe for each region that has domains or cannot be read, or one for all regions if none has.
    """
    probes = list(_other_regions(aws, account, covered))
    yield from probes or [Probe(account, "", OUTSIDE)]


def _other_regions(aws: ReadsPaths, account: str, covered: tuple[str, ...]) -> Iterator[Probe]:
    try:
        for found in other_regions(aws.within(account), covered):
            if found.refused:
                yield Probe(account, found.region, OUTSIDE, found.message, is_warning=True)
            else:
                yield Probe(account, found.region, OUTSIDE, found.message, Reason.OUTSIDE)
    except Refused as refused:
        yield Probe(account, "", OUTSIDE, str(refused), refused.reason)


def _problem(probe: Callable[[], str]) -> str:
    """The problem that a probe finds, or the refusal if AWS does not allow the probe; empty if the link works."""
    try:
        return probe()
    except Refused as refused:
        return str(refused)


def trail_problem(
    aws: ReadsTrails, region: str, sources: list[str], counts: Callable[[ListedTrail], bool] = lambda _: True
) -> str:
    """The sources of events that no trail logs in a region, and why the trails that count do not suffice."""
    unlogged, causes = set(sources), []
    for trail in filter(counts, aws.trails(region)):
        try:
            logged, cause = _logged(aws, region, trail, unlogged)
        except Refused as refused:
            # Another trail may log everything, so the search continues.
            logged, cause = set(), f"could not be read ({refused})"
        unlogged -= logged
        if not unlogged:
            return ""
        causes.append(f"{trail.arn} {cause}")
    what = " and ".join(f"{source}.amazonaws.com" for source in sources if source in unlogged)
    why = "; ".join(causes) or "no trail covers this region"
    return f"no trail is known to log the writes of {what}, so its events do not arrive: {why}"


def _logged(aws: ReadsTrails, region: str, trail: ListedTrail, sources: set[str]) -> tuple[set[str], str]:
    """Those of `sources` whose writes a trail logs, and why it does not log the others. Raises Refused and RetryLater.

    The events of IAM are global service events in the IAM home region. A trail of another region alone has none (AWS
    CloudTrail User Guide, Global service events).
    """
    if not aws.is_logging(region, trail.arn):
        return set(), "is stopped"
    selectors = aws.selectors(region, trail.arn) if trail.has_own_selectors else ()
    selected = {
        source
        for source in sources
        if not trail.has_own_selectors or any(_selects_writes(found, f"{source}.amazonaws.com") for found in selectors)
    }
    if not selected:
        return set(), "selects no write management events"
    if "iam" in selected and not trail.has_global_events:
        return selected - {"iam"}, "logs no global service events"
    return selected, "does not select all of them"


def _selects_writes(selector: Mapping[str, Any], source: str) -> bool:
    """Whether an event selector, classic or advanced, selects every write management event of a source.

    A field that is not named here narrows the selection in a way that is not known, so the selector does not count.
    Fields and defaults: CloudTrail API Reference, AdvancedEventSelector, AdvancedFieldSelector and EventSelector.
    """
    if "FieldSelectors" in selector:
        write = {"eventCategory": "Management", "readOnly": "false", "eventSource": source, "eventType": "AwsApiCall"}
        return all(
            field["Field"] in write and _field_matches(field, write[field["Field"]])
            for field in selector["FieldSelectors"]
        )
    return (
        selector.get("IncludeManagementEvents", True)
        and selector.get("ReadWriteType", "All") in {"All", "WriteOnly"}
        and source not in selector.get("ExcludeManagementEventSources", ())
    )


def _field_matches(field: Mapping[str, Any], value: str) -> bool:
    """Whether a field selector matches `value`: some value of a positive operator, and none of a negative one."""
    return all(
        matches == any(matching(value, wanted) for wanted in field[operator])
        for operator, matching, matches in (
            ("Equals", str.__eq__, True),
            ("StartsWith", str.startswith, True),
            ("EndsWith", str.endswith, True),
            ("NotEquals", str.__eq__, False),
            ("NotStartsWith", str.startswith, False),
            ("NotEndsWith", str.endswith, False),
        )
        if operator in field
    )


def forwarder_problem(
    aws: ReadsPaths,
    region: str,
    about: list[str],
    bus: str,
    whole: Callable[[str, ListedRule | None], str] | None = None,
) -> str:
    """The problem of the first of some forwarding rules that has one; empty if all send events to the bus.

    `whole` compares a rule with its template. None if the template's values are not known.
    """
    for subject in about:
        rule = aws.rule(region, FORWARDING_RULES[subject])
        if rule is None:
            return f"rule {FORWARDING_RULES[subject]} does not exist"
        if not rule.is_enabled:
            return f"rule {FORWARDING_RULES[subject]} is disabled"
        if bus not in rule.targets:
            return f"rule {FORWARDING_RULES[subject]} does not send to {bus}"
        if whole and (problem := whole(FORWARDING_RULES[subject], rule)):
            return problem
    return ""


def _undelivered(aws: ReadsPaths, region: str) -> str:
    waiting = aws.messages_in(region, UNDELIVERED)
    if waiting is None:
        return f"queue {UNDELIVERED} does not exist: events that do not reach the central event bus are lost"
    return f"{waiting} events did not reach the central event bus" if waiting else ""
