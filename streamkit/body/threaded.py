"""Sync content on worker threads, in bursts."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from typing import Any

import anyio
import anyio.lowlevel

from streamkit import loop
from streamkit.body.base import END, Body, Coding, Pace, encode_first
from streamkit.body.following import followed
from streamkit.body.queue import Queue, ThreadSignal
from streamkit.body.queued import QueuedBody
from streamkit.body.writable import WritableFile
from streamkit.closing import close_sync, comes_of, first_of
from streamkit.errors import StreamStopped, ThreadTimeout
from streamkit.threads import Burst, current_burst, run_in_stream_thread, stream_limiter

__all__ = ["ThreadedBody", "WrittenBody", "threaded_body"]

# Seconds that one content may keep its thread while others wait for one.
THREAD_SLICE = 0.01
# Bytes between two checks of a thread, at most. A reader that waits asks for one at the next item,
# so that nothing is held back for these.
CHECK_THREAD_EVERY = 8192
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
        self._pace = Pace(THREAD_SLICE, CHECK_THREAD_EVERY)
        # Until it has one: the content is not silent, and there may be none, which is a status.
        self.waits_for_thread: bool = True
        self._waiting: anyio.CancelScope | None = None
        # When it had one again after waiting; on the loop's clock.
        self.had_thread_at: float = 0.0

    def start(self, coding: Coding, reader: ThreadSignal | None = None) -> None:
        """Start the first burst."""
        self._started = True
        self._coding = coding
        self._is_alive = loop.liveness()
        self._burst = Burst(self._limiter or stream_limiter(), self._is_alive)
        self._signal, self._room = loop.make_signal(), loop.make_signal()
        self.queue: Queue = (coding.make_queue or Queue)(
            coding, wake_reader=self._signal.set_threadsafe, wake_writer=self._make_room_known
        )
        loop.spawn(self._run)

    def stop(self) -> bool:
        if self._started:
            self.queue.stop()
            self._burst.stop()
            if self._waiting is not None:
                self._waiting.cancel()
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
                self._failure = first_of(self._failure, exc)
                self.stop()
                self._advance_in_turn()

    async def _run_burst(self) -> None:
        if self._burst.acquire_nowait() or await self._wait_for_token():
            self.waits_for_thread = False
            await self._burst.run(self._advance_in_turn)
        else:
            # What is left is to close it, which may block: a leaf call, which never waits for a
            # token that another stream holds.
            await run_in_stream_thread(self._advance_in_turn)

    async def _wait_for_token(self) -> bool:
        """Whether there was one in time, and before the content was to stop."""
        self.waits_for_thread = True
        try:
            with anyio.move_on_after(self.thread_timeout) as self._waiting:
                if not self.queue.stopped:
                    await self._burst.acquire()
                    return True
        finally:
            self._waiting = None
            self.had_thread_at = loop.clock()()
        if not self.queue.stopped:
            assert self.thread_timeout is not None
            self._failure = ThreadTimeout(self.thread_timeout)
            self.stop()
        return False

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
            error = self._unless_stopped(exc)
        closing: BaseException | None = None
        self._burst.told = True
        try:
            closing = close_sync(self._iterator, self._content, *self._burst.bridges)
        finally:
            if closing is not None:
                closing = self._unless_stopped(closing)
            self.queue.finish(first_of(error, closing))

    def _unless_stopped(self, error: BaseException) -> BaseException | None:
        """The error, unless it comes of the stop that was asked for."""
        return None if self.queue.stopped and comes_of(error, StreamStopped) else error

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
            if not self._affine and self._burst.others_wait():
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
            elif self._burst.feeds_a_thread and current_burst() is self._burst:
                # Without the token, which the thread that reads here may need. Only this thread can
                # give it back, and not one on which a library writes.
                self._burst.wait(self._thread_room.wait)
            elif not self._thread_room.wait(CHECK_LOOP) and not self._is_alive():
                self.queue.stop()
        self._lingers = False
        return self.queue.has_room()

    def _make_room_known(self) -> None:
        # Whichever of the two waits next looks before it does, so that a signal which the other
        # one got is not missed.
        (self._thread_room.set if self._lingers else self._room.set_threadsafe)()


def threaded_body(body: Body | None) -> ThreadedBody | None:
    """The body on threads, also where what it gives is compressed; None if there is none."""
    return body if isinstance(body, ThreadedBody) else getattr(body, "threaded", None)


class WrittenBody(ThreadedBody):
    """Runs `write(file)` on one worker thread; what it writes are the items."""

    def __init__(
        self, write: Callable[[WritableFile], object], limiter: anyio.CapacityLimiter | None = None
    ) -> None:
        super().__init__(write, thread_affine=True, limiter=limiter)
        self._returned = False
        # Whether `write` was told that nobody reads any more.
        self._has_refused = False

    def _pump(self) -> bool:
        try:
            result = self._content(WritableFile(self._put_chunk))
        finally:
            self._returned = True
        if isinstance(result, Coroutine | Generator | AsyncGenerator):
            close_sync(result)
            raise TypeError(
                f"iterate_writes() takes a function that has written when it returns, and "
                f"{self.name} is async or yields, so that nothing of it ran"
            )
        self.queue.add_tail()
        return True

    def _put_chunk(self, chunk: bytes) -> None:
        if not self.queue.stopped:
            self.queue.fill(iter((chunk,)), self._pace, self._wait_for_room)
        # A collected `ZipFile` writes its directory: an error there would only be printed.
        if self.queue.stopped and not self._returned:
            self._has_refused = self._burst.told = True
            raise StreamStopped("the reader of this file has left")

    def _unless_stopped(self, error: BaseException) -> BaseException | None:
        # Libraries written in C may leave no trace of what they wrap.
        return None if self._has_refused else super()._unless_stopped(error)
