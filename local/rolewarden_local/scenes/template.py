"""template.yaml as CloudFormation sees it: translated by SAM's own translator, with what it refers to filled in.

Nothing is deployed: resources go by their logical ids, as `sam local invoke` has it too.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from rolewarden_local.emulated.intrinsics import Stack

# The translator counts its calls and complains at exit that nobody collected the figures.
logging.getLogger("samtranslator.metrics").setLevel(logging.CRITICAL)

_MANAGED_POLICIES = ("AWSLambdaBasicExecutionRole", "AWSLambdaSQSQueueExecutionRole")


@dataclass(frozen=True)
class Rule:
    """An EventBridge rule on the default bus: its logical id, its pattern, the logical id of the function it calls."""

    name: str
    pattern: Mapping[str, Any]
    function: str


@functools.lru_cache(maxsize=8)
def _json_of(text: str) -> str:
    """A YAML template as JSON, in which no two places share a value: the translator changes what it is given.

    The result is kept, because reading YAML takes three quarters of a translation's time.
    """
    return json.dumps(yaml_parse(text))


_ARNS: Mapping[str, tuple[str, str]] = {
    "AWS::DynamoDB::Table": ("dynamodb", "table/{}"),
    "AWS::Events::EventBus": ("events", "event-bus/{}"),
    "AWS::Events::Rule": ("events", "rule/{}"),
    "AWS::IAM::Role": ("iam", "role/rolewarden/{}"),
    "AWS::KMS::Key": ("kms", "key/{}"),
    "AWS::Lambda::Function": ("lambda", "function:{}"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{}:*"),
    "AWS::SNS::Topic": ("sns", "{}"),
    "AWS::SQS::Queue": ("sqs", "{}"),
}
"""By type of resource: the service and the resource of its ARN, in which a logical ID stands for the physical one."""


class Template:
    """A SAM template, translated for one account and region."""

    def __init__(
        self,
        path: Path,
        *,
        region: str,
        account: str,
        parameters: Mapping[str, str] | None = None,
        stack: str = "rolewarden",
    ) -> None:
        text = _json_of(path.read_text(encoding="utf-8"))
        source = json.loads(text)
        self.source: dict[str, Any] = json.loads(text)
        self._root = path.parent
        for resource in source["Resources"].values():
            for uri in ("CodeUri", "ContentUri"):
                if uri in resource.get("Properties", {}):
                    resource["Properties"][uri] = "s3://bucket/key"
        session = boto3.Session(region_name=region)
        partition = session.get_partition_for_region(region)
        managed = {name: f"arn:{partition}:iam::aws:policy/service-role/{name}" for name in _MANAGED_POLICIES}
        given = dict(parameters or {})
        self.body: dict[str, Any] = Translator(managed, Parser(), boto_session=session).translate(source, given)
        parameters_of_stack = {
            name: {"Value": given.get(name, str(declared.get("Default", ""))), "Type": declared["Type"]}
            for name, declared in self.body.get("Parameters", {}).items()
        }
        made = {
            name: _as_made(name, resource["Type"], partition, region, account)
            for name, resource in self.body["Resources"].items()
        }
        self.parameters = {name: given["Value"] for name, given in parameters_of_stack.items()}
        self._stack = Stack(self.body, stack, account, region, partition, parameters_of_stack, made)

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of all resources of a type that are made, resolved, by logical id."""
        return {
            name: self.resolve(resource.get("Properties", {}))
            for name, resource in self.body["Resources"].items()
            if resource["Type"] == kind and self._stack.makes(resource)
        }

    def made(self) -> set[str]:
        """The logical IDs of all resources that are made."""
        return {name for name, resource in self.body["Resources"].items() if self._stack.makes(resource)}

    def depends_on(self, name: str) -> list[str]:
        """The logical ids that a resource names as what it depends on."""
        named = self.body["Resources"][name].get("DependsOn", [])
        return [named] if isinstance(named, str) else list(named)

    def outputs(self) -> dict[str, str]:
        """The stack's outputs."""
        return {name: str(self.resolve(output["Value"])) for name, output in self.body.get("Outputs", {}).items()}

    def rules(self) -> Iterator[Rule]:
        """The rules that match events, in the order of the template."""
        for name, rule in self.resources("AWS::Events::Rule").items():
            if "EventPattern" in rule:
                for target in rule["Targets"]:
                    yield Rule(name, rule["EventPattern"], target["Arn"].rsplit(":", 1)[-1])

    def environment(self, function: str) -> dict[str, str]:
        """A function's environment variables."""
        variables = self.resources("AWS::Lambda::Function")[function]["Environment"]["Variables"]
        return {name: str(value) for name, value in variables.items()}

    def code(self, function: str) -> tuple[Path, str]:
        """The file of a function's handler, and the name of the handler in it."""
        properties = self.source["Resources"][function]["Properties"]
        handler = properties.get("Handler") or self.source["Globals"]["Function"]["Handler"]
        module, _, name = handler.rpartition(".")
        return self._root / properties["CodeUri"] / f"{module}.py", name

    def resolve(self, value: Any) -> Any:
        """`value` with its intrinsic functions replaced by what they stand for."""
        return self._stack.resolve(value)


def _as_made(logical: str, kind: str, partition: str, region: str, account: str) -> dict[str, Any]:
    """A resource as CloudFormation would have it after a deployment, under its logical ID."""
    if kind not in _ARNS:
        return {"PhysicalResourceId": logical, "Attributes": {}}
    service, form = _ARNS[kind]
    arn = f"arn:{partition}:{service}:{'' if service == 'iam' else region}:{account}:{form.format(logical)}"
    attributes = {"Arn": arn} | ({"QueueName": logical} if kind == "AWS::SQS::Queue" else {})
    return {"PhysicalResourceId": arn if kind == "AWS::SNS::Topic" else logical, "Attributes": attributes}
