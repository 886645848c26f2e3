"""What an operator adds to streams: compression, an observer, a rate that clients have to keep."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from .formats import rows

# The levels that ours has by default.
GZIP_LEVEL, ZSTD_LEVEL = 4, 3
Contents = dict[str, Callable[[int], Response]]


def json_lines(n: int) -> Iterator[str]:
    for row in rows(n):
        yield json.dumps(row, separators=(",", ":")) + "\n"


async def ticks(n: int) -> AsyncIterator[str]:
    for _ in range(n):
        await asyncio.sleep(0.01)
        yield f"t={time.monotonic_ns()}\n"


async def few(_: int) -> AsyncIterator[str]:
    for number in range(3):
        yield f"line {number}\n"


async def lines(n: int) -> AsyncIterator[str]:
    for number in range(n):
        yield f"line {number}\n"


def flood(_: int) -> Iterator[bytes]:
    return itertools.repeat(b"x" * 8000)


def app(contents: Contents) -> Starlette:
    async def stream(request: Request) -> Response:
        return contents[request.path_params["name"]](request.path_params["n"])

    async def ping(request: Request) -> Response:
        return PlainTextResponse("pong")

    async def still_open(request: Request) -> Response:
        from streamkit import open_streams

        return PlainTextResponse(str(len(open_streams())))

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/open", still_open),
            Route("/{name}/{n:int}", stream),
        ]
    )


def streamkit() -> ASGIApp:
    import streamkit as kit

    def compressed(coding: str) -> Callable[[int], Response]:
        return lambda n: kit.JSONLinesStreamingResponse(rows(n), compress=(coding,))

    def slow(n: int) -> Response:
        return kit.StreamingResponse(flood(n), min_rate=1000, min_rate_grace=2.5)

    return app(
        {
            "compressed-zstd": compressed("zstd"),
            "compressed-gzip": compressed("gzip"),
            "latency-compressed": lambda n: kit.PlainTextStreamingResponse(ticks(n), compress=True),
            "slow-clients": slow,
            "observed-lines": lambda n: kit.StreamingResponse(lines(n)),
            "observed-small": lambda n: kit.StreamingResponse(few(n)),
        }
    )


def observed() -> ASGIApp:
    """The same, with an observer that counts, as a metrics library does."""
    import streamkit as kit

    class Counter:
        def __init__(self) -> None:
            self.open = self.ended_so_far = self.bytes = 0

        def started(self, info: Any) -> None:
            self.open += 1

        def first_byte(self, info: Any) -> None:
            pass

        def ended(self, info: Any, outcome: Any) -> None:
            self.open -= 1
            self.ended_so_far += 1
            self.bytes += outcome.bytes_sent

    kit.observe(Counter())
    return streamkit()


def plain() -> ASGIApp:
    """The same, not compressed."""
    import streamkit as kit

    return app({"latency-compressed": lambda n: kit.PlainTextStreamingResponse(ticks(n))})


def starlette() -> Contents:
    def lines(n: int) -> Response:
        return StreamingResponse(json_lines(n), media_type="application/jsonl")

    return {"compressed-zstd": lines, "compressed-gzip": lines}


def gzip_middleware() -> ASGIApp:
    return GZipMiddleware(app(starlette()), compresslevel=GZIP_LEVEL)


def starlette_compress() -> ASGIApp:
    from starlette_compress import CompressMiddleware, add_compress_type

    add_compress_type("application/jsonl")
    return CompressMiddleware(app(starlette()), zstd_level=ZSTD_LEVEL, gzip_level=GZIP_LEVEL)
