"""The dashboard in the template draws metrics that Rolewarden, its queues and its functions really have."""

import json
import re
import time
from collections import Counter

import pytest
from rolewarden.alert import AlertKey
from rolewarden.alerting import SUMMARY, Alerter
from rolewarden.held_alerts import HELD_SECONDS, HOUR
from rolewarden.own_operations import OwnOperations
from rolewarden.record import metrics
from rolewarden.settings import AlertSettings
from rolewarden.stacks import StackReader
from rolewarden.verdicts import Verdict
from rolewarden.work import HEARTBEAT
from rolewarden_cli.figures import Figure

from tests.guardrail_texts import SINGLED_OUT
from tests.handlers import STACK
from tests.publishing import tamper
from tests.scripts import scripts
from tests.stacks import ACCOUNT, FUNCTIONS, RECEIVERS, translated

[template_pages] = scripts("docs", "template_pages")


@pytest.fixture(scope="module")
def widgets():
    [dashboard] = translated().resources("AWS::CloudWatch::Dashboard").values()
    return [widget["properties"] for widget in json.loads(dashboard["DashboardBody"])["widgets"]]


def drawn(widgets, namespace):
    """Metric names with their dimensions."""
    lines = [line for widget in widgets for line in widget["metrics"] if line[0] == namespace]
    return Counter((name, dimension, value) for _, name, dimension, value, *_ in lines)


@pytest.fixture
def counted(world, tmp_path, monkeypatch):
    """Names and units of the metrics after a scenario with every verdict and every kind of record."""
    found = set()
    monkeypatch.setattr(
        type(metrics), "add_metric", lambda _self, name, unit, _value, **_more: found.add((name, unit.name))
    )
    world.protected()
    for _ in range(3):
        world.enforce(world.detach("CanvasAnalytics", "no-generative-ai"))
    for role in ("CanvasFull", "CanvasRosa", "CanvasBreakGlass", "BuildServer"):
        world.verdict(role)
    with world.aws.failing("ListAttachedRolePolicies", "AccessDeniedException"):
        world.verdict("CanvasOmar")
    world.sweep()
    world.sweeper.handle_event({"step": HEARTBEAT})
    with world.aws.failing("PutItem", "AccessDeniedException"):
        world.enforce(world.detach("CanvasOmar", "no-generative-ai"))
    world.publications.handle_event(tamper(world, "edited"))
    rules = tmp_path / "fewer.yaml"
    rules.write_text(f"surplus: detach\n{SINGLED_OUT}")
    loose = world.under(rules)
    loose.sweep(), loose.detach_surplus()
    operations = OwnOperations(StackReader(world.runtime.aws), STACK, {})
    alerter = Alerter.of(world.runtime.aws, AlertSettings.read(world.environment), operations)
    alerter.held.keep(AlertKey(ACCOUNT, "a", "b", "c"), "us-east-1", "x", "a call that CloudTrail does not have", None)
    alerter.clock.now = lambda: time.time() + HELD_SECONDS + HOUR + 1
    alerter.handle({"step": SUMMARY})
    return found


def test_every_metric_of_rolewardens_on_the_dashboard_is_one_that_it_counts(widgets, counted):
    shown = drawn(widgets, "Rolewarden")
    assert {name for name, *_ in shown} - {name for name, _ in counted} == set()
    assert {(dimension, value) for _, dimension, value in shown} == {("service", "rolewarden")}


def test_every_alarm_on_a_metric_of_rolewardens_watches_one_that_it_counts(counted):
    alarms = translated().resources("AWS::CloudWatch::Alarm").values()
    watched = {alarm["MetricName"] for alarm in alarms if alarm["Namespace"] == "Rolewarden"}
    assert {"AccountsCutOff", "AccountsOverdue", "Contested", "RecordFailed", "Unenforceable"} <= watched
    assert watched - {name for name, _ in counted} == set()


def test_the_time_from_call_to_remediation_is_drawn_as_median_and_95th_percentile(widgets, counted):
    assert ("SecondsToRemediate", "Seconds") in counted
    stats = [line[-1]["stat"] for widget in widgets for line in widget["metrics"] if "SecondsToRemediate" in line]
    assert stats == ["p50", "p95"]


def test_the_seconds_of_drills_are_drawn_by_account_and_region(widgets):
    lines = [line[0]["expression"] for widget in widgets for line in widget["metrics"] if isinstance(line[0], dict)]
    searches = [re.fullmatch(r"SEARCH\('(.*) MetricName=\"(\w+)\"', '(\w+)'\)", line) for line in lines]
    drawn = {(search[2], search[3]) for search in searches if search}
    assert {search[1] for search in searches if search} == {"{Rolewarden,account,region}"}
    for figure in Figure:
        assert {stat for name, stat in drawn if name == figure.value} == {"p50", "p95", "Maximum"}
    assert {"SecondsToDeliver", "SecondsToStart", "SecondsToRestore"} <= {name for name, _ in drawn}
    assert {name for name, _ in drawn} <= set(template_pages.METRICS)


def test_every_verdict_is_drawn(widgets):
    assert {f"Verdict.{verdict}" for verdict in Verdict} <= {name for name, *_ in drawn(widgets, "Rolewarden")}


def test_every_queue_and_every_function_is_drawn(widgets):
    sqs = drawn(widgets, "AWS/SQS")
    ages = {queue for name, _, queue in sqs if name == "ApproximateAgeOfOldestMessage"}
    assert ages == set(RECEIVERS)
    dead = {queue for name, _, queue in sqs if name == "ApproximateNumberOfMessagesVisible"}
    assert dead == {"WorkDeadLetterQueue", "EventsDeadLetterQueue", "InvocationsDeadLetterQueue"}
    assert {of for _, _, of in drawn(widgets, "AWS/Lambda")} == set(FUNCTIONS)


def test_widgets_are_of_the_stacks_region_and_do_not_lie_on_each_other():
    [dashboard] = translated("eu-west-1").resources("AWS::CloudWatch::Dashboard").values()
    laid = json.loads(dashboard["DashboardBody"])["widgets"]
    assert {widget["properties"]["region"] for widget in laid} == {"eu-west-1"}
    fields = Counter(
        (x, y) for w in laid for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])
    )
    assert set(fields.values()) == {1}
    assert max(x for x, _ in fields) < 24
