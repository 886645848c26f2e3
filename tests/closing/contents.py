"""Each kind of content, and the ledger where it writes down what happens to it."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from streamkit import iterate_in_threadpool, iterate_writes
from streamkit.sources import ByteSource, SourceInfo

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
IN_THREADS = list(KINDS)[:5]
IN_A_TASK = list(KINDS)[5:9]
# What has no script to follow can neither pause nor raise.
UNSCRIPTED = list(KINDS)[9:]
