"""The event path link by link: which link of it is broken, in the order in which an event passes.

`rolewarden.judge` asks this when a drill is late or cut. The answer rests on what AWS says about each link and on the
drill itself, never on the assumption that a link must be broken because nothing arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple, Protocol

from rolewarden import POLICY_PATH, reach
from rolewarden.calls import ReadsPaths
from rolewarden.canary import CANARY_ROLE, DrillKind
from rolewarden.drill import DrillResult
from rolewarden.errors import Gone, Refused
from rolewarden.links import FunctionState
from rolewarden.listed import CentralPath, ListedRule, RoleDescription


class PathLink(StrEnum):
    """A link of the event path, in the order in which an event passes."""

    CALL = "the drill's call"
    """DrillFunction could not make the call: the account is closed to it, or a right or the canary is missing."""

    CANARY = "canary"
    """The canary role does not exist, is used, or can be assumed."""

    TRAIL = "trail"
    """No trail is known to log the call."""

    FORWARDING_RULE = "forwarding rule"
    """The rule of forwarder.yaml in another region or account does not exist, is disabled, or has lost its target."""

    BUS = "central event bus"
    """The policy of the central event bus does not let the account's events in."""

    FORWARDING = "forwarding"
    """The rule selects events, and EventBridge cannot send them, usually because the role has no permission."""

    RULE = "rule"
    """The rule of the central stack does not exist, is disabled, or has lost its target."""

    INVOCATION = "permission to invoke"
    """The policy of EnforceFunction does not let EventBridge invoke it for the rule."""

    FUNCTION = "function"
    """EnforceFunction is throttled to zero."""

    REGIONS = "list of regions"
    """EnforceFunction ignores events of the region, because it is not in the environment variable REGIONS."""

    RIGHT = "right to attach"
    """EnforceFunction heard the drill, and could not attach the canary's policy again."""

    QUEUE = "dead-letter queue"
    """The queue for events that EventBridge cannot deliver does not exist, or EventBridge has no permission for it."""

    UNKNOWN = "unknown"
    """No link shows a fault."""


class BrokenLink(NamedTuple):
    """A broken link, and what is wrong with it."""

    link: PathLink
    message: str


class ReadsCanary(ReadsPaths, Protocol):
    """Reads the event path and the canary role."""

    def role(self, name: str) -> RoleDescription:
        """As `Aws.role`."""


class ReadsLinks(Protocol):
    """Reads the links of the event path that `ReadsPaths` does not."""

    def rule_on(self, bus: str, name: str) -> ListedRule | None:
        """As `LinkReader.rule_on`."""

    def bus_policy(self, bus: str) -> Mapping[str, Any]:
        """As `LinkReader.bus_policy`."""

    def function_policy(self, name: str) -> Mapping[str, Any]:
        """As `LinkReader.function_policy`."""

    def function(self, name: str) -> FunctionState:
        """As `LinkReader.function`."""

    def queue_policy(self, account: str, region: str, queue: str) -> Mapping[str, Any] | None:
        """As `LinkReader.queue_policy`."""

    def failed_invocations(self, account: str, region: str, rule: str, since: float, until: float) -> int:
        """As `LinkReader.failed_invocations`."""


@dataclass
class EventPath:
    """The path from a call in a covered account and region to EnforceFunction.

    - `central`, `parts`: the location of the central stack, and its parts.
    - `organization`: the ID of the organization; empty without one.
    - `is_used`: whether a subject uses the canary role of an account.
    """

    aws: ReadsCanary
    links: ReadsLinks
    central: reach.CentralStack
    parts: CentralPath
    regions: tuple[str, ...]
    organization: str
    is_used: Callable[[str], bool]

    def first_broken(self, judged: DrillResult, now: float) -> BrokenLink:
        """The first broken link of the path of a drill that is late or cut. Raises RetryLater."""
        found = next(self._broken(judged, now), None)
        return found or BrokenLink(PathLink.UNKNOWN, "no link shows a fault: CloudTrail or EventBridge may be slow")

    def broken_queue(self, account: str, region: str) -> BrokenLink | None:
        """The dead-letter queue of a region if it takes no event; None if it does. Raises RetryLater."""
        return self._found(PathLink.QUEUE, partial(self._queue, account, region))

    def _broken(self, judged: DrillResult, now: float) -> Iterator[BrokenLink]:
        drill = judged.drill
        account, region, is_of_roles = drill.account, drill.region, drill.kind is not DrillKind.SUBJECTS
        canary = partial(self._canary, account) if is_of_roles else lambda: ""
        if drill.refused:
            yield from self._each((PathLink.CANARY, canary))
            yield BrokenLink(PathLink.CALL, drill.refused)
            return
        if judged.heard and judged.heard.refused:
            yield from self._each((PathLink.CANARY, canary))
            yield BrokenLink(PathLink.RIGHT, judged.heard.refused)
            return
        source = "iam" if is_of_roles else "sagemaker"
        about = "roles" if is_of_roles else "subjects"
        yield from self._each(
            (PathLink.CANARY, canary),
            (PathLink.TRAIL, lambda: reach.trail_problem(self.aws.within(account), region, [source])),
        )
        is_here = (account, region) == (self.central.account, self.central.region)
        if is_here:
            name = self.parts.roles_rule if is_of_roles else self.parts.subjects_rule
            yield from self._each(
                (PathLink.RULE, lambda: self._rule(name, "default")),
                (PathLink.INVOCATION, partial(self._permission, name, "")),
            )
        else:
            rule = reach.FORWARDING_RULES[about]
            yield from self._each(
                (PathLink.FORWARDING_RULE, lambda: self._forwarding_rule(account, region, about)),
                (PathLink.BUS, partial(self._admission, account, region, source)),
                (PathLink.FORWARDING, lambda: self._forwarding(account, region, rule, drill.at, now)),
                (PathLink.RULE, lambda: self._rule(self.parts.forwarded_rule, self._bus)),
                (PathLink.INVOCATION, partial(self._permission, self.parts.forwarded_rule, self._bus)),
            )
        yield from self._each(
            (PathLink.FUNCTION, self._function),
            (PathLink.REGIONS, lambda: "" if is_of_roles else self._region(region)),
            (PathLink.QUEUE, partial(self._queue, account, region)),
        )

    def _each(self, *probes: tuple[PathLink, Callable[[], str]]) -> Iterator[BrokenLink]:
        for link, probe in probes:
            if found := self._found(link, probe):
                yield found

    @staticmethod
    def _found(link: PathLink, probe: Callable[[], str]) -> BrokenLink | None:
        try:
            message = probe()
        except Refused as refused:
            message = f"it cannot be read ({refused})"
        return BrokenLink(link, message) if message else None

    @property
    def _bus(self) -> str:
        return self.central.bus.rpartition("/")[2]

    def _canary(self, account: str) -> str:
        try:
            role = self.aws.within(account).role(CANARY_ROLE)
        except Gone:
            return f"the role {CANARY_ROLE} does not exist"
        if self.is_used(account):
            return f"a domain or user profile uses the role {CANARY_ROLE}"
        return "" if role.is_closed else f"the trust policy of the role {CANARY_ROLE} allows callers"

    def _forwarding_rule(self, account: str, region: str, about: str) -> str:
        return reach.forwarder_problem(self.aws.within(account), region, [about], self.central.bus)

    def _admission(self, account: str, region: str, source: str) -> str:
        statements = _statements(self.links.bus_policy(self._bus))
        context = {
            "aws:principalorgid": self.organization,
            "events:source": f"aws.{source}",
            "aws:principalarn": f"arn:{self.aws.partition}:iam::{account}:role{POLICY_PATH}{reach.FORWARD}{region}",
        }
        return self._answer(
            statements,
            "events:PutEvents",
            context,
            f"the policy of the bus {self._bus}",
            needs_allow=account != self.central.account,
        )

    def _forwarding(self, account: str, region: str, rule: str, since: float, now: float) -> str:
        failed = self.links.failed_invocations(account, region, rule, since - 60, now + 60)
        return f"{failed} events that rule {rule} selected could not be sent to the central event bus" if failed else ""

    def _rule(self, name: str, bus: str) -> str:
        rule = self.links.rule_on(bus, name)
        if rule is None:
            return f"rule {name} does not exist"
        if not rule.is_enabled:
            return f"rule {name} is disabled"
        if not any(target.endswith(f":function:{self.parts.function}") for target in rule.targets):
            return f"rule {name} does not send to {self.parts.function}"
        return ""

    def _permission(self, rule: str, bus: str) -> str:
        place = f"{bus}/{rule}" if bus else rule
        arn = f"arn:{self.aws.partition}:events:{self.central.region}:{self.central.account}:rule/{place}"
        context = {"aws:sourcearn": arn, "aws:sourceaccount": self.central.account}
        policy = self.links.function_policy(self.parts.function)
        what = f"the policy of {self.parts.function}"
        return self._answer(_statements(policy), "lambda:InvokeFunction", context, what, service=True)

    def _function(self) -> str:
        reserved = self.links.function(self.parts.function).reserved
        return f"the reserved concurrency of {self.parts.function} is 0" if reserved == 0 else ""

    def _region(self, region: str) -> str:
        listed = self.links.function(self.parts.function).regions
        return "" if region in listed else f"{region} is not in the variable REGIONS of {self.parts.function}"

    def _queue(self, account: str, region: str) -> str:
        is_here = (account, region) == (self.central.account, self.central.region)
        queue = self.parts.queue if is_here else reach.UNDELIVERED
        policy = self.links.queue_policy(account, region, queue)
        if policy is None:
            return f"queue {queue} does not exist"
        name = self.parts.subjects_rule if is_here else reach.FORWARDING_RULES["subjects"]
        arn = f"arn:{self.aws.partition}:events:{region}:{account}:rule/{name}"
        context = {"aws:sourcearn": arn, "aws:sourceaccount": account, "aws:principalisawsservice": "true"}
        return self._answer(_statements(policy), "sqs:SendMessage", context, f"the policy of {queue}", service=True)

    @staticmethod
    def _answer(
        statements: list[Mapping[str, Any]],
        action: str,
        context: Mapping[str, str],
        what: str,
        *,
        service: bool = False,
        needs_allow: bool = True,
    ) -> str:
        """The reason why a resource policy does not let an event through; empty if it does.

        A statement with a condition that is not known here allows nothing, and denies.
        """
        about = [found for found in statements if _is_about(found, action, service=service)]
        if any(found.get("Effect") == "Deny" and _holds(found, context, unknown=True) for found in about):
            return f"{what} denies {action}"
        if not needs_allow or any(found.get("Effect") == "Allow" and _holds(found, context) for found in about):
            return ""
        return f"{what} does not allow {action}"


def _statements(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [found for found in _listed(policy.get("Statement")) if isinstance(found, Mapping)]


def _is_about(statement: Mapping[str, Any], action: str, *, service: bool) -> bool:
    """Whether a statement is about an action of any caller of the account, or of EventBridge with `service`."""
    actions = [str(found).lower() for found in _listed(statement.get("Action"))]
    principal = statement.get("Principal")
    named = principal if isinstance(principal, Mapping) else {}
    services = _listed(named.get("Service"))
    is_all = principal == "*" or "*" in _listed(named.get("AWS"))
    is_named = is_all or (service and "events.amazonaws.com" in services) or (not service and bool(named.get("AWS")))
    return is_named and any(fnmatchcase(action.lower(), found) for found in actions)


def _holds(statement: Mapping[str, Any], context: Mapping[str, str], *, unknown: bool = False) -> bool:
    """Whether the conditions of a statement hold. `unknown` is the answer for a condition that is not known here."""
    conditions = statement.get("Condition")
    if not isinstance(conditions, Mapping):
        return True
    for operator, keys in conditions.items():
        for key, values in (keys if isinstance(keys, Mapping) else {}).items():
            wanted, value = [str(found) for found in _listed(values)], context.get(str(key).lower())
            is_negative = "Not" in operator
            if operator not in _OPERATORS or value is None:
                if not unknown:
                    return False
                continue
            if any(fnmatchcase(value.lower(), each.lower()) for each in wanted) == is_negative:
                return False
    return True


_OPERATORS = frozenset(
    {
        "ArnEquals",
        "ArnLike",
        "ArnNotEquals",
        "ArnNotLike",
        "Bool",
        "StringEquals",
        "StringLike",
        "StringNotEquals",
        "StringNotLike",
    }
)
"""The condition operators that `_holds` knows."""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
