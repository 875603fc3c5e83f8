"""The parts of the central stack without which an event or an alarm reaches nobody.

Each sweep of the central account checks them, because a caller who changes several of them within a second can silence
AlertFunction before it hears of the first change. The heartbeat counts the problems, and CloudWatch alarms on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from rolewarden.aws import Aws
from rolewarden.aws_errors import translated
from rolewarden.chunks import chunks
from rolewarden.clock import Clock
from rolewarden.errors import Gone, Refused
from rolewarden.links import LinkReader
from rolewarden.own_definitions import OwnDefinitions
from rolewarden.own_rules import OwnRules
from rolewarden.verdicts import Reason

_ENABLED = frozenset({"Creating", "Enabling", "Enabled", "Updating"})
"""The states of an event source mapping that reads its queue, or is about to."""

_MAIL = "email"
"""The protocol of the subscription in template.yaml. Another caller can subscribe a queue of its own."""

_MUTING: Final[Sequence[Literal["SCHEDULED", "ACTIVE"]]] = ("SCHEDULED", "ACTIVE")
"""The states of a mute rule that has not expired."""

_SHORT = {"AWS::SQS::Queue": "/", "AWS::SNS::Topic": ":", "AWS::Events::Rule": "|"}
"""The character before the name in the physical ID, for types whose physical ID is not the name."""


CONFIRMATION_SECONDS = 2 * 86_400
"""The seconds that a new subscription can wait for its confirmation before it counts as missing. A first deployment
must begin without a finding, although nobody has confirmed its mail yet."""


DEPLOYMENT_SECONDS = 60
"""The seconds by which the clocks of Lambda and CloudFormation may differ. CloudFormation completes the change of a
function after Lambda has changed it."""


class OwnResource(NamedTuple):
    """A resource of the central stack.

    - `changed`: the time of the last change by CloudFormation, in seconds of the epoch.
    - `is_changing`: whether CloudFormation works on the resource now.
    """

    logical: str
    kind: str
    physical: str
    changed: float
    is_changing: bool = False


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
                        found["ResourceStatus"].endswith("_IN_PROGRESS"),
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
        return OwnRules(self._aws.partition, self._account, self._aws.region, self._bus, self._names(resources))

    def _names(self, resources: list[OwnResource]) -> dict[str, str]:
        """The name of each resource, and of the stack under `Stack`, by logical ID."""
        names = {found.logical: found.physical.rpartition(_SHORT.get(found.kind, "\n"))[2] for found in resources}
        names["Stack"] = self._stack_id.split("/")[1] if "/" in self._stack_id else self._stack_id
        return names

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each part that does not work, by its logical ID, and why. Raises Refused and RetryLater."""
        resources = self.resources()
        definitions = OwnDefinitions(self._aws.partition, self._account, self._aws.region, self._names(resources))
        topics = [found.physical for found in resources if found.kind == "AWS::SNS::Topic"]
        checks: dict[str, Callable[[OwnResource], str]] = {
            "AWS::Events::Rule": partial(self._rule, self._rules(resources)),
            "AWS::KMS::Key": self._key,
            "AWS::Lambda::EventSourceMapping": partial(self._mapping, definitions),
            "AWS::Lambda::Function": self._function,
        }
        checks["AWS::SNS::Topic"] = partial(self._topic, definitions)
        # Without the parameter AlarmEmail, the owner of the stack decides how the topic reaches people.
        latest = self._clock.now() - CONFIRMATION_SECONDS
        if any(found.kind == "AWS::SNS::Subscription" and found.changed <= latest for found in resources):
            checks["AWS::SNS::Topic"] = partial(self._heard_topic, definitions)
        alarms = {found.physical: found.logical for found in resources if found.kind == "AWS::CloudWatch::Alarm"}
        for found in resources:
            if found.kind in checks and (problem := _answer(partial(checks[found.kind], found))):
                yield found.logical, problem
        try:
            yield from self._alarms(definitions, alarms, topics)
        except Refused as refused:
            yield "alarms", f"cannot be read ({refused})"

    def _rule(self, rules: OwnRules, resource: OwnResource) -> str:
        # CloudFormation gives a rule of another bus than the default one as `BUS|RULE`.
        bus, _, name = resource.physical.rpartition("|")
        own_bus = self._bus.rpartition("/")[2]
        found = self._links.rule_on(bus or "default", name)
        if found is None and not bus and own_bus:
            found = self._links.rule_on(own_bus, name)
        return rules.central_problem(resource.logical, found)

    def _mapping(self, definitions: OwnDefinitions, resource: OwnResource) -> str:
        logical = resource.logical
        try:
            with translated():
                found = self._aws.client("lambda").get_event_source_mapping(UUID=resource.physical)
        except Gone:
            return f"mapping {logical} does not exist"
        if found["State"] not in _ENABLED:
            return f"mapping {logical} is disabled, so its function reads no messages"
        return definitions.mapping_problem(logical, found)

    def _function(self, resource: OwnResource) -> str:
        if self._links.reserved(resource.physical) == 0:
            return f"the reserved concurrency of {resource.logical} is 0, so it does not run"
        with translated():
            found = self._aws.client("lambda").get_function_configuration(FunctionName=resource.physical)
        # The template does not have the code, so the time of the change decides.
        changed = datetime.fromisoformat(found["LastModified"]).timestamp()
        if not resource.is_changing and changed > resource.changed + DEPLOYMENT_SECONDS:
            return f"the code or configuration of {resource.logical} was changed after its deployment"
        return ""

    def _key(self, resource: OwnResource) -> str:
        with translated():
            state = self._aws.client("kms").describe_key(KeyId=resource.physical)["KeyMetadata"]["KeyState"]
        is_usable = state == "Enabled"
        return "" if is_usable else f"key {resource.logical} is {state}, so alarms and alerts reach nobody"

    def _topic(self, definitions: OwnDefinitions, resource: OwnResource) -> str:
        client = self._aws.client("sns")
        with translated():
            attributes = client.get_topic_attributes(TopicArn=resource.physical)["Attributes"]
        if _known(lambda: client.get_data_protection_policy(ResourceArn=resource.physical).get("DataProtectionPolicy")):
            return f"{resource.logical} has a data protection policy, which may refuse or change alarms and alerts"
        return definitions.topic_problem(resource.logical, attributes)

    def _heard_topic(self, definitions: OwnDefinitions, resource: OwnResource) -> str:
        return self._unheard(resource) or self._topic(definitions, resource)

    def _unheard(self, resource: OwnResource) -> str:
        """The problem of a topic whose messages reach nobody by mail; empty if they reach somebody."""
        client = self._aws.client("sns")
        with translated():
            pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=resource.physical)
            # SNS gives a pending subscription no ARN: https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html
            confirmed = [
                found["SubscriptionArn"]
                for page in pages
                for found in page["Subscriptions"]
                if found["Protocol"] == _MAIL and found["SubscriptionArn"].startswith("arn:")
            ]
            # A subscription with a filter gets only the messages that fit it.
            is_heard = any(
                not client.get_subscription_attributes(SubscriptionArn=arn)["Attributes"].get("FilterPolicy")
                for arn in confirmed
            )
        if is_heard:
            return ""
        lacks = "no confirmed mail subscription without a filter" if confirmed else "no confirmed mail subscription"
        return f"{resource.logical} has {lacks}, so alarms and alerts reach nobody"

    def _alarms(
        self, definitions: OwnDefinitions, alarms: dict[str, str], topics: list[str]
    ) -> Iterator[tuple[str, str]]:
        found = {}
        for names in chunks(sorted(alarms), 100):
            with translated():
                answer = self._aws.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
            found.update({alarm["AlarmName"]: alarm for alarm in answer})
        muting = self._muting(alarms)
        for name, logical in alarms.items():
            alarm = found.get(name)
            if alarm is None:
                yield logical, f"alarm {logical} does not exist"
            elif not alarm["ActionsEnabled"] or not set(topics) & set(alarm["AlarmActions"]):
                yield logical, f"alarm {logical} does not notify the topic"
            elif problem := definitions.alarm_problem(logical, alarm) or muting.get(name, ""):
                yield logical, problem

    def _muting(self, alarms: dict[str, str]) -> dict[str, str]:
        """The problem of each alarm that a mute rule silences, now or later, by its name.

        DescribeAlarms does not show the rule, and the list of rules does not name their alarms.
        """
        pages = self._aws.client("cloudwatch").get_paginator("list_alarm_mute_rules")

        def rules(**of_alarm: str) -> list[str]:
            return [
                rule["AlarmMuteRuleArn"].rpartition(":")[2]
                for page in pages.paginate(Statuses=_MUTING, **of_alarm)
                for rule in page["AlarmMuteRuleSummaries"]
            ]

        if not alarms or not _known(rules):
            return {}
        with translated():
            listed = {name: rules(AlarmName=name) for name in alarms}
        return {
            name: f"alarm {alarms[name]} is muted by the mute rule {', '.join(found)}"
            for name, found in listed.items()
            if found
        }


def _known(read: Callable[[], Any]) -> Any:
    """The answer of a call; None if the region does not have the call.

    SNS has no data protection for some accounts and regions, and a region can lack the mute rules of CloudWatch. Raises
    Refused for a denied call, and RetryLater.
    """
    try:
        with translated():
            return read()
    except Refused as refused:
        if refused.reason is Reason.ACCESS_DENIED:
            raise
        return None


def _answer(check: Callable[[], str]) -> str:
    """The problem that a check finds, or the refusal if AWS does not allow it; empty if the part works."""
    try:
        return check()
    except Refused as refused:
        return f"cannot be read ({refused})"
