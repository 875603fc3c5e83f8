"""A role whose guardrails a caller keeps detaching: it is remediated each time and reported once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rolewarden.contest import CONTESTED, WINDOW, Contest
from rolewarden.record import metrics
from rolewarden.reported import REPORTING_SECONDS
from rolewarden_local.aws import ACCOUNT_ID


@pytest.fixture
def reported(world):
    """The detail of each event Role Contested so far."""
    heard: list[dict[str, Any]] = []
    hear = world.listening({"source": ["rolewarden"], "detail-type": ["Role Contested"]})

    def details():
        while events := hear():
            heard.extend(event["detail"] for event in events)
        return heard

    return details


def attacks(world, times, role="CanvasOmar"):
    """Detach the guardrail and pass the event to Rolewarden, this number of times."""
    for _ in range(times):
        event = world.detach(role, "no-generative-ai")
        event["detail"]["userIdentity"]["arn"] = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/ci/run-{event['id']}"
        world.enforce(event)
        assert world.attached(role) == {"no-generative-ai"}


def test_a_tool_that_detaches_the_guardrail_every_minute_is_one_finding_with_its_name(world, reported):
    world.protected()
    attacks(world, 60)
    [detail] = reported()
    assert detail["role"] == "CanvasOmar"
    assert detail["subjects"] == ["analytics/omar"]
    assert detail["remediations"] == CONTESTED
    [actor] = detail["actors"]
    assert (actor["actor"], actor["times"]) == (f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/ci", CONTESTED)
    assert actor["source_address"] == "127.0.0.1"


def test_the_history_has_the_remediation_and_the_finding(world):
    world.protected()
    attacks(world, CONTESTED)
    kinds = [row["kind"] for row in world.history("CanvasOmar") if row["cause"]["event_name"] == "DetachRolePolicy"]
    assert sorted(kinds) == ["Role Contested", *["Role Remediated"] * CONTESTED]


def test_each_remediation_of_a_contested_role_counts_for_the_alarm(world):
    world.protected()
    metrics.clear_metrics()
    attacks(world, CONTESTED - 1)
    assert "Contested" not in metrics.metric_set
    attacks(world, 4)
    assert len(metrics.metric_set["Contested"]["Value"]) == 4
    metrics.clear_metrics()


def test_rare_detachments_do_not_make_a_role_contested(world, reported):
    world.protected()
    attacks(world, CONTESTED - 1)
    assert reported() == []


def test_one_change_with_many_events_does_not_make_a_role_contested(world, reported):
    world.protected()
    event = world.detach("CanvasOmar", "no-generative-ai")
    for _ in range(10):
        world.enforce(event)
        world.detach("CanvasOmar", "no-generative-ai")  # Without an event for Rolewarden.
    assert reported() == []


def test_one_or_two_detachments_do_not_make_a_role_contested(world, reported):
    world.protected()
    attacks(world, 2)
    attacks(world, 2, "CanvasAnalytics")
    assert reported() == []


def test_changes_in_one_batch_are_counted_with_recorded_ones(world, reported):
    world.protected()
    with world.runtime.recorder.together():
        attacks(world, CONTESTED)
    assert len(reported()) == 1


def test_a_role_with_an_unreadable_history_is_remediated(world, reported):
    world.protected()
    attacks(world, CONTESTED - 1)
    metrics.clear_metrics()
    event = world.detach("CanvasOmar", "no-generative-ai")
    # The first Query reads the bindings, and the second one reads the history.
    with world.aws.failing("Query", "ThrottlingException", after=1):
        world.enforce(event)
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
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


def test_changes_of_earlier_days_do_not_count():
    assert Contest.among(acts(1, 2, 3), NOW)
    assert Contest.among(acts(1, 2, 24 * 60 + 1), NOW) is None


def test_a_change_that_makes_a_role_governed_does_not_count():
    assert Contest.among(acts(1, 2, 3, name="CreateUserProfile"), NOW) is None
    assert Contest.among(acts(1, 2, 3, remediation=""), NOW) is None


def test_a_role_that_is_contested_again_after_a_day_is_reported_again(world, reported):
    world.protected()
    attacks(world, CONTESTED)
    world.wait(WINDOW.total_seconds() - 120)
    attacks(world, CONTESTED)
    world.wait(WINDOW.total_seconds() - 120)
    attacks(world, CONTESTED)
    assert len(reported()) == 1
    world.wait(WINDOW.total_seconds() + 1)
    attacks(world, CONTESTED)
    assert len(reported()) == 2


def test_a_contested_role_that_could_not_be_reported_is_reported_with_the_next_change(world, reported):
    world.protected()
    attacks(world, CONTESTED - 1)
    with world.aws.failing("PutEvents", "ThrottlingException"):
        attacks(world, 1)
    assert reported() == []
    world.wait(REPORTING_SECONDS + 1)
    attacks(world, 2)
    assert len(reported()) == 1
