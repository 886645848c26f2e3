"""What lies between an app and its client in a test."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
from starlette.types import Message

__all__ = ["Chunk", "Wire"]


class Chunk(bytes):
    """One piece of a body: plain `bytes` that know when they arrived.

    `at` is in seconds since the request went out, by the clock of the event loop. One
    `http.response.body` message with a body is one chunk.

        assert chunk == b"tick" and chunk.at < 0.5
    """

    at: float

    def __new__(cls, data: bytes | bytearray | memoryview, at: float) -> Chunk:
        self = super().__new__(cls, data)
        self.at = at
        return self


class Wire:
    """What lies between app and client: the state that either side changes and waits for."""

    def __init__(self, read_ahead: int) -> None:
        self.read_ahead = read_ahead
        self.opened: float = anyio.current_time()
        self.start: Message | None = None
        self.messages: list[Message] = []
        self.chunks: deque[Chunk] = deque()
        self.buffered: int = 0
        self.received: int = 0
        self.disconnected: bool = False
        self.complete = self.stalled = self.closed = self.cut = False
        self.error: BaseException | None = None
        self.upload: anyio.CancelScope = anyio.CancelScope()
        self._changed: anyio.Event | None = None

    @property
    def gone(self) -> bool:
        return self.disconnected or self.complete

    @property
    def sendable(self) -> bool:
        return self.disconnected or not (self.stalled or self.buffered > self.read_ahead)

    def leave(self) -> None:
        self.disconnected = True
        self.upload.cancel()
        self.notify()

    def put(self, data: bytes | bytearray | memoryview) -> None:
        chunk = Chunk(data, anyio.current_time() - self.opened)
        self.chunks.append(chunk)
        self.buffered += len(chunk)
        self.received += len(chunk)

    def notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():
            changed = self._changed = self._changed or anyio.Event()
            await changed.wait()
