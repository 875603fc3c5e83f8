"""Requested sweeps: a flood of requests leads to few sweeps, and no request is lost."""

import itertools

import pytest
from rolewarden.errors import RetryLater
from rolewarden.sweep_requests import BURST, PACE_SECONDS, RETRY_SECONDS, message
from rolewarden_local.aws import ACCOUNT_ID

REQUEST = {"source": "rolewarden", "detail-type": "Sweep Requested", "detail": {"by": "rolewarden sweep"}}


@pytest.fixture
def begun(world, monkeypatch):
    """Count the sweeps that have begun, and the messages that wait. `SweepRequests` gets no other queue."""
    world.sent = []
    world.sweeper.requests.burst = BURST
    # Time passes with each look at the clock and not with the load of the machine, so that forty requests are at once.
    began, ticks = world.runtime.clock.now(), itertools.count()
    world.runtime.clock.now = lambda: began + next(ticks) / 1000
    monkeypatch.setattr(world.sweeper.requests, "sends", world)
    world.send = lambda _queue, bodies, *, delay=0: world.sent.extend((body, delay) for body in bodies)
    return lambda: len(world.progress.sweeps(ACCOUNT_ID))


def turn(world):
    """Deliver the message that waits, after its delay."""
    [(body, delay)] = world.sent
    world.sent.clear()
    world.wait(delay)
    world.sweeper.handle_message(body)


def test_a_request_starts_a_sweep_at_once(world, begun):
    world.sweeper.handle_event(REQUEST)
    assert (begun(), world.sent) == (1, [])


def test_forty_requests_at_once_start_one_sweep_and_one_after_it(world, begun):
    for _ in range(40):
        world.sweeper.handle_event(REQUEST)
    assert (begun(), world.sent) == (1, [(message("all"), RETRY_SECONDS)])
    turn(world)
    assert (begun(), world.sent) == (2, [])


def test_a_flood_of_requests_has_the_pace_of_the_limit_and_the_last_one_is_not_lost(world, begun):
    for _ in range(200):
        world.sweeper.handle_event(REQUEST)
        world.wait(20)
        if world.sent:
            world.sent.clear()
            world.sweeper.handle_message(message("all"))
    assert begun() <= BURST + 200 * 20 / PACE_SECONDS + 1
    before = begun()
    world.sweeper.handle_event(REQUEST)
    while world.sent:
        turn(world)
    assert begun() == before + 1


def test_a_request_during_a_sweep_waits_for_its_end(world, begun):
    began = world.runtime.clock.now()
    world.progress.begin((f"sweep/{ACCOUNT_ID}", f"{began:.3f}"), began, "rules")
    world.sweeper.handle_event(REQUEST)
    assert (begun(), len(world.sent)) == (1, 1)
    turn(world)
    assert (begun(), len(world.sent)) == (1, 1)
    world.progress.finish((f"sweep/{ACCOUNT_ID}", f"{began:.3f}"), {"roles": 0}, {})
    turn(world)
    assert (begun(), world.sent) == (2, [])


def test_a_request_whose_message_cannot_be_sent_is_tried_again(world, begun):
    world.sweeper.handle_event(REQUEST)

    def fails(*_, **__):
        raise RetryLater("SendMessageBatch: throttled")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "send", fails)
        with pytest.raises(RetryLater):
            world.sweeper.handle_event(REQUEST)
    world.sweeper.handle_event(REQUEST)
    assert len(world.sent) == 1


SCHEDULE = {"source": "aws.events", "detail-type": "Scheduled Event"}


def test_the_schedule_does_not_wait_for_the_sweep_before(world, begun):
    for number in range(3):
        began = world.runtime.clock.now()
        world.progress.begin((f"sweep/{ACCOUNT_ID}", f"{began:.3f}"), began, "rules")
        world.wait(900)
        world.sweeper.handle_event(SCHEDULE)
        assert begun() == 2 * (number + 1)


DIRECT = [{}, SCHEDULE, {"step": "begin", "account": ACCOUNT_ID}, {"detail": {"account": ACCOUNT_ID}}]
"""Payloads with which a caller who can invoke the function starts a sweep, as an event or as a message."""


@pytest.mark.parametrize("payload", DIRECT)
def test_a_caller_who_invokes_the_function_again_and_again_starts_few_sweeps(world, begun, payload):
    starts = world.sweeper.handle_message if "step" in payload else world.sweeper.handle_event
    for _ in range(40):
        starts(payload)
    assert begun() <= BURST
    assert len(world.sent) <= 1


def test_of_two_functions_that_have_read_the_same_time_one_starts_a_sweep(world, begun, monkeypatch):
    monkeypatch.setattr(world.progress, "claimed_until", lambda _: 0.0)
    monkeypatch.setattr(world.sweeper.requests.progress, "claimed_until", lambda _: 0.0)
    for _ in range(2):
        world.sweeper.handle_event(SCHEDULE)
    assert (begun(), len(world.sent)) == (1, 1)


@pytest.mark.parametrize("account", ["444455556666", "", None, 7])
@pytest.mark.parametrize("step", ["begin", "list", "describe", "compare", "audit", "regions", "requested"])
def test_a_step_of_an_account_that_the_stack_does_not_cover_is_dropped(world, step, account):
    more = {"region": "us-east-1", "domain": "d-1", "profiles": ["x"], "target": account, "began": "1.000"}
    mark = world.aws.mark()
    assert "ignored" in world.sweeper.handle_message({"step": step, "account": account, **more})
    assert {call.operation for call in world.aws.calls(mark)} <= {"Query"}


@pytest.mark.parametrize("step", ["list", "describe"])
def test_a_step_in_a_region_that_the_stack_does_not_cover_is_dropped(world, step):
    more = {"region": "eu-west-3", "domain": "d-1", "profiles": ["x"], "began": "1.000"}
    assert "ignored" in world.sweeper.handle_message({"step": step, "account": ACCOUNT_ID, **more})
