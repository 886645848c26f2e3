"""Producers: they own a content, and put its encoded items into a buffer.

A producer makes the iterator, advances it and closes it, once, on every way out, always from the
same side: a task of its own for async content, one worker thread at a time for sync content. This
is the only module that runs users' code on threads.
"""

from __future__ import annotations

import contextvars
import io
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from inspect import isawaitable
from time import monotonic
from typing import Any, Protocol, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from streamkit import backend
from streamkit.buffer import Buffer, Quick, ThreadSignal
from streamkit.errors import StreamStopped

__all__ = [
    "Producer",
    "TaskProducer",
    "ThreadProducer",
    "Work",
    "WriteProducer",
    "run_in_stream_thread",
    "stream_limiter",
]

T = TypeVar("T")

THREADS = 256
# Seconds that one producer may go on while others wait: for the loop, and for a thread.
LOOP_SLICE = 0.001
THREAD_SLICE = 0.01
# Seconds an item takes, at most, so that many may pass before a producer looks at the clock.
QUICK = 0.0001
# Seconds a thread waits for room before it is given back: less than another hop takes.
LINGER = 0.001

_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("streamkit")


def stream_limiter() -> anyio.CapacityLimiter:
    """The limiter of the threads that sync streams run on: 256 tokens, one limiter a loop.

    It stands apart from anyio's default limiter, so that blocked streams never starve `def`
    endpoints. Call it in async code; it is changed as any other:

        stream_limiter().total_tokens = 64
    """
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
        return limiter


async def run_in_stream_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking function on a thread of the streams, and return when it is done with it.

    Also if the caller is cancelled: anyio's threads outlive asyncio's own cancellation, and a
    file must not be closed while one of them opens or reads it.
    """
    began = ended = left = False
    done = backend.make_signal()

    def run() -> T:
        nonlocal began, ended
        began = True
        try:
            assert not left, "nobody waits for this any more"
            return function(*args)
        finally:
            ended = True
            if left:
                done.set_threadsafe()

    try:
        return await anyio.to_thread.run_sync(run, limiter=stream_limiter())
    except anyio.get_cancelled_exc_class():
        # Each side says where it is before it looks where the other is.
        left = True
        if began and not ended:
            with anyio.CancelScope(shield=True):
                await done.wait()
        raise


@dataclass(slots=True)
class Work:
    """What a producer does with its items, and how far it may be ahead of the reader."""

    encode: Callable[[Any], Any]
    finish: Callable[[], Any]
    measure: Callable[[Any], int]
    max_buffer: int
    quick: Quick[Any] | None = None


class Producer(Protocol):
    """Owns a content and puts its encoded items into a buffer, at the reader's pace."""

    buffer: Buffer[Any]

    def start(self, work: Work, reader: backend.Signal | ThreadSignal) -> None:
        """Make the buffer, and a task that fills it; called once, on the loop's thread."""

    def stop(self) -> None:
        """Ask for the end; the content is closed and the buffer finished soon after."""

    def kill(self) -> None:
        """Give up on a cleanup that takes too long."""


class _Pace:
    """How long a producer goes on by itself, and whether it looks at the clock at every item.

    It does at first, and until an item is quick; then again once a slice was used up unseen.
    """

    __slots__ = ("_buffer", "_close", "_looked", "_slice", "_until")

    def __init__(self, buffer: Buffer[Any], slice_: float) -> None:
        self._buffer = buffer
        self._slice = slice_
        self._close = True
        buffer.look_always(True)
        self.begin()

    def begin(self) -> None:
        """Begin another slice."""
        self._looked = monotonic()
        self._until = self._looked + self._slice

    def is_over(self) -> bool:
        """Whether the slice is over; asked whenever the producer looks up."""
        now = monotonic()
        close = now - self._looked > (QUICK if self._close else self._slice)
        if close is not self._close:
            self._close = close
            self._buffer.look_always(close)
        self._looked = now
        return now > self._until


class TaskProducer:
    """Drives an async iterable in a task of its own."""

    buffer: Buffer[Any]
    _pace: _Pace
    _task: backend.Task
    _room: backend.Signal
    _work: Work

    def __init__(self, content: AsyncIterable[Any]) -> None:
        self.content = content
        self._iterator: AsyncIterator[Any] | None = None
        self._pumping = False
        self._failure: BaseException | None = None

    def start(self, work: Work, reader: backend.Signal | ThreadSignal) -> None:
        self._work = work
        self._room = room = backend.make_signal()
        self.buffer = Buffer(
            work.max_buffer,
            work.measure,
            work.encode,
            work.quick,
            wake_reader=reader.set,
            wake_writer=room.set_threadsafe if isinstance(reader, ThreadSignal) else room.set,
        )
        self._task = backend.spawn(self._run, self._close)

    def stop(self) -> None:
        self.buffer.stop()
        if self._pumping:
            # Once: the content's own cleanup, which comes next, must be left to finish.
            self._pumping = False
            self._task.cancel()

    def kill(self) -> None:
        self._task.kill()

    async def _run(self) -> None:
        try:
            if not self.buffer.stopped:
                self._pumping = True
                await self._pump()
        except GeneratorExit:
            raise
        except BaseException as exc:
            # That it was cancelled, as `stop` asks for, is no failure.
            asked = self.buffer.stopped and isinstance(exc, anyio.get_cancelled_exc_class())
            self._failure = None if asked else exc
        self._pumping = False

    async def _close(self) -> None:
        closing = await _close_async(self._iterator, self.content)
        self.buffer.finish(self._failure or closing)

    async def _pump(self) -> None:
        buffer, self._iterator = self.buffer, _async_followed(aiter(self.content))
        self._pace = _Pace(buffer, LOOP_SLICE)
        while not await buffer.afill(self._iterator, self._goes_on):
            if buffer.stopped:
                return
            if buffer.has_room():
                await backend.checkpoint()
            else:
                await self._wait_for_room()
            self._pace.begin()
        if tail := self._work.finish():
            buffer.add(tail)

    def _goes_on(self) -> bool:
        if self.buffer.stopped or not self.buffer.has_room():
            return False
        if self.buffer.reader_waited:
            # The loop has had its turn: it let the reader wait for this item.
            self._pace.begin()
            return True
        return not self._pace.is_over()

    async def _wait_for_room(self) -> None:
        while not self.buffer.has_room():
            await self._room.wait()


class ThreadProducer:
    """Drives a sync iterable on worker threads, in bursts.

    A burst keeps its thread while items flow. It ends when the buffer stays full, so that slow
    clients hold no threads, and after the item at hand when others have waited for a thread for
    10 ms, so that many sleeping generators share the threads fairly. All bursts run in one
    context; with `thread_affine` there is one burst, which waits on its thread.
    """

    buffer: Buffer[Any]
    _limiter: anyio.CapacityLimiter
    _pace: _Pace
    _room: backend.Signal
    _thread_room: ThreadSignal
    _work: Work

    def __init__(
        self,
        content: Any,
        *,
        thread_affine: bool = False,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> None:
        self.content = content
        self._iterator: Iterator[Any] | None = None
        self._affine = thread_affine
        self._given_limiter = limiter
        self._context: contextvars.Context | None = None
        self._turn = threading.Lock()
        self._lingers = False
        self._failure: BaseException | None = None

    def start(self, work: Work, reader: backend.Signal | ThreadSignal) -> None:
        self._work = work
        self._limiter = self._given_limiter or stream_limiter()
        self._room, self._thread_room = backend.make_signal(), ThreadSignal()
        self.buffer = Buffer(
            work.max_buffer,
            work.measure,
            work.encode,
            work.quick,
            wake_reader=reader.set_threadsafe,
            wake_writer=self._make_room_known,
        )
        self._wake_task = (
            self._room.set_threadsafe if isinstance(reader, ThreadSignal) else self._room.set
        )
        backend.spawn(self._run)

    def stop(self) -> None:
        self.buffer.stop()

    def kill(self) -> None:
        """A thread can't be killed: it closes the content when it gets there."""

    async def _run(self) -> None:
        while not self.buffer.finished:
            try:
                # Abandoned is a burst only by a loop that shuts down, and never quite: see below.
                await anyio.to_thread.run_sync(
                    self._burst, abandon_on_cancel=True, limiter=self._limiter
                )
                while not (self.buffer.finished or self.buffer.has_room()):
                    await self._room.wait()
            except anyio.get_cancelled_exc_class():
                # The loop is shutting down, and a burst may still be running: it, or the next
                # one, which waits for it, closes the content.
                self.buffer.stop()
            except Exception as exc:
                # No thread could be had, so there is none to disturb.
                self._failure = exc
                self.buffer.stop()
                self._burst()

    def _burst(self) -> None:
        with self._turn:
            if self.buffer.finished:
                return
            if self._context is None:
                self._context = contextvars.copy_context()
            self._context.run(self._advance)

    def _advance(self) -> None:
        error = self._failure
        try:
            if not self.buffer.stopped and not self._pump():
                return
        except BaseException as exc:
            error = exc
        closing = _close_sync(self._iterator, self.content)
        self.buffer.finish(error or closing)

    def _pump(self) -> bool:
        """Produce until the content is at its end (True) or the thread is to be given back."""
        if self._iterator is None:
            self._iterator = _followed(iter(self.content))
        self._pace = _Pace(self.buffer, THREAD_SLICE)
        if not self.buffer.fill(self._iterator, self._goes_on):
            return self.buffer.stopped
        if tail := self._work.finish():
            self.buffer.add(tail)
        return True

    def _goes_on(self) -> bool:
        buffer = self.buffer
        if not buffer.has_room() and not self._wait_for_room():
            return False
        if buffer.stopped:
            return False
        if self._pace.is_over():
            if self._others_wait():
                return False
            self._pace.begin()
        return True

    def _wait_for_room(self) -> bool:
        """Wait on the thread: as long as it takes, or for the moment a fast client needs."""
        self._lingers = True
        while not self.buffer.has_room():
            if not self._thread_room.wait(-1 if self._affine else LINGER):
                break
        self._lingers = False
        return self.buffer.has_room()

    def _make_room_known(self) -> None:
        # Whoever of the two waits next looks for itself before it does, so that a signal
        # which the other one got is not missed.
        (self._thread_room.set if self._lingers else self._wake_task)()

    def _others_wait(self) -> bool:
        # Or may do so soon: `statistics()` knows better, but can't be called on a thread.
        return not self._affine and self._limiter.available_tokens < 1


class WriteProducer(ThreadProducer):
    """Runs `write(file)` on one worker thread; what it writes are the items."""

    def __init__(
        self, write: Callable[[io.RawIOBase], object], limiter: anyio.CapacityLimiter | None = None
    ) -> None:
        super().__init__(write, thread_affine=True, limiter=limiter)

    def _pump(self) -> bool:
        try:
            self.content(_BufferFile(self._put_chunk))
        except StreamStopped:
            if not self.buffer.stopped:
                raise
        else:
            if tail := self._work.finish():
                self.buffer.add(tail)
        return True

    def _put_chunk(self, chunk: bytes) -> None:
        if not self.buffer.stopped:
            self.buffer.fill(iter((chunk,)), self._wait_for_room)
        if self.buffer.stopped:
            raise StreamStopped("nobody reads what is written here any more")


class _BufferFile(io.RawIOBase):
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


def _followed(iterator: Iterator[T]) -> Iterator[T]:
    """The iterator, as one that a second `for` can go on with."""
    if hasattr(iterator, "__iter__"):
        return iterator
    return _follow(iterator)


def _follow(iterator: Iterator[T]) -> Iterator[T]:
    try:
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                return
            yield item
    finally:
        _close_sync(iterator)


def _async_followed(iterator: AsyncIterator[T]) -> AsyncIterator[T]:
    if hasattr(iterator, "__aiter__"):
        return iterator
    return _async_follow(iterator)


async def _async_follow(iterator: AsyncIterator[T]) -> AsyncIterator[T]:
    try:
        while True:
            try:
                item = await anext(iterator)
            except StopAsyncIteration:
                return
            yield item
    finally:
        await _close_async(iterator)


def _closers(owned: tuple[Any, ...], *names: str) -> Iterator[Callable[[], Any]]:
    """How to close each of the objects, once; an iterator is often its own iterable."""
    seen: list[Any] = []
    for thing in owned:
        if not any(thing is other for other in seen):
            seen.append(thing)
            close = next((c for name in names if callable(c := getattr(thing, name, None))), None)
            if close is not None:
                yield close


def _close_sync(*owned: Any) -> BaseException | None:
    error: BaseException | None = None
    for close in _closers(owned, "close"):
        try:
            close()
        except BaseException as exc:
            error = error or exc
    return error


async def _close_async(*owned: Any) -> BaseException | None:
    error: BaseException | None = None
    for close in _closers(owned, "aclose", "close"):
        try:
            result = close()
            if isawaitable(result):
                await result
        except GeneratorExit:
            raise
        except BaseException as exc:
            error = error or exc
    return error
