"""The rules of the event path as the templates have them, and how a rule in AWS differs from its template.

`make pages` writes own_rules.json from template.yaml and forwarder.yaml. It has names in place of values, such as
${Account} and ${EnforceFunctionRole}, because CloudFormation chooses them at deployment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from rolewarden.listed import ListedRule

_NAME = re.compile(r"\$\{(\w+)\}")
_MISSING = object()


@dataclass(frozen=True)
class OwnRules:
    """The rules of the templates, with the names in the deployed stack.

    - `partition`, `account`, `region`, `bus`: the location of the central stack, and the ARN of its event bus.
    - `names`: the name of each resource of the central stack, and of the stack under `Stack`, by logical ID.
    """

    partition: str
    account: str
    region: str
    bus: str
    names: Mapping[str, str]

    def central_problem(self, logical: str, rule: ListedRule | None) -> str:
        """The difference between a rule and template.yaml; empty if there is none, or if the template lacks it."""
        return self._problem("central", logical, rule, self.account, self.region)

    def forwarder_problem(self, account: str, region: str, name: str, rule: ListedRule | None) -> str:
        """The difference between a rule in an account and region and forwarder.yaml; empty if there is none."""
        kind = "the central account" if account == self.account else "a member account"
        return self._problem(f"forwarder of {kind}", name, rule, account, region)

    def _problem(self, template: str, name: str, rule: ListedRule | None, account: str, region: str) -> str:
        wanted = _templates()[template].get(name)
        if wanted is None:
            return ""
        if rule is None:
            return f"rule {name} does not exist"
        if not rule.is_enabled:
            return f"rule {name} is disabled"
        values = {
            **self.names,
            "Partition": self.partition,
            "Account": account,
            "Region": region,
            "CentralBusArn": self.bus,
        }
        targets = [_plain(target) for target in rule.details]
        for target in filled(wanted["targets"], values):
            if not isinstance(target, Mapping):
                return f"the target of rule {name} has a resource that the stack does not have"
            arns = [found for found in targets if found.get("Arn") == target["Arn"]]
            if not arns:
                return f"rule {name} does not send to {target['Arn']}"
            if _plain(target) not in arns:
                return f"rule {name} sends to {target['Arn']} with another role, dead-letter queue or input"
        if wanted["pattern"] is None:
            return ""
        if not _is_same(filled(wanted["pattern"], values), _json(rule.pattern)):
            return f"rule {name} selects other events than its template says"
        return ""


@cache
def _templates() -> dict[str, dict[str, Any]]:
    return dict(json.loads(Path(__file__).with_name("own_rules.json").read_text(encoding="utf-8")))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _plain(target: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a target, without its ID and without empty maps, which EventBridge may leave out."""
    more = {key: value for key, value in target.items() if key != "Id"}
    if transformer := more.get("InputTransformer"):
        more["InputTransformer"] = {key: value for key, value in transformer.items() if value}
    return more


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with its names replaced. A list loses the entries with a resource that the stack does not have."""
    if isinstance(value, Mapping):
        found = {key: filled(each, values) for key, each in value.items()}
        return _MISSING if _MISSING in found.values() else found
    if isinstance(value, list):
        kept = [each for each in (filled(each, values) for each in value) if each is not _MISSING]
        # The key of the stack is the only entry of its list. With a key of the customer, any key may stand there.
        return kept or ["*"] if value else kept
    if not isinstance(value, str):
        return value
    names = _NAME.findall(value)
    return _NAME.sub(lambda name: values[name[1]], value) if all(name in values for name in names) else _MISSING


def _is_same(wanted: Any, found: Any) -> bool:
    """Whether a pattern selects what is wanted. The order of a list does not count, and `*` in a text is any text."""
    if isinstance(wanted, Mapping):
        return (
            isinstance(found, Mapping)
            and wanted.keys() == found.keys()
            and all(_is_same(each, found[key]) for key, each in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(any(_is_same(each, other) for other in found) for each in wanted)
            and all(any(_is_same(each, other) for each in wanted) for other in found)
        )
    if isinstance(wanted, str) and isinstance(found, str) and "*" in wanted:
        return fnmatchcase(found, wanted)
    return bool(type(wanted) is type(found) and wanted == found)
