"""What MiniStack's CloudFormation lacks: pseudo parameters and functions on texts in Conditions, texts for numbers."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rolewarden_local.emulated._ministack import provisioners, responses

_MODULES = ("engine", "changesets", "handlers", "stacks")


def install_cloudformation() -> None:
    """Let a condition such as `!Equals [!Ref AWS::Region, us-east-1]` see the region; MiniStack compares the name.

    Fn::Join, Fn::Split, Fn::Sub and Fn::FindInMap stand for their values there, too.
    Every module that imported the function has its own reference to it.
    """
    modules = [importlib.import_module(f"ministack.services.cloudformation.{name}") for name in _MODULES]
    original = modules[0]._evaluate_conditions

    def evaluate(template: dict[str, Any], parameters: dict[str, Any]) -> dict[str, bool]:
        pseudo = {
            "AWS::AccountId": responses.get_account_id(),
            "AWS::Partition": "aws",
            "AWS::Region": responses.get_region(),
        }
        values = {name: given["Value"] for name, given in parameters.items()} | pseudo
        resolved = _Texts(values, template.get("Mappings", {})).resolve(template.get("Conditions", {}))
        conditions: dict[str, bool] = original(
            {**template, "Conditions": resolved},
            {**parameters, **{name: {"Value": value} for name, value in pseudo.items()}},
        )
        return conditions

    for module in modules:
        module._evaluate_conditions = evaluate  # type: ignore[attr-defined]
    mapping = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create, update = mapping["create"], mapping["update"]
    mapping["create"] = lambda logical, props, stack: create(logical, _numbered(props), stack)
    mapping["update"] = lambda physical, old, new, stack: update(physical, _numbered(old), _numbered(new), stack)


def _numbered(props: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an event source mapping with the number that a parameter gave as a text."""
    scaling = props.get("ScalingConfig")
    return {**props, **({"ScalingConfig": {name: int(n) for name, n in scaling.items()}} if scaling else {})}


@dataclass(frozen=True)
class _Texts:
    """Puts values in the place of functions on texts; a CommaDelimitedList parameter is one text here."""

    values: Mapping[str, str]
    mappings: Mapping[str, Any]

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        resolved = {key: self.resolve(item) for key, item in value.items()}
        if len(resolved) == 1:
            [(function, argument)] = resolved.items()
            if function in {"Fn::Join", "Fn::Split", "Fn::Sub", "Fn::FindInMap"}:
                return self._value(function, argument)
        return resolved

    def _value(self, function: str, argument: Any) -> Any:
        if function == "Fn::Sub":
            return re.sub(r"\$\{([^}]+)\}", lambda found: str(self.values[found[1]]), argument)
        first, *rest = (self._text(item) for item in argument)
        if function == "Fn::FindInMap":
            return self.mappings[first][rest[0]][rest[1]]
        if function == "Fn::Split":
            return str(rest[0]).split(first)
        listed = rest[0].split(",") if isinstance(rest[0], str) else [self._text(item) for item in rest[0]]
        return first.join(listed)

    def _text(self, value: Any) -> Any:
        return self.values[value["Ref"]] if isinstance(value, dict) and "Ref" in value else value
