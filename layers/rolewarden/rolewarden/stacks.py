"""Reads stacks, the calls that deploy them, and StackSets. Its calls and errors are as in `rolewarden.aws`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from botocore.config import Config

from rolewarden.aws import Aws
from rolewarden.aws_errors import translated

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


DEPLOYMENT_CALLS = ("CreateStack", "ExecuteChangeSet", "RollbackStack", "UpdateStack")
"""The calls that begin an operation in which CloudFormation can publish rules."""


MOST_LOOKED_UP = 500
"""The greatest number of calls of one name that are looked up. AWS allows two pages of fifty a second."""


class StackEvent(NamedTuple):
    """One event of a stack: `properties` is the JSON of the resource's properties, or empty."""

    at: datetime
    logical: str
    physical: str
    kind: str
    status: str
    properties: str = ""


class StackSetOperation(NamedTuple):
    """One operation of a StackSet. `ended` is None while it runs."""

    id: str
    begun: datetime
    ended: datetime | None


class StackReader:
    """Reads the operations of stacks, and of the StackSets of the function's own account and region."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @cached_property
    def _client(self) -> CloudFormationClient:
        return cast("CloudFormationClient", self._aws.client("cloudformation"))

    def stack_events(self, stack_id: str) -> Iterator[StackEvent]:
        """The events of a stack of any account and region, latest first, page by page.

        Raises Refused and RetryLater.
        """
        _, _, _, region, account, _ = stack_id.split(":", 5)
        client = self._aws.within(account).client("cloudformation", region)
        with translated():
            for page in client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
                for event in page["StackEvents"]:
                    yield StackEvent(
                        event["Timestamp"],
                        event.get("LogicalResourceId", ""),
                        event.get("PhysicalResourceId", ""),
                        event.get("ResourceType", ""),
                        event.get("ResourceStatus", ""),
                        event.get("ResourceProperties", ""),
                    )

    def stack_output(self, stack_id: str, name: str) -> str:
        """The value of an output that a stack of this region has since its last completed operation; empty without one.

        Raises Refused and RetryLater.
        """
        with translated():
            [stack] = self._client.describe_stacks(StackName=stack_id)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}
        return outputs.get(name, "")

    def deployment_calls(self, stack_id: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """CloudTrail's records of the successful calls that deployed a stack of this region, in no order.

        The records are those of CloudTrail's event history, which has a call after some minutes. A call that names only
        the ARN of a change set is left out, because the ARN does not name the stack. Raises Refused and RetryLater.
        """
        named = {stack_id, stack_id.split("/")[1]}
        client = self._aws.client("cloudtrail", config=Config(retries={"mode": "adaptive", "total_max_attempts": 6}))
        for name in DEPLOYMENT_CALLS:
            with translated():
                pages = client.get_paginator("lookup_events").paginate(
                    LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}],
                    StartTime=since,
                    EndTime=until,
                    PaginationConfig={"MaxItems": MOST_LOOKED_UP},
                )
                records = [json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]]
            for record in records:
                parameters = record.get("requestParameters") or {}
                if not record.get("errorCode") and parameters.get("stackName") in named:
                    yield record

    def stack_set_stack(self, name: str, place: tuple[str, str], call_as: str) -> str:
        """The ID of a StackSet's stack in an account and region. Empty without one. Raises Refused and RetryLater."""
        account, region = place
        with translated():
            found = self._client.list_stack_instances(
                StackSetName=name,
                StackInstanceAccount=account,
                StackInstanceRegion=region,
                CallAs=cast("Any", call_as),
            )["Summaries"]
        return found[0].get("StackId", "") if found else ""

    def stack_set_operations(self, name: str, call_as: str) -> tuple[StackSetOperation, ...]:
        """The operations of a StackSet. `call_as` is as in `stack_set_accounts`. Raises Refused and RetryLater."""
        with translated():
            pages = self._client.get_paginator("list_stack_set_operations").paginate(
                StackSetName=name, CallAs=cast("Any", call_as)
            )
            return tuple(
                StackSetOperation(found["OperationId"], found["CreationTimestamp"], found.get("EndTimestamp"))
                for page in pages
                for found in page["Summaries"]
            )

    def stack_set_places(self, name: str, operation: str, call_as: str) -> frozenset[tuple[str, str]]:
        """The accounts and regions of an operation of a StackSet. Raises Refused and RetryLater."""
        with translated():
            pages = self._client.get_paginator("list_stack_set_operation_results").paginate(
                StackSetName=name, OperationId=operation, CallAs=cast("Any", call_as)
            )
            return frozenset((found["Account"], found["Region"]) for page in pages for found in page["Summaries"])
