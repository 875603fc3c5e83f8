"""template.yaml as CloudFormation receives it: translated by SAM's own translator, with resolved references.

This module does not deploy. The name of a resource is its logical ID, as in `sam local invoke`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from rolewarden_local.emulated.intrinsics import Stack
from rolewarden_local.scenes.translated import translated


@dataclass(frozen=True)
class Rule:
    """An EventBridge rule on the default bus: its logical ID, its pattern, and the logical ID of its function."""

    name: str
    pattern: Mapping[str, Any]
    function: str


_ARNS: Mapping[str, tuple[str, str]] = {
    "AWS::DynamoDB::Table": ("dynamodb", "table/{}"),
    "AWS::Events::EventBus": ("events", "event-bus/{}"),
    "AWS::Events::Rule": ("events", "rule/{}"),
    "AWS::IAM::Role": ("iam", "role/rolewarden/{}"),
    "AWS::KMS::Key": ("kms", "key/{}"),
    "AWS::Lambda::Function": ("lambda", "function:{}"),
    "AWS::Lambda::LayerVersion": ("lambda", "layer:{}:1"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{}:*"),
    "AWS::SNS::Topic": ("sns", "{}"),
    "AWS::SQS::Queue": ("sqs", "{}"),
}
"""The service and the resource part of the ARN for each resource type. The logical ID is used as the physical one."""


class Template:
    """A SAM template, translated for one account and region. `physical` gives each resource another name."""

    def __init__(
        self,
        path: Path,
        *,
        region: str,
        account: str,
        parameters: Mapping[str, str] | None = None,
        stack: str = "rolewarden",
        physical: Callable[[str], str] = str,
    ) -> None:
        given = dict(parameters or {})
        self.source, self.body = translated(path.read_text(encoding="utf-8"), given, region)
        self._root = path.parent
        partition = boto3.Session(region_name=region).get_partition_for_region(region)
        parameters_of_stack = {
            name: {"Value": given.get(name, str(declared.get("Default", ""))), "Type": declared["Type"]}
            for name, declared in self.body.get("Parameters", {}).items()
        }
        made = {
            name: _as_made(physical(name), resource["Type"], partition, region, account)
            for name, resource in self.body["Resources"].items()
        }
        self.parameters = {name: given["Value"] for name, given in parameters_of_stack.items()}
        self._stack = Stack(self.body, stack, account, region, partition, parameters_of_stack, made)

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Resolved properties of all resources of a type whose condition holds, by logical ID."""
        return {
            name: self.resolve(resource.get("Properties", {}))
            for name, resource in self.body["Resources"].items()
            if resource["Type"] == kind and self._stack.makes(resource)
        }

    def made(self) -> set[str]:
        """The logical IDs of all resources whose condition holds."""
        return {name for name, resource in self.body["Resources"].items() if self._stack.makes(resource)}

    def depends_on(self, name: str) -> list[str]:
        """The logical IDs in a resource's DependsOn."""
        named = self.body["Resources"][name].get("DependsOn", [])
        return [named] if isinstance(named, str) else list(named)

    def outputs(self) -> dict[str, str]:
        """The stack's outputs."""
        return {name: str(self.resolve(output["Value"])) for name, output in self.body.get("Outputs", {}).items()}

    def rules(self) -> Iterator[Rule]:
        """The rules with an event pattern, in the order of the template."""
        for name, rule in self.resources("AWS::Events::Rule").items():
            if "EventPattern" in rule:
                for target in rule["Targets"]:
                    yield Rule(name, rule["EventPattern"], target["Arn"].rsplit(":", 1)[-1])

    def environment(self, function: str) -> dict[str, str]:
        """A function's environment variables."""
        variables = self.resources("AWS::Lambda::Function")[function]["Environment"]["Variables"]
        return {name: str(value) for name, value in variables.items()}

    def code(self, function: str) -> tuple[Path, str]:
        """The file of a function's handler, and the handler's name in that file."""
        properties = self.source["Resources"][function]["Properties"]
        handler = properties.get("Handler") or self.source["Globals"]["Function"]["Handler"]
        module, _, name = handler.rpartition(".")
        return self._root / properties["CodeUri"] / f"{module}.py", name

    def resolve(self, value: Any) -> Any:
        """`value` with its intrinsic functions replaced by their results."""
        return self._stack.resolve(value)


_ANSWERED = {"Custom::RolewardenGuardrails": {"RulesDigest": "0" * 64}}
"""The attributes with which functions answer for a custom resource, each with an example."""


def _as_made(logical: str, kind: str, partition: str, region: str, account: str) -> dict[str, Any]:
    """A resource with its properties after a deployment, under its logical ID."""
    if kind not in _ARNS:
        return {"PhysicalResourceId": logical, "Attributes": dict(_ANSWERED.get(kind, {}))}
    service, form = _ARNS[kind]
    arn = f"arn:{partition}:{service}:{'' if service == 'iam' else region}:{account}:{form.format(logical)}"
    attributes = {"Arn": arn} | ({"QueueName": logical} if kind == "AWS::SQS::Queue" else {})
    is_arn = kind in {"AWS::Lambda::LayerVersion", "AWS::SNS::Topic"}
    return {"PhysicalResourceId": arn if is_arn else logical, "Attributes": attributes}
