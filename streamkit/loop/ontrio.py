"""Signals, tasks and timers on trio; imported only where trio runs."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import trio

__all__ = ["Signal", "Task", "Timer"]

Function = Callable[[], Coroutine[Any, Any, None]]


class Timer:
    def __init__(self, due: float, function: Callable[[], None]) -> None:
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, due, function, context=copy_context())

    def cancel(self) -> None:
        self._scope.cancel()

    async def _run(self, due: float, function: Callable[[], None]) -> None:
        with self._scope:
            await trio.sleep_until(due)
            function()


class Signal:
    __slots__ = ("_event", "_is_set", "_token")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._event: trio.Event | None = None
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def set_threadsafe(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.set)

    async def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._event = trio.Event()
            try:
                with trio.move_on_after(math.inf if timeout is None else timeout):
                    await self._event.wait()
            finally:
                self._event = None
        was_set, self._is_set = self._is_set, False
        return was_set

    def rest(self) -> None:
        """There is no timer."""


class _Tasks:
    """The tasks of one run, which its end cancels: they are shielded from it."""

    def __init__(self) -> None:
        self._tasks: set[Task] = set()
        self._watching: trio.CancelScope | None = None

    def add(self, task: Task) -> None:
        self._tasks.add(task)
        if self._watching is None:
            self._watching = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._watch, self._watching)

    def discard(self, task: Task) -> None:
        self._tasks.discard(task)
        if not self._tasks and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await trio.sleep_forever()
            finally:
                for task in tuple(self._tasks) if not scope.cancel_called else ():
                    task.cancel()


_tasks: trio.lowlevel.RunVar[_Tasks] = trio.lowlevel.RunVar("streamkit.tasks")


def _tasks_of_run() -> _Tasks:
    try:
        return _tasks.get()
    except LookupError:
        tasks = _Tasks()
        _tasks.set(tasks)
        return tasks


# Turns of the loop that a task may take without once waiting until it is cancelled there.
MOST_TURNS = 100


class Task:
    """A system task that is cancelled once, as asyncio does it.

    trio cancels at every checkpoint of a cancelled scope, and its own functions look whether there
    is such a scope around them. So the task is shielded. `cancel` opens the shield only where the
    task waits, and it is shut again before the task goes on: `finally: await ...` in a user's
    generator then works as on asyncio, whatever is awaited there.
    """

    __slots__ = ("_is_due", "_scope", "_shield", "_waits")
    # trio knows one way only to run a task.
    can_begin = False

    def __init__(self, function: Function, cleanup: Function | None) -> None:
        self._scope = trio.CancelScope()
        self._shield = trio.CancelScope(shield=True)
        # Whether a cancellation is to be delivered, and whether the task waits for something.
        self._is_due = self._waits = False
        trio.lowlevel.spawn_system_task(self._run, function, cleanup, context=copy_context())

    def cancel(self) -> None:
        self._is_due = True
        self._scope.cancel()
        if self._waits:
            self._shield.shield = False

    def kill(self) -> None:
        self._shield.cancel()

    def begin(self, begun: Coroutine[Any, Any, Any]) -> Any:
        raise NotImplementedError  # pragma: no cover - `can_begin` is false

    async def _run(self, function: Function, cleanup: Function | None) -> None:
        tasks = _tasks_of_run()
        tasks.add(self)
        try:
            with self._scope, self._shield:
                await self._cancelled_once(function())
                self._is_due = False
                self._shield.shield = True
                if cleanup is not None:
                    await cleanup()
        finally:
            tasks.discard(self)

    @types.coroutine
    def _cancelled_once(self, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        step: Callable[[Any], Any] = coroutine.send
        argument: Any = None
        turns = 0
        while True:
            try:
                trap = step(argument)
            except StopIteration:
                return
            step = coroutine.send
            waits = type(trap).__name__ == WAIT
            if self._is_due:
                turns += 1
            if self._is_due and turns > MOST_TURNS and not waits:
                trap, waits = _wait(), True
            if self._is_due and waits:
                self._shield.shield = False
            self._waits = waits
            try:
                argument = yield trap
            except BaseException as exc:
                step, argument = coroutine.throw, exc
            self._waits = False
            if not self._shield.shield:
                self._shield.shield = True
                # trio resumes a task with an Outcome, which its innermost trap unwraps.
                cancelled = isinstance(getattr(argument, "error", argument), trio.Cancelled)
                # That of a timeout of its own, which is over just now, comes first.
                if cancelled and trio.current_effective_deadline() > trio.current_time():
                    self._is_due = False


# What a task tells trio when it waits, and not only gives others their turn.
WAIT = "WaitTaskRescheduled"


def _wait() -> Any:
    """What a task tells trio that waits for nothing but its cancellation."""
    # Stepped by hand, for what it yields.
    waiting = trio.lowlevel.wait_task_rescheduled(  # noqa: ASYNC105
        lambda _: trio.lowlevel.Abort.SUCCEEDED
    )
    trap = waiting.send(None)
    waiting.close()
    return trap
