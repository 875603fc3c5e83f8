"""Many repeated events in any order: each needs few calls, and they make one alert, no loop and no memory leak."""

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
    """Suppress thousands of log lines and metrics."""
    level, threshold = logger.log_level, gc.get_threshold()
    logger.setLevel("CRITICAL")
    gc.set_threshold(700, 10, 10)  # This is as in Lambda, because the used memory depends on it.
    yield
    gc.set_threshold(*threshold)
    logger.setLevel(level)
    metrics.clear_metrics()


@pytest.fixture
def protected(world):
    world.protected().with_immediate_rechecks().queued()
    return world


def handled(world, events):
    for event in events:
        world.enforce(event)
        metrics.clear_metrics()


def test_many_events_on_one_role_make_one_remediation_and_two_calls_for_each_other_event(protected, capsys):
    event = protected.detach("CanvasOmar", GUARDRAIL)
    rows, mark = len(protected.history("CanvasOmar")), protected.aws.mark()
    many = volume(200, 1_000)
    handled(protected, [event] * many)
    calls = Counter(call.operation for call in protected.aws.calls(mark))
    assert protected.attached("CanvasOmar") == {GUARDRAIL}
    assert calls["AttachRolePolicy"] == 1
    assert calls["ListAttachedRolePolicies"] == many
    assert len(protected.history("CanvasOmar")) == rows + 1
    with capsys.disabled():
        print(f"\n{many:,} events on one role: {sum(calls.values()):,} calls, 1 remediation")  # noqa: T201


def test_out_of_scope_events_need_one_call_each_and_no_memory(protected, capsys):
    ignored = [sample(name) for name in ("awkward_denied_call", "awkward_other_service", "awkward_cut_parameters")]
    concern = protected.role_event("BuildServer")
    repeated = volume(50, 250)
    events = [concern, *ignored] * repeated
    handled(protected, events)  # warm
    mark = protected.aws.mark()
    peaks, left = [], []
    between = volume(1, 8)
    for traced in (True, *[False] * between, True):
        if traced:
            gc.collect()
            tracemalloc.start()
        handled(protected, events)
        if traced:
            gc.collect()
            current, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            peaks.append(peak)
            left.append(current)
    calls = protected.aws.calls(mark)
    assert {call.operation for call in calls} == {"Query"}
    assert len(calls) == repeated * (between + 2)
    # Only the local AWS's own log of calls stays, with some hundred bytes for each call.
    assert max(left) < 500_000
    assert peaks[1] - peaks[0] < 500_000
    with capsys.disabled():
        first, last = (f"{peak / 1e6:.2f}" for peak in peaks)
        print(  # noqa: T201
            f"\n{(between + 2) * len(events):,} events out of scope: {len(calls):,} calls; peak memory of the first "
            f"{len(events):,} {first} MB, of the last {last} MB; left {max(left) / 1e6:.2f} MB"
        )


def test_a_tool_that_detaches_the_guardrail_every_minute_is_remediated_each_time_and_reported_once(protected):
    heard = protected.listening({"source": ["rolewarden"], "detail-type": ["Role Contested"]})
    for _ in range(volume(30, 100)):
        protected.enforce(protected.detach("CanvasOmar", GUARDRAIL))
        assert protected.attached("CanvasOmar") == {GUARDRAIL}
        metrics.clear_metrics()
    [told] = [event["detail"] for event in heard()]
    assert told["actors"][0]["actor"] == f"arn:aws:iam::{ACCOUNT_ID}:root"


def test_the_rechecks_of_a_contested_role_come_to_an_end(protected):
    for _ in range(5):
        protected.enforce(protected.detach("CanvasOmar", GUARDRAIL))
    looks = 0
    while done := protected.work():
        looks += len(done)
        if looks < 40:
            protected.detach(
                "CanvasOmar", GUARDRAIL
            )  # Without an event for Rolewarden, so that each evaluation has work.
    assert 0 < looks <= 5 * RECHECKS


@pytest.mark.parametrize("seed", range(4))
def test_every_role_is_protected_after_lost_doubled_shuffled_and_late_events(protected, seed):
    chance = random.Random(seed)
    roles = ("CanvasOmar", "CanvasAnalytics", "CanvasAnalyticsSpaces")
    events = []
    for _ in range(4):
        for role in roles:
            if GUARDRAIL in protected.attached(role):
                events.append(protected.detach(role, GUARDRAIL))
            events.append(protected.role_event(role))
    late = json.loads(json.dumps(events).replace("2026-", "2025-"))
    mail = [event for event in (events + late) * 2 if chance.random() > 0.3]
    # One event of each role is delivered.
    mail += [protected.role_event(role) for role in roles]
    chance.shuffle(mail)
    handled(protected, mail)
    for role in roles:
        assert protected.attached(role) == {GUARDRAIL}
        attached = [row for row in protected.history(role) if row.get("attached")]
        assert len({row["correlation_id"] for row in attached}) == len(attached)
