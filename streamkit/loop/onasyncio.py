"""Signals and tasks on asyncio and uvloop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

__all__ = ["Signal", "Task"]

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


# The loop itself keeps only weak references to its tasks.
_tasks: set[asyncio.Task[None]] = set()


class Task:
    __slots__ = ("_began", "_cleanup", "_function", "_task")

    def __init__(self, function: Function, cleanup: Function | None) -> None:
        self._function = function
        self._cleanup = cleanup
        self._began = False
        self._start()

    def cancel(self) -> None:
        self._task.cancel()

    kill = cancel

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        _tasks.add(self._task)
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        self._began = True
        await self._function()
        # asyncio cancels a task at its very next step: no cancellation can come late here.
        if self._cleanup is not None:
            await self._cleanup()

    def _ended(self, task: asyncio.Task[None]) -> None:
        _tasks.discard(task)
        if not self._began and not task.get_loop().is_closed():
            # A loop that shuts down cancels tasks before their first step, too late to clean up.
            self._start()
