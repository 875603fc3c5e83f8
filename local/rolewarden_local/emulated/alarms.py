"""Metrics in the logs of functions, and alarms that evaluate missing data.

A function logs metrics in CloudWatch's embedded metric format, and CloudWatch reads them from the log:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
CloudWatch evaluates an alarm from its creation on. An alarm that treats missing data as breaching goes off immediately
if its metric has no data yet:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
MiniStack does not read metrics from logs. It evaluates an alarm over all dimensions, and never without data.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

from rolewarden_local.emulated._ministack import cloudwatch, lambda_svc, provisioners
from rolewarden_local.emulated.patches import Patch


def install_alarms() -> None:
    """Read metrics from logs, and evaluate every alarm after its creation and after the end of a function."""
    Patch(
        lambda_svc,
        "_emit_lambda_logs",
        _with_metrics(lambda_svc._emit_lambda_logs),
        "MiniStack does not read metrics from a function's log.",
    ).install()
    Patch(
        cloudwatch,
        "_evaluate_alarm",
        set_state,
        "MiniStack evaluates an alarm over all dimensions at once, and never without data.",
    ).install()
    alarm = provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"]
    create = alarm["create"]

    def create_and_evaluate(logical: str, props: Any, stack: str) -> Any:
        made = create(logical, props, stack)
        cloudwatch._evaluate_all_alarms()
        return made

    alarm["create"] = create_and_evaluate


def metrics_in(log: str) -> Iterator[tuple[str, str, float, dict[str, str]]]:
    """The metrics of a log in embedded metric format: namespace, name, value and dimensions of each datapoint."""
    for line in log.splitlines():
        if '"_aws":' not in line:
            continue
        logged = json.loads(line)
        for group in logged["_aws"]["CloudWatchMetrics"]:
            for names, metric in product(group["Dimensions"], group["Metrics"]):
                values = logged[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    yield group["Namespace"], metric["Name"], value, {name: logged[name] for name in names}


def set_state(alarm: dict[str, Any]) -> None:
    """Set the state of an alarm from its last periods, and notify its actions of a change."""
    before, now = alarm["StateValue"], time.time()
    period, periods = int(alarm["Period"]), int(alarm["EvaluationPeriods"])
    key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(_dimensions(alarm)))
    points = cloudwatch._metrics.get(key) or []
    values = [_statistic(alarm, [p for p in points if 0 <= now - p["Timestamp"] - n * period < period])
              for n in range(periods)]  # fmt: skip
    missing = alarm.get("TreatMissingData", "missing")
    if all(value is None for value in values) and missing == "missing":
        state = "INSUFFICIENT_DATA"
    else:
        breaches = [missing == "breaching" if value is None else _breaches(alarm, value) for value in values]
        state = "ALARM" if sum(breaches) >= int(alarm.get("DatapointsToAlarm") or periods) else "OK"
    if state != before:
        reason = f"{alarm['MetricName']} of the last {periods} periods: {values}"
        alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": int(now)}
        cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
        cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)


def _dimensions(alarm: Mapping[str, Any]) -> dict[str, str]:
    given = alarm.get("Dimensions") or {}
    return dict(given) if isinstance(given, Mapping) else {each["Name"]: each["Value"] for each in given}


def _statistic(alarm: Mapping[str, Any], points: list[Mapping[str, Any]]) -> float | None:
    values = [float(point["Value"]) for point in points]
    if not values:
        return None
    if alarm["Statistic"] == "Sum":
        return sum(values)
    return min(values) if alarm["Statistic"] == "Minimum" else max(values)


def _breaches(alarm: Mapping[str, Any], value: float) -> bool:
    threshold = float(alarm["Threshold"])
    return value > threshold if alarm["ComparisonOperator"] == "GreaterThanThreshold" else value < threshold


def _with_metrics(emit: Callable[..., None]) -> Callable[..., None]:
    def emit_with_metrics(function: Any, request_id: str, log: str, *rest: Any, **more: Any) -> None:
        emit(function, request_id, log, *rest, **more)
        for namespace, name, value, dimensions in metrics_in(log):
            cloudwatch.record_metric(namespace, name, value, "None", dimensions)
        cloudwatch._evaluate_all_alarms()

    return emit_with_metrics
