"""The parts of the central stack without which an event or an alarm reaches nobody.

Each sweep of the central account checks them, because a caller who changes several of them within a second can silence
AlertFunction before it hears of the first change. The heartbeat counts the problems, and CloudWatch alarms on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from rolewarden.aws import Aws
from rolewarden.aws_errors import translated
from rolewarden.chunks import chunks
from rolewarden.clock import Clock
from rolewarden.errors import Gone, Refused
from rolewarden.links import LinkReader
from rolewarden.own_rules import OwnRules

_ENABLED = frozenset({"Creating", "Enabling", "Enabled", "Updating"})
"""The states of an event source mapping that reads its queue, or is about to."""

_SHORT = {"AWS::SQS::Queue": "/", "AWS::SNS::Topic": ":", "AWS::Events::Rule": "|"}
"""The character before the name in the physical ID, for types whose physical ID is not the name."""


CONFIRMATION_SECONDS = 2 * 86_400
"""The seconds that a new subscription can wait for its confirmation before it counts as missing. A first deployment
must begin without a finding, although nobody has confirmed its mail yet."""


class OwnResource(NamedTuple):
    """A resource of the central stack; `changed` is the time of its last change, in seconds of the epoch."""

    logical: str
    kind: str
    physical: str
    changed: float


class OwnParts:
    """Reads the resources of the central stack.

    - `stack_id`: the ARN of the stack.
    - `bus`: the ARN of its event bus. Empty if no other region or account sends events.
    """

    def __init__(self, aws: Aws, account: str, stack_id: str, bus: str, clock: Clock) -> None:
        self._aws, self._links, self._clock = aws, LinkReader(aws), clock
        self._account, self._stack_id, self._bus = account, stack_id, bus

    def resources(self) -> list[OwnResource]:
        """The resources of the stack.

        Empty if the stack does not exist, as for a function on a developer's machine. Raises Refused and RetryLater.
        """
        try:
            with translated():
                pages = self._aws.client("cloudformation").get_paginator("list_stack_resources")
                return [
                    OwnResource(
                        found["LogicalResourceId"],
                        found["ResourceType"],
                        found.get("PhysicalResourceId", ""),
                        found["LastUpdatedTimestamp"].timestamp(),
                    )
                    for page in pages.paginate(StackName=self._stack_id)
                    for found in page["StackResourceSummaries"]
                ]
        except Refused as refused:
            # CloudFormation has no separate error code for a stack that does not exist.
            if "does not exist" in str(refused):
                return []
            raise

    def rules(self) -> OwnRules:
        """The rules of the templates with the names of the stack. Raises Refused and RetryLater."""
        return self._rules(self.resources())

    def _rules(self, resources: list[OwnResource]) -> OwnRules:
        names = {found.logical: found.physical.rpartition(_SHORT.get(found.kind, "\n"))[2] for found in resources}
        names["Stack"] = self._stack_id.split("/")[1] if "/" in self._stack_id else self._stack_id
        return OwnRules(self._aws.partition, self._account, self._aws.region, self._bus, names)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each part that does not work, by its logical ID, and why. Raises Refused and RetryLater."""
        resources = self.resources()
        rules = self._rules(resources)
        topics = [found.physical for found in resources if found.kind == "AWS::SNS::Topic"]
        checks: dict[str, Callable[[str, str], str]] = {
            "AWS::Events::Rule": partial(self._rule, rules),
            "AWS::Lambda::EventSourceMapping": self._mapping,
            "AWS::Lambda::Function": self._function,
        }
        # Without the parameter AlarmEmail, the owner of the stack decides how the topic reaches people.
        latest = self._clock.now() - CONFIRMATION_SECONDS
        if any(found.kind == "AWS::SNS::Subscription" and found.changed <= latest for found in resources):
            checks["AWS::SNS::Topic"] = self._topic
        alarms = {found.physical: found.logical for found in resources if found.kind == "AWS::CloudWatch::Alarm"}
        for logical, kind, physical, _ in resources:
            if kind in checks and (problem := _answer(partial(checks[kind], logical, physical))):
                yield logical, problem
        try:
            yield from self._alarms(alarms, topics)
        except Refused as refused:
            yield "alarms", f"cannot be read ({refused})"

    def _rule(self, rules: OwnRules, logical: str, physical: str) -> str:
        # CloudFormation gives a rule of another bus than the default one as `BUS|RULE`.
        bus, _, name = physical.rpartition("|")
        own_bus = self._bus.rpartition("/")[2]
        found = self._links.rule_on(bus or "default", name)
        if found is None and not bus and own_bus:
            found = self._links.rule_on(own_bus, name)
        return rules.central_problem(logical, found)

    def _mapping(self, logical: str, physical: str) -> str:
        try:
            with translated():
                state = self._aws.client("lambda").get_event_source_mapping(UUID=physical)["State"]
        except Gone:
            return f"mapping {logical} does not exist"
        return "" if state in _ENABLED else f"mapping {logical} is disabled, so its function reads no messages"

    def _function(self, logical: str, physical: str) -> str:
        reserved = self._links.reserved(physical)
        return f"the reserved concurrency of {logical} is 0, so it does not run" if reserved == 0 else ""

    def _topic(self, logical: str, physical: str) -> str:
        with translated():
            pages = self._aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=physical)
            # SNS gives a pending subscription no ARN: https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html
            subscriptions = [found["SubscriptionArn"] for page in pages for found in page["Subscriptions"]]
        is_heard = any(arn.startswith("arn:") for arn in subscriptions)
        return "" if is_heard else f"{logical} has no confirmed subscription, so alarms and alerts have no receiver"

    def _alarms(self, alarms: dict[str, str], topics: list[str]) -> Iterator[tuple[str, str]]:
        found = {}
        for names in chunks(sorted(alarms), 100):
            with translated():
                answer = self._aws.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
            found.update({alarm["AlarmName"]: alarm for alarm in answer})
        for name, logical in alarms.items():
            alarm = found.get(name)
            if alarm is None:
                yield logical, f"alarm {logical} does not exist"
            elif not alarm["ActionsEnabled"] or not set(topics) & set(alarm["AlarmActions"]):
                yield logical, f"alarm {logical} does not notify the topic"


def _answer(check: Callable[[], str]) -> str:
    """The problem that a check finds, or the refusal if AWS does not allow it; empty if the part works."""
    try:
        return check()
    except Refused as refused:
        return f"cannot be read ({refused})"
