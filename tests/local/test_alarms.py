"""Alarms of the local CloudWatch."""

import time

import pytest
from rolewarden_local.emulated._ministack import cloudwatch
from rolewarden_local.emulated.alarms import metrics_in, set_state

LOGGED = (
    """START RequestId: 1
{"level": "INFO", "message": "_aws"}
{"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Namespace": "Ours", "Dimensions": [["service"]], "Metrics": [
""".strip().replace("[\n", "[")
    + ('{"Name": "Beat", "Unit": "Count"}]}]}, "service": "guard", "Beat": [1.0, 0.0]}\n')
)


def alarm(**more):
    return {
        "AlarmName": "beat",
        "StateValue": "INSUFFICIENT_DATA",
        "Namespace": "Ours",
        "MetricName": "Beat",
        "Dimensions": {"service": "guard"},
        "Statistic": "Minimum",
        "Period": 60,
        "EvaluationPeriods": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
        **more,
    }


def state(**more):
    made = alarm(**more)
    set_state(made)
    return made["StateValue"]


def test_a_metric_comes_from_a_line_of_the_log():
    assert list(metrics_in(LOGGED)) == [
        ("Ours", "Beat", 1.0, {"service": "guard"}),
        ("Ours", "Beat", 0.0, {"service": "guard"}),
    ]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("missing", "expected"), [("breaching", "ALARM"), ("notBreaching", "OK"), ("missing", "INSUFFICIENT_DATA")]
)
def test_an_alarm_without_data_has_the_state_for_missing_data(missing, expected):
    assert state(TreatMissingData=missing) == expected


@pytest.mark.usefixtures("aws")
def test_an_alarm_evaluates_the_datapoints_of_its_own_dimensions_in_its_own_periods():
    cloudwatch.record_metric("Ours", "Beat", 1.0, "None", {"service": "another"})
    assert state() == "ALARM"
    cloudwatch.record_metric("Ours", "Beat", 1.0, "None", {"service": "guard"})
    assert state() == "OK"
    assert state(EvaluationPeriods=1, Threshold=2.0) == "ALARM"
    cloudwatch._metrics["Ours", "Beat", "service=guard"][0]["Timestamp"] = time.time() - 130
    assert state() == "ALARM"
