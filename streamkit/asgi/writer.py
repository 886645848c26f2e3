"""The messages of one response, in order: a start, chunks of the body, one end or a cut."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import anyio
from starlette.types import Message, Scope, Send

__all__ = ["ClientLeft", "State", "Writer"]

# Bytes from which a message of its own is cheaper than a copy.
LARGE = 65536


class State(Enum):
    """How far a response has come.

        NEW ──▶ STARTED ──▶ ENDING ──▶ ENDED

    ENDING: the last message is with the server. A response that fails stays where it is: nothing
    is sent after the failure but what makes it visible.
    """

    NEW = auto()
    STARTED = auto()
    ENDING = auto()
    ENDED = auto()


class ClientLeft(Exception):
    """`send` raised an OSError: the client has left."""


class Writer:
    """Writes one response; used by one task at a time."""

    def __init__(self, scope: Scope, send: Send, status: int, headers: Any) -> None:
        self._send = send
        self._prefix = "websocket." if scope["type"] == "websocket" else ""
        self._is_http = not self._prefix
        self._body_type = f"{self._prefix}http.response.body"
        self.status = status
        self.headers = headers
        # Set to send the head alone: for HEAD, and for a status that has no content.
        self.head_only: bool = scope.get("method") == "HEAD"
        self.state: State = State.NEW
        self.bytes_sent: int = 0
        # Runs each `send`; a body may protect it from its content's cancellations.
        self.shield: Callable[..., Any] | None = None
        # On the loop's clock; None while nothing is being sent.
        self.sending_since: float | None = None
        self.last_sent: float = 0.0
        self.clock: Callable[[], float] | None = None
        # Set by a task that sends between two items (a keep-alive, a late start).
        self.other: anyio.Event | None = None

    @property
    def started(self) -> bool:
        """Whether the status line is out."""
        return self.state is not State.NEW

    @property
    def complete(self) -> bool:
        """Whether every byte is out, with the end that belongs to it."""
        return self.state is State.ENDED

    def wrap(self, wrapper: Callable[[Send], Send]) -> None:
        """Put something around `send`."""
        self._send = wrapper(self._send)

    async def start(self) -> None:
        """Send status and headers."""
        self.state = State.STARTED
        await self.send(
            {
                "type": f"{self._prefix}http.response.start",
                "status": self.status,
                "headers": self.headers,
            }
        )

    async def write(self, chunks: list[bytes], *, last: bool = False) -> None:
        """Send chunks, joined where they are small, and the end with them if it is the `last`."""
        if len(chunks) == 1 and not last and self._is_plain():
            await self._send_one(chunks[0])
            return
        if self.state is State.NEW:
            await self.start()
        if self.head_only:
            if self.state is State.STARTED:
                self.state = State.ENDING
                await self._send_body(b"", more=False)
                self.state = State.ENDED
            return
        bodies = join(chunks) if len(chunks) > 1 else chunks
        # One message less; a denial's frames stay as Starlette has them.
        final = bodies[-1] if last and bodies and self._is_http else b""
        for body in bodies[:-1] if final else bodies:
            await self._send_body(body)
        if last:
            self.state = State.ENDING
            await self._send_body(final, more=False)
            self.state = State.ENDED

    def _is_plain(self) -> bool:
        """Whether a chunk is all there is to send: no start, no clock, no head alone."""
        return self.clock is None and self.state is State.STARTED and not self.head_only

    async def _send_one(self, body: bytes) -> None:
        # The way of an item that comes alone: the fewest steps.
        sending = self._send({"type": self._body_type, "body": body, "more_body": True})
        try:
            await (sending if self.shield is None else self.shield(sending))
        except OSError as exc:
            raise ClientLeft from exc
        self.bytes_sent += len(body)

    async def send_path(self, path: str, size: int) -> None:
        """Let the server send a file (ASGI's pathsend extension)."""
        await self.start()
        self.state = State.ENDING
        await self.send({"type": "http.response.pathsend", "path": path})
        self.bytes_sent += size
        self.state = State.ENDED

    async def end_empty(self) -> None:
        """Start and end a response of which nothing was sent."""
        self.head_only = True
        await self.write([], last=True)

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        await self.send({"type": self._body_type, "body": body, "more_body": more})
        self.bytes_sent += len(body)

    async def send(self, message: Message) -> None:
        """Send one message; `ClientLeft` where the server raises an OSError."""
        if self.other is not None:
            await self.other.wait()
        clock = self.clock
        if clock is not None:
            self.sending_since = clock()
        try:
            if self.shield is None:
                await self._send(message)
            else:
                await self.shield(self._send(message))
        except OSError as exc:
            raise ClientLeft from exc
        if clock is not None:
            self.sending_since = None
            self.last_sent = clock()


def join(chunks: list[bytes]) -> list[bytes]:
    """Neighbours that are small made one; copying what is large costs more than a message."""
    size = sum(map(len, chunks))
    if size < 2 * LARGE:
        return [b"".join(chunks)] if size else []
    bodies: list[bytes] = []
    start = size = 0
    for position, chunk in enumerate(chunks, 1):
        size += len(chunk)
        if size >= LARGE:
            bodies.append(b"".join(chunks[start:position]))
            start, size = position, 0
    if size:
        bodies.append(b"".join(chunks[start:]))
    return bodies
