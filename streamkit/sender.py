"""The one who sends: takes what is ready from a stream, and tells the truth about how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, NamedTuple, NoReturn

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from streamkit import backend
from streamkit.bridge import Stream
from streamkit.errors import GraceExceeded, SendTimeout
from streamkit.shutdown import Connection

__all__ = ["Sender", "StreamOutcome"]

logger = logging.getLogger("streamkit")

# Bytes from which a message of its own is cheaper than a copy.
LARGE = 65536
# Seconds that telling a middleware of a failure may take.
SPOIL_TIMEOUT = 1.0
# Seconds that the last message may take once the client is said to have left.
LAST_TIMEOUT = 1.0

Reason = Literal["complete", "disconnect", "error", "timeout", "cancelled"]


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """How a response ended, as `on_close` is told.

    `reason`: "complete", "disconnect" (the client left), "error" (the content, or its encoding,
    raised), "timeout" (the client took nothing for `send_timeout` seconds) or "cancelled" (the
    server, a scope around the response or `graceful_shutdown` cancelled it). `bytes_sent`: bytes
    of the body handed to the server. `duration`: seconds. `error`: the exception behind it, or
    what the content's cleanup raised.

        StreamOutcome("complete", bytes_sent=11, duration=0.25, error=None)
    """

    reason: Reason
    bytes_sent: int
    duration: float
    error: BaseException | None = None


class Limits(NamedTuple):
    """What a sender keeps to: seconds, and the bytes that end a silence, or the stream."""

    first_chunk_timeout: float | None
    send_timeout: float | None
    keep_alive: float | None
    keep_alive_chunk: bytes
    farewell: bytes


class Start(NamedTuple):
    """How a response starts: the message, and a file for the server to send, if it offers that."""

    message: Message
    path: str | None = None
    size: int = 0


class _Left(Exception):
    """`send` raised OSError: the client has left."""


class Sender:
    """Sends one stream over one ASGI connection."""

    def __init__(
        self,
        stream: Stream[bytes],
        scope: Scope,
        receive: Receive,
        send: Send,
        start: Callable[[], Start | None],
        limits: Limits,
        frame: Callable[[BaseException], bytes],
    ) -> None:
        self._stream = stream
        self._frame = frame
        self._receive = receive
        self._raw_send = send
        self._start = start
        self._limits = limits
        self._is_http = scope["type"] == "http"
        self.connection = _connection(scope)
        self._is_head = scope.get("method") == "HEAD"
        version = scope.get("asgi", {}).get("spec_version", "2.0")
        self._raises_disconnect = tuple(map(int, version.split("."))) >= (2, 4)
        self._began = monotonic()
        self._watcher: backend.Task | None = None
        self._scope = anyio.CancelScope()
        self._started = False
        self._ending = False
        self._complete = False
        self._says_farewell = False
        self._cut_after: float | None = None
        self.bytes_sent = 0

    def shut_down(self) -> None:
        """End the stream with its farewell, if it has one."""
        if self._limits.farewell:
            self._says_farewell = True
            self._stream.interrupt()

    def cut(self, closing: float) -> None:
        """End at once, as by an error; the content has `closing` seconds to be closed."""
        self._cut_after = closing
        self._scope.cancel()
        self._stream.hurry(closing)

    async def run(self) -> tuple[StreamOutcome, BaseException | None]:
        """Send it all; the outcome, and what the response is to raise. Leaves the stream open."""
        reason, error, raised = await self._run()
        return StreamOutcome(reason, self.bytes_sent, monotonic() - self._began, error), raised

    async def _run(self) -> tuple[Reason, BaseException | None, BaseException | None]:
        try:
            with self._scope:
                if self._is_head and (start := self._start()) is not None:
                    await self._send_head(start.message)
                else:
                    await self._send_stream(self._stream)
        except _Left as exc:
            return "disconnect", exc.__cause__, self._disconnected(exc.__cause__)
        except SendTimeout as exc:
            return "timeout", exc, exc
        except anyio.get_cancelled_exc_class() as exc:
            return "cancelled", exc, exc
        except BaseException as exc:
            await self._spoil(exc)
            return "error", exc, exc
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
        if self._complete:
            return ("cancelled" if self._says_farewell else "complete"), None, None
        if self._cut_after is None:
            return "disconnect", None, None
        cut = GraceExceeded()
        await self._spoil(cut)
        return "cancelled", cut, None if self._started else HTTPException(503)

    def _disconnected(self, cause: BaseException | None) -> BaseException | None:
        if not self._raises_disconnect:
            return None
        error = ClientDisconnect()
        error.__cause__ = cause
        return error

    async def _send_head(self, start: Message) -> None:
        await self._send(start)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._complete = True

    async def _send_stream(self, stream: Stream[bytes]) -> None:
        stream.start()
        await self._first_chunk(stream)
        most = 1 if self._watcher is not None else None
        # Once it is cut a stream is stopped, and its end isn't the content's. Waiting may not be
        # cancelled either: anyio does that to nobody whose wait is just over.
        while not (self._complete or self._scope.cancel_called):
            finished = stream.finished or self._says_farewell
            # A first chunk that was waited for goes alone: it is what the client waits for.
            chunks = stream.take(None if finished else most)
            most = None
            size = stream.producer.buffer.taken_size
            if self._says_farewell:
                size += len(self._limits.farewell)
                chunks.append(self._limits.farewell)
            if finished and stream.error is not None and not (chunks or self._started):
                raise _failure(stream.error)
            if not self._started:
                start = self._start()
                if start is None:
                    await stream.wait()
                    continue
                await self._send_start(start, bool(chunks) or finished)
            await self._send_chunks(chunks, size, finished and stream.error is None)
            if finished and stream.error is not None:
                await self._send_chunks([self._frame(stream.error)], 0, False)
                raise _failure(stream.error)
            if not finished:
                if not await stream.wait(self._limits.keep_alive):
                    await self._send_body(self._limits.keep_alive_chunk)
                await stream.settle()

    async def _send_start(self, start: Start, ready: bool) -> None:
        await self._send(start.message)
        self._started = True
        if not ready and self._limits.keep_alive_chunk:
            # A silence begins: proxies and `onopen` see that the stream is there.
            await self._send_body(self._limits.keep_alive_chunk)
        if start.path is not None:
            self._ending = True
            await self._send({"type": "http.response.pathsend", "path": start.path})
            self.bytes_sent += start.size
            self._complete = True

    async def _send_chunks(self, chunks: list[bytes], size: int, last: bool) -> None:
        """Send what is ready, joined where it is small; the end goes with it."""
        if self._complete:
            return
        bodies = _joined(chunks, size)
        # One message less; a denial's frames stay as Starlette's tests want them.
        final = bodies.pop() if last and bodies and self._is_http else b""
        for body in bodies:
            await self._send_body(body)
        if last:
            self._ending = True
            await self._send_body(final, more=False)
            self._complete = True

    async def _first_chunk(self, stream: Stream[bytes]) -> None:
        """Wait for the first chunk, or for an exception that can still become a status."""
        timeout = self._limits.first_chunk_timeout
        if timeout == 0:
            self._watch()
            return
        # The turn in which a short stream that never waits comes to its end.
        await backend.checkpoint()
        if stream.finished:
            return
        self._watch()
        await stream.wait(timeout)

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self.bytes_sent += len(body)

    async def _send(self, message: Message) -> None:
        timeout = self._limits.send_timeout
        try:
            if timeout is None:
                await self._raw_send(message)
                return
            with anyio.move_on_after(timeout) as scope:
                await self._raw_send(message)
                return
        except OSError as exc:
            raise _Left from exc
        if scope.cancelled_caught:
            raise SendTimeout(timeout)

    def _watch(self) -> None:
        if self._is_http:
            self._watcher = backend.spawn(self._listen)

    async def _listen(self) -> None:
        try:
            while (await self._receive())["type"] != "http.disconnect":
                # A `receive` that never suspends must not keep the loop.
                await backend.checkpoint()
        except anyio.get_cancelled_exc_class():
            return
        except Exception:
            logger.debug("receive() failed: disconnects go unnoticed", exc_info=True)
            return
        if self._ending:
            # hypercorn says so while it still handles the last message: it must not be cancelled.
            self._scope.deadline = anyio.current_time() + LAST_TIMEOUT
        else:
            self._scope.cancel()

    async def _spoil(self, error: BaseException) -> None:
        """Send what can't be sent: a chunk, and trailers nobody announced.

        A middleware which relays the body, such as Starlette's BaseHTTPMiddleware, ends it
        cleanly when the app below it raises. It fails on these instead, as a server does, and the
        client sees the body cut. The chunk gets through any number of them to the server; the
        trailers help where something between touches the chunk (GZipMiddleware) or passes over
        what isn't bytes (granian).
        """
        if not self._started:
            return
        poison = _Unsendable(error)
        chunk: Message = {"type": "http.response.body", "body": poison, "more_body": True}
        trailers: Message = {"type": "http.response.trailers", "headers": poison}
        with anyio.move_on_after(self._cut_after or SPOIL_TIMEOUT):
            for message in (chunk, trailers):
                try:
                    await self._raw_send(message)
                except (Exception, anyio.get_cancelled_exc_class()):
                    # The stream's own error is raised next, whatever became of this.
                    logger.debug("the body was cut", exc_info=True)


def _connection(scope: Scope) -> Connection:
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or server[1] is None:
        return None
    # granian's ports are strings.
    return (client[0], int(client[1])), (server[0], int(server[1]))


def _failure(error: BaseException) -> BaseException:
    """What to raise for a content's error: task groups take a cancellation for a clean end."""
    if not isinstance(error, anyio.get_cancelled_exc_class()):
        return error
    failure = RuntimeError("the content was cancelled, but not by its response")
    failure.__cause__ = error
    return failure


def _joined(chunks: list[bytes], size: int) -> list[bytes]:
    """Neighbours that are small made one; copying what is large costs more than a message.

    `size` is theirs together, or more.
    """
    if len(chunks) == 1:
        return chunks if chunks[0] else []
    if size < 2 * LARGE:
        return [body] if (body := b"".join(chunks)) else []
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


class _Unsendable:
    """Raises the stream's error as soon as its bytes are wanted, or it is to be described."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __bool__(self) -> bool:
        return True

    def _refuse(self, *_: Any) -> NoReturn:
        raise self._error

    __len__ = __bytes__ = __iter__ = __buffer__ = __repr__ = _refuse
