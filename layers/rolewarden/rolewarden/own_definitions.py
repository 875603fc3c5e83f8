"""The alarms and event source mappings of template.yaml, and how one of them in AWS differs from its template.

An alarm that notifies the topic can have a threshold that no number reaches, and a mapping that is enabled can have a
filter that drops each message. So the whole definition is compared, and not only whether the part is switched on.
`make pages` writes own_definitions.json, with names in place of values as in own_rules.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rolewarden.own_rules import filled

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

MAPPING_DEFINITION = ("EventSourceArn", "FunctionName", "FilterCriteria", "FunctionResponseTypes")
"""The properties that decide which messages a mapping reads, which function gets them, and which of them it deletes.
Lambda deletes a message that fits no filter, and with FunctionResponseTypes it keeps those that failed:
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
        # With a key of its own, Lambda answers with the filters or with the reason for which it cannot decrypt them.
        filters = (mapping.get("FilterCriteria") or {}).get("Filters") or mapping.get("FilterCriteriaError")
        function = str(mapping.get("FunctionArn", "")).partition(":function:")[2]
        found = {**mapping, "FunctionName": function, "FilterCriteria": filters}
        return self._problem(f"mapping {logical}", MAPPING_DEFINITION, wanted, found)

    def _wanted(self, kind: str, logical: str) -> dict[str, Any]:
        values = {**self.names, "Partition": self.partition, "Account": self.account, "Region": self.region}
        return dict(filled(_definitions()[kind].get(logical, {}), values))

    @staticmethod
    def _problem(what: str, keys: tuple[str, ...], wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        differing = [key for key in keys if (wanted.get(key) or None) != (found.get(key) or None)]
        return f"{what} has another {' and '.join(differing)} than its template" if wanted and differing else ""


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
