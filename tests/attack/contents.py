"""Contents of every kind, each of which tells what happened to it."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from starlette.types import Message, Receive, Scope, Send

from streamkit import (
    FileSource,
    JSONLinesStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    TARStreamingResponse,
    ZipMember,
    ZIPStreamingResponse,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
)

_folder = tempfile.TemporaryDirectory()
SMALL, LARGE = Path(_folder.name, "small"), Path(_folder.name, "large")
SMALL.write_bytes(os.urandom(2_000))
LARGE.write_bytes(os.urandom(900_000))


class Diary:
    """What happened to the content of one response, and to the response."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        # Cleanups that a second cancellation got at.
        self.interrupted = 0
        self.outcomes: list[StreamOutcome] = []

    def told(self, outcome: StreamOutcome) -> None:
        self.outcomes.append(outcome)

    @property
    def settled(self) -> bool:
        """Whether all that was opened is closed, once, and `on_close` was told, once."""
        return (self.closed, self.interrupted, len(self.outcomes)) == (self.opened, 0, 1)

    def __str__(self) -> str:
        told = [outcome.reason for outcome in self.outcomes]
        interrupted = f", {self.interrupted} cleanups interrupted" if self.interrupted else ""
        return (
            f"opened {self.opened}, closed {self.closed} times{interrupted}, on_close told {told}"
        )


class File(io.BytesIO):
    """A file that is opened by being made."""

    def __init__(self, diary: Diary, size: int = 200_000) -> None:
        super().__init__(bytes(size))
        self._diary = diary
        diary.opened += 1

    def close(self) -> None:
        if not self.closed:
            self._diary.closed += 1
        super().close()


class Pipe(io.RawIOBase):
    """A file that can't seek."""

    def __init__(self, diary: Diary) -> None:
        self._left = 20
        self._diary = diary
        diary.opened += 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left -= 1
        size = 1000 if self._left > 0 else 0
        buffer[:size] = bytes(size)
        return size

    def close(self) -> None:
        if not self.closed:
            self._diary.closed += 1
        super().close()


def sync_items(diary: Diary, item: Any = b"x" * 500, count: int = 4) -> Iterator[Any]:
    diary.opened += 1
    try:
        for _ in range(count):
            yield item
    finally:
        diary.closed += 1


async def async_items(diary: Diary, item: Any = b"x" * 500, count: int = 4) -> AsyncIterator[Any]:
    diary.opened += 1
    stopped = False
    try:
        for number in range(count):
            yield item
            if number % 2:
                await anyio.lowlevel.checkpoint()
    except BaseException:
        stopped = True
        raise
    finally:
        diary.closed += 1
        try:
            await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.0005)
        except BaseException:
            # A cleanup that began by itself may be cancelled, one that a cancellation began not.
            diary.interrupted += stopped
            raise


async def trickling(diary: Diary) -> AsyncIterator[bytes]:
    diary.opened += 1
    try:
        for _ in range(4):
            yield b"x"
            await anyio.sleep(0.002)
    finally:
        diary.closed += 1


async def nested(diary: Diary) -> AsyncIterator[Any]:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0.001)
        async for item in iterate_in_threadpool(sync_items(diary)):
            with anyio.move_on_after(10):
                await anyio.lowlevel.checkpoint()
            yield item


def through_the_loop(diary: Diary) -> Iterator[Any]:
    with iterate_from_thread(async_items(diary)) as items:
        yield from items


def writes(diary: Diary) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        diary.opened += 1
        try:
            for _ in range(5):
                file.write(b"x" * 30_000)
        finally:
            diary.closed += 1

    return write


def members(diary: Diary) -> Iterator[ZipMember]:
    diary.opened += 1
    try:
        yield ZipMember("path", SMALL)
        yield ZipMember("bytes", b"x" * 3000)
        yield ZipMember("sync", sync_items(diary))
        yield ZipMember("async", async_items(diary))
    finally:
        diary.closed += 1


# Each gives a response whose content writes into the diary.
KINDS: dict[str, Callable[[Diary], Any]] = {
    "async": lambda d: StreamingResponse(async_items(d), on_close=d.told),
    "async-trickling": lambda d: StreamingResponse(trickling(d), on_close=d.told),
    "async-late-start": lambda d: StreamingResponse(
        trickling(d), on_close=d.told, first_chunk_timeout=0
    ),
    "async-with-scopes": lambda d: StreamingResponse(nested(d), on_close=d.told),
    "sync": lambda d: StreamingResponse(sync_items(d), on_close=d.told),
    "sync-affine": lambda d: StreamingResponse(sync_items(d), on_close=d.told, thread_affine=True),
    "sync-large": lambda d: StreamingResponse(
        sync_items(d, b"x" * 50_000, 12), on_close=d.told, max_buffer=65536
    ),
    "sync-over-async": lambda d: StreamingResponse(through_the_loop(d), on_close=d.told),
    "stream": lambda d: StreamingResponse(iterate_in_threadpool(sync_items(d)), on_close=d.told),
    "writes": lambda d: StreamingResponse(iterate_writes(writes(d)), on_close=d.told),
    "bytes": lambda d: StreamingResponse(b"x" * 200_000, on_close=d.told),
    "path": lambda d: StreamingResponse(SMALL, on_close=d.told),
    "path-large": lambda d: StreamingResponse(LARGE, on_close=d.told),
    "file": lambda d: StreamingResponse(File(d), on_close=d.told),
    "file-source": lambda d: StreamingResponse(FileSource(File(d, 900_000)), on_close=d.told),
    "pipe": lambda d: StreamingResponse(Pipe(d), on_close=d.told),
    "events": lambda d: SSEStreamingResponse(
        async_items(d, ServerSentEvent("hello")), on_close=d.told, keep_alive=0.01
    ),
    "lines": lambda d: JSONLinesStreamingResponse(sync_items(d, {"a": 1}), on_close=d.told),
    "zip": lambda d: ZIPStreamingResponse(members(d), on_close=d.told),
    "tar": lambda d: TARStreamingResponse(
        [ZipMember("a", SMALL), ZipMember("b", b"x" * 999)], on_close=d.told
    ),
}


class Client:
    """A server's side of one request: what it sends, and when it tells that the client has left.

    `suspends`: whether `send` gives the loop a turn. `room`: messages until `send` waits for ever,
    as it does for a client that has stalled. `leave()`: the client leaves.
    """

    def __init__(
        self, *, suspends: bool = True, room: int | None = None, version: str = "2.3"
    ) -> None:
        self.body = bytearray()
        self.messages = 0
        self.complete = False
        self._suspends = suspends
        self._room = room
        self._left = anyio.Event()
        self._asked = False
        self.raises_when_gone = version >= "2.4"
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": version},
            "http_version": "1.1",
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": [],
            "client": None,
            "server": None,
        }

    def leave(self) -> None:
        self._left.set()

    @property
    def left(self) -> bool:
        return self._left.is_set()

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._left.is_set():
            if self.raises_when_gone:
                raise OSError("the client has left")
            return
        if message["type"] == "http.response.body":
            self.body += bytes(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        self.messages += 1
        if self._room is not None and self.messages > self._room:
            await self._left.wait()
        elif self._suspends:
            await anyio.lowlevel.checkpoint()

    async def request(self, app: Callable[[Scope, Receive, Send], Any]) -> None:
        await app(self.scope, self.receive, self.send)
