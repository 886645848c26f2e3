"""Time that jumps over the waiting, on the loop's own clock."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from streamkit.loop import in_trio

__all__ = ["virtual_time"]

# Seconds of real time after which one who may not jump looks again.
PAUSE = 0.01


def virtual_time() -> AbstractContextManager[None]:
    """Jump over the waiting: where the event loop would wait for a time, the time comes at once.

    Everything that asks the loop's clock sees it pass: sleeps, timeouts, deadlines and `call_later`
    of asyncio, anyio and trio, the limits of a response, `Chunk.at`, `anyio.current_time()`.
    Between the jumps time goes as always, so compare with `<`, not `==`. Time never goes back,
    neither when the block ends.

    There is no jump while a call runs on a worker thread of anyio, asyncio or trio: a content that
    takes half a second there takes half a second. Nothing else outside of the loop is waited for:
    not a server on a socket, nor a thread of your own.

    Call it where the loop runs, on asyncio or trio. Raises `RuntimeError` on uvloop, whose clock
    can't be reached, and where trio runs with a `MockClock`, which is virtual already.

        with virtual_time():
            async with stream(app, "/events") as client:
                assert await anext(client) == b": \\n\\n"
    """
    return _on_trio() if in_trio() else _on_asyncio()


@contextmanager
def _on_asyncio() -> Iterator[None]:
    loop: Any = asyncio.get_running_loop()
    # Private, and the same in every version of asyncio; a loop written in C has none.
    if not hasattr(loop, "_selector"):
        raise RuntimeError(
            f"virtual_time() needs asyncio's own event loop, or trio: the clock of "
            f"{type(loop).__module__}.{type(loop).__name__} can't be reached"
        )
    # The time stays where it is after a block: what is scheduled by it is due by it. The next
    # block goes on with it, since a loop may run thousands of tests.
    jumps = getattr(loop.time, "__self__", None)
    if not isinstance(jumps, _Jumps):
        jumps = _Jumps(loop)
    selector, before = loop._selector, (loop._selector.select, loop.run_in_executor)
    loop.time, selector.select, loop.run_in_executor = jumps.time, jumps.select, jumps.run
    try:
        yield
    finally:
        selector.select, loop.run_in_executor = before


class _Jumps:
    """What an asyncio loop asks instead of its selector, its clock and its executors."""

    def __init__(self, loop: Any) -> None:
        self._real_select: Callable[[float | None], list[Any]] = loop._selector.select
        self._real_run = loop.run_in_executor
        self._real_time = loop.time
        self._skipped = 0.0
        self._calls: set[asyncio.Future[Any]] = set()
        self._workers, self._idle = _worker_threads()

    def time(self) -> float:
        return float(self._real_time() + self._skipped)

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return self._real_select(timeout)
        if events := self._real_select(0):
            return events
        if self._calls or len(self._workers) > len(self._idle):
            return self._real_select(min(timeout, PAUSE))
        self._skipped += timeout
        return []

    def run(self, *arguments: Any) -> asyncio.Future[Any]:
        call: asyncio.Future[Any] = self._real_run(*arguments)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call


def _worker_threads() -> tuple[Collection[Any], Collection[Any]]:
    """anyio's threads on this loop, and the idle ones of them; anyio does not tell otherwise.

    Asked for in a task: outside of one, as in a selector, anyio may know of no loop.
    """
    from anyio._backends import _asyncio

    workers, idle = _asyncio._threadpool_workers, _asyncio._threadpool_idle_workers
    try:
        return workers.get(), idle.get()
    except LookupError:
        workers.set(set())
        idle.set(deque())
        return workers.get(), idle.get()


@contextmanager
def _on_trio() -> Iterator[None]:
    import trio
    import trio.testing

    clock = trio.lowlevel.current_clock()
    if isinstance(clock, trio.testing.MockClock):
        raise RuntimeError("virtual_time() is of no use with a MockClock, which is virtual already")
    # As on asyncio: one that is ahead already goes on.
    ahead: Any = clock if isinstance(clock, _Ahead) else _Ahead(clock)
    scope = trio.CancelScope()
    # Private: trio's own MockClock has to be there from the start of the run.
    context: Any = trio._core._run.GLOBAL_RUN_CONTEXT
    context.runner.clock = ahead
    trio.lowlevel.spawn_system_task(_jump, ahead, scope)
    try:
        yield
    finally:
        scope.cancel()


class _Ahead:
    """A trio clock that is ahead of another one."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.skipped = 0.0

    def start_clock(self) -> None:
        """The other one was started."""

    def current_time(self) -> float:
        return float(self._clock.current_time() + self.skipped)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return float(self._clock.deadline_to_sleep_time(deadline - self.skipped))


async def _jump(clock: _Ahead, scope: Any) -> None:
    import trio
    import trio.testing

    with scope:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            left = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if left == math.inf or trio.testing.active_thread_count():
                await trio.sleep(PAUSE)
            else:
                clock.skipped += max(0.0, left)
