"""Signals and tasks on asyncio and uvloop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any

from streamkit.loop.stepping import DONE, free_runners, make_runner, rest_of

__all__ = ["Signal", "Task", "call_soon"]

Function = Callable[[], Coroutine[Any, Any, None]]

# Seconds by which a loop's clock counts: uvloop rounds to them, and wakes up that much early.
RESOLUTION = 0.001


class Signal:
    """A future for each wait, and one timer for all of them.

    Thousands of streams that each wait for the next item a second are the common crowd: every
    object that lives as long as such a wait is the garbage collector's to look at.
    """

    __slots__ = ("_due", "_is_set", "_loop", "_timer", "_waiter")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._is_set = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def set(self) -> None:
        self._is_set = not self._wake(True)

    def set_threadsafe(self) -> None:
        # Once the loop is closed, which a thread can outlive, nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.set)

    def wait(self, timeout: float | None = None) -> Awaitable[bool]:
        waiter = self._waiter = self._loop.create_future()
        if self._is_set:
            self._is_set = False
            waiter.set_result(True)
            return waiter
        self._due = math.inf if timeout is None else self._loop.time() + timeout
        if self._timer is not None and self._timer.when() > self._due:
            self.rest()
        if self._timer is None and timeout is not None:
            self._timer = self._loop.call_at(self._due, self._ring)
        return waiter

    def rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._due == math.inf or self._waiter is None:
            return
        # It was set for an earlier wait, and is due later now.
        if self._loop.time() < self._due - RESOLUTION:
            self._timer = self._loop.call_at(self._due, self._ring)
        else:
            self._wake(False)

    def _wake(self, was_set: bool) -> bool:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return False
        waiter.set_result(was_set)
        return True


# What asyncio has for loops and tasks of other makes: "Extending asyncio".
_enter, _leave = asyncio.tasks._enter_task, asyncio.tasks._leave_task
# The loop itself keeps only weak references to its tasks.
_tasks: dict[asyncio.AbstractEventLoop, set[asyncio.Task[None]]] = {}


def _tasks_of(running: asyncio.AbstractEventLoop) -> set[asyncio.Task[None]]:
    tasks = _tasks.get(running)
    if tasks is None:
        # Those of a loop that was closed under them never end.
        for other in list(_tasks):
            if other.is_closed():
                _tasks.pop(other, None)
        tasks = _tasks[running] = set()
    return tasks


class Task:
    __slots__ = ("_began", "_cleanup", "_context", "_function", "_loop", "_task")

    def __init__(self, function: Function, cleanup: Function | None) -> None:
        self._function = function
        self._cleanup = cleanup
        self._began = False
        self._start()

    def cancel(self) -> None:
        self._task.cancel()

    kill = cancel

    @property
    def can_begin(self) -> bool:
        return self._context is not None

    def begin(self, begun: Coroutine[Any, Any, Any]) -> Awaitable[None] | None:
        assert self._context is not None
        runner = free_runners.pop() if free_runners else make_runner()
        _enter(self._loop, self._task)
        try:
            trap = self._context.run(runner.send, begun)
        finally:
            _leave(self._loop, self._task)
        if trap is DONE:
            free_runners.append(runner)
            return None
        return rest_of(runner, trap)

    def _start(self) -> None:
        self._loop = running = asyncio.get_running_loop()
        self._context: Context | None = None
        if running.get_task_factory() is None:
            self._context = copy_context()
            self._task = running.create_task(self._run(), context=self._context)
        else:
            # It may know nothing of contexts.
            self._task = running.create_task(self._run())
        _tasks_of(running).add(self._task)
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        self._began = True
        function, cleanup = self._function, self._cleanup
        # They hold what holds this: without a cycle, the memory is free at once.
        del self._function, self._cleanup
        await function()
        # asyncio cancels a task at its very next step: no cancellation can come late here.
        if cleanup is not None:
            await cleanup()

    def _ended(self, task: asyncio.Task[None]) -> None:
        _tasks_of(self._loop).discard(task)
        if not self._began and not task.get_loop().is_closed():
            # A loop that shuts down cancels tasks before their first step, too late to clean up.
            self._start()
            _keep_loop_for(self._task)


def _keep_loop_for(task: asyncio.Task[None]) -> None:
    """Let a loop that shuts down wait for a task that began meanwhile, and for its threads.

    It waits for those that it found, and after them for the end of async generators.
    """

    async def wait() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if not task.done():
                await asyncio.wait({task})

    waiting: Any = wait()
    with suppress(StopIteration):
        # As far as its `yield`: from then on the loop knows of it.
        waiting.asend(None).send(None)

    def end(_: object) -> None:
        # Unless the loop waits for it just now.
        if not waiting.ag_running:
            with suppress(StopIteration):
                waiting.aclose().send(None)

    task.add_done_callback(end)


def call_soon(function: Callable[[], object]) -> None:
    """Call a function on the loop, in no task."""
    asyncio.get_running_loop().call_soon(function)
