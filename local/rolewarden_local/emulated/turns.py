"""The event loop of the local AWS, on which threads take turns, so that most calls need no switch of threads.

MiniStack's handlers run one at a time, on one event loop. A caller that hands its call over to the thread of the loop
waits twice until the processor is given to the other thread. On a busy machine, that takes longer than the call.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class _Selector(selectors.DefaultSelector):
    """The loop's selector. While the loop waits for something to do, another thread can have its turn."""

    def __init__(self, turn: threading.Lock) -> None:
        super().__init__()
        self._turn = turn
        self.has_work = False

    def select(self, timeout: float | None = None) -> list[Any]:
        self._turn.release()
        try:
            return super().select(timeout)
        finally:
            self.has_work = True
            self._turn.acquire()
            self.has_work = False


class Loop:
    """An event loop in a thread of its own, whose work other threads can do while the loop has nothing to do."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._selector = _Selector(self._turn)
        self.asyncio: Any = asyncio.SelectorEventLoop(self._selector)
        self.asyncio.set_default_executor(ThreadPoolExecutor(max_workers=32, thread_name_prefix="local-aws-worker"))
        threading.Thread(target=self._run, name="local-aws", daemon=True).start()

    def _run(self) -> None:
        with self._turn:
            self.asyncio.run_forever()

    def run(self, begin: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Run the coroutine that `begin` makes, and return its result.

        It runs in this thread until it waits for something, if the loop has nothing else to do. Otherwise, it waits for
        its turn in the queue of the loop.
        """
        with self._turn:
            if self._selector.has_work or self.asyncio._ready:
                future = asyncio.run_coroutine_threadsafe(begin(), self.asyncio)
            else:
                context = contextvars.copy_context()
                future = context.run(self._begun, begin(), context)
        return future.result()

    def _begun(self, coroutine: Coroutine[Any, Any, _Result], context: contextvars.Context) -> Future[_Result]:
        """Run a coroutine until it ends or waits. The loop continues one that waits, in the same context."""
        future: Future[_Result] = Future()
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self.asyncio)
        try:
            awaited = coroutine.send(None)
        except StopIteration as ended:
            future.set_result(ended.value)
        except BaseException as error:
            future.set_exception(error)
        else:
            task = self.asyncio.create_task(_rest(coroutine, awaited), context=context)
            task.add_done_callback(lambda ended: _set_result(ended, future))
        finally:
            asyncio._set_running_loop(before)
            if self.asyncio._ready or self.asyncio._scheduled:
                self.asyncio._write_to_self()
        return future


async def _rest(coroutine: Coroutine[Any, Any, _Result], awaited: Any) -> _Result:
    return await _steps(coroutine, awaited)


@types.coroutine
def _steps(coroutine: Coroutine[Any, Any, _Result], awaited: Any) -> Generator[Any, Any, _Result]:
    """Continue a coroutine that waits for `awaited`. Python allows no `await` of a coroutine that has begun."""
    while True:
        try:
            sent = yield awaited
        except BaseException as error:
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, sent)
        try:
            awaited = step()
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]


def _set_result(task: asyncio.Task[_Result], future: Future[_Result]) -> None:
    if task.cancelled():
        future.cancel()
    elif error := task.exception():
        future.set_exception(error)
    else:
        future.set_result(task.result())
