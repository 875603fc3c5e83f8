"""Reads the operations of stacks and StackSets, for AlertFunction. Its calls and errors are as in `rolewarden.aws`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rolewarden.aws import Aws, translated

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


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
    """Reads the operations of stacks and StackSets of the function's own account and region."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @cached_property
    def _client(self) -> CloudFormationClient:
        return cast("CloudFormationClient", self._aws.client("cloudformation"))

    def stack_events(self, stack_id: str) -> Iterator[StackEvent]:
        """The events of a stack in this region, latest first, page by page. Raises Refused and RetryLater."""
        pages = iter(self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id))
        while True:
            with translated():
                page = next(pages, None)
            if page is None:
                return
            for event in page["StackEvents"]:
                yield StackEvent(
                    event["Timestamp"],
                    event.get("LogicalResourceId", ""),
                    event.get("PhysicalResourceId", ""),
                    event.get("ResourceType", ""),
                    event.get("ResourceStatus", ""),
                    event.get("ResourceProperties", ""),
                )

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
