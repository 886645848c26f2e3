"""Bare ASGI apps: responses without a router around them, and the floor that no class can pass.

A floor sends the same messages as Starlette's class by itself: the cost of the server alone.
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
