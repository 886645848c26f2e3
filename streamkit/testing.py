"""Drive an ASGI app in process, chunk by chunk, to test how it streams.

    async with stream(app, "/events") as client:
        assert client.status == 200
        async for chunk in client:
            ...

Nothing is collected on the way: a chunk is there when the app has sent it, a client that does not
read makes `send` wait, and one that leaves is seen by `receive`. Where servers differ, this one
does as uvicorn does: `send` returns without suspending while there is room, and `receive` gives
`http.disconnect` once the response is complete. Runs on asyncio and trio.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypedDict, Unpack, cast
from urllib.parse import quote, unquote

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Scope

from streamkit.checks import check_source
from streamkit.encoder_checks import check_encoder
from streamkit.errors import BodyCut

__all__ = [
    "Chunk",
    "FetchedResponse",
    "StreamClient",
    "StreamOptions",
    "check_encoder",
    "check_source",
    "fetch",
    "stream",
]

HeaderTypes = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
BodyTypes = bytes | Iterable[bytes] | AsyncIterable[bytes]

_URL_SAFE = "/%:;,=@&+$!*'()~?"
_ADDRESSES = {
    "scheme": "http",
    "root_path": "",
    "client": ("127.0.0.1", 50000),
    "server": ("testserver", 80),
}


class Chunk(bytes):
    """One piece of a body: plain `bytes` that know when they arrived.

    `at` is in seconds since the request went out. One `http.response.body` message with a
    body is one chunk.

        assert chunk == b"tick" and chunk.at < 0.5
    """

    at: float

    def __new__(cls, data: bytes | bytearray | memoryview, at: float) -> Chunk:
        self = super().__new__(cls, data)
        self.at = at
        return self


class _Wire:
    """What lies between app and client: the state that either side changes and waits for."""

    def __init__(self, read_ahead: int) -> None:
        self.read_ahead = read_ahead
        self.opened = time.perf_counter()
        self.start: Message | None = None
        self.messages: list[Message] = []
        self.chunks: deque[Chunk] = deque()
        self.buffered = self.received = 0
        self.complete = self.disconnected = self.stalled = self.closed = self.cut = False
        self.error: BaseException | None = None
        self.upload = anyio.CancelScope()
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
        chunk = Chunk(data, time.perf_counter() - self.opened)
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


class _Framing:
    """The rules that a server holds one response to: message order, types, Content-Length."""

    def __init__(self, scope: Scope) -> None:
        self._prefix = "websocket.http.response." if _is_websocket(scope) else "http.response."
        self._head = scope.get("method") == "HEAD"
        self._next: tuple[str, ...] = ("start",)
        offered = "http.response.pathsend" in scope["extensions"]
        self._after_start = ("body", "pathsend") if offered else ("body",)
        self._left: int | None = None

    def kind(self, message: Message) -> str:
        """Give "start", "body" or "pathsend"; raise RuntimeError where it may not come now."""
        sent = message.get("type")
        allowed = {self._prefix + kind: kind for kind in self._next}
        if sent not in allowed:
            expected = " or ".join(allowed) or "nothing: the response is complete"
            raise RuntimeError(f"unexpected ASGI message {sent!r}, expected {expected}")
        return allowed[sent]

    def start(self, message: Message) -> Message:
        status, headers = message.get("status"), list(message.get("headers", ()))
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise RuntimeError(
                f"the response status must be an int from 200 to 999, got {status!r}"
            )
        for name, value in headers:
            _check_header(name, value)
        self._left = self._length(status, Headers(raw=[(n.lower(), v) for n, v in headers]))
        self._next = self._after_start
        return {**message, "headers": headers}

    def _length(self, status: int, headers: Headers) -> int | None:
        if self._head:
            return None
        # RFC 9110 §6.4.1: these have no content, whatever their Content-Length says
        if status in (204, 304):
            return 0
        declared = headers.get("content-length")
        if declared is not None and not re.fullmatch("[0-9]+", declared):
            raise RuntimeError(f"Content-Length must be a decimal number, got {declared!r}")
        return None if declared is None else int(declared)

    def body(self, data: object, *, more: bool) -> bytes | bytearray | memoryview:
        """Give the bytes that reach the client: none for HEAD."""
        if not isinstance(data, bytes | bytearray | memoryview):
            # A server asks for the length first, and gets what that raises.
            if hasattr(type(data), "__len__"):
                len(data)  # type: ignore[arg-type]
            raise RuntimeError(f"a response body must be bytes, got {type(data).__name__}")
        if self._left is not None:
            self._left -= memoryview(data).nbytes
            if self._left < 0:
                raise RuntimeError(f"the body is {-self._left} bytes longer than Content-Length")
            if self._left and not more:
                raise RuntimeError(f"the body is {self._left} bytes shorter than Content-Length")
        if not more:
            self._next = ()
        return b"" if self._head else data


def _check_header(name: object, value: object) -> None:
    if not (isinstance(name, bytes) and isinstance(value, bytes)):
        raise RuntimeError(f"header names and values must be bytes, got {name!r}: {value!r}")
    if not name or re.search(rb"[\r\n\0]", name + value):
        raise RuntimeError(f"a header has no name or a control character: {name!r}: {value!r}")


def _is_websocket(scope: Scope) -> bool:
    return bool(scope["type"] == "websocket")


class _Server:
    """The server's side: it calls the app, and gives it `receive` and `send`."""

    def __init__(self, scope: Scope, wire: _Wire, *, record: bool, suspend_on_send: bool) -> None:
        self._cancel_scope = anyio.CancelScope()
        self._inbox: deque[Message] = deque()
        self._scope, self._wire = scope, wire
        self._framing = _Framing(scope)
        self._record, self._suspend_on_send = record, suspend_on_send
        major, minor = scope["asgi"].get("spec_version", "2.0").split(".")
        self._send_raises = (int(major), int(minor)) >= (2, 4)

    def start(self, group: TaskGroup, app: ASGIApp, body: BodyTypes) -> None:
        if _is_websocket(self._scope):
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
        websocket = _is_websocket(self._scope)
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


class StreamClient:
    """The client's side of one response; made by `stream`, never directly.

    Iterate it for the `Chunk`s of the body, with one reader at a time; leaving a loop and starting
    another goes on where the first stopped. Iteration ends when the body is complete, or after
    `disconnect()` with what had arrived; it raises `BodyCut`, from what the app raised, where the
    app ended the body before its end.

        first = await anext(client)
        rest = await client.read()
    """

    def __init__(self, wire: _Wire, rate: float | None) -> None:
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
        await anyio.sleep(max(0.0, due - time.perf_counter()))
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


class StreamOptions(TypedDict, total=False):
    """The keyword arguments of `stream`, for helpers that hand them on.

    For example:

        async def get(path: str, **options: Unpack[StreamOptions]) -> FetchedResponse:
            return await fetch(app, path, **options)
    """

    method: str
    headers: HeaderTypes | None
    body: BodyTypes
    http_version: str
    spec_version: str
    extensions: Mapping[str, dict[str, Any]] | None
    scope: Mapping[str, Any] | None
    rate: float | None
    read_ahead: int
    suspend_on_send: bool
    wait_for_start: bool
    record: bool
    shutdown_timeout: float


@asynccontextmanager
async def stream(
    app: ASGIApp,
    path: str = "/",
    *,
    method: str = "GET",
    headers: HeaderTypes | None = None,
    body: BodyTypes = b"",
    http_version: str = "1.1",
    spec_version: str = "2.3",
    extensions: Mapping[str, dict[str, Any]] | None = None,
    scope: Mapping[str, Any] | None = None,
    rate: float | None = None,
    read_ahead: int = 65536,
    suspend_on_send: bool = False,
    wait_for_start: bool = True,
    record: bool = True,
    shutdown_timeout: float = 5.0,
) -> AsyncIterator[StreamClient]:
    """Send one request to `app` and give a `StreamClient` that receives its response.

    Entering waits until the response has started, and raises what the app raised where it never
    does; leaving disconnects and waits until the app has returned.

    * `path` may carry a query string; percent-encoded or not.
    * `headers`: a mapping or pairs; `host` is added where it is missing.
    * `body`: bytes, or an iterable or async iterable of bytes, one `http.request` message each; an
      async iterable is advanced as the app receives, and closed by this function.
    * `spec_version`: from "2.4" on `send` raises OSError after a disconnect, below it is silent.
    * `extensions`: what the scope offers; `http.response.pathsend` is carried out.
    * `scope`: keys to add or replace; `{"type": "websocket"}` asks for a websocket, and takes the
      response that denies it.
    * `rate`: bytes per second at which the client reads (None: as fast as it is iterated).
    * `read_ahead`: bytes that may wait unread before `send` waits, 65536 as uvicorn's write buffer.
    * `suspend_on_send`: let other tasks run at each `send`. uvicorn does not, so an app that never
      suspends in another way keeps the event loop to itself; so does it here.
    * `wait_for_start`: False enters at once, for a client that leaves before the response starts.
    * `record`: False keeps no `messages`, for large bodies.
    * `shutdown_timeout`: seconds the app has to return once the client has left; then it is
      cancelled, and TimeoutError raised.

    Nothing here is bounded in time but the app's return: put `anyio.fail_after` around it.
    Raises RuntimeError into the app's `send` where the app breaks the ASGI specification. What the
    app raises after the response has started is in `client.error` only.

        async with stream(app, "/events") as client:
            assert await anext(client) == b"data: 1\\n\\n"
    """
    if read_ahead < 0 or (rate is not None and rate <= 0):
        raise ValueError(f"read_ahead must be >= 0 and rate > 0, got {read_ahead=}, {rate=}")
    request = {
        **_url(path),
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": http_version,
        "method": method,
        "headers": _request_headers(headers, body),
        "extensions": extensions,
        **_ADDRESSES,
        **(scope or {}),
    }
    wire = _Wire(read_ahead)
    server = _Server(_completed(request), wire, record=record, suspend_on_send=suspend_on_send)
    client = StreamClient(wire, rate)
    async with _running(server, app, body, shutdown_timeout):
        if wait_for_start:
            await client.started()
        yield client


@asynccontextmanager
async def _running(
    server: _Server, app: ASGIApp, body: BodyTypes, shutdown_timeout: float
) -> AsyncIterator[None]:
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            server.start(group, app, body)
            try:
                yield
            # kept out of the task group, which would wrap it
            except Exception as exc:
                failure = exc
            finally:
                late = await server.stop(shutdown_timeout)
            failure = failure or late
    except BaseExceptionGroup as errors:
        failure = errors.exceptions[0] if len(errors.exceptions) == 1 else errors
    if failure is not None:
        try:
            raise failure
        finally:
            # else this frame and the traceback hold each other, and all that the test holds
            del failure


@dataclass(frozen=True)
class FetchedResponse:
    """A whole response, as `fetch` gives it.

    `body` is what had arrived, all of it only if `complete`; `error` is what the app raised.

        assert response.complete and response.body == b"hello"
    """

    status: int
    headers: Headers
    body: bytes
    complete: bool
    error: BaseException | None


async def fetch(app: ASGIApp, path: str = "/", **options: Unpack[StreamOptions]) -> FetchedResponse:
    """Send one request and wait for its whole response; `options` are those of `stream`.

    A body that the app cut raises nothing here: `complete` is False then. Raises what the app
    raised where it did not start a response.

        response = await fetch(app, "/hello")
    """
    body = bytearray()
    async with stream(app, path, **options) as client:
        with suppress(BodyCut):
            async for chunk in client:
                body += chunk
    return FetchedResponse(
        client.status, client.headers, bytes(body), client.complete, client.error
    )


def _url(path: str) -> Scope:
    target, _, query = quote(path, safe=_URL_SAFE).partition("?")
    if not target.startswith("/"):
        raise ValueError(f'path must start with "/", got {path!r}')
    return {
        "path": unquote(target),
        "raw_path": target.encode(),
        "query_string": query.encode(),
    }


def _request_headers(headers: HeaderTypes | None, body: BodyTypes) -> list[tuple[bytes, bytes]]:
    given = headers.items() if isinstance(headers, Mapping) else headers or ()
    pairs = cast("Iterable[tuple[str | bytes, str | bytes]]", given)
    raw = [(_latin1(name).lower(), _latin1(value)) for name, value in pairs]
    names = {name for name, _ in raw}
    if b"host" not in names:
        raw.insert(0, (b"host", b"testserver"))
    if body and not names & {b"content-length", b"transfer-encoding"}:
        if isinstance(body, bytes):
            raw.append((b"content-length", b"%d" % len(body)))
        else:
            raw.append((b"transfer-encoding", b"chunked"))
    return raw


def _latin1(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _completed(scope: Scope) -> Scope:
    if not _is_websocket(scope):
        return {"state": {}, **scope, "extensions": dict(scope["extensions"] or {})}
    del scope["method"]
    denial: dict[str, Any] = {"websocket.http.response": {}}
    extensions = denial if scope["extensions"] is None else dict(scope["extensions"])
    return {"state": {}, "subprotocols": [], **scope, "scheme": "ws", "extensions": extensions}
