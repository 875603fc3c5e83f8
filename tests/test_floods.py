"""Many events at once, in any order and often: few calls each, one alert, no loop, and no more memory."""

import gc
import json
import random
import tracemalloc
from collections import Counter

import pytest
from rolewarden.record import logger, metrics
from rolewarden.work import RECHECKS
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import sample
from tests.volume import volume

GUARDRAIL = "no-generative-ai"

pytestmark = [pytest.mark.long, pytest.mark.volume]


@pytest.fixture(autouse=True)
def quiet():
    """Thousands of log lines and metrics tell nothing here."""
    level, threshold = logger.log_level, gc.get_threshold()
    logger.setLevel("CRITICAL")
    gc.set_threshold(700, 10, 10)  # as in Lambda: how much memory is taken depends on it
    yield
    gc.set_threshold(*threshold)
    logger.setLevel(level)
    metrics.clear_metrics()


@pytest.fixture
def guarded(world):
    world.guarded().hurried().queued()
    return world


def handled(world, events):
    for event in events:
        world.enforce(event)
        metrics.clear_metrics()


def test_a_thousand_events_on_one_role_are_one_remediation_and_two_calls_each_for_the_rest(guarded, capsys):
    event = guarded.detach("CanvasOmar", GUARDRAIL)
    rows, mark = len(guarded.history("CanvasOmar")), guarded.aws.mark()
    handled(guarded, [event] * 1000)
    calls = Counter(call.operation for call in guarded.aws.calls(mark))
    assert guarded.carried("CanvasOmar") == {GUARDRAIL}
    assert calls["AttachRolePolicy"] == 1
    assert calls["ListAttachedRolePolicies"] == 1000
    assert len(guarded.history("CanvasOmar")) == rows + 1
    with capsys.disabled():
        print(f"\n1,000 events on one role: {sum(calls.values()):,} calls, 1 remediation")  # noqa: T201


def test_events_of_no_concern_cost_a_call_each_at_most_and_no_memory(guarded, capsys):
    ignored = [sample(name) for name in ("awkward_denied_call", "awkward_other_service", "awkward_cut_parameters")]
    concern = guarded.role_event("BuildServer")
    events = [concern, *ignored] * 250
    handled(guarded, events)  # warm
    mark = guarded.aws.mark()
    peaks, left = [], []
    between = volume(1, 8)
    for traced in (True, *[False] * between, True):
        if traced:
            gc.collect()
            tracemalloc.start()
        handled(guarded, events)
        if traced:
            gc.collect()
            current, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            peaks.append(peak)
            left.append(current)
    calls = guarded.aws.calls(mark)
    assert {call.operation for call in calls} == {"Query"}
    assert len(calls) == 250 * (between + 2)
    # What stays is the local AWS's own log of calls: some hundred bytes each.
    assert max(left) < 500_000
    assert peaks[1] - peaks[0] < 500_000
    with capsys.disabled():
        first, last = (f"{peak / 1e6:.2f}" for peak in peaks)
        print(  # noqa: T201
            f"\n{between + 2},000 events out of scope: {len(calls):,} calls; "
            f"peak memory of the first 1,000 {first} MB, of the last {last} MB; left {max(left) / 1e6:.2f} MB"
        )


def test_a_tool_that_takes_the_guardrail_off_every_minute_is_repaired_each_time_and_told_of_once(guarded):
    heard = guarded.listening({"source": ["rolewarden"], "detail-type": ["Role Contested"]})
    for _ in range(100):
        guarded.enforce(guarded.detach("CanvasOmar", GUARDRAIL))
        assert guarded.carried("CanvasOmar") == {GUARDRAIL}
        metrics.clear_metrics()
    [told] = [event["detail"] for event in heard()]
    assert told["actors"][0]["actor"] == f"arn:aws:iam::{ACCOUNT_ID}:root"


def test_the_rechecks_of_a_contested_role_come_to_an_end(guarded):
    for _ in range(5):
        guarded.enforce(guarded.detach("CanvasOmar", GUARDRAIL))
    looks = 0
    while done := guarded.work():
        looks += len(done)
        if looks < 40:
            guarded.detach("CanvasOmar", GUARDRAIL)  # unheard of: each look has something to mend
    assert 0 < looks <= 5 * RECHECKS


@pytest.mark.parametrize("seed", range(4))
def test_events_that_are_lost_doubled_shuffled_and_hours_late_leave_every_role_guarded(guarded, seed):
    chance = random.Random(seed)
    roles = ("CanvasOmar", "CanvasAnalytics", "CanvasAnalyticsSpaces")
    events = []
    for _ in range(4):
        for role in roles:
            if GUARDRAIL in guarded.carried(role):
                events.append(guarded.detach(role, GUARDRAIL))
            events.append(guarded.role_event(role))
    late = json.loads(json.dumps(events).replace("2026-", "2025-"))
    mail = [event for event in (events + late) * 2 if chance.random() > 0.3]
    # Of each role one event gets through.
    mail += [guarded.role_event(role) for role in roles]
    chance.shuffle(mail)
    handled(guarded, mail)
    for role in roles:
        assert guarded.carried(role) == {GUARDRAIL}
        attached = [row for row in guarded.history(role) if row.get("attached")]
        assert len({row["correlation_id"] for row in attached}) == len(attached)
