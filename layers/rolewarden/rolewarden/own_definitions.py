"""The alarms, the event source mappings and the topic of template.yaml, and how one in AWS differs from its template.

A part can be switched on and dead: an alarm with a threshold that no number reaches, a mapping with a filter that drops
each message, or a topic that refuses every message. So the whole definition is compared.
`make pages` writes own_definitions.json, with names in place of values as in own_rules.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rolewarden.documents import digest
from rolewarden.own_rules import filled

_KEY = "AlarmKey"
"""The logical ID of the key of the topic. The stack has none if the customer names a key."""

ALARM_DEFINITION = (
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
    "Metrics",
    "ThresholdMetricId",
    "EvaluationCriteria",
    "EvaluationInterval",
    "EvaluationWindow",
    "WarmUpConfiguration",
)
"""The properties that decide when an alarm goes off: those of PutMetricAlarm without names, actions and tags."""

MAPPING_DEFINITION = ("EventSourceArn", "FunctionName", "FilterCriteria", "FunctionResponseTypes", "KMSKeyArn")
"""The properties that decide which messages a mapping reads, which function gets them, and which of them it deletes.
Lambda deletes a message that fits no filter, and with FunctionResponseTypes it keeps those that failed. A key hides the
filters:
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html"""


@dataclass(frozen=True)
class OwnDefinitions:
    """The definitions of the template, with the names in the deployed stack.

    - `partition`, `account`, `region`: the location of the central stack.
    - `names`: as in `OwnRules`.
    """

    partition: str
    account: str
    region: str
    names: Mapping[str, str]

    def alarm_problem(self, logical: str, alarm: Mapping[str, Any]) -> str:
        """The difference between an alarm and template.yaml; empty if there is none, or if the template lacks it."""
        wanted = self._wanted("alarms", logical)
        if not wanted:
            return ""
        return self._problem(f"alarm {logical}", ALARM_DEFINITION, _with_defaults(wanted), _with_defaults(alarm))

    def mapping_problem(self, logical: str, mapping: Mapping[str, Any]) -> str:
        """The difference between a mapping and template.yaml; empty as for `alarm_problem`."""
        wanted = self._wanted("mappings", logical)
        # Lambda answers with the filters, or with the reason for which it cannot read them.
        filters = (mapping.get("FilterCriteria") or {}).get("Filters") or mapping.get("FilterCriteriaError")
        function = str(mapping.get("FunctionArn", "")).partition(":function:")[2]
        found = {**mapping, "FunctionName": function, "FilterCriteria": filters}
        return self._problem(f"mapping {logical}", MAPPING_DEFINITION, wanted, found)

    def topic_problem(self, logical: str, attributes: Mapping[str, str]) -> str:
        """The difference between a topic and template.yaml; empty as for `alarm_problem`.

        Further statements that allow something do not count: an operator can let another account subscribe.
        """
        wanted = [_meaning(each) for each in filled(_definitions()["topics"].get(logical, []), self._values)]
        try:
            policy = json.loads(attributes.get("Policy") or "{}")
        except ValueError:
            policy = {}
        statements = policy.get("Statement", []) if isinstance(policy, Mapping) else []
        found = {_meaning(each): each.get("Effect") for each in statements if isinstance(each, Mapping)}
        denies = [each for each, effect in found.items() if effect == "Deny" and each not in wanted]
        if denies or set(wanted) - found.keys():
            return f"the policy of {logical} is not that of its template, so it may refuse alarms and alerts"
        key = self.names.get(_KEY, "")
        if key and attributes.get("KmsMasterKeyId", "").rpartition("/")[2] != key:
            return f"{logical} has another key than {_KEY}, so alarms may not reach it"
        return ""

    @property
    def _values(self) -> dict[str, str]:
        return {**self.names, "Partition": self.partition, "Account": self.account, "Region": self.region}

    def _wanted(self, kind: str, logical: str) -> dict[str, Any]:
        return dict(filled(_definitions()[kind].get(logical, {}), self._values))

    @staticmethod
    def _problem(what: str, keys: tuple[str, ...], wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        differing = [key for key in keys if (wanted.get(key) or None) != (found.get(key) or None)]
        return f"{what} has another {' and '.join(differing)} than its template" if wanted and differing else ""


def _meaning(statement: Mapping[str, Any]) -> str:
    """A digest of a statement that does not depend on the two forms of everybody, and on the case of actions."""
    everybody = {"Principal": {"AWS": "*"}} if statement.get("Principal") == "*" else {}
    action = statement.get("Action", "")
    actions = [str(each).lower() for each in (action if isinstance(action, list) else [action])]
    return digest({**statement, **everybody, "Action": actions})


def _with_defaults(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an alarm with a default of CloudWatch, which it may leave out of its answer."""
    window = alarm.get("EvaluationWindow") or {}
    return {
        **alarm,
        "DatapointsToAlarm": alarm.get("DatapointsToAlarm") or alarm.get("EvaluationPeriods"),
        "EvaluationWindow": {} if "SlidingWindow" in window else window,
    }


@cache
def _definitions() -> dict[str, dict[str, Any]]:
    return dict(json.loads(Path(__file__).with_name("own_definitions.json").read_text(encoding="utf-8")))
