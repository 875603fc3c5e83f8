"""What MiniStack's CloudFormation lacks: pseudo parameters in a template's Conditions."""

import importlib
from typing import Any

from rolewarden_local._ministack import responses

_MODULES = ("engine", "changesets", "handlers", "stacks")


def install() -> None:
    """Let a condition such as `!Equals [!Ref AWS::Region, us-east-1]` see the region; MiniStack compares the name.

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
        conditions: dict[str, bool] = original(
            template, {**parameters, **{name: {"Value": value} for name, value in pseudo.items()}}
        )
        return conditions

    for module in modules:
        module._evaluate_conditions = evaluate  # type: ignore[attr-defined]
