"""template.yaml as CloudFormation sees it: translated by SAM's own translator, with what it refers to filled in.

Nothing is deployed: resources go by their logical ids, as `sam local invoke` has it too.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

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


INTRINSIC = {"Ref", "Fn::Sub", "Fn::GetAtt", "Fn::If", "Fn::Join", "Fn::Split", "Fn::Select", "Fn::FindInMap"}
"""The functions that the templates use outside of conditions."""


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
        self._pseudo: dict[str, Any] = {
            "AWS::AccountId": account,
            "AWS::NoValue": None,
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::StackId": f"arn:{partition}:cloudformation:{region}:{account}:stack/{stack}/1f357b5b",
            "AWS::StackName": stack,
        }
        self._parameters = {
            name: given.get(name, str(declared.get("Default", "")))
            for name, declared in self.body.get("Parameters", {}).items()
        }

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of all resources of a type that are made, resolved, by logical id."""
        return {
            name: self.resolve(resource.get("Properties", {}))
            for name, resource in self.body["Resources"].items()
            if resource["Type"] == kind and self._is_made(resource)
        }

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
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function in INTRINSIC:
                return self._intrinsic(function, argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not None}

    def _intrinsic(self, function: str, argument: Any) -> Any:
        if function == "Ref":
            return self._ref(argument)
        if function == "Fn::Sub":
            text, named = (argument, {}) if isinstance(argument, str) else argument
            told = {name: self.resolve(value) for name, value in named.items()}

            def said(match: re.Match[str]) -> str:
                return str(told[match[1]] if match[1] in told else self._ref(match[1]))

            return re.sub(r"\$\{([^}]+)\}", said, text)
        if function in {"Fn::Join", "Fn::Split"}:
            between, value = self.resolve(argument)
            if function == "Fn::Split":
                return value.split(between)
            return between.join(value)
        if function == "Fn::Select":
            number, values = self.resolve(argument)
            return values[int(number)]
        if function == "Fn::FindInMap":
            name, key, inner = self.resolve(argument)
            return self.body["Mappings"][name][key][inner]
        if function == "Fn::GetAtt":
            return self._ref(argument if isinstance(argument, str) else ".".join(argument))
        condition, then, otherwise = argument
        return self.resolve(then if self._holds(self.body["Conditions"][condition]) else otherwise)

    def _ref(self, name: str) -> Any:
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            declared = self.body["Parameters"][name]["Type"]
            value = self._parameters[name]
            return value.split(",") if declared == "CommaDelimitedList" else value
        logical, _, attribute = name.partition(".")
        is_topic = self.body["Resources"][logical]["Type"] == "AWS::SNS::Topic"
        return self._arn(logical) if attribute == "Arn" or is_topic else logical

    def _arn(self, logical: str) -> str:
        service, form = {
            "AWS::DynamoDB::Table": ("dynamodb", "table/{}"),
            "AWS::Events::EventBus": ("events", "event-bus/{}"),
            "AWS::Events::Rule": ("events", "rule/{}"),
            "AWS::IAM::Role": ("iam", "role/rolewarden/{}"),
            "AWS::KMS::Key": ("kms", "key/{}"),
            "AWS::Lambda::Function": ("lambda", "function:{}"),
            "AWS::Logs::LogGroup": ("logs", "log-group:{}:*"),
            "AWS::SNS::Topic": ("sns", "{}"),
            "AWS::SQS::Queue": ("sqs", "{}"),
        }[self.body["Resources"][logical]["Type"]]
        region = "" if service == "iam" else self._pseudo["AWS::Region"]
        partition, account = self._pseudo["AWS::Partition"], self._pseudo["AWS::AccountId"]
        return f"arn:{partition}:{service}:{region}:{account}:{form.format(logical)}"

    def _is_made(self, resource: Mapping[str, Any]) -> bool:
        condition = resource.get("Condition")
        return condition is None or self._holds(self.body["Conditions"][condition])

    def _holds(self, condition: Any) -> bool:
        [(function, argument)] = condition.items()
        if function == "Fn::Not":
            return not self._holds(argument[0])
        if function in {"Fn::Or", "Fn::And"}:
            return (any if function == "Fn::Or" else all)(map(self._holds, argument))
        if function == "Condition":
            return self._holds(self.body["Conditions"][argument])
        left, right = map(self.resolve, argument)
        return bool(left == right)
