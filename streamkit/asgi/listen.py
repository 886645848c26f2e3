"""Waits for the client's disconnect, and shares the request's body with who reads it."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import AsyncGeneratorType, FrameType, GeneratorType
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from streamkit import loop

__all__ = ["Inbox", "UnsharedBody", "inbox_of", "request_chunks", "share_body"]

logger: logging.Logger = logging.getLogger("streamkit")

KEY = "streamkit.inbox"
DISCONNECT: Message = {"type": "http.disconnect"}
# Bytes that are kept for a reader who may still begin, and seconds that all waits for them then.
KEPT = 65536
PATIENCE = 10.0
FRAMING = frozenset((b"transfer-encoding", b"content-length"))
# How deep generators that hold generators are looked through.
DEPTH = 3
HINT = (
    "a streaming response listens for the disconnect on the channel of the request's body: "
    "iterate over request_chunks(request), called before the response is sent"
)


class UnsharedBody(RuntimeError):
    """The listener has taken a part of the body that the content reads by other means."""


class Inbox:
    """What the server tells of one request: the only one who calls its `receive`.

    A response listens for the disconnect, and its content may read the body. Both ask here, so
    that neither takes what is meant for the other.

    `has_reader`: somebody reads, and gets all of it: one message is kept, and no more is taken
    from the server meanwhile. `may_have_reader`: somebody may begin to: `KEPT` bytes are kept, and
    after `PATIENCE` seconds without a reader they are given up, since the disconnect can't be seen
    behind a body that nobody takes. Else the body is dropped, as a server does with what an app
    does not read. `is_contested`: the content calls the server's `receive` itself.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        # None until one is kept: a deque is large, and most requests have no body.
        self._messages: deque[Message] | None = None
        self._kept = 0
        self._pulling = False
        self._changed: anyio.Event | None = None
        self._has_dropped = False
        # Whether the body's last message has come; and whether another one came after it, as from
        # a middleware that gives a body it has read again each time it is asked.
        self._has_ended = self._repeats = False
        self.has_reader: bool = False
        self.may_have_reader: bool = False
        self.is_contested = False
        self.disconnected: bool = False

    async def receive(self) -> Message:
        """The next message of the body, or the disconnect; for the one who reads the body."""
        self.has_reader = True
        while not self._messages:
            if self._has_dropped:
                raise UnsharedBody(f"a part of the request's body is gone; {HINT}")
            if self.disconnected:
                return DISCONNECT
            if self._repeats:
                return await self._receive()
            await self._pull_or_wait()
        message = self._messages.popleft()
        self._notify()
        return message

    async def listen(self) -> bool:
        """Return when the client has left; False where the server can't tell.

        Raises `UnsharedBody` if a part of the body comes that the content would miss.
        """
        while not self.disconnected:
            if self._repeats:
                return False
            try:
                if not self._is_full():
                    await self._pull_or_wait()
                elif self.has_reader:
                    await self._wait()
                else:
                    with anyio.move_on_after(PATIENCE):
                        await self._wait()
                    if not self.has_reader:
                        self.may_have_reader = False
                        self._drop()
            except UnsharedBody:
                raise
            except Exception:
                logger.debug("receive() failed: disconnects go unnoticed", exc_info=True)
                return False
        return True

    async def _pull_or_wait(self) -> None:
        if self._pulling:
            await self._wait()
            return
        self._pulling = True
        try:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.disconnected = True
                return
            self._keep_or_drop(message)
            if not self.has_reader:
                # A `receive` that never suspends must not keep the loop.
                await loop.checkpoint()
        finally:
            self._pulling = False
            self._notify()

    def _is_full(self) -> bool:
        # After the last message of the body only the disconnect can come.
        if not (self._messages and self._messages[-1].get("more_body")):
            return False
        return self.has_reader or self._kept >= KEPT

    def _keep_or_drop(self, message: Message) -> None:
        if self._has_ended:
            self._repeats = True
            return
        self._has_ended = not message.get("more_body", False)
        self._kept += len(message.get("body", b""))
        if self.has_reader:
            self._keep(message)
        elif self.is_contested and self._kept:
            raise UnsharedBody(f"the content calls `receive` itself; {HINT}")
        elif self.may_have_reader:
            self._keep(message)
        elif self._kept:
            self._drop()

    def _keep(self, message: Message) -> None:
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)

    def _drop(self) -> None:
        self._has_dropped = True
        self._messages = None

    async def _wait(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def inbox_of(scope: Scope, receive: Receive) -> Inbox:
    """The inbox of a request, one for all who ask with this scope."""
    found: Inbox | None = scope.get(KEY)
    if found is None:
        request = getattr(receive, "__self__", None)
        # A response that the dispatch function of a `BaseHTTPMiddleware` made itself: its
        # `receive` reads the stream of the request which the content may read too.
        source = request._receive if isinstance(request, Request) else receive
        found = scope[KEY] = Inbox(source)
    return found


def request_chunks(request: Request) -> AsyncIterator[bytes]:
    """The chunks of a request's body, while a response streams.

    `request.stream()` and a streaming response both wait for the server's messages, so that each
    may take what the other needs. Here they share. Give it to the content of a streamkit
    response, or iterate over it there. Chunks are bytes, of the size in which they arrive, and
    never empty; only the current one is held in memory. Nothing has to be closed.

    Call it before the response is sent, and iterate whenever you like: from the call on, no part
    of the body is dropped. Raises starlette's `ClientDisconnect` when the client leaves before the
    body's end, and `RuntimeError` if the body was read already.

        @app.post("/upper")
        async def upper(request: Request):
            return StreamingResponse(chunk.upper() async for chunk in request_chunks(request))
    """
    if request._stream_consumed:
        raise RuntimeError("the body of this request was read already")
    inbox = inbox_of(request.scope, request._receive)
    request._stream_consumed = inbox.has_reader = True
    return _Chunks(inbox)


class _Chunks:
    """No generator: one that is left before its end would have to be closed."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            message = await self._inbox.receive()
            self._ended = not message.get("more_body", False)
            if message["type"] == "http.disconnect":
                raise ClientDisconnect()
            body: bytes = message.get("body", b"")
            if body:
                return body
        raise StopAsyncIteration


def share_body(content: Any, scope: Scope, receive: Receive, inbox: Inbox) -> None:
    """Let the requests that the content may read from ask the inbox too.

    They are found by the `receive` they were made with: in the frames of the app that sends the
    response, and in those of generators. A content that holds the `receive` itself can't be
    served, and is found as well.
    """
    if not _may_have_body(scope):
        return
    for thing in (*_in_callers(), *_in_generators(content, DEPTH)):
        if _is_request(thing):
            if not thing._stream_consumed and thing._receive in (receive, inbox._receive):
                thing._receive = inbox.receive
                inbox.may_have_reader = True
        elif thing is receive:
            inbox.is_contested = True


def _may_have_body(scope: Scope) -> bool:
    """Whether to look: HTTP/2 need not say, but a GET has hardly ever one (RFC 9110 §9.3.1)."""
    if scope.get("method") not in ("GET", "HEAD"):
        return True
    return any(name in FRAMING for name, _ in scope.get("headers", ()))


def _is_request(thing: Any) -> bool:
    # `isinstance` would ask proxies for what they stand for.
    return issubclass(type(thing), Request)


def _in_callers() -> Iterator[Request]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield from filter(_is_request, frame.f_locals.values())
        frame = frame.f_back


def _in_generators(thing: Any, depth: int) -> Iterator[Any]:
    frame: FrameType | None = None
    if depth and type(thing) is AsyncGeneratorType:
        frame = thing.ag_frame
    elif depth and type(thing) is GeneratorType:
        frame = thing.gi_frame
    if frame is None:
        yield thing
        return
    for value in frame.f_locals.values():
        yield from _in_generators(value, depth - 1)
