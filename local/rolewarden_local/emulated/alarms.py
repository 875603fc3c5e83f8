"""Metrics that functions log, and alarms that see missing data and periods as CloudWatch does, also when they are new.

MiniStack takes no metrics from logs. It has no mute rules, with which alarms change their state and notify nobody:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutAlarmMuteRule.html. Here, a rule is active as
soon as it exists. It evaluates an alarm over all dimensions and periods at once, and never without
data.

A function logs metrics in CloudWatch's embedded metric format, and CloudWatch reads them from the log:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
CloudWatch evaluates an alarm from its creation on.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html has the rules of missing
data and the examples that the tests repeat. CloudWatch looks at some more periods than EvaluationPeriods and does not
say at how many; two more fit its examples.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final

from rolewarden_local.emulated._ministack import cloudwatch, lambda_svc, provisioners, responses
from rolewarden_local.emulated.patches import Patch

OK: Final = "OK"
ALARM: Final = "ALARM"
UNKNOWN: Final = "INSUFFICIENT_DATA"
"""The state of a new alarm, and of one without data that treats missing data as missing."""

EXTRA_PERIODS: Final = 2
"""Periods before the evaluation periods, from which CloudWatch takes data if newer data is missing."""

Point = tuple[float, float]
"""The time of a data point, in seconds, and its value."""

_BREACHES: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
_STATISTICS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "Sum": sum,
    "Minimum": min,
    "Maximum": max,
    "SampleCount": len,
    "Average": lambda values: sum(values) / len(values),
}


def alarm_state(alarm: Mapping[str, Any], points: Iterable[Point], now: float, before: str = UNKNOWN) -> str:
    """The state of an alarm at the time `now`.

    - `alarm`: the properties of AWS::CloudWatch::Alarm.
    - `points`: the data points of its metric, in any order.
    - `before`: the state until now; that of a new alarm if it is left out.
    """
    points = list(points)
    period, periods = int(alarm["Period"]), int(alarm["EvaluationPeriods"])
    breaches, statistic = _BREACHES[alarm["ComparisonOperator"]], _STATISTICS[alarm["Statistic"]]
    found: list[bool | None] = []
    for number in range(periods + EXTRA_PERIODS):
        end = now - number * period
        values = [value for at, value in points if end - period < at <= end]
        found.append(breaches(statistic(values), float(alarm["Threshold"])) if values else None)
    return verdict(
        found,
        periods=periods,
        needed=int(alarm.get("DatapointsToAlarm") or periods),
        missing=alarm.get("TreatMissingData", "missing"),
        before=before,
    )


def verdict(found: Sequence[bool | None], *, periods: int, needed: int, missing: str, before: str = UNKNOWN) -> str:
    """The state that data of the evaluation range gives, newest first: whether each breaches, None for missing data.

    - `periods`, `needed`: EvaluationPeriods and DatapointsToAlarm.
    - `missing`: TreatMissingData.
    - `before`: the state until now.
    """
    real = [breaches for breaches in found if breaches is not None][:periods]
    lacking = periods - len(real)
    if missing in {"breaching", "notBreaching"}:
        return ALARM if sum(real) + lacking * (missing == "breaching") >= needed else OK
    if not real:
        return before if missing == "ignore" else UNKNOWN
    if sum(real) >= needed:
        return ALARM
    # With fewer data than periods, the alarm goes off if the oldest breaches and is old enough, and every newer one
    # breaches or is missing ("avoiding premature transitions to alarm state").
    oldest = max(number for number, breaches in enumerate(found) if breaches is not None)
    if lacking and all(real) and oldest + 1 >= needed:
        return before if missing == "ignore" else ALARM
    return before if lacking and missing == "ignore" and any(real) else OK


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
    Patch(
        cloudwatch,
        "_describe_alarms",
        _evaluating(cloudwatch._describe_alarms),
        "MiniStack evaluates alarms only when data arrives.",
    ).install()
    Patch(
        cloudwatch, "handle_request", _with_mute_rules(cloudwatch.handle_request), "MiniStack has no mute rules."
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
    key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(_dimensions(alarm)))
    points = [(point["Timestamp"], float(point["Value"])) for point in cloudwatch._metrics.get(key) or ()]
    state = alarm_state(alarm, points, now, before)
    if state != before:
        reason = f"{len(points)} data points, missing data treated as {alarm.get('TreatMissingData', 'missing')}"
        alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": int(now)}
        cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
        if not alarm.get(_MUTED_BY):
            cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)


_MUTED_BY: Final = "rolewarden_muted_by"
"""The key of an alarm with the ARNs of its mute rules, so that they end with the account."""

_Handle = Callable[..., Awaitable[Any]]


def _with_mute_rules(handle: _Handle) -> _Handle:
    calls = {"PutAlarmMuteRule": _mute, "DeleteAlarmMuteRule": _unmute, "ListAlarmMuteRules": _mute_rules}

    async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        # botocore writes JSON and names the operation in this header.
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation not in calls:
            return await handle(method, path, headers, body, query)
        return cloudwatch._json_ok(calls[operation](json.loads(body)))

    return handle_request


def _mute(given: Mapping[str, Any]) -> dict[str, Any]:
    _unmute({"AlarmMuteRuleName": given["Name"]})
    for name in given["MuteTargets"]["AlarmNames"]:
        cloudwatch._alarms[name].setdefault(_MUTED_BY, []).append(_mute_arn(given["Name"]))
    return {}


def _unmute(given: Mapping[str, Any]) -> dict[str, Any]:
    for alarm in cloudwatch._alarms.values():
        alarm[_MUTED_BY] = [arn for arn in alarm.get(_MUTED_BY, ()) if arn != _mute_arn(given["AlarmMuteRuleName"])]
    return {}


def _mute_rules(given: Mapping[str, Any]) -> dict[str, Any]:
    of_alarm = given.get("AlarmName")
    alarms = (alarm for name, alarm in cloudwatch._alarms.items() if of_alarm in {None, name})
    arns = dict.fromkeys(arn for alarm in alarms for arn in alarm.get(_MUTED_BY, ()))
    return {"AlarmMuteRuleSummaries": [{"AlarmMuteRuleArn": arn, "Status": "ACTIVE"} for arn in arns]}


def _mute_arn(name: str) -> str:
    return f"arn:aws:cloudwatch:{responses.get_region()}:{responses.get_account_id()}:alarm-mute-rule:{name}"


def _dimensions(alarm: Mapping[str, Any]) -> dict[str, str]:
    given = alarm.get("Dimensions") or {}
    return dict(given) if isinstance(given, Mapping) else {each["Name"]: each["Value"] for each in given}


def _evaluating(describe: Callable[..., Any]) -> Callable[..., Any]:
    def describe_evaluated(*arguments: Any, **named: Any) -> Any:
        cloudwatch._evaluate_all_alarms()
        return describe(*arguments, **named)

    return describe_evaluated


def _with_metrics(emit: Callable[..., None]) -> Callable[..., None]:
    def emit_with_metrics(function: Any, request_id: str, log: str, *rest: Any, **more: Any) -> None:
        emit(function, request_id, log, *rest, **more)
        for namespace, name, value, dimensions in metrics_in(log):
            cloudwatch.record_metric(namespace, name, value, "None", dimensions)
        cloudwatch._evaluate_all_alarms()

    return emit_with_metrics
