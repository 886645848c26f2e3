"""Bridges between sync code on threads and async code on the event loop."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
)
from types import AsyncGeneratorType
from typing import Any, Generic, TypeVar, cast

import anyio
import anyio.from_thread

from streamkit.body.base import Coding, weigh
from streamkit.body.pumped import PumpedBody
from streamkit.body.source import WholeSource
from streamkit.body.threaded import ThreadedBody, WrittenBody
from streamkit.body.writable import WritableFile
from streamkit.closing import first_of
from streamkit.declare import whole_number
from streamkit.sources import ByteSource

__all__ = [
    "Stream",
    "WritableFile",
    "iterate_in_threadpool",
    "iterate_writes",
]

T = TypeVar("T")


class _Reading:
    """The body of a stream, for which one task may wait at a time: it wakes only one."""

    def __init__(self, body: ThreadedBody | PumpedBody) -> None:
        self.body = body
        self._waits = False
        # Made by a task that finds another one waiting.
        self._turn: anyio.Event | None = None

    async def wait(self, function: Callable[[], Awaitable[T]]) -> T:
        """Wait for the body when no other task does."""
        while self._waits:
            if self._turn is None:
                self._turn = anyio.Event()
            await self._turn.wait()
        self._waits = True
        try:
            return await function()
        finally:
            self._waits = False
            turn, self._turn = self._turn, None
            if turn is not None:
                turn.set()

    async def close(self) -> None:
        """Stop the content and wait until it is closed; no cancellation cuts that short."""
        body = self.body
        if body.finished:
            return
        # What the reader left before it came to it.
        left = body.error
        body.stop()
        cancellation: BaseException | None = None
        with anyio.CancelScope(shield=True):
            while not body.finished:
                try:
                    await self.wait(body.aclose)
                except anyio.get_cancelled_exc_class() as exc:
                    cancellation = exc
        error = None if body.error is left else body.error
        if (raised := first_of(cancellation, error)) is not None:
            raise raised


class Stream(AsyncIterator[T], Generic[T]):
    """What `iterate_in_threadpool` and `iterate_writes` give: an async iterator of items.

    It starts with the first item that is asked for, and its holder closes it: `aclose()`
    closes the content, also of a stream that never started. A response or an archive takes it
    over, and it gives nothing any more.

        def orders(cursor: sqlite3.Cursor) -> Stream[tuple[int, str]]:
            return iterate_in_threadpool(cursor, thread_affine=True)
    """

    def __init__(self, opened: Any, coding: Coding) -> None:
        self._opened = opened
        self._coding = coding
        self.started: bool = False
        self._taken_over = self._closed = False
        self._reading: _Reading | None = None
        self._items: AsyncGeneratorType[T, None] | None = None

    @property
    def max_buffer(self) -> int:
        """Bytes that the content may be ahead."""
        return self._coding.max_buffer

    @property
    def is_written(self) -> bool:
        """Whether the items are the bytes that a function writes."""
        return isinstance(self._opened, WrittenBody)

    @property
    def error(self) -> BaseException | None:
        """What ended the content before its end, or what its cleanup raised."""
        return None if self._reading is None else self._reading.body.error

    def _hand_over(self) -> Any:
        """What this stream would drive, for another to drive it; None if it is under way."""
        if not isinstance(self._opened, ThreadedBody) or self._taken_over:
            return None
        if not self.take_over():
            return None
        return self._opened

    def take_over(self) -> bool:
        """Drive the content elsewhere from now on, unless it is under way here."""
        if self.started or self._closed or self._taken_over:
            return self._taken_over
        self._taken_over = True
        return True

    async def aclose(self) -> None:
        """Stop the content and wait until it is closed.

        Raises what the cleanup of the content raises. Cancelling the caller does not cut it short:
        the cancellation is raised afterwards. A task that waits for an item meanwhile finds the
        stream at its end.
        """
        self._closed = True
        try:
            if not self._taken_over:
                await self._read().close()
        finally:
            # One that runs waits for an item in another task: it ends by itself.
            if self._items is not None and not self._items.ag_running:
                await self._items.aclose()

    def __aiter__(self) -> AsyncIterator[T]:
        if self._items is None:
            self._items = cast("AsyncGeneratorType[T, None]", self._iterate())
        return self._items

    def __anext__(self) -> Coroutine[Any, Any, T]:
        return self.__aiter__().__anext__()  # type: ignore[return-value]

    def _read(self) -> _Reading:
        if self._reading is None:
            opened = self._opened
            if isinstance(opened, ByteSource):
                opened = WholeSource(opened)
            self._reading = _Reading(
                opened if isinstance(opened, ThreadedBody) else PumpedBody(opened)
            )
        return self._reading

    async def _iterate(self) -> AsyncGenerator[T, None]:
        if self._taken_over:
            raise RuntimeError(
                "this stream was given to a response or an archive, which closes its content"
            )
        if self._closed:
            return
        self.started = True
        reading = self._read()
        body = reading.body
        body.start(self._coding)
        # It holds this generator: without a cycle, a loop that is left closes the content at once.
        del self
        try:
            while True:
                items = await reading.wait(body.ready)
                finished = body.finished
                for item in items:
                    yield item
                if finished and not items:
                    break
        finally:
            await reading.close()
        if (error := body.error) is not None:
            raise error


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
    whole_number("max_buffer", max_buffer)
    body = ThreadedBody(iterable, thread_affine=thread_affine, limiter=limiter)
    return Stream(body, Coding(measure=weigh, max_buffer=max_buffer))


def iterate_writes(
    write: Callable[[WritableFile], object],
    *,
    max_buffer: int = 65536,
    limiter: anyio.CapacityLimiter | None = None,
) -> Stream[bytes]:
    """Run `write(file)` on a worker thread, and give what it writes as chunks of bytes.

    This lets everything that writes to a file stream: `zipfile`, `tarfile`, `csv.writer`,
    Pillow, pyarrow. The file, a `WritableFile`, takes bytes-like objects and `str` (as UTF-8),
    can't seek, and need not be closed. Its `write` blocks while the client is `max_buffer` bytes
    behind, so that a slow client holds a thread of `limiter` (by default `stream_limiter()`) as
    long as it reads.

    When the client leaves, the next `write` raises `StreamStopped`: let it pass. A library may
    wrap it in another error, which is no failure either. Any other exception of `write`
    reaches the code that iterates, and a `TypeError` if `write` is async or a generator.

        def save(file: WritableFile) -> None:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("hello.txt", "hello")
        response = ZIPStreamingResponse(iterate_writes(save))
    """
    if not callable(write):
        raise TypeError(
            f"iterate_writes() takes a function of one argument, a file to write to, "
            f"got {type(write).__name__}"
        )
    whole_number("max_buffer", max_buffer)
    return Stream(WrittenBody(write, limiter), Coding(max_buffer=max_buffer))
