"""Streams without an end whose items come one by one, 20 a second each.

Each class is called as the ASGI app that it is. FastAPI's own formats exist as `yield` in a path
operation only, which costs once a stream, not once an item.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp

from .bare import by_name, stream_floor, until_disconnect

PERIOD = 0.05
GOLDEN = 0.618034  # successive multiples of it fill an interval evenly
TICK, EVENT = "tick\n", b"data: tick\r\n\r\n"

_started = itertools.count()


def waits() -> Iterator[float]:
    """Streams keep to places of their own in a period, so that their items come one by one.

    Waiting for a period after each item would not do: items that a busy machine delays together
    would stay together, and items that share a turn of the loop cost less.
    """
    due = time.monotonic() + next(_started) * GOLDEN % 1 * PERIOD
    while True:
        yield max(0.0, due - time.monotonic())
        due += PERIOD


async def ticks(item: Any) -> AsyncIterator[Any]:
    for wait in waits():
        await asyncio.sleep(wait)
        yield item


def sync_ticks() -> Iterator[str]:
    for wait in waits():
        time.sleep(wait)
        yield TICK


def starlette() -> ASGIApp:
    return by_name(
        {
            "trickle-async": lambda: StreamingResponse(ticks(TICK)),
            "trickle-sync": lambda: StreamingResponse(sync_ticks()),
        }
    )


def streamkit() -> ASGIApp:
    import streamkit as kit

    return by_name(
        {
            "trickle-async": lambda: kit.StreamingResponse(ticks(TICK)),
            "trickle-sync": lambda: kit.StreamingResponse(sync_ticks()),
            "trickle-events": lambda: kit.SSEStreamingResponse(ticks(kit.ServerSentEvent("tick"))),
        }
    )


def on_fastapi(response_class: type[StreamingResponse]) -> FastAPI:
    app = FastAPI()

    @app.get("/trickle-yield", response_class=response_class)
    async def stream() -> AsyncIterator[str]:
        async for item in ticks(TICK):
            yield item

    return app


def fastapi() -> FastAPI:
    app = on_fastapi(StreamingResponse)

    @app.get("/trickle-events", response_class=EventSourceResponse)
    async def events():  # type: ignore[no-untyped-def]
        async for event in ticks(ServerSentEvent(raw_data="tick")):
            yield event

    return app


def fastapi_streamkit() -> FastAPI:
    import streamkit

    return on_fastapi(streamkit.StreamingResponse)


def sse_starlette() -> ASGIApp:
    from sse_starlette import EventSourceResponse, ServerSentEvent

    return by_name({"trickle-events": lambda: EventSourceResponse(ticks(ServerSentEvent("tick")))})


def floor() -> ASGIApp:
    text = until_disconnect(stream_floor(lambda: ticks(TICK.encode())))
    headers = [(b"content-type", b"text/event-stream")]
    events = until_disconnect(stream_floor(lambda: ticks(EVENT), headers))
    return by_name(
        {
            "trickle-async": lambda: text,
            "trickle-yield": lambda: text,
            "trickle-sync": lambda: text,
            "trickle-events": lambda: events,
        }
    )
