"""An app whose streams are open when its server shuts down, and what they send."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streamkit import (
    ServerSentEvent,
    Shutdown,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    ZIPStreamingResponse,
    graceful_shutdown,
    iterate_writes,
)

GRACE = float(os.environ.get("GRACE", "1.0"))
FAREWELL = ServerSentEvent("back soon", event="bye", retry=1000)
# On the wire.
BYE = b"event: bye\nretry: 1000\ndata: back soon\n\n"


async def ticks() -> AsyncIterator[str]:
    while True:
        yield "tick\n"
        await anyio.sleep(0.05)


def slow_ticks() -> Iterator[str]:
    while True:
        yield "tick\n"
        time.sleep(0.05)


async def silence() -> AsyncIterator[str]:
    yield "tick\n"
    await anyio.sleep_forever()


async def brief() -> AsyncIterator[str]:
    for number in range(10):
        yield f"{number}\n"
        await anyio.sleep(0.05)


async def flood() -> AsyncIterator[bytes]:
    while True:
        yield b"flood" * 1000


def write(file: Any) -> None:
    while True:
        file.write(b"tick\n")
        time.sleep(0.05)


def until_requested(shutdown: Shutdown) -> Iterator[str]:
    while not shutdown.requested:
        yield "tick\n"
        time.sleep(0.05)
    yield "bye\n"


def content(kind: str, shutdown: Shutdown) -> Response:
    match kind:
        case "async":
            return StreamingResponse(ticks())
        case "sync":
            return StreamingResponse(slow_ticks())
        case "silent":
            return StreamingResponse(silence())
        case "writes":
            return ZIPStreamingResponse(iterate_writes(write))
        case "events":
            return SSEStreamingResponse(ticks(), farewell=FAREWELL)
        case "sync-events":
            return SSEStreamingResponse(slow_ticks(), farewell=FAREWELL)
        case "brief":
            return StreamingResponse(brief())
        case "flood":
            return StreamingResponse(flood())
        case "asks":
            return StreamingResponse(until_requested(shutdown))
        case "plain-events":
            return SSEStreamingResponse(silence())
    raise AssertionError(kind)


def tell(outcome: StreamOutcome) -> None:
    print("closed:", outcome.reason, flush=True)


async def endpoint(request: Request) -> Response:
    if request.path_params["kind"] == "pid":
        return PlainTextResponse(str(os.getpid()))
    response = content(request.path_params["kind"], request.state.shutdown)
    response.on_close = tell  # type: ignore[attr-defined]
    return response


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    async with graceful_shutdown(GRACE) as shutdown:
        yield {"shutdown": shutdown}
    print("the lifespan has ended", flush=True)


app = Starlette(routes=[Route("/{kind}", endpoint)], lifespan=lifespan)


def serve_until_it_should_exit(port: int) -> None:
    """Run uvicorn as a program does that has its own `Server`, until `/stop` is asked for."""
    import uvicorn

    async def stop(_: Request) -> Response:
        server.should_exit = True
        return PlainTextResponse("stopping")

    served = Starlette(routes=[Route("/stop", stop), Route("/{kind}", endpoint)], lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="warning"))
    server.run()


async def tidy() -> AsyncIterator[str]:
    try:
        while True:
            yield "tick\n"
            await anyio.sleep(0.05)
    finally:
        print("cleanup begins", flush=True)
        await anyio.sleep(0.3)
        print("cleanup ends", flush=True)


unprepared = Starlette(routes=[Route("/", lambda _: StreamingResponse(tidy()))])
prepared = Starlette(routes=unprepared.routes, lifespan=lifespan)


if __name__ == "__main__":
    serve_until_it_should_exit(int(sys.argv[1]))
