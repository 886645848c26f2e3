"""Between sync code on threads and async code on the event loop.

content ──▶ producer (a task, or a worker thread) ──▶ Buffer ──▶ Stream, the taking side
"""

from __future__ import annotations

import io
import logging
import math
import sys
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from time import monotonic
from typing import Any, Generic, TypeVar

import anyio
import anyio.from_thread
from anyio import current_time

from streamkit import backend
from streamkit.buffer import Quick, ThreadSignal
from streamkit.producers import (
    LOOP_SLICE,
    Producer,
    TaskProducer,
    ThreadProducer,
    Work,
    WriteProducer,
    stream_limiter,
)

__all__ = [
    "Stream",
    "ThreadIterator",
    "iterate_from_thread",
    "iterate_in_threadpool",
    "iterate_writes",
    "producer_of",
    "stream_limiter",
]

T = TypeVar("T")

logger = logging.getLogger("streamkit")

_SIZED = frozenset({str, bytes})
# Seconds without an item after which the next one is taken to come alone.
SILENCE = 0.02
# Turns of the loop that each bring an item until more are taken to follow.
GROWING_TURNS = 4


def _identity(item: Any) -> Any:
    return item


def _weigh(item: Any) -> int:
    return len(item) if type(item) in _SIZED else sys.getsizeof(item)


def _no_tail() -> bytes:
    return b""


class Stream(AsyncIterator[T], Generic[T]):
    """The taking side of a producer: an async iterator of its items, or of all that is ready.

    It is started by the first one who takes, and closed by whoever holds it: `aclose()` closes
    the content, also that of a stream that was never started.
    """

    signal: backend.Signal

    def __init__(
        self,
        producer: Producer,
        *,
        encode: Callable[[Any], T] = _identity,
        finish: Callable[[], Any] = _no_tail,
        measure: Callable[[Any], int] = _weigh,
        max_buffer: int = 65536,
        quick: Quick[T] | None = None,
    ) -> None:
        self.producer = producer
        self.work = Work(encode, finish, measure, max_buffer, quick)
        self.started = False
        self._closed = self._handed_over = False
        # Whether what is ready came after a silence.
        self._after_silence = False
        self._interrupted = False
        # Seconds the content's cleanup may take, and when they are over.
        self._allowed = self._until = math.inf
        self._items: AsyncGenerator[T, None] | None = None

    def start(self) -> None:
        """Start the producer; on the loop's thread."""
        if self.started:
            raise RuntimeError("this stream has been started already; its content flows once")
        self.started = True
        self.signal = backend.make_signal()
        self.producer.start(self.work, self.signal)

    def hand_over(self) -> int:
        """Leave the content to another stream over the same producer; its `max_buffer`."""
        self.started = self._closed = self._handed_over = True
        return self.work.max_buffer

    @property
    def idle(self) -> bool:
        """Whether nothing is there, and more may come."""
        return self.producer.buffer.is_idle()

    @property
    def finished(self) -> bool:
        """Whether the content is at its end and closed; items may be left to take."""
        return self.producer.buffer.finished

    @property
    def error(self) -> BaseException | None:
        """What ended a finished content before its end."""
        return self.producer.buffer.error

    async def settle(self) -> None:
        """Give the loop a turn, and gather for a millisecond if items arrive turn after turn.

        Items that come one a turn, as through FastAPI's wrapper, travel together this way; one
        that comes alone, or after a silence, is not held back.
        """
        if self._after_silence:
            return
        buffer, turns = self.producer.buffer, 0
        while not buffer.finished:
            ready = len(buffer)
            await backend.checkpoint()
            if ready == len(buffer):
                return
            turns += 1
            if turns == GROWING_TURNS:
                if buffer.rest():
                    await self.signal.wait(LOOP_SLICE)
                return

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until something is there or the end is reached; False after `timeout` seconds."""
        until = math.inf if timeout is None else current_time() + timeout
        began = monotonic()
        while self.producer.buffer.is_idle() and not self._interrupted:
            left = None if timeout is None else max(0.0, until - current_time())
            if not await self.signal.wait(left) and current_time() + backend.RESOLUTION > until:
                return not self.idle
        self._interrupted = False
        self._after_silence = monotonic() - began > SILENCE
        return True

    def interrupt(self) -> None:
        """Let the one who waits, or will wait next, go on although nothing has come."""
        self._interrupted = True
        if self.started:
            self.signal.set()

    def take(self, most: int | None = None) -> list[T]:
        """All items that are ready, or the first `most` of them."""
        return self.producer.buffer.take(most)

    async def aclose(self, timeout: float | None = None) -> None:
        """Stop the producer and wait until the content is closed, at most `timeout` seconds.

        Cancelling the caller does not cut that short: the cancellation is raised afterwards.
        """
        self._closed = True
        if self._handed_over:
            return
        if not self.started:
            self.start()
        if not self.finished:
            self.hurry(math.inf if timeout is None else timeout)
            await self._wait_closed()
        self.signal.rest()

    def hurry(self, timeout: float) -> None:
        """Stop the producer; `aclose()` waits `timeout` more seconds, at most."""
        if current_time() + timeout < self._until:
            self._allowed, self._until = timeout, current_time() + timeout
        if self.started and not self.finished:
            self.producer.stop()
            self.signal.set()

    async def _wait_closed(self) -> None:
        cancellation: BaseException | None = None
        with anyio.CancelScope(shield=True):
            while not self.finished:
                left = self._until - current_time()
                if left <= 0:
                    self.producer.kill()
                    logger.error("the content's cleanup took more than %s seconds", self._allowed)
                    break
                self.take()
                if self.idle:
                    try:
                        await self.signal.wait(min(left, threading.TIMEOUT_MAX))
                    except anyio.get_cancelled_exc_class() as exc:
                        cancellation = exc
        if cancellation is not None:
            raise cancellation

    def __aiter__(self) -> AsyncIterator[T]:
        if self._items is None:
            self._items = self._iterate()
        return self._items

    def __anext__(self) -> Coroutine[Any, Any, T]:
        return self.__aiter__().__anext__()  # type: ignore[return-value]

    async def _iterate(self) -> AsyncGenerator[T, None]:
        if self._closed:
            return
        self.start()
        try:
            while True:
                await self.wait()
                await self.settle()
                finished = self.finished
                for item in self.take():
                    yield item
                if finished:
                    break
        finally:
            await self.aclose()
        if self.error is not None:
            raise self.error


def producer_of(content: Any, *, thread_affine: bool = False) -> Producer:
    """The producer for an iterable; a `Stream` not yet started hands over its own."""
    if isinstance(content, Stream) and not content.started:
        return content.producer
    if isinstance(content, AsyncIterable):
        return TaskProducer(content)
    return ThreadProducer(content, thread_affine=thread_affine)


def iterate_in_threadpool(
    iterable: Iterable[T],
    *,
    thread_affine: bool = False,
    max_buffer: int = 65536,
    limiter: anyio.CapacityLimiter | None = None,
) -> Stream[T]:
    """Iterate over a sync iterable in async code, on worker threads, in bursts.

    A drop-in for Starlette's function of that name, which takes a thread hop for every item.

    `thread_affine`: keep one thread for the whole life of the iterable, as sqlite3 and other
    thread-bound objects need. `max_buffer`: bytes the iterable may be ahead of the loop, by the
    length of `str` and bytes and `sys.getsizeof` of other items; lower it for items that hold
    memory elsewhere, such as images; 1 for one item at a time. `limiter`: whose
    threads to use, by default `stream_limiter()`.

    The iterable is closed, on a worker thread, at its end, after an exception and by `aclose()`,
    also if it was never started; leaving an `async for` early closes it as any async generator.
    Raises `TypeError` for what can't be iterated, and what the iterable raises.

        async for row in iterate_in_threadpool(cursor):
            ...
    """
    if not hasattr(type(iterable), "__iter__") and not hasattr(type(iterable), "__getitem__"):
        raise TypeError(
            f"iterate_in_threadpool() takes a sync iterable, got {type(iterable).__name__}; "
            f"an async one needs no bridge: iterate over it with `async for`"
        )
    _check_max_buffer(max_buffer)
    producer = ThreadProducer(iterable, thread_affine=thread_affine, limiter=limiter)
    return Stream(producer, max_buffer=max_buffer)


def iterate_writes(
    write: Callable[[io.RawIOBase], object],
    *,
    max_buffer: int = 65536,
    limiter: anyio.CapacityLimiter | None = None,
) -> Stream[bytes]:
    """Run `write(file)` on a worker thread, and give what it writes as chunks of bytes.

    This lets everything that writes to a file stream: `zipfile`, `tarfile`, `csv.writer`,
    Pillow, pyarrow. The file takes bytes-like objects and `str` (as UTF-8), can't seek, and need
    not be closed. Its `write` blocks while the client is `max_buffer` bytes behind, so that a
    slow client holds a thread of `limiter` (by default `stream_limiter()`) as long as it reads.

    When the client leaves, the next `write` raises `StreamStopped`: let it pass. What `write`
    raises reaches the one who iterates.

        def save(file):
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("hello.txt", "hello")
        response = ZIPStreamingResponse(iterate_writes(save))
    """
    if not callable(write):
        raise TypeError(
            f"iterate_writes() takes a function of one argument, a file to write to, "
            f"got {type(write).__name__}"
        )
    _check_max_buffer(max_buffer)
    return Stream(WriteProducer(write, limiter), max_buffer=max_buffer, measure=len)


def iterate_from_thread(
    async_iterable: AsyncIterable[T], *, max_buffer: int = 65536
) -> ThreadIterator[T]:
    """Iterate over an async iterable in sync code that runs on a worker thread.

    The other way of `iterate_in_threadpool`, for `def` endpoints and sync generators: the
    iterable is driven by a task on the event loop, at most `max_buffer` bytes ahead of the thread,
    measured as there.

    Close it (it is a context manager as well) to stop early; it closes the async iterable, in
    its task, at the end and after an exception. Raises `RuntimeError` on a thread that anyio did
    not start, `TypeError` for what isn't an async iterable, and what the iterable raises.

        with iterate_from_thread(client.stream()) as chunks:
            for chunk in chunks:
                file.write(chunk)
    """
    if not isinstance(async_iterable, AsyncIterable):
        raise TypeError(
            f"iterate_from_thread() takes an async iterable, got {type(async_iterable).__name__}"
        )
    _check_max_buffer(max_buffer)
    return ThreadIterator(Stream(producer_of(async_iterable), max_buffer=max_buffer))


class ThreadIterator(Iterator[T]):
    """What `iterate_from_thread` gives: a sync iterator that is closed as generators are."""

    def __init__(self, stream: Stream[T]) -> None:
        self._stream = stream
        self._signal = ThreadSignal()
        self._ready: Iterator[T] = iter(())

    def __enter__(self) -> ThreadIterator[T]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __next__(self) -> T:
        self._start()
        buffer = self._stream.producer.buffer
        while True:
            for item in self._ready:
                return item
            finished = buffer.finished
            self._ready = iter(items := buffer.take())
            if finished and not items:
                if buffer.error is not None and not buffer.stopped:
                    raise buffer.error
                raise StopIteration
            while not items and buffer.is_idle():
                self._signal.wait()

    def close(self) -> None:
        """Stop the async iterable, and return when it is closed."""
        self._start()
        buffer = self._stream.producer.buffer
        self._ready = iter(())
        if not buffer.finished:
            anyio.from_thread.run_sync(self._stream.producer.stop)
        while not buffer.finished:
            buffer.take()
            if buffer.is_idle():
                self._signal.wait()
        buffer.take()

    def __del__(self) -> None:
        if not self._stream.started or self._stream.finished:
            return
        try:
            self.close()
        except RuntimeError:
            # The garbage collector came by on a thread that can't wait for the loop.
            self._stream.producer.buffer.stop()

    def _start(self) -> None:
        if self._stream.started:
            return
        try:
            anyio.from_thread.run_sync(self._start_on_loop)
        except RuntimeError as exc:
            raise RuntimeError(
                "iterate_from_thread() works on a worker thread of the event loop: in a `def` "
                "endpoint, a sync generator that streams, or anyio.to_thread.run_sync()"
            ) from exc

    def _start_on_loop(self) -> None:
        self._stream.started = True
        self._stream.producer.start(self._stream.work, self._signal)


def _check_max_buffer(max_buffer: int) -> None:
    if not isinstance(max_buffer, int) or max_buffer < 1:
        raise ValueError(f"max_buffer must be a positive number of bytes, got {max_buffer!r}")
