"""The app that every server of the matrix runs: the path says which cell a request is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import cache
from time import monotonic
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import streamkit
from streamkit import StreamingResponse, graceful_shutdown
from tests.matrix.stacks import middleware
from tests.matrix.ways import WAYS, Broken, Exchange, script

GRACE = 0.4
honest: Callable[[ASGIApp], ASGIApp] | None = getattr(streamkit, "Honest", None)
exchanges: dict[str, Exchange] = {}


def play_sync(exchange: Exchange) -> Iterator[bytes]:
    exchange.opens += 1
    try:
        for step in script(exchange):
            if isinstance(step, Exception):
                raise Broken(*step.args)  # A fresh one: a traceback grows.
            if isinstance(step, float):
                time.sleep(step)
            else:
                yield step
    finally:
        exchange.closes += 1


async def play_async(exchange: Exchange) -> AsyncIterator[bytes]:
    exchange.opens += 1
    try:
        for step in script(exchange):
            if isinstance(step, Exception):
                raise Broken(*step.args)  # A fresh one: a traceback grows.
            if isinstance(step, float):
                await anyio.sleep(step)
            else:
                yield step
    finally:
        exchange.closes += 1


async def endpoint(request: Request) -> StreamingResponse:
    exchange = exchanges[request.path_params["key"]]
    way = WAYS[exchange.way]
    return StreamingResponse(
        play_sync(exchange) if way.sync else play_async(exchange),
        media_type="text/plain",
        on_close=lambda outcome: exchange.told.append(outcome.reason),
        **dict(way.options),
    )


class Timeout:
    """A timeout around a part of the app, as middlewares have it; it ends when the cell is ripe."""

    def __init__(self, app: ASGIApp, *, raises: bool) -> None:
        self.app = app
        self.raises = raises

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchanges[scope["path"].rpartition("/")[2]]
        limit = anyio.fail_after if self.raises else anyio.move_on_after
        with limit(60) as exchange.scope:
            await self.app(scope, receive, send)


@cache
def stacked(stack: str, timeout: str, wrapped: bool) -> ASGIApp:
    layers = middleware(stack)
    if timeout.startswith("inside"):
        layers.append(Middleware(Timeout, raises="raises" in timeout))
    app: ASGIApp = Starlette(routes=[Route("/{key}", endpoint)], middleware=layers)
    if timeout == "outside":
        app = Timeout(app, raises=False)
    if wrapped:
        assert honest is not None
        app = honest(app)
    return app


class Server:
    """Tells the cells apart, and sees what the server does with what they send."""

    def __init__(self) -> None:
        self._shutdown = AsyncExitStack()
        self._background: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._background is None:
            # daphne has no lifespan.
            await self._shutdown.enter_async_context(graceful_shutdown(GRACE))
            self._background = asyncio.create_task(_time_out())
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        kind, *rest = scope["path"].strip("/").split("/")
        if kind == "cell":
            await _cell(scope, receive, send, *rest)
        else:
            await JSONResponse(_state(*rest) if rest else None)(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._shutdown.aclose()
        await send({"type": "lifespan.shutdown.complete"})


async def _cell(
    scope: Scope,
    receive: Receive,
    send: Send,
    wrapped: str,
    stack: str,
    way: str,
    client: str,
    offset: str,
    key: str,
) -> None:
    exchange = exchanges[key] = Exchange(way, client == "stalls", int(offset))

    async def watched(message: Message) -> None:
        exchange.sending_since = monotonic()
        try:
            await send(message)
        finally:
            exchange.sending_since = None

    app = stacked(stack, WAYS[way].timeout, wrapped == "honest")
    try:
        inner = {**scope, "path": f"/{key}", "raw_path": f"/{key}".encode()}
        await app(inner, receive, watched)
    finally:
        exchange.ended = monotonic()
        exchange.scope = None


def _state(key: str) -> dict[str, Any] | None:
    """What became of a cell, for its client."""
    exchange = exchanges.get(key)
    if exchange is None:
        return None
    return {
        "ripe": exchange.ripe,
        "ended": exchange.ended is not None and monotonic() - exchange.ended,
        "opens": exchange.opens,
        "closes": exchange.closes,
        "told": exchange.told,
    }


async def _time_out() -> None:
    """Let the timeouts of all cells that are ripe expire."""
    while True:
        await asyncio.sleep(0.05)
        for exchange in exchanges.values():
            if exchange.scope is not None and exchange.ripe:
                exchange.scope.deadline = anyio.current_time()
                exchange.scope = None


app = Server()
