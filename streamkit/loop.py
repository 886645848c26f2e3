"""What asyncio and trio do differently: a task of its own, a signal, one turn of the loop.

anyio is the common ground elsewhere. It is not enough here for two reasons: a content's cleanup
has to outlive the cancellation of whoever asked for it, and a signal is set once for each batch,
so that its price counts.
"""

from __future__ import annotations

import asyncio
import math
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.from_thread

if TYPE_CHECKING:
    import trio

__all__ = [
    "Signal",
    "Task",
    "Timer",
    "call_at",
    "checkpoint",
    "clock",
    "in_trio",
    "liveness",
    "make_signal",
    "on_loop",
    "run_somewhere",
    "spawn",
    "threadsafe",
]

# Seconds by which a loop's clock counts: uvloop rounds to them, and wakes up that much early.
RESOLUTION = 0.001

Function = Callable[[], Coroutine[Any, Any, None]]


class Signal(Protocol):
    """An event that resets itself: one waiter, any number of setters."""

    def set(self) -> None:
        """Wake the waiter; call it on the loop's thread."""

    def set_threadsafe(self) -> None:
        """Wake the waiter from any thread, without waiting for the loop."""

    def wait(self, timeout: float | None = None) -> Awaitable[bool]:
        """Wait until set, and reset; False when `timeout` seconds passed instead."""
        ...

    def rest(self) -> None:
        """Nobody is going to wait for some time: keep no timer."""


class Task(Protocol):
    """A task outside of every cancel scope of the one who spawned it."""

    def cancel(self) -> None:
        """Deliver one cancellation: what the task awaits in its cleanup is left alone."""

    def kill(self) -> None:
        """Cancel the cleanup as well."""


def in_trio() -> bool:
    """Whether trio runs this task, and not asyncio."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def liveness() -> Callable[[], bool]:
    """A function for any thread: whether this loop still runs, and threads may wait for it."""
    if in_trio():
        import trio

        token = trio.lowlevel.current_trio_token()

        def runs() -> bool:
            try:
                token.run_sync_soon(int)
            except trio.RunFinishedError:
                return False
            return True

        return runs
    running = asyncio.get_running_loop()
    return lambda: not running.is_closed()


def threadsafe(function: Callable[[], object]) -> Callable[[], None]:
    """A function that any thread may call, also in `__del__`: the loop calls `function` soon."""
    if in_trio():
        import trio

        token = trio.lowlevel.current_trio_token()

        def call() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(function)

        return call
    running = asyncio.get_running_loop()

    def call_soon() -> None:
        # Once the loop is closed, which a thread can outlive, nobody is there to do it.
        with suppress(RuntimeError):
            running.call_soon_threadsafe(function)

    return call_soon


def on_loop() -> bool:
    """Whether a loop runs this code; not so in a coroutine that is closed with its loop."""
    return in_trio() or asyncio._get_running_loop() is not None


def make_signal() -> Signal:
    """A signal for the running loop."""
    return _TrioSignal() if in_trio() else _AsyncioSignal()


def spawn(function: Function, cleanup: Function | None = None) -> Task:
    """Run `function`, then `cleanup`, in a task of its own; they handle their own exceptions.

    A `cancel` that `function` has not noticed does not reach `cleanup`.
    """
    return _TrioTask(function, cleanup) if in_trio() else _AsyncioTask(function, cleanup)


async def checkpoint() -> None:
    """Give the loop one turn."""
    if in_trio():
        import trio

        await trio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


def run_somewhere(function: Function) -> None:
    """Run `function` on the loop of this thread, or of the thread that started this one.

    Without either, a loop is made for it.
    """
    if on_loop():
        spawn(function)
        return
    try:
        anyio.from_thread.run(function)
    except RuntimeError:
        anyio.run(function)


def clock() -> Callable[[], float]:
    """The loop's clock, in seconds; callable from any thread."""
    if in_trio():
        import trio

        return trio.lowlevel.current_clock().current_time
    return asyncio.get_running_loop().time


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not call."""


def call_at(due: float, function: Callable[[], None]) -> Timer:
    """Call `function` on the loop when its clock has come to `due`."""
    if in_trio():
        return _TrioTimer(due, function)
    return asyncio.get_running_loop().call_at(due, function)


class _TrioTimer:
    def __init__(self, due: float, function: Callable[[], None]) -> None:
        import trio

        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, due, function, context=copy_context())

    def cancel(self) -> None:
        self._scope.cancel()

    async def _run(self, due: float, function: Callable[[], None]) -> None:
        import trio

        with self._scope:
            await trio.sleep_until(due)
            function()


class _AsyncioSignal:
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
_asyncio_tasks: set[asyncio.Task[None]] = set()


class _AsyncioTask:
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
        _asyncio_tasks.add(self._task)
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        self._began = True
        await self._function()
        # asyncio cancels a task at its very next step: no cancellation can come late here.
        if self._cleanup is not None:
            await self._cleanup()

    def _ended(self, task: asyncio.Task[None]) -> None:
        _asyncio_tasks.discard(task)
        if not self._began and not task.get_loop().is_closed():
            # A loop that shuts down cancels tasks before their first step, too late to clean up.
            self._start()


class _TrioSignal:
    __slots__ = ("_event", "_is_set", "_token")

    def __init__(self) -> None:
        import trio

        self._token = trio.lowlevel.current_trio_token()
        self._event: trio.Event | None = None
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def set_threadsafe(self) -> None:
        import trio

        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.set)

    async def wait(self, timeout: float | None = None) -> bool:
        import trio

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


class _TrioTask:
    __slots__ = ("_scope", "_shield")

    def __init__(self, function: Function, cleanup: Function | None) -> None:
        import trio

        self._scope = trio.CancelScope()
        self._shield = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, function, cleanup, context=copy_context())

    def cancel(self) -> None:
        self._scope.cancel()

    def kill(self) -> None:
        self._shield.cancel()

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
    import trio

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
