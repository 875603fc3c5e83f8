"""Intrinsic functions and conditions of CloudFormation, for deployed stacks and for templates that are not deployed.

MiniStack has a complete resolver of functions, and this module uses it for both. Without this module, MiniStack
evaluates conditions with other code. That code compares the name of a pseudo parameter instead of its value, and does
not have Fn::Join, Fn::Split, Fn::Sub and Fn::FindInMap. MiniStack also uses the partition `aws` for every region.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from rolewarden_local.emulated._ministack import cfn_engine, responses

NO_VALUE = cfn_engine._NO_VALUE
"""The result of AWS::NoValue in a place that cannot be omitted."""


class Conditions(Mapping[str, bool]):
    """The conditions of a template in the account and region of the request. Each is evaluated on its first use.

    `parameters` has each parameter's Value and Type, in MiniStack's format.
    """

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]]) -> None:
        self._definitions: Mapping[str, Any] = template.get("Conditions", {})
        self._mappings: Mapping[str, Any] = template.get("Mappings", {})
        self._parameters = parameters
        self._known: dict[str, bool] = {}

    def __getitem__(self, name: str) -> bool:
        if name not in self._known:
            definition = self._definitions[name]
            resolved = cfn_engine._resolve_refs(definition, {}, self._parameters, self, self._mappings, "", "")
            self._known[name] = bool(resolved)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def __len__(self) -> int:
        return len(self._definitions)


_UUID: Final = "1f357b5b-3e36-838c-94a4-e671aa807118"
"""The end of a stack's ID, in full length, because the limits of event patterns count it."""


@dataclass(frozen=True)
class Stack:
    """A stack in an account and region, for a template without a deployment.

    `resources` has the PhysicalResourceId and the Attributes of each resource, by logical ID.
    """

    template: Mapping[str, Any]
    name: str
    account: str
    region: str
    partition: str = "aws"
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))

    def resolve(self, value: Any) -> Any:
        """`value` with its intrinsic functions replaced by their results, or None for AWS::NoValue."""
        stack_id = f"arn:{self.partition}:cloudformation:{self.region}:{self.account}:stack/{self.name}/{_UUID}"
        with responses.request_scope(self.account, self.region):
            resolved = cfn_engine._resolve_refs(
                self._in_partition(value),
                self.resources,
                self.parameters,
                self.conditions,
                self.template.get("Mappings", {}),
                self.name,
                stack_id,
            )
        return None if resolved is NO_VALUE else resolved

    def makes(self, resource: Mapping[str, Any]) -> bool:
        """Whether the condition of a resource holds. True if the resource does not have a condition."""
        condition = resource.get("Condition")
        with responses.request_scope(self.account, self.region):
            return condition is None or self.conditions[condition]

    @cached_property
    def conditions(self) -> Conditions:
        """The template's conditions. Read them only within the scope of a request."""
        conditions = self._in_partition(self.template.get("Conditions", {}))
        return Conditions({**self.template, "Conditions": conditions}, self.parameters)

    def _in_partition(self, value: Any) -> Any:
        if self.partition == "aws":
            return value
        text = json.dumps(value).replace('{"Ref": "AWS::Partition"}', json.dumps(self.partition))
        return json.loads(text.replace("${AWS::Partition}", self.partition))
