"""Waits for the client's disconnect, and shares the request's body with who reads it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from streamkit import loop

__all__ = ["Inbox", "inbox_of", "request_chunks"]

logger = logging.getLogger("streamkit")

KEY = "streamkit.inbox"
DISCONNECT: Message = {"type": "http.disconnect"}


class Inbox:
    """What the server tells of one request: the only one who calls its `receive`.

    A response listens for the disconnect, and its content may read the body. Both ask here, so
    that neither takes what is meant for the other. Without a reader the body is dropped, as a
    server does with what an app does not read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: deque[Message] = deque()
        self._pulling = False
        self._changed: anyio.Event | None = None
        self.has_reader = False
        self.disconnected = False

    async def receive(self) -> Message:
        """The next message of the body, or the disconnect; for the one who reads the body."""
        self.has_reader = True
        while not self._messages:
            if self.disconnected:
                return DISCONNECT
            await self._pull_or_wait()
        message = self._messages.popleft()
        self._notify()
        return message

    async def listen(self) -> bool:
        """Return when the client has left; False where the server can't tell."""
        while not self.disconnected:
            try:
                if self._messages and self._messages[-1].get("more_body", False):
                    # The reader is slower than the client: one message is kept, no more. After
                    # the last of the body only the disconnect can come.
                    await self._wait()
                else:
                    await self._pull_or_wait()
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
            elif self.has_reader:
                self._messages.append(message)
            else:
                # A `receive` that never suspends must not keep the loop.
                await loop.checkpoint()
        finally:
            self._pulling = False
            self._notify()

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
        found = scope[KEY] = Inbox(receive)
    return found


async def request_chunks(request: Request) -> AsyncIterator[bytes]:
    """The chunks of a request's body, while a response streams.

    `request.stream()` and a streaming response both wait for the server's messages, so that each
    may take what the other needs. Here they share. Give it to the content of a streamkit
    response, or iterate over it there. Chunks are bytes, of the size in which they arrive, and
    never empty; only the current one is held in memory. Nothing has to be closed.

    Raises starlette's `ClientDisconnect` when the client leaves before the body's end, and
    `RuntimeError` if the body was read already.

        @app.post("/upper")
        async def upper(request: Request):
            return StreamingResponse(chunk.upper() async for chunk in request_chunks(request))
    """
    if request._stream_consumed:
        raise RuntimeError("the body of this request was read already")
    request._stream_consumed = True
    inbox = inbox_of(request.scope, request.receive)
    inbox.has_reader = True
    while True:
        message = await inbox.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect()
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body", False):
            return


def share_body(content: Any, inbox: Inbox) -> None:
    """Let a `request.stream()` that a generator is going to read ask the inbox too.

    The generator has not started: its arguments are in its frame.
    """
    for request in _requests(content, 3):
        if not request._stream_consumed and request._receive is not inbox.receive:
            request._receive = inbox.receive
            inbox.has_reader = True


def _requests(thing: Any, depth: int) -> list[Request]:
    if isinstance(thing, Request):
        return [thing]
    frame = getattr(thing, "ag_frame", None) or getattr(thing, "gi_frame", None)
    if frame is None or not depth:
        return []
    return [request for value in frame.f_locals.values() for request in _requests(value, depth - 1)]
