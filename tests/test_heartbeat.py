"""HeartbeatAlarm and EventPathsAlarm, evaluated as CloudWatch does, from the metrics that SweepFunction logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rolewarden.record import metrics
from rolewarden.work import HEARTBEAT
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.emulated.alarms import ALARM, OK, UNKNOWN, alarm_state, metrics_in
from rolewarden_local.scenes.seed import log

from tests.company import BUS, client, forward
from tests.stacks import ACCOUNT, MEMBER, translated
from tests.volume import volume

OTHER = "555566667777"
INTERVALS = {"15m": 900, "1h": 3600, "6h": 6 * 3600, "12h": 12 * 3600, "1d": 24 * 3600}
QUARTER = 900
TOPIC = [f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"]


def alarm(name, interval="1h"):
    return translated(SweepInterval=interval).resources("AWS::CloudWatch::Alarm")[name]


class Watched:
    """A company under the eyes of CloudWatch: the data of its alarms, by the virtual clock of its functions."""

    def __init__(self, company: Any, interval: str) -> None:
        self.company, self.seconds = company, INTERVALS[interval]
        self.alarms = {name: alarm(name, interval) for name in ("HeartbeatAlarm", "EventPathsAlarm")}
        self.points: list[tuple[str, float, float]] = []
        self.states = dict.fromkeys(self.alarms, UNKNOWN)
        self.was: list[dict[str, str]] = []
        self.start = company.runtime.clock.now()

    @property
    def now(self) -> float:
        return float(self.company.runtime.clock.now())

    def live(self, hours: float, sweep: Callable[[Any], object] | None, *, beats: bool = True) -> dict[str, str]:
        """Let time pass in quarters of an hour; gives the states at its end, and keeps those on the way in `was`."""
        for _ in range(int(hours * 4)):
            if sweep and (self.now - self.start) % self.seconds < QUARTER:
                sweep(self.company)
            metrics.clear_metrics()
            if beats:
                self.company.sweeper.handle_event({"step": HEARTBEAT})
                self.take()
            self.evaluate()
            self.company.wait(QUARTER)
        return self.states

    def take(self) -> None:
        """Take the metrics of an invocation from its log, as CloudWatch does."""
        line = json.dumps(metrics.serialize_metric_set())
        metrics.clear_metrics()
        for namespace, name, value, dimensions in metrics_in(line):
            assert (namespace, dimensions) == ("Rolewarden", {"service": "rolewarden"})
            self.points.append((name, self.now, value))

    def evaluate(self) -> None:
        for name, properties in self.alarms.items():
            data = [(at, value) for metric, at, value in self.points if metric == properties["MetricName"]]
            self.states[name] = alarm_state(properties, data, self.now, self.states[name])
        self.was.append(dict(self.states))


def everything(company: Any) -> None:
    company.everything()


def all_but_one(company: Any) -> None:
    """The sweep of every account but OTHER, whose messages are lost."""
    company.sweeper.handle_event({})
    while bodies := [*company.queued("PUBLISH_QUEUE_URL"), *company.queued("SWEEP_QUEUE_URL")]:
        for body in bodies:
            if body["account"] != OTHER:
                (company.publications if body.get("step") == "publish" else company.sweeper).handle_message(body)


@pytest.fixture
def covered(company):
    company.organize(MEMBER, OTHER)
    company.environment = {**company.environment, "CENTRAL_BUS": BUS}
    for account in (MEMBER, OTHER):
        log(client("cloudtrail", account))
        forward(account, "us-east-1", "subjects", "roles", "policies", "moves")
    return company


def watched(company, interval):
    company.environment = {**company.environment, "SWEEP_SECONDS": str(INTERVALS[interval])}
    company.assemble(company.runtime.aws)
    return Watched(company, interval)


@pytest.mark.parametrize("name", ["HeartbeatAlarm", "EventPathsAlarm"])
@pytest.mark.parametrize("interval", INTERVALS)
def test_a_new_stack_has_no_alarm_in_alarm(name, interval):
    assert alarm_state(alarm(name, interval), [], 1e9) != ALARM


def test_every_alarm_of_a_new_stack_without_data_is_not_in_alarm(template):
    alarms = template.resources("AWS::CloudWatch::Alarm")
    assert [name for name, each in alarms.items() if alarm_state(each, [], 1e9) == ALARM] == []


def test_a_heartbeat_that_stops_notifies_the_topic():
    properties = alarm("HeartbeatAlarm")
    beating = [(quarter * 900.0, 0.0) for quarter in range(10)]
    assert alarm_state(properties, beating, 9 * 900 + 60, OK) == OK
    assert alarm_state(properties, beating, 9 * 900 + 2 * 3600, OK) == UNKNOWN
    assert properties["InsufficientDataActions"] == properties["AlarmActions"] == TOPIC


@pytest.mark.long
@pytest.mark.volume
@pytest.mark.parametrize(("interval", "hours"), volume([("1d", 72)], [("15m", 6), ("1h", 10), ("1d", 72)]))
def test_sweeps_on_schedule_set_off_no_alarm_from_the_deployment_on(covered, interval, hours):
    life = watched(covered, interval)
    life.live(hours, everything)
    assert {tuple(states.values()) for states in life.was} <= {(OK, OK), (UNKNOWN, OK), (UNKNOWN, UNKNOWN)}
    assert life.states == {"HeartbeatAlarm": OK, "EventPathsAlarm": OK}


@pytest.mark.long
@pytest.mark.parametrize(("interval", "limit"), [("15m", 1), ("1h", 2), ("1d", 48)])
def test_the_alarm_goes_off_within_an_hour_after_two_intervals_without_a_sweep(covered, interval, limit):
    life = watched(covered, interval)
    life.live(1, everything)
    swept = max(number for number in range(4) if (number * QUARTER) % life.seconds < QUARTER)
    life.live(limit + 1, None)
    heart = [states["HeartbeatAlarm"] for states in life.was]
    first = heart.index(ALARM) - swept
    assert limit * 4 < first <= limit * 4 + 4


@pytest.mark.long
def test_an_account_without_a_sweep_is_not_masked_by_the_sweeps_of_all_others(covered):
    life = watched(covered, "1h")
    assert life.live(6, all_but_one)["HeartbeatAlarm"] == ALARM
    assert life.live(2, everything)["HeartbeatAlarm"] == OK


@pytest.mark.long
def test_a_sweep_of_one_account_that_is_late_or_fails_once_sets_off_no_alarm(covered):
    life = watched(covered, "1h")
    life.live(2, everything)
    life.live(1, all_but_one)
    life.live(3, everything)
    assert ALARM not in {states["HeartbeatAlarm"] for states in life.was}


@pytest.mark.long
def test_an_account_that_joins_has_the_same_time_for_its_first_sweep(covered):
    life = watched(covered, "1h")
    covered.organize(MEMBER)
    life.live(3, everything)
    covered.organize(MEMBER, OTHER)
    life.live(1, all_but_one)
    assert ALARM not in {states["HeartbeatAlarm"] for states in life.was}
    assert life.live(3, all_but_one)["HeartbeatAlarm"] == ALARM


@pytest.mark.long
def test_an_account_that_leaves_is_not_counted_any_more(covered):
    life = watched(covered, "1h")
    life.live(4, all_but_one)
    covered.organize(MEMBER)
    assert life.live(1, everything)["HeartbeatAlarm"] == OK
    assert OTHER not in covered.progress.health()


@pytest.mark.long
def test_one_account_with_a_broken_path_sets_off_the_other_alarm_alone(covered):
    life = watched(covered, "1h")
    life.live(2, everything)
    client("cloudtrail", OTHER).stop_logging(Name="management-events")
    life.live(1, everything)
    assert life.states == {"HeartbeatAlarm": OK, "EventPathsAlarm": OK}
    assert life.live(2, everything) == {"HeartbeatAlarm": OK, "EventPathsAlarm": ALARM}
    client("cloudtrail", OTHER).start_logging(Name="management-events")
    assert life.live(2, everything)["EventPathsAlarm"] == OK


@pytest.mark.long
def test_accounts_that_aws_refuses_to_list_are_an_alarm(covered):
    life = watched(covered, "1h")
    life.live(1, everything)
    with covered.aws.failing("ListStackInstances", "AccessDenied"):
        assert life.live(1, None)["HeartbeatAlarm"] == ALARM


@pytest.mark.parametrize("began", ["99999999999.000", "1.000"])
def test_a_message_about_a_sweep_that_never_began_is_no_sweep(world, began):
    world.sweeper.handle_message({"account": CENTRAL, "began": began, "step": "compare"})
    assert CENTRAL not in world.progress.health()


def test_a_row_of_a_sweep_in_the_future_is_no_sweep(world):
    world.sweeper.handle_event({"step": HEARTBEAT})
    world.progress.set_health(CENTRAL, world.runtime.clock.now() + 10**7, is_whole=True)
    world.wait(3 * 3600)
    assert world.sweeper.handle_event({"step": HEARTBEAT})["overdue"] == [CENTRAL]
    world.sweep()
    assert world.sweeper.handle_event({"step": HEARTBEAT})["overdue"] == []


@pytest.mark.long
def test_a_second_lower_number_in_a_period_hides_no_account(covered):
    life = watched(covered, "1h")
    life.live(4, all_but_one)
    for quarter in range(1, 8):
        life.points.append(("AccountsOverdue", life.now - quarter * QUARTER, 0.0))
    life.evaluate()
    assert life.states["HeartbeatAlarm"] == ALARM
