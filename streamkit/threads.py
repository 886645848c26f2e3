"""The threads of the streams: who may take one, how long to wait for it, and giving it back.

Two limiters, in one order: a thread that runs a stream may wait for a leaf call (opening or
reading a file), never the other way round. A thread that waits for the loop gives its token back
meanwhile. So no thread waits for a token that only its own end would free.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from streamkit import loop
from streamkit.errors import StreamStopped

__all__ = [
    "Burst",
    "current_burst",
    "feeds_a_thread",
    "leaf_limiter",
    "run_abandonable",
    "run_in_stream_thread",
    "stream_limiter",
    "waiting_for_the_loop",
]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("streamkit")

THREADS = 256
# Seconds a thread waits for the loop until it gives its token back: a hop takes less.
PATIENCE = 0.01
# Seconds after which a thread that waits finds out whether its loop still runs.
CHECK_LOOP = 1.0

# Whether what runs in this context feeds a thread, which may wait for it and need its token.
feeds_a_thread: ContextVar[bool] = ContextVar("feeds_a_thread", default=False)

_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("streamkit")
_leaves: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("streamkit.leaves")
# How many bursts wait for a token: written by a limiter's loop, read by its threads.
_waiting: WeakKeyDictionary[anyio.CapacityLimiter, int] = WeakKeyDictionary()
_unlimited: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("streamkit.any")


def stream_limiter() -> anyio.CapacityLimiter:
    """The limiter of the threads that sync streams run on: 256 tokens, one limiter a loop.

    It stands apart from anyio's default limiter, so that blocked streams never starve `def`
    endpoints. `statistics().tasks_waiting` says how many streams wait for a thread. Call it in
    async code; it is changed as any other:

        stream_limiter().total_tokens = 64
    """
    return _of_loop(_limiter, THREADS)


def _of_loop(
    variable: anyio.lowlevel.RunVar[anyio.CapacityLimiter], tokens: float
) -> anyio.CapacityLimiter:
    try:
        return variable.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(tokens)
        variable.set(limiter)
        return limiter


def leaf_limiter() -> anyio.CapacityLimiter:
    """The limiter of the leaf calls that streams wait for, as large as that of the streams."""
    return _of_loop(_leaves, THREADS)


async def run_in_stream_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking leaf call, such as a read, on a thread; return when it is done with it.

    Also if the caller is cancelled: anyio's threads outlive asyncio's own cancellation, and a
    file must not be closed while one of them opens or reads it. Leaf calls have a limiter of
    their own, as large as that of the streams, which may wait for them.
    """
    began = ended = left = False
    done = loop.make_signal()

    def run() -> T:
        nonlocal began, ended
        began = True
        try:
            if left:
                raise RuntimeError("the caller was cancelled before the thread began")
            return function(*args)
        finally:
            ended = True
            if left:
                done.set_threadsafe()

    try:
        return await anyio.to_thread.run_sync(run, limiter=leaf_limiter())
    except anyio.get_cancelled_exc_class():
        # Set our flag before reading theirs: one side always sees the other.
        left = True
        if began and not ended:
            with anyio.CancelScope(shield=True):
                await done.wait()
        raise


async def run_abandonable(function: Callable[[], T]) -> T:
    """Run a leaf call on a thread, and leave it alone there if the caller is cancelled."""
    return await anyio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=leaf_limiter())


class Stoppable(Protocol):
    """What a burst's thread waits for."""

    def stop(self) -> object:
        """End soon; called on the loop's thread."""

    def kill(self) -> None:
        """Cancel the cleanup as well."""


class Burst:
    """One thread that a stream holds, and its token of the limiter."""

    def __init__(self, limiter: anyio.CapacityLimiter, is_alive: Callable[[], bool]) -> None:
        self.limiter = limiter
        # Whether the loop still runs; asked on the thread, without a hop: thousands may wait.
        self._is_alive = is_alive
        # What the thread waits for on the loop, which a stop of the stream has to reach.
        self.waits_for: Stoppable | None = None
        self.stopped: bool = False
        # Whether an exception has told the content of the stop: its cleanup is then left alone.
        self.told: bool = False
        # Whether a wait for room gives the token back too: a thread reads what this one writes.
        self.feeds_a_thread: bool = feeds_a_thread.get()
        # What was opened on the thread and is closed with the content at the latest.
        self.bridges: list[Any] = []

    def acquire_nowait(self) -> bool:
        """Take a token, if there is one now."""
        try:
            self.limiter.acquire_on_behalf_of_nowait(self)
        except Exception as exc:
            # anyio's older versions let trio's own through.
            if type(exc).__name__ != "WouldBlock":
                raise
            return False
        return True

    async def acquire(self) -> None:
        """Wait for a token."""
        _waiting[self.limiter] = _waiting.get(self.limiter, 0) + 1
        try:
            await self.limiter.acquire_on_behalf_of(self)
        finally:
            _waiting[self.limiter] -= 1

    def others_wait(self) -> bool:
        """Whether others want this one's token, or may soon: all are taken; on any thread."""
        # A token is free for a moment, too, while it passes from one to the next.
        return self.limiter.available_tokens < 1 or _waiting.get(self.limiter, 0) > 0

    async def run(self, function: Callable[[], None]) -> None:
        """Run the function on a thread, with a token that was acquired; then release it."""
        try:
            # Only a loop that shuts down abandons it.
            await anyio.to_thread.run_sync(
                self._call, function, abandon_on_cancel=True, limiter=_of_loop(_unlimited, math.inf)
            )
        finally:
            self._release()

    def _call(self, function: Callable[[], None]) -> None:
        _local.burst = self
        try:
            function()
        finally:
            _local.burst = None

    def stop(self) -> None:
        """Stop what the thread waits for; on the loop's thread."""
        self.stopped = True
        # Read once: the thread may end its wait meanwhile.
        if (thing := self.waits_for) is not None and not self.told:
            thing.stop()

    def kill(self) -> None:
        """Cancel the cleanup of what the thread waits for; a thread itself can't be killed."""
        if (thing := self.waits_for) is not None:
            thing.kill()

    def _release(self) -> None:
        # An error: the thread had given it back.
        with suppress(RuntimeError):
            self.limiter.release_on_behalf_of(self)

    def wait(self, wait: Callable[[float], bool]) -> None:
        """Wait on the thread until `wait(timeout)` is true, without the token if that is long."""
        if wait(PATIENCE):
            return
        anyio.from_thread.run_sync(self._release)
        try:
            while not wait(CHECK_LOOP):
                if not self._is_alive():
                    raise RuntimeError("the event loop of this thread is closed")
        finally:
            anyio.from_thread.run(self.acquire)


class _Local(threading.local):
    burst: Burst | None = None


_local = _Local()


def current_burst() -> Burst | None:
    """The burst that runs on this thread, if a stream's content does."""
    return _local.burst


def leave_if_stopped() -> None:
    """Raise `StreamStopped` in a loop that takes items and gives none, once its stream has ended.

    Not in the cleanup that this begins, or that was begun otherwise.
    """
    burst = _local.burst
    if burst is not None and burst.stopped and not burst.told:
        burst.told = True
        raise StreamStopped("the stream that reads here was stopped")


def waiting_for_the_loop(thing: Stoppable, wait: Callable[[float], bool]) -> None:
    """Block this thread until `wait(timeout)` is true; a stop of its stream stops `thing`."""
    burst = _local.burst
    if burst is None:
        while not wait(CHECK_LOOP):
            # Raises if the loop is gone.
            anyio.from_thread.run_sync(int)
        return
    # A generator that the collector closes within this wait may have a wait of its own.
    before, burst.waits_for = burst.waits_for, thing
    try:
        if burst.stopped and not burst.told:
            anyio.from_thread.run_sync(thing.stop)
        burst.wait(wait)
    finally:
        burst.waits_for = before
