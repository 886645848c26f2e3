"""Bare ASGI apps: responses without a router around them, and the floor that no class can pass.

A floor sends the same bytes in as few messages as can be: what is left is the server's cost and
the content's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

Headers = Iterable[tuple[bytes, bytes]]

TEXT: Headers = [(b"content-type", b"text/plain; charset=utf-8")]


def by_name(apps: Mapping[str, Callable[[], ASGIApp]]) -> ASGIApp:
    """`/<name>` or `/<name>/<anything>`: the app made for it answers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[scope["path"].split("/", 2)[1]]()(scope, receive, send)

    return app


def start(status: int = 200, headers: Headers = TEXT) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def body(chunk: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def joined_floor(content: Callable[[], AsyncIterable[bytes]]) -> ASGIApp:
    """A stream that never waits: all of it in one message, of a length that isn't known before."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"".join([chunk async for chunk in content()]), False))

    return app


def stream_floor(content: Callable[[], AsyncIterable[bytes]], headers: Headers = TEXT) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=headers))
        async for chunk in content():
            await send(body(chunk, True))
        await send(body(b"", False))

    return app


def until_disconnect(app: ASGIApp) -> ASGIApp:
    """A stream without an end must be stopped: a server takes what is sent to nobody."""

    async def stoppable(scope: Scope, receive: Receive, send: Send) -> None:
        stream = asyncio.ensure_future(app(scope, receive, send))
        while (await receive())["type"] != "http.disconnect":
            pass
        stream.cancel()
        await asyncio.wait([stream])

    return stoppable


def bytes_floor(content: bytes, status: int = 200, more: Headers = ()) -> ASGIApp:
    length = str(len(content)).encode()
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", length), *more]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(status, headers))
        await send(body(content, False))

    return app
