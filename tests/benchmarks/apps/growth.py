"""Streams without an end, and a `/ping` beside them: what many at once cost.

A stream that waits on the loop begins at a place of its own in the second, so that the chunks of
all of them are spread over it. One that sleeps on a thread sleeps before each chunk.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

PERIOD = 1.0
GOLDEN = 0.618034  # successive multiples of it fill an interval evenly

_started = itertools.count()


async def ticks(item: Any) -> AsyncIterator[Any]:
    yield item
    await asyncio.sleep(next(_started) * GOLDEN % 1 * PERIOD)
    while True:
        yield item
        await asyncio.sleep(PERIOD)


def sync_ticks() -> Iterator[str]:
    while True:
        time.sleep(PERIOD)
        yield "tick\n"


async def ping(_: Request) -> Response:
    return PlainTextResponse("pong")


def sync_ping(_: Request) -> Response:
    """On one of the threads that `def` endpoints share."""
    return PlainTextResponse("pong")


def on_routes(contents: Mapping[str, Callable[[], Response]]) -> Starlette:
    async def stream(request: Request) -> Response:
        return contents[request.path_params["name"]]()

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/sync-ping", sync_ping),
            Route("/{name}", stream),
        ]
    )


def starlette() -> Starlette:
    return on_routes(
        {
            "async": lambda: StreamingResponse(ticks("tick\n")),
            "sync": lambda: StreamingResponse(sync_ticks()),
        }
    )


def sse_starlette() -> Starlette:
    from sse_starlette import EventSourceResponse, ServerSentEvent

    return on_routes({"events": lambda: EventSourceResponse(ticks(ServerSentEvent("tick")))})


def fastapi() -> FastAPI:
    app = FastAPI()
    app.router.routes.append(Route("/ping", ping))

    @app.get("/events", response_class=EventSourceResponse)
    async def events():  # type: ignore[no-untyped-def]
        async for event in ticks(ServerSentEvent(raw_data="tick")):
            yield event

    return app


def streamkit() -> Starlette:
    import streamkit as kit

    return on_routes(
        {
            "async": lambda: kit.StreamingResponse(ticks("tick\n")),
            "sync": lambda: kit.StreamingResponse(sync_ticks()),
            "events": lambda: kit.SSEStreamingResponse(ticks(kit.ServerSentEvent("tick"))),
        }
    )
