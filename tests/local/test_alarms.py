"""Alarms of the local CloudWatch."""

import time

import boto3
import pytest
from rolewarden_local.emulated._ministack import cloudwatch
from rolewarden_local.emulated.alarms import ALARM, OK, UNKNOWN, alarm_state, metrics_in, set_state, verdict

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
    cloudwatch._metrics["Ours", "Beat", "service=guard"][0]["Timestamp"] = time.time() - 250
    assert state() == "ALARM"


BEFORE = "the state before"
WORDS = {"missing": 0, "ignore": 1, "breaching": 2, "notBreaching": 3}

THREE_OF_THREE = [
    ("0 - X - X", [OK, OK, OK, OK]),
    ("- - - - 0", [OK, OK, OK, OK]),
    ("- - - - -", [UNKNOWN, BEFORE, ALARM, OK]),
    ("0 X X - X", [ALARM, ALARM, ALARM, ALARM]),
    ("- - X - -", [ALARM, BEFORE, ALARM, OK]),
]
TWO_OF_THREE = [
    ("0 - X - X", [ALARM, ALARM, ALARM, ALARM]),
    ("0 0 X 0 X", [ALARM, ALARM, ALARM, ALARM]),
    ("0 - X - -", [OK, BEFORE, ALARM, OK]),
    ("- - - - 0", [OK, OK, ALARM, OK]),
    ("- - - X -", [ALARM, BEFORE, ALARM, OK]),
]
"""Data of the evaluation range, oldest first, and the state by TreatMissingData: missing, ignore, breaching, not."""


def told(data, needed, missing):
    found = [{"0": False, "X": True, "-": None}[each] for each in reversed(data.split())]
    return verdict(found, periods=3, needed=needed, missing=missing, before=BEFORE)


@pytest.mark.parametrize("missing", WORDS)
@pytest.mark.parametrize(
    ("needed", "data", "states"),
    [(3, *row) for row in THREE_OF_THREE] + [(2, *row) for row in TWO_OF_THREE],
)
def test_the_tables_of_the_documentation_hold(needed, data, states, missing):
    assert told(data, needed, missing) == states[WORDS[missing]]


PROPERTIES = {
    "Namespace": "Test", "MetricName": "Beats", "Dimensions": [{"Name": "service", "Value": "x"}],
    "Statistic": "Maximum", "Period": 60, "EvaluationPeriods": 2, "Threshold": 0,
    "ComparisonOperator": "GreaterThanThreshold",
}  # fmt: skip


def test_each_period_is_evaluated_apart():
    assert alarm_state(PROPERTIES, [(30, 1), (90, 1)], 120) == ALARM
    assert alarm_state(PROPERTIES, [(80, 1), (90, 1), (30, 0)], 120) == OK


def named(client):
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in client.describe_alarms()["MetricAlarms"]}


def test_a_new_alarm_without_data_is_in_the_state_that_missing_data_gives(aws):
    client = boto3.client("cloudwatch")
    for missing in ("missing", "ignore", "breaching", "notBreaching"):
        client.put_metric_alarm(AlarmName=missing, TreatMissingData=missing, **PROPERTIES)
    assert named(client) == {"missing": UNKNOWN, "ignore": UNKNOWN, "breaching": ALARM, "notBreaching": OK}


def test_an_alarm_sees_the_data_of_its_own_dimensions_only(aws):
    client = boto3.client("cloudwatch")
    client.put_metric_alarm(AlarmName="beats", TreatMissingData="notBreaching", **PROPERTIES | {"EvaluationPeriods": 1})
    for value, state_then in (("y", OK), ("x", ALARM)):
        data = {"MetricName": "Beats", "Value": 1, "Dimensions": [{"Name": "service", "Value": value}]}
        client.put_metric_data(Namespace="Test", MetricData=[data])
        assert named(client) == {"beats": state_then}
