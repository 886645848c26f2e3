"""What asyncio and trio do differently: a task of its own, a signal, one turn of the loop.

anyio is the common ground elsewhere. It is not enough here for two reasons: a content's cleanup
has to outlive the cancellation of whoever asked for it, and a signal is set once for each batch,
so that its price counts.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import anyio
import anyio.from_thread

from streamkit.loop import onasyncio
from streamkit.loop.onasyncio import call_soon
from streamkit.loop.stepping import begin

__all__ = [
    "Signal",
    "Task",
    "Timer",
    "begin",
    "call_at",
    "call_soon",
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

    @property
    def can_begin(self) -> bool:
        """Whether `begin` works here."""
        ...

    def begin(self, begun: Coroutine[Any, Any, Any]) -> Awaitable[None] | None:
        """Take the first step of a coroutine in place of this task, which waits meanwhile.

        Call it from the loop, in no other task. The code sees this task and its context. Gives
        what is left of it, for the task itself to await; None if it is done.
        """


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
    if in_trio():
        from streamkit.loop import ontrio

        return ontrio.Signal()
    return onasyncio.Signal()


def spawn(function: Function, cleanup: Function | None = None) -> Task:
    """Run `function`, then `cleanup`, in a task of its own; they handle their own exceptions.

    A `cancel` that `function` has not noticed does not reach `cleanup`.
    """
    if in_trio():
        from streamkit.loop import ontrio

        return ontrio.Task(function, cleanup)
    return onasyncio.Task(function, cleanup)


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
        from streamkit.loop import ontrio

        return ontrio.Timer(due, function)
    return asyncio.get_running_loop().call_at(due, function)
