"""The rules of both templates, and the alarms and mappings of the central one, as the layer compares them with AWS.

See rolewarden.own_rules and rolewarden.own_definitions.

The templates are resolved with names in place of values, such as ${Account} and ${EnforceFunctionRole}. SweepFunction
fills them in from the list of its stack's resources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rolewarden.own_definitions import ALARM_DEFINITION, MAPPING_DEFINITION
from rolewarden_local.scenes.template import Template

ROOT = Path(__file__).parent.parent
FILE = ROOT / "layers/rolewarden/rolewarden/own_rules.json"
DEFINITIONS = ROOT / "layers/rolewarden/rolewarden/own_definitions.json"

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
    """The text of the file with the rules."""
    return _as_file(expected())


def definitions_text() -> str:
    """The text of the file with the alarms, the event source mappings and the policy of the topic."""
    central = _central(HERE)
    return _as_file(
        {
            "alarms": _definitions(central.resources("AWS::CloudWatch::Alarm"), ALARM_DEFINITION),
            "topics": {
                topic.rpartition("${")[2].rstrip("}"): _as_named(policy["PolicyDocument"]["Statement"])
                for policy in central.resources("AWS::SNS::TopicPolicy").values()
                for topic in policy["Topics"]
            },
            "mappings": _definitions(central.resources("AWS::Lambda::EventSourceMapping"), MAPPING_DEFINITION),
        }
    )


def _as_file(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _definitions(resources: Mapping[str, Mapping[str, Any]], keys: tuple[str, ...]) -> dict[str, Any]:
    """The properties of some resources that the layer compares, by logical ID."""
    found = {name: {key: it[key] for key in keys if key in it} for name, it in resources.items()}
    return dict(_as_named(found))


def _as_named(value: Any) -> Any:
    """A value with names in place of the account, the region and the partition."""
    text = json.dumps(value).replace(CENTRAL, "${Account}").replace(HERE, "${Region}")
    return json.loads(text.replace("arn:aws:", "arn:${Partition}:"))


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
