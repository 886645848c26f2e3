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
        pass


class Task:
    __slots__ = ("_scope", "_shield")
    # trio knows one way only to run a task.
    can_step = False

    def __init__(self, function: Function, cleanup: Function | None) -> None:
        self._scope = trio.CancelScope()
        self._shield = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, function, cleanup, context=copy_context())

    def cancel(self) -> None:
        self._scope.cancel()

    def kill(self) -> None:
        self._shield.cancel()

    def step(self, stepped: Coroutine[Any, Any, Any]) -> Any:
        raise NotImplementedError

    async def _run(self, function: Function, cleanup: Function | None) -> None:
        with self._scope, self._shield:
            await _cancelled_once(function(), self._scope, self._shield)
            if cleanup is not None:
                # trio keeps a cancellation that met no checkpoint for the next one.
                self._shield.shield = True
                await cleanup()


@types.coroutine
def _cancelled_once(
    coroutine: Coroutine[Any, Any, None], scope: trio.CancelScope, shield: trio.CancelScope
) -> Generator[Any, Any, None]:
    """Drive `coroutine`, and shut `shield` as soon as it waits again after a cancellation.

    `scope` and the end of the run are what cancels it; a timeout of its own does not count.

    trio cancels at every checkpoint of a cancelled scope, asyncio once: this makes them alike,
    so that `finally: await ...` in a user's generator works on both.
    """
    system = trio.lowlevel.current_task().parent_nursery
    assert system is not None
    step: Callable[[Any], Any] = coroutine.send
    argument: Any = None
    cancelled = False
    while True:
        try:
            trap = step(argument)
        except StopIteration:
            return
        if cancelled:
            # Not before: until the cancellation has passed trio's own scopes, such as the one in
            # `checkpoint()`, they must see that it is not theirs to swallow.
            shield.shield = True
        step = coroutine.send
        try:
            argument = yield trap
        except BaseException as exc:
            step, argument = coroutine.throw, exc
        # trio resumes a task with an Outcome, which its innermost trap unwraps.
        if isinstance(getattr(argument, "error", argument), trio.Cancelled):
            cancelled = scope.cancel_called or system.cancel_scope.cancel_called
