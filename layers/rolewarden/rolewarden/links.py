"""Reads the links of the event path for the judge of drills. The calls and their errors are as in `rolewarden.aws`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rolewarden.aws import Aws
from rolewarden.aws_errors import translated
from rolewarden.errors import Gone
from rolewarden.listed import ListedRule


class FunctionState(NamedTuple):
    """A function, as far as it decides whether events reach its code.

    - `reserved`: its reserved concurrency; None if it has none.
    - `regions`: its environment variable REGIONS.
    """

    reserved: int | None
    regions: tuple[str, ...]


class LinkReader:
    """Reads rules on other buses, policies of buses, functions and queues, and metrics of rules."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def rule_on(self, bus: str, name: str) -> ListedRule | None:
        """A rule on a bus of this account and region; None if it does not exist. Raises Refused and RetryLater."""
        try:
            with translated():
                client = self._aws.client("events")
                rule = client.describe_rule(Name=name, EventBusName=bus)
                targets = client.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
        except Gone:
            return None
        return ListedRule.of(rule, targets)

    def bus_policy(self, bus: str) -> Mapping[str, Any]:
        """The policy of a bus of this account and region; empty if it has none. Raises Refused and RetryLater."""
        with translated():
            return _document(self._aws.client("events").describe_event_bus(Name=bus).get("Policy"))

    def function_policy(self, name: str) -> Mapping[str, Any]:
        """The policy of a function; empty if it has none. Raises Refused and RetryLater."""
        try:
            with translated():
                return _document(self._aws.client("lambda").get_policy(FunctionName=name)["Policy"])
        except Gone:
            return {}

    def function(self, name: str) -> FunctionState:
        """The state of a function. Raises Refused and RetryLater."""
        with translated():
            found = self._aws.client("lambda").get_function_configuration(FunctionName=name)
        regions = found.get("Environment", {}).get("Variables", {}).get("REGIONS", "")
        return FunctionState(self.reserved(name), tuple(filter(None, regions.replace(" ", "").split(","))))

    def reserved(self, function: str) -> int | None:
        """The reserved concurrency of a function; None if it has none. Raises Refused and RetryLater."""
        with translated():
            found = self._aws.client("lambda").get_function_concurrency(FunctionName=function)
        reserved: int | None = found.get("ReservedConcurrentExecutions")
        return reserved

    def queue_policy(self, account: str, region: str, queue: str) -> Mapping[str, Any] | None:
        """The policy of a queue, empty if it has none; None if the queue does not exist. Raises as above."""
        try:
            with translated():
                client = self._aws.within(account).client("sqs", region)
                url = client.get_queue_url(QueueName=queue)["QueueUrl"]
                found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        except Gone:
            return None
        return _document(found.get("Attributes", {}).get("Policy"))

    def failed_invocations(self, account: str, region: str, rule: str, since: float, until: float) -> int:
        """The number of events that a rule on the default bus could not send. Raises Refused and RetryLater."""
        with translated():
            found = (
                self._aws.within(account)
                .client("cloudwatch", region)
                .get_metric_statistics(
                    Namespace="AWS/Events",
                    MetricName="FailedInvocations",
                    Dimensions=[{"Name": "RuleName", "Value": rule}],
                    StartTime=datetime.fromtimestamp(since, UTC),
                    EndTime=datetime.fromtimestamp(until, UTC),
                    # A period of a minute or a multiple of it.
                    Period=60 * max(1, round((until - since) / 60)),
                    Statistics=["Sum"],
                )
            )
        return sum(int(point["Sum"]) for point in found["Datapoints"])


def _document(text: Any) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}
