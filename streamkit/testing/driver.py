"""One request, from either end: `stream` and `fetch`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp

from streamkit.errors import BodyCut
from streamkit.testing.client import StreamClient
from streamkit.testing.request import (
    ADDRESSES,
    BodyTypes,
    HeaderTypes,
    completed,
    request_headers,
    url_parts,
)
from streamkit.testing.server import Server
from streamkit.testing.wire import Wire

__all__ = ["FetchedResponse", "StreamOptions", "fetch", "stream"]


class StreamOptions(TypedDict, total=False):
    """The keyword arguments of `stream`, for helpers that pass them on.

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
        **url_parts(path),
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": http_version,
        "method": method,
        "headers": request_headers(headers, body),
        "extensions": extensions,
        **ADDRESSES,
        **(scope or {}),
    }
    wire = Wire(read_ahead)
    server = Server(completed(request), wire, record=record, suspend_on_send=suspend_on_send)
    client = StreamClient(wire, rate)
    async with _running(server, app, body, shutdown_timeout):
        if wait_for_start:
            await client.started()
        yield client


@asynccontextmanager
async def _running(
    server: Server, app: ASGIApp, body: BodyTypes, shutdown_timeout: float
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
            failure = late if failure is None else failure
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
