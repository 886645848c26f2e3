"""The messages of one response, in order: a start, chunks of the body, one end or a cut."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from inspect import CO_COROUTINE, iscoroutinefunction
from typing import Any

import anyio
from starlette.types import Message, Scope, Send

from streamkit import loop
from streamkit.asgi.pace import Rates
from streamkit.errors import ClientTooSlow
from streamkit.observing import Observation

__all__ = ["ClientLeft", "State", "Writer"]

# Bytes from which a separate message is cheaper than a copy.
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
        self._send = _stepwise(send)
        self._prefix = "websocket." if scope["type"] == "websocket" else ""
        self._is_http = not self._prefix
        self._body_type = f"{self._prefix}http.response.body"
        self.status = status
        self.headers = headers
        # Set to send the head alone: for HEAD, and for a status that has no content.
        self.head_only: bool = scope.get("method") == "HEAD"
        self.state: State = State.NEW
        self.bytes_sent: int = 0
        # Told of the start and of the first byte.
        self.observation: Observation | None = None
        # Takes the first step of a `send`: the rest to wait for, or None if there is none. A body
        # protects it from its content's cancellations.
        self.shield: Callable[[Any], Any] | None = None
        # Set to send the body in pieces, at its rates.
        self.rates: Rates | None = None
        # On the loop's clock: when the send that is under way began, or is to begin, and when the
        # last came back.
        self.clock: Callable[[], float] = loop.clock()
        self.sending_since: float | None = None
        self.last_sent: float | None = None

    @property
    def started(self) -> bool:
        """Whether the status line is out."""
        return self.state is not State.NEW

    @property
    def complete(self) -> bool:
        """Whether every byte is out, with the end that belongs to it."""
        return self.state is State.ENDED

    async def start(self) -> None:
        """Send status and headers."""
        self.state = State.STARTED
        try:
            await self.send(
                {
                    "type": f"{self._prefix}http.response.start",
                    "status": self.status,
                    "headers": self.headers,
                }
            )
        except ClientLeft:
            raise
        except BaseException:
            # Cancelled on its way, as below a relay that was not ready to take it: what ends the
            # response now can still be a status.
            self.state = State.NEW
            raise
        if self.observation is not None:
            self.observation.response_started(self.status, self.headers)

    async def write(self, chunks: list[bytes], *, last: bool = False) -> None:
        """Send chunks, joined where they are small, and the end with them if it is the `last`."""
        if self.state is State.NEW:
            await self.start()
        if self.head_only:
            if self.state is State.STARTED:
                await self.send_body(b"", more=False)
                self.state = State.ENDED
            return
        bodies = join(chunks) if len(chunks) > 1 else chunks
        # One message less; a denial's frames stay as Starlette has them.
        final = bodies[-1] if last and bodies and self._is_http else b""
        for body in bodies[:-1] if final else bodies:
            await self.send_body(body)
        if last:
            await self.send_body(final, more=False)
            self.state = State.ENDED

    async def send_path(self, path: str, size: int) -> None:
        """Let the server send a file (ASGI's pathsend extension)."""
        await self.start()
        self.state = State.ENDING
        await self.send({"type": "http.response.pathsend", "path": path}, size)
        self.state = State.ENDED

    async def end_empty(self) -> None:
        """Start and end a response of which nothing was sent."""
        self.head_only = True
        await self.write([], last=True)

    def send_body(self, body: bytes, *, more: bool = True) -> Awaitable[None]:
        """Send bytes of the body as they are."""
        if self.rates is not None and body:
            return self._send_in_pieces(body, more, self.rates)
        if not more:
            self.state = State.ENDING
        return self.send({"type": self._body_type, "body": body, "more_body": more}, len(body))

    async def _send_in_pieces(self, body: bytes, more: bool, rates: Rates) -> None:
        for start in range(0, len(body), rates.piece):
            piece = body[start : start + rates.piece]
            if delay := rates.delay(len(piece)):
                # No client is late for what is not offered to it yet.
                self.sending_since = self.clock() + delay
                sleeping: Any = anyio.sleep(delay)
                if self.shield is None or (sleeping := self.shield(sleeping)) is not None:
                    await sleeping
                self.sending_since = None
            goes_on = more or start + len(piece) < len(body)
            if not goes_on:
                self.state = State.ENDING
            with rates.watched(len(piece)):
                await self.send(
                    {"type": self._body_type, "body": piece, "more_body": goes_on}, len(piece)
                )

    def begin_body(
        self, body: bytes, begin: Callable[[Any], Awaitable[Any] | None]
    ) -> Awaitable[None] | None:
        """Send bytes of the body, as far as that goes at once: the rest to wait for, if any.

        `begin` takes the first step of the server's `send`, and gives the rest of it.
        """
        # In variables: a call of an attribute that is no method costs more.
        send, clock = self._send, self.clock
        try:
            rest = begin(send({"type": self._body_type, "body": body, "more_body": True}))
        except BaseException as exc:
            # For the one who waits.
            rest = _fail(exc)
        if rest is not None:
            self.sending_since = clock()
            return self._finish(rest, len(body))
        self.last_sent = clock()
        self.bytes_sent += len(body)
        return None

    async def _finish(self, rest: Awaitable[Any], size: int) -> None:
        try:
            await rest
        except ClientTooSlow:
            raise
        except OSError as exc:
            raise ClientLeft from exc
        self.sending_since = None
        self.last_sent = self.clock()
        self.bytes_sent += size

    async def send(self, message: Message, size: int = 0) -> None:
        """Send one message, with `size` bytes of the body.

        `ClientLeft` where the server raises an OSError.
        """
        clock, sending = self.clock, self._send(message)
        try:
            waited: Any = sending if self.shield is None else self.shield(sending)
            if waited is not None:
                self.sending_since = clock()
                await waited
                self.sending_since = None
        except ClientTooSlow:
            # A TimeoutError, and so an OSError.
            raise
        except OSError as exc:
            raise ClientLeft from exc
        self.last_sent = clock()
        if size and not self.bytes_sent and self.observation is not None:
            self.observation.first_byte()
        self.bytes_sent += size


async def _fail(error: BaseException) -> None:
    raise error


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


def _stepwise(send: Send) -> Send:
    """`send` itself, or one that makes a coroutine of the awaitable it gives (granian's).

    A body steps a coroutine by hand; ASGI promises no more than an awaitable.
    """
    code = getattr(send, "__code__", None)
    if code.co_flags & CO_COROUTINE if code is not None else iscoroutinefunction(send):
        return send

    async def wait(message: Message) -> None:
        await send(message)

    return wait
