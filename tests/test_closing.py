"""Whatever a response is given, and however it ends, its content is closed: once, on the right
side, before the response returns, and `on_close` hears of it afterwards.

One row a kind of content (`KINDS`), one column a way out (`WAYS`).
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from streamkit import SendTimeout, StreamingResponse, iterate_in_threadpool, iterate_writes
from streamkit.sources import ByteSource, SourceInfo
from streamkit.testing import StreamClient, fetch, stream

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blocking_calls_raise")]

VERSIONS = ("2.1", "2.3", "2.4")
ITEM = b"x" * 1000


class Broken(Exception):
    pass


class Ledger:
    """Where the content of one response writes down what happens to it."""

    def __init__(self, way: str, path: Path) -> None:
        self.way = way
        self.path = path
        self.begun = False
        self.closes = 0
        self.overlapped = False
        self.loop_thread = threading.get_ident()
        self.threads: set[int] = set()
        self.tasks: set[int] = set()
        self.gate = threading.Event()
        self.closing = anyio.Event()
        self._lock = threading.Lock()

    @contextmanager
    def working(self) -> Iterator[None]:
        self.begun = True
        self.threads.add(threading.get_ident())
        if not self._lock.acquire(blocking=False):
            self.overlapped = True
            yield
            return
        try:
            yield
        finally:
            self._lock.release()

    def working_async(self) -> None:
        self.begun = True
        self.tasks.add(anyio.get_current_task().id)

    def close(self) -> None:
        with self.working():
            self.closes += 1

    async def close_async(self) -> None:
        self.working_async()
        self.closing.set()
        await anyio.sleep(0.01)
        self.working_async()
        self.closes += 1

    def script(self) -> Iterator[Any]:
        """The items that the way out needs; `...` stands for a pause without end."""
        yield b"first"
        if self.way == "disconnect while idle":
            yield ...
        elif self.way == "exception in the content":
            raise Broken
        elif self.way == "exception in an item's encoding":
            yield object()
        elif self.way in ("complete", "HEAD"):
            yield from [b"second", b"third"]
        else:
            while True:
                yield ITEM

    def items(self) -> Iterator[Any]:
        for item in self.script():
            if item is ...:
                self.gate.wait(5)
            else:
                yield item


class Made(NamedTuple):
    """A content, and how to see that it is closed."""

    content: Any
    closed: Callable[[], bool]
    closes: Callable[[], int]


async def pause() -> None:
    with anyio.move_on_after(0.001):
        await anyio.sleep_forever()
    await anyio.sleep_forever()


def sync_generator(ledger: Ledger) -> Made:
    def generate() -> Iterator[Any]:
        try:
            items = ledger.items()
            while True:
                with ledger.working():
                    item = next(items, None)
                if item is None:
                    return
                yield item
        finally:
            ledger.close()

    content = generate()
    return Made(content, lambda: content.gi_frame is None, lambda: int(ledger.begun))


def sync_generator_in_threadpool(ledger: Ledger) -> Made:
    made = sync_generator(ledger)
    return made._replace(content=iterate_in_threadpool(made.content))


def sync_iterator(ledger: Ledger) -> Made:
    items = ledger.items()

    class Content:
        def __iter__(self) -> Content:
            return self

        def __next__(self) -> Any:
            with ledger.working():
                return next(items)

        def close(self) -> None:
            ledger.close()

    return Made(Content(), lambda: ledger.closes == 1, lambda: 1)


def sync_file(ledger: Ledger) -> Made:
    items = ledger.items()

    class Pipe:
        def read(self, size: int) -> Any:
            with ledger.working():
                return next(items, b"")

        def close(self) -> None:
            ledger.close()

    return Made(Pipe(), lambda: ledger.closes == 1, lambda: 1)


def async_generator(ledger: Ledger) -> Made:
    async def generate() -> AsyncIterator[Any]:
        try:
            for item in ledger.script():
                ledger.working_async()
                if item is ...:
                    await pause()
                yield item
        finally:
            await ledger.close_async()

    content: Any = generate()
    return Made(content, lambda: content.ag_frame is None, lambda: int(ledger.begun))


def async_iterator(ledger: Ledger) -> Made:
    items = ledger.script()

    class Content:
        def __aiter__(self) -> Content:
            return self

        async def __anext__(self) -> Any:
            ledger.working_async()
            item = next(items, None)
            if item is None:
                raise StopAsyncIteration
            if item is ...:
                await pause()
            return item

        async def aclose(self) -> None:
            await ledger.close_async()

    return Made(Content(), lambda: ledger.closes == 1, lambda: 1)


def async_file(ledger: Ledger) -> Made:
    items = ledger.script()

    class AsyncPipe:
        async def read(self, size: int) -> Any:
            ledger.working_async()
            item = next(items, b"")
            if item is ...:
                await pause()
            return item

        async def aclose(self) -> None:
            await ledger.close_async()

    return Made(AsyncPipe(), lambda: ledger.closes == 1, lambda: 1)


def byte_source(ledger: Ledger) -> Made:
    class Source(ByteSource):
        async def info(self) -> SourceInfo:
            ledger.working_async()
            return SourceInfo(None)

        async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
            for item in ledger.script():
                ledger.working_async()
                if item is ...:
                    await pause()
                yield item

        async def aclose(self) -> None:
            await ledger.close_async()

    return Made(Source(), lambda: ledger.closes == 1, lambda: 1)


def writes(ledger: Ledger) -> Made:
    def write(file: Any) -> None:
        try:
            for item in ledger.items():
                with ledger.working():
                    pass
                file.write(item)
        finally:
            ledger.close()

    content = iterate_writes(write)
    return Made(content, lambda: ledger.closes == int(ledger.begun), lambda: int(ledger.begun))


def open_file(ledger: Ledger) -> Made:
    class File(io.FileIO):
        def close(self) -> None:
            if not self.closed:
                ledger.closes += 1
            super().close()

    content = File(ledger.path)
    return Made(content, lambda: content.closed, lambda: 1)


def bytes_io(ledger: Ledger) -> Made:
    class Memory(io.BytesIO):
        def close(self) -> None:
            ledger.closes += not self.closed
            super().close()

    content = Memory(ledger.path.read_bytes())
    return Made(content, lambda: content.closed, lambda: 1)


def anyio_file(ledger: Ledger) -> Made:
    file = open(ledger.path, "rb")  # noqa: SIM115 (the response owns it)
    return Made(anyio.wrap_file(file), lambda: file.closed, lambda: 0)


def path(ledger: Ledger) -> Made:
    return Made(ledger.path, lambda: str(ledger.path) not in _open_files(), lambda: 0)


def plain_list(ledger: Ledger) -> Made:
    return Made(list(islice(ledger.script(), 1000)), lambda: True, lambda: 0)


def _open_files() -> set[str]:
    if sys.platform != "linux":
        return set()
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return {os.readlink(link) for link in links if os.path.islink(link)}


class Run:
    """One response on its way out."""

    def __init__(self, kind: Callable[[Ledger], Made], ledger: Ledger, version: str) -> None:
        self.ledger = ledger
        self.made = kind(ledger)
        self.version = version
        self.outcomes: list[tuple[str, bool]] = []
        self.scope = anyio.CancelScope()
        self.task: asyncio.Task[Any] | None = None
        self.fails_to_start = False
        self.raised: BaseException | None = None
        self.closed_at_return = False

    def client(self, **options: Any) -> AbstractAsyncContextManager[StreamClient]:
        return stream(self.app, spec_version=self.version, read_ahead=500, **options)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        async def refuse(message: Any) -> None:
            raise OSError("the connection is gone")

        with suppress(RuntimeError):
            self.task = asyncio.current_task()
        response = StreamingResponse(
            self.made.content,
            on_close=lambda outcome: self.outcomes.append((outcome.reason, self.closed())),
            max_buffer=4000,
            send_timeout=0.02 if self.ledger.way == "send timeout" else None,
        )
        try:
            with self.scope:
                await response(scope, receive, refuse if self.fails_to_start else send)
        except BaseException as exc:
            self.raised = exc
            raise
        finally:
            self.closed_at_return = self.closed()

    def closed(self) -> bool:
        return self.made.closed() and self.ledger.closes == self.made.closes()


async def complete(run: Run) -> None:
    async with run.client() as client:
        await client.read()
        await client.wait_closed()
        assert client.complete


async def start_failed(run: Run) -> None:
    run.fails_to_start = True
    async with run.client(wait_for_start=False) as client:
        await client.wait_closed()
        assert not client.messages


async def head(run: Run) -> None:
    async with run.client(method="HEAD") as client:
        await client.wait_closed()
        assert client.complete


async def disconnect_idle(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        await anyio.sleep(0.003)
        await client.disconnect()
        run.ledger.gate.set()
        await client.wait_closed()


async def disconnect_busy(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        await anyio.sleep(0.003)
        await client.disconnect()
        await client.wait_closed()


async def cut(run: Run) -> None:
    async with run.client() as client:
        await client.wait_closed()
        assert run.raised is not None
        assert not client.complete


async def stalled(run: Run) -> None:
    async with run.client() as client:
        await client.wait_closed()
        assert isinstance(run.raised, SendTimeout)
        assert not client.complete


async def cancelled_by_scope(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        run.scope.cancel()
        await client.wait_closed()
        assert not client.complete


async def cancelled_twice(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        if run.task is None:
            pytest.skip("native cancellation is asyncio's")
        run.task.cancel()
        if run.ledger.tasks:
            await run.ledger.closing.wait()
        await anyio.lowlevel.checkpoint()
        run.task.cancel()
        await client.wait_closed()
        assert isinstance(run.raised, asyncio.CancelledError)
        assert not client.complete


async def constructor_failed(run: Run) -> None:
    if run.version == "2.1":
        with pytest.raises(UnicodeEncodeError):
            StreamingResponse(run.made.content, headers={"x-price": "5 €"})
    else:
        with pytest.raises(ValueError, match="positive"):
            StreamingResponse(run.made.content, max_buffer=0)
    while not run.closed():  # noqa: ASYNC110
        await anyio.sleep(0.001)
    run.closed_at_return = True


KINDS = {
    "sync generator": sync_generator,
    "sync iterator with close()": sync_iterator,
    "iterate_in_threadpool(generator)": sync_generator_in_threadpool,
    "iterate_writes": writes,
    "sync file that can't seek": sync_file,
    "async generator": async_generator,
    "async iterator with aclose()": async_iterator,
    "async file": async_file,
    "ByteSource": byte_source,
    "list": plain_list,
    "open file": open_file,
    "BytesIO": bytes_io,
    "anyio.open_file": anyio_file,
    "path": path,
}
WAYS = {
    "complete": (complete, "complete"),
    "start failed to send": (start_failed, "disconnect"),
    "HEAD": (head, "complete"),
    "disconnect while idle": (disconnect_idle, "disconnect"),
    "disconnect while busy": (disconnect_busy, "disconnect"),
    "exception in the content": (cut, "error"),
    "exception in an item's encoding": (cut, "error"),
    "send timeout": (stalled, "timeout"),
    "cancelled by a scope": (cancelled_by_scope, "cancelled"),
    "cancelled natively twice": (cancelled_twice, "cancelled"),
    "exception in __init__": (constructor_failed, None),
}
IN_THREADS = list(KINDS)[:5]
IN_A_TASK = list(KINDS)[5:9]
# What has no script to follow can neither pause nor raise.
UNSCRIPTED = list(KINDS)[9:]
SCRIPTED_ONLY = {
    "disconnect while idle",
    "exception in the content",
    "exception in an item's encoding",
}
TABLE = [
    pytest.param(kind, way, id=f"{kind} / {way}")
    for kind in KINDS
    for way in WAYS
    if not (kind in UNSCRIPTED and way in SCRIPTED_ONLY)
    # A source passes bytes on as they are.
    and not (kind == "ByteSource" and way == "exception in an item's encoding")
]


async def test_an_iterator_that_is_no_async_iterable_itself_is_read_and_closed() -> None:
    closed = []

    class Iterator:
        left = 3

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return b"x"

        async def aclose(self) -> None:
            closed.append(True)

    class Content:
        def __aiter__(self) -> Any:
            return Iterator()

    assert (await fetch(StreamingResponse(Content()))).body == b"xxx"
    assert closed == [True]


async def test_a_disconnect_while_the_content_closes_of_itself_leaves_it_to_finish() -> None:
    closing, closed = anyio.Event(), []

    class Content:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._items()

        async def _items(self) -> AsyncIterator[bytes]:
            yield b"x"

        async def aclose(self) -> None:
            closing.set()
            await anyio.sleep(0.01)
            closed.append(True)

    async with stream(StreamingResponse(Content(), first_chunk_timeout=0)) as client:
        await closing.wait()
        await client.disconnect()
        await client.wait_closed()
    assert closed == [True]


@pytest.mark.parametrize(("kind", "way"), TABLE)
async def test_content_is_closed_once_on_its_side_before_the_response_returns(
    kind: str,
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # What makes a cut visible waits so long for a client that takes nothing.
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)
    leave, reason = WAYS[way]
    file = tmp_path / "content"
    file.write_bytes(ITEM * 1000)
    for version in VERSIONS:
        ledger = Ledger(way, file)
        run = Run(KINDS[kind], ledger, version)
        with anyio.fail_after(10):
            await leave(run)

        assert run.closed_at_return
        assert ledger.closes == run.made.closes()
        assert run.outcomes == ([] if reason is None else [(reason, True)])
        assert not ledger.overlapped
        if kind in IN_THREADS:
            assert ledger.loop_thread not in ledger.threads
        if kind in IN_A_TASK:
            assert len(ledger.tasks) <= 1
        assert not [record for record in caplog.records if record.name == "streamkit"]
