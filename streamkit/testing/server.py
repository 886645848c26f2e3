"""The server's side of a request in process."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable
from os import PathLike

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from starlette.types import ASGIApp, Message, Scope

from streamkit.testing.framing import Framing
from streamkit.testing.request import BodyTypes, is_websocket
from streamkit.testing.wire import Wire

__all__ = ["Server"]


class Server:
    """The server's side: it calls the app, and gives it `receive` and `send`."""

    def __init__(self, scope: Scope, wire: Wire, *, record: bool, suspend_on_send: bool) -> None:
        self._cancel_scope = anyio.CancelScope()
        self._inbox: deque[Message] = deque()
        self._scope, self._wire = scope, wire
        self._framing = Framing(scope)
        self._record, self._suspend_on_send = record, suspend_on_send
        major, minor = scope["asgi"].get("spec_version", "2.0").split(".")
        self._send_raises = (int(major), int(minor)) >= (2, 4)

    def start(self, group: TaskGroup, app: ASGIApp, body: BodyTypes) -> None:
        if is_websocket(self._scope):
            self._inbox.append({"type": "websocket.connect"})
        elif isinstance(body, AsyncIterable):
            group.start_soon(self._upload, body)
        else:
            pieces = [body] if isinstance(body, bytes) else list(body) or [b""]
            self._inbox.extend(_request(piece, more=True) for piece in pieces)
            self._inbox[-1]["more_body"] = False
        group.start_soon(self._run, app)

    async def stop(self, timeout: float) -> TimeoutError | None:
        """Leave, and give the error to raise where the app had to be cancelled."""
        self._wire.leave()
        with anyio.move_on_after(timeout):
            await self._wire.until(lambda: self._wire.closed)
            return None
        self._cancel_scope.cancel()
        return TimeoutError(
            f"the app did not return within shutdown_timeout={timeout} seconds of the client's "
            "leaving, so it was cancelled"
        )

    async def _run(self, app: ASGIApp) -> None:
        wire = self._wire
        try:
            with self._cancel_scope:
                await self._call(app)
        # the app's end is the client's to judge: nothing of it may cancel the test's task group
        except (Exception, anyio.get_cancelled_exc_class()):
            pass
        finally:
            wire.cut = not wire.gone
            wire.closed = True
            wire.notify()

    async def _call(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as exc:
            self._wire.error = exc
            raise

    async def _upload(self, body: AsyncIterable[bytes]) -> None:
        """Hand over `body` a piece at a time, as the app receives it; then close it."""
        try:
            with self._wire.upload:
                async for piece in body:
                    self._inbox.append(_request(piece, more=True))
                    self._wire.notify()
                    await self._wire.until(lambda: not self._inbox)
                self._inbox.append(_request(b"", more=False))
                self._wire.notify()
        finally:
            if (aclose := getattr(body, "aclose", None)) is not None:
                await aclose()

    async def receive(self) -> Message:
        wire = self._wire
        await wire.until(lambda: self._inbox or wire.gone)
        websocket = is_websocket(self._scope)
        # a server tells of the connection before its end, but drops what is left of a request
        if self._inbox and (websocket or not wire.gone):
            message = self._inbox.popleft()
            wire.notify()
            return message
        return {"type": "websocket.disconnect", "code": 1006} if websocket else _gone()

    async def send(self, message: Message) -> None:
        if self._suspend_on_send:
            await checkpoint()
        if not await self._writable():
            return
        kind = self._framing.kind(message)
        if kind == "start":
            self._wire.start = self._framing.start(message)
            self._note(self._wire.start)
        elif kind == "pathsend":
            self._note(message)
            await self._send_file(message["path"])
        else:
            self._deliver(message.get("body", b""), more=message.get("more_body", False))
            self._note(message)

    async def _writable(self) -> bool:
        await self._wire.until(lambda: self._wire.sendable)
        if self._wire.disconnected and self._send_raises:
            raise OSError("the client has disconnected")
        return not self._wire.disconnected

    def _note(self, message: Message) -> None:
        if self._record:
            self._wire.messages.append(dict(message))
        self._wire.notify()

    def _deliver(self, data: object, *, more: bool) -> None:
        body = self._framing.body(data, more=more)
        if body:
            self._wire.put(body)
        self._wire.complete = not more
        self._wire.notify()

    async def _send_file(self, path: str | PathLike[str]) -> None:
        async with await anyio.open_file(path, "rb") as file:
            while not self._wire.complete:
                data = await file.read(65536)
                if not await self._writable():
                    return
                self._deliver(data, more=bool(data))


def _gone() -> Message:
    return {"type": "http.disconnect"}


def _request(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}
