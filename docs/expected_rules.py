"""The rules of both templates as the layer compares them with the rules in AWS: see rolewarden.own_rules.

The templates are resolved with names in place of values, such as ${Account} and ${EnforceFunctionRole}. SweepFunction
fills them in from the list of its stack's resources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rolewarden_local.scenes.template import Template

ROOT = Path(__file__).parent.parent
FILE = ROOT / "layers/rolewarden/rolewarden/own_rules.json"

CENTRAL, MEMBER, HERE, AWAY = "111122223333", "222233334444", "us-east-1", "eu-west-1"
EVERYTHING = {
    "OrganizationId": "o-exampleorg1",
    "OrganizationalUnits": "ou-root-canvas000",
    "Regions": f"{HERE},{AWAY}",
    "SecurityHub": "on",
}
"""Parameters with which the stack has every rule."""


def expected() -> dict[str, dict[str, Any]]:
    """The rules by template and logical ID: `central`, and `forwarder` by the kind of account."""
    central = _central(HERE)
    return {
        "central": _rules(central, CENTRAL, HERE),
        # The rules for IAM are in the IAM home region only, so the stack is in another region here.
        "forwarder of the central account": _rules(_forwarder("Forwarders", CENTRAL, AWAY), CENTRAL, HERE),
        "forwarder of a member account": _rules(_forwarder("Members", MEMBER, HERE), MEMBER, HERE),
    }


def text() -> str:
    """The text of the file."""
    return json.dumps(expected(), indent=1, sort_keys=True) + "\n"


def _named(logical: str) -> str:
    return f"${{{logical}}}"


def _central(region: str) -> Template:
    template = ROOT / "template.yaml"
    return Template(template, region=region, account=CENTRAL, parameters=EVERYTHING, stack="${Stack}", physical=_named)


def _forwarder(name: str, account: str, stack_region: str) -> Template:
    stack_set = _central(stack_region).resources("AWS::CloudFormation::StackSet")[name]
    given = {each["ParameterKey"]: each["ParameterValue"] for each in stack_set["Parameters"]}
    return Template(ROOT / "forwarder.yaml", region=HERE, account=account, parameters=given, physical=_named)


def _rules(template: Template, account: str, region: str) -> dict[str, Any]:
    rules = template.resources("AWS::Events::Rule")
    found = {rule.get("Name", logical): _as_expected(rule) for logical, rule in rules.items()}
    text = re.sub(r'"arn:aws:events:[^"]*:event-bus/\$\{CentralBus\}"', '"${CentralBusArn}"', json.dumps(found))
    text = text.replace(account, "${Account}").replace(region, "${Region}").replace("arn:aws:", "arn:${Partition}:")
    if account == MEMBER:
        text = text.replace("${ForwardRole}", "rolewarden-forward-${Region}")
    text = text.replace("${Undelivered}", "rolewarden-undelivered")
    return dict(json.loads(text))


def _as_expected(rule: Mapping[str, Any]) -> dict[str, Any]:
    targets = [{key: value for key, value in target.items() if key != "Id"} for target in rule["Targets"]]
    return {"pattern": rule.get("EventPattern"), "targets": targets}
