"""The client's side of a request in process."""

from __future__ import annotations

import anyio
import anyio.lowlevel
from anyio.lowlevel import checkpoint
from starlette.datastructures import Headers
from starlette.types import Message

from streamkit.errors import BodyCut
from streamkit.testing.wire import Chunk, Wire

__all__ = ["StreamClient"]


class StreamClient:
    """The client's side of one response; made by `stream`, never directly.

    Iterate it for the `Chunk`s of the body, with one reader at a time; leaving a loop and starting
    another goes on where the first stopped. Iteration ends when the body is complete, or after
    `disconnect()` with what had arrived; it raises `BodyCut`, from what the app raised, where the
    app ended the body before its end.

        first = await anext(client)
        rest = await client.read()
    """

    def __init__(self, wire: Wire, rate: float | None) -> None:
        self._wire = wire
        self._rate = rate
        self._link_free = wire.opened

    @property
    def status(self) -> int:
        """The status code. RuntimeError before the response has started."""
        return int(self._start["status"])

    @property
    def headers(self) -> Headers:
        """The response headers, names in lower case. RuntimeError before they have arrived."""
        return Headers(raw=[(name.lower(), value) for name, value in self._start["headers"]])

    @property
    def _start(self) -> Message:
        if self._wire.start is None:
            raise RuntimeError("no response has arrived yet: await client.started() first")
        return self._wire.start

    @property
    def messages(self) -> list[Message]:
        """The ASGI messages that reached this client, in order; empty with `record=False`."""
        return self._wire.messages

    @property
    def bytes_received(self) -> int:
        """How many bytes of the body have arrived, read or not."""
        return self._wire.received

    @property
    def complete(self) -> bool:
        """Whether the body's last message has arrived."""
        return self._wire.complete

    @property
    def closed(self) -> bool:
        """Whether the app has returned or raised."""
        return self._wire.closed

    @property
    def error(self) -> BaseException | None:
        """What the app raised, if it did; a server would have logged it."""
        return self._wire.error

    def __aiter__(self) -> StreamClient:
        return self

    async def __anext__(self) -> Chunk:
        wire = self._wire
        await wire.until(lambda: wire.chunks or wire.gone or wire.closed)
        if not wire.chunks:
            if wire.cut:
                raise BodyCut(wire.received) from wire.error
            raise StopAsyncIteration
        if self._rate is not None:
            await self._transfer(wire.chunks[0], self._rate)
        chunk = wire.chunks.popleft()
        wire.buffered -= len(chunk)
        wire.notify()
        return chunk

    async def _transfer(self, chunk: Chunk, rate: float) -> None:
        sent = self._wire.opened + chunk.at
        due = max(self._link_free, sent) + len(chunk) / rate
        await anyio.sleep(max(0.0, due - anyio.current_time()))
        self._link_free = due
        chunk.at = due - self._wire.opened

    async def read(self) -> bytes:
        """Give the rest of the body; raises `BodyCut` as iteration does.

        For example:

            assert await client.read() == b"the rest"
        """
        return b"".join([chunk async for chunk in self])

    async def started(self) -> None:
        """Wait until the response has started; raise what the app raised where it never does.

        For a client that entered without waiting:

            async with stream(app, wait_for_start=False) as client:
                await client.started()
        """
        await self._wire.until(lambda: self._wire.start or self._wire.closed)
        if self._wire.start is not None:
            return
        if isinstance(self.error, Exception):
            raise self.error
        # Who is cancelled together with the app is told so, and not that it ended.
        await anyio.lowlevel.checkpoint_if_cancelled()
        left = "; the client had left" if self._wire.disconnected else ""
        raise RuntimeError(f"the app ended without starting a response{left}") from self.error

    async def wait_closed(self) -> None:
        """Wait until the app has returned or raised, background tasks included.

        For example:

            await client.disconnect()
            await client.wait_closed()
        """
        await self._wire.until(lambda: self._wire.closed)

    async def disconnect(self) -> None:
        """Leave: `receive` gives `http.disconnect`, and no message arrives any more.

        From spec_version 2.4 on `send` raises OSError, below it returns at once and does nothing;
        a `send` that is waiting is freed the same way.

            await client.disconnect()
        """
        self._wire.leave()
        await checkpoint()

    def stall(self) -> None:
        """Take nothing any more: every `send` waits until `resume()` or the disconnect.

        What had arrived before can still be read.

            client.stall()
        """
        self._wire.stalled = True

    def resume(self) -> None:
        """End a `stall()`, as in `client.resume()`: a `send` that waits goes on."""
        self._wire.stalled = False
        self._wire.notify()
