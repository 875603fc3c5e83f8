"""A role that somebody keeps baring: it is guarded each time, and told once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rolewarden.contest import CONTESTED, WINDOW, Contest
from rolewarden.record import metrics
from rolewarden.reported import REPORTING_SECONDS
from rolewarden_local.aws import ACCOUNT_ID


@pytest.fixture
def told(world):
    """The detail of each Role Contested so far."""
    heard: list[dict[str, Any]] = []
    hear = world.listening({"source": ["rolewarden"], "detail-type": ["Role Contested"]})

    def details():
        while events := hear():
            heard.extend(event["detail"] for event in events)
        return heard

    return details


def attacks(world, times, role="CanvasOmar"):
    """Somebody takes the guardrail off, and Rolewarden hears of it, this often."""
    for _ in range(times):
        event = world.detach(role, "no-generative-ai")
        event["detail"]["userIdentity"]["arn"] = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/ci/run-{event['id']}"
        world.enforce(event)
        assert world.carried(role) == {"no-generative-ai"}


def test_a_tool_that_takes_the_guardrail_off_every_minute_is_one_finding_that_names_it(world, told):
    world.guarded()
    attacks(world, 60)
    [detail] = told()
    assert detail["role"] == "CanvasOmar"
    assert detail["subjects"] == ["analytics/omar"]
    assert detail["remediations"] == CONTESTED
    [actor] = detail["actors"]
    assert (actor["actor"], actor["times"]) == (f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/ci", CONTESTED)
    assert actor["source_address"] == "127.0.0.1"


def test_the_history_keeps_the_remediation_beside_the_finding_that_it_led_to(world):
    world.guarded()
    attacks(world, CONTESTED)
    kinds = [row["kind"] for row in world.history("CanvasOmar") if row["cause"]["event_name"] == "DetachRolePolicy"]
    assert sorted(kinds) == ["Role Contested", *["Role Remediated"] * CONTESTED]


def test_each_remediation_of_a_contest_counts_for_the_alarm(world):
    world.guarded()
    metrics.clear_metrics()
    attacks(world, CONTESTED - 1)
    assert "Contested" not in metrics.metric_set
    attacks(world, 4)
    assert len(metrics.metric_set["Contested"]["Value"]) == 4
    metrics.clear_metrics()


def test_what_is_taken_off_now_and_then_is_no_contest(world, told):
    world.guarded()
    attacks(world, CONTESTED - 1)
    assert told() == []


def test_one_act_that_is_told_of_often_is_no_contest(world, told):
    world.guarded()
    event = world.detach("CanvasOmar", "no-generative-ai")
    for _ in range(10):
        world.enforce(event)
        world.detach("CanvasOmar", "no-generative-ai")  # unheard of
    assert told() == []


def test_two_roles_that_are_bared_once_or_twice_are_no_contest(world, told):
    world.guarded()
    attacks(world, 2)
    attacks(world, 2, "CanvasAnalytics")
    assert told() == []


def test_acts_in_one_batch_are_counted_with_those_on_record(world, told):
    world.guarded()
    with world.runtime.recorder.together():
        attacks(world, CONTESTED)
    assert len(told()) == 1


def test_a_role_whose_history_cannot_be_read_is_mended_all_the_same(world, told):
    world.guarded()
    attacks(world, CONTESTED - 1)
    metrics.clear_metrics()
    event = world.detach("CanvasOmar", "no-generative-ai")
    # The first Query asks for the bindings, the second for the history.
    with world.aws.failing("Query", "ThrottlingException", after=1):
        world.enforce(event)
    assert world.carried("CanvasOmar") == {"no-generative-ai"}
    assert "RecordFailed" in metrics.metric_set
    metrics.clear_metrics()


NOW = datetime(2027, 1, 15, 3, 0, tzinfo=UTC)


def acts(*minutes_ago, name="DetachRolePolicy", remediation="attached"):
    return [
        {
            "at": f"{(NOW - timedelta(minutes=ago)).isoformat(timespec='milliseconds')}#{number}",
            "remediation": remediation,
            "cause": {"event_id": str(number), "event_name": name},
        }
        for number, ago in enumerate(minutes_ago)
    ]


def test_acts_of_days_ago_do_not_count():
    assert Contest.among(acts(1, 2, 3), NOW)
    assert Contest.among(acts(1, 2, 24 * 60 + 1), NOW) is None


def test_what_brings_a_role_under_guard_is_no_act_against_it():
    assert Contest.among(acts(1, 2, 3, name="CreateUserProfile"), NOW) is None
    assert Contest.among(acts(1, 2, 3, remediation=""), NOW) is None


def test_a_contest_that_was_quiet_for_a_day_is_told_again_when_it_begins_again(world, told):
    world.guarded()
    attacks(world, CONTESTED)
    world.wait(WINDOW.total_seconds() - 120)
    attacks(world, CONTESTED)
    world.wait(WINDOW.total_seconds() - 120)
    attacks(world, CONTESTED)
    assert len(told()) == 1
    world.wait(WINDOW.total_seconds() + 1)
    attacks(world, CONTESTED)
    assert len(told()) == 2


def test_a_contest_that_nobody_could_be_told_of_is_told_with_the_next_act(world, told):
    world.guarded()
    attacks(world, CONTESTED - 1)
    with world.aws.failing("PutEvents", "ThrottlingException"):
        attacks(world, 1)
    assert told() == []
    world.wait(REPORTING_SECONDS + 1)
    attacks(world, 2)
    assert len(told()) == 1
