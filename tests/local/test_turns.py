"""The event loop of the local AWS, on which threads take turns."""

import asyncio
import contextvars
import threading

import pytest
from rolewarden_local.emulated.turns import Loop

VARIABLE = contextvars.ContextVar("VARIABLE", default="outside")


@pytest.fixture(scope="module")
def loop():
    return Loop()


def test_a_call_that_does_not_wait_runs_in_the_thread_of_the_caller(loop):
    async def thread():
        assert asyncio.get_running_loop() is loop.asyncio
        return threading.current_thread()

    assert loop.run(thread) is threading.current_thread()


def test_a_call_that_waits_goes_on_in_the_thread_of_the_loop_and_in_its_own_context(loop):
    async def threads():
        token = VARIABLE.set("inside")
        before = threading.current_thread()
        await asyncio.sleep(0.001)
        await asyncio.to_thread(VARIABLE.get)
        found = before, threading.current_thread(), VARIABLE.get()
        VARIABLE.reset(token)
        return found

    before, after, value = loop.run(threads)
    assert (before, after.name, value) == (threading.current_thread(), "local-aws", "inside")
    assert VARIABLE.get() == "outside"


@pytest.mark.parametrize("waits", [False, True])
def test_an_error_reaches_the_caller(loop, waits):
    async def fails():
        if waits:
            await asyncio.sleep(0)
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        loop.run(fails)


def test_a_call_can_catch_the_error_of_what_it_waits_for(loop):
    async def catches():
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        except TimeoutError:
            return "caught"

    assert loop.run(catches) == "caught"


def test_a_later_call_does_not_overtake_the_work_that_an_earlier_call_began(loop):
    done = []

    async def begins():
        loop.kept = asyncio.create_task(ends())

    async def ends():
        done.append("begun work")

    async def looks():
        return list(done)

    for number in range(1, 200):
        loop.run(begins)
        assert loop.run(looks) == ["begun work"] * number


def test_only_one_call_runs_at_a_time(loop):
    running, most = [], []

    async def call():
        running.append(1)
        most.append(len(running))
        running.pop()

    threads = [threading.Thread(target=lambda: [loop.run(call) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (800, 1)
