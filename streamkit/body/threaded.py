"""Sync content on worker threads, in bursts."""

from __future__ import annotations

import contextvars
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel

from streamkit import loop
from streamkit.body.base import END, Coding, Pace, encode_first
from streamkit.body.following import followed
from streamkit.body.queue import Queue, ThreadSignal
from streamkit.body.queued import QueuedBody
from streamkit.closing import close_sync
from streamkit.errors import StreamStopped, ThreadTimeout
from streamkit.threads import Burst, stream_limiter

__all__ = ["ThreadedBody", "WrittenBody"]

# Seconds that one content may keep its thread while others wait for one.
THREAD_SLICE = 0.01
# Seconds a thread waits for room before it is given back: less than another hop takes.
LINGER = 0.001
# Seconds after which a thread that waits looks whether its loop still runs.
CHECK_LOOP = 1.0


class ThreadedBody(QueuedBody):
    """Drives a sync iterable on worker threads.

    A burst keeps its thread while items flow: a hop takes longer than most items. It ends when
    the queue stays full, so that slow clients hold no threads, and after 10 ms if others wait for
    a thread, so that many sleeping generators share the threads. All bursts run in one context.
    With `thread_affine` there is one burst, which waits on its thread.
    """

    _burst: Burst
    _coding: Coding
    _room: loop.Signal

    def __init__(
        self,
        content: Any,
        *,
        thread_affine: bool = False,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> None:
        self._content = content
        self._iterator: Iterator[Any] | None = None
        self._affine = thread_affine
        self._limiter = limiter
        # Seconds to wait for a thread.
        self.thread_timeout: float | None = None
        self._context: contextvars.Context | None = None
        self._turn = threading.Lock()
        self._thread_room = ThreadSignal()
        self._lingers = self._gives_way = False
        self._failure: BaseException | None = None
        self._pace = Pace(THREAD_SLICE)
        self.waits_for_thread = False

    def start(self, coding: Coding, reader: ThreadSignal | None = None) -> None:
        """Start the first burst."""
        self._started = True
        self._coding = coding
        self._burst = Burst(self._limiter or stream_limiter())
        self._is_alive = loop.liveness()
        self._signal, self._room = loop.make_signal(), loop.make_signal()
        self.queue = Queue(
            coding, wake_reader=self._signal.set_threadsafe, wake_writer=self._make_room_known
        )
        loop.spawn(self._run)

    def stop(self) -> bool:
        if self._started:
            self.queue.stop()
            self._burst.stop()
        return True

    def kill(self) -> None:
        """Cancel what the thread waits for; it closes the content when it gets there."""
        if self._started:
            self._burst.kill()

    async def _run(self) -> None:
        queue = self.queue
        while not queue.finished:
            try:
                await self._run_burst()
                if self._gives_way:
                    # For a turn: limiters of older versions hand a token to who is the first to
                    # ask again, before the one that they have promised it to.
                    self._gives_way = False
                    await anyio.lowlevel.checkpoint()
                while not (queue.finished or queue.has_room()):
                    await self._room.wait()
            except anyio.get_cancelled_exc_class():
                # The loop is shutting down, and a burst may still be running: it, or the next
                # one, which waits for it, closes the content.
                self.stop()
            except Exception as exc:
                # No thread could be had, so there is none to disturb.
                self._failure = self._failure or exc
                self.stop()
                self._advance_in_turn()

    async def _run_burst(self) -> None:
        if not self._burst.acquire_nowait():
            self.waits_for_thread = True
            with anyio.move_on_after(self.thread_timeout) as scope:
                await self._burst.acquire()
            self.waits_for_thread = False
            if scope.cancelled_caught:
                assert self.thread_timeout is not None
                raise ThreadTimeout(self.thread_timeout)
        await self._burst.run(self._advance_in_turn)

    def _advance_in_turn(self) -> None:
        with self._turn:
            if self.queue.finished:
                return
            if self._context is None:
                self._context = contextvars.copy_context()
            self._context.run(self._advance)

    def _advance(self) -> None:
        error = self._failure
        try:
            if not self.queue.stopped and not self._pump():
                return
        except BaseException as exc:
            error = exc
            if self.queue.stopped and _comes_of_stop(exc):
                error = None
        closing: BaseException | None = None
        try:
            closing = close_sync(self._iterator, self._content, *self._burst.bridges)
        finally:
            if self.queue.stopped and closing is not None and _comes_of_stop(closing):
                closing = None
            self.queue.finish(error or closing)

    def _pump(self) -> bool:
        """Produce until the content is at its end (True) or the thread is to be given back."""
        self._pace.start()
        if self._iterator is None:
            self._iterator = followed(iter(self._content))
            first = next(self._iterator, END)
            if first is END:
                self.queue.add_tail()
                return True
            if (data := encode_first(self._coding, first)) is not END:
                self.queue.add(data)
            if not self._goes_on():
                return self.queue.stopped
        if not self.queue.fill(self._iterator, self._pace, self._goes_on):
            return self.queue.stopped
        self.queue.add_tail()
        return True

    def _goes_on(self) -> bool:
        queue = self.queue
        if not queue.has_room() and not self._wait_for_room():
            return False
        if queue.stopped:
            return False
        if self._pace.is_over():
            if self._others_wait():
                self._gives_way = True
                return False
            self._pace.begin()
        return True

    def _wait_for_room(self) -> bool:
        """Wait on the thread: as long as it takes, or for the moment a fast client needs."""
        self._lingers = True
        while not self.queue.has_room():
            if not self._affine:
                if not self._thread_room.wait(LINGER):
                    break
            elif self._burst.feeds_a_thread:
                # Without the token, which the thread that reads here may need.
                self._burst.wait(self._thread_room.wait)
            elif not self._thread_room.wait(CHECK_LOOP) and not self._is_alive():
                self.queue.stop()
        self._lingers = False
        return self.queue.has_room()

    def _make_room_known(self) -> None:
        # Whichever of the two waits next looks before it does, so that a signal which the other
        # one got is not missed.
        (self._thread_room.set if self._lingers else self._room.set_threadsafe)()

    def _others_wait(self) -> bool:
        # They may do so soon: `statistics()` knows better, but can't be called on a thread.
        return not self._affine and self._burst.limiter.available_tokens < 1


class WrittenBody(ThreadedBody):
    """Runs `write(file)` on one worker thread; what it writes are the items."""

    def __init__(
        self, write: Callable[[io.RawIOBase], object], limiter: anyio.CapacityLimiter | None = None
    ) -> None:
        super().__init__(write, thread_affine=True, limiter=limiter)
        self._returned = False

    def _pump(self) -> bool:
        try:
            self._content(_QueueFile(self._put_chunk))
        finally:
            self._returned = True
        self.queue.add_tail()
        return True

    def _put_chunk(self, chunk: bytes) -> None:
        if not self.queue.stopped:
            self.queue.fill(iter((chunk,)), self._pace, self._wait_for_room)
        # A collected `ZipFile` writes its directory: an error there would only be printed.
        if self.queue.stopped and not self._returned:
            raise StreamStopped("the reader of this file has left")


def _comes_of_stop(error: BaseException) -> bool:
    """Whether a stop caused an exception: libraries wrap `StreamStopped` in their errors."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        found = left.pop()
        if found is None or id(found) in seen:
            continue
        if isinstance(found, StreamStopped):
            return True
        seen.add(id(found))
        left += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            left += found.exceptions
    return False


class _QueueFile(io.RawIOBase):
    """The write-only, unseekable file that `iterate_writes` hands to its function."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        chunk = data.encode() if isinstance(data, str) else memoryview(data).tobytes()
        self._position += len(chunk)
        self._put(chunk)
        return len(data) if isinstance(data, str) else len(chunk)
