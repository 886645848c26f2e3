"""Plain streams: Starlette's StreamingResponse and ours, on routes and through FastAPI `yield`."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, BinaryIO

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ..samples import blob, blocks, line_list, lines, sample


async def async_lines(n: int) -> AsyncIterator[str]:
    for line in line_list(n):
        yield line


def ticks(n: int) -> Iterator[str]:
    for _ in range(n):
        time.sleep(0.01)
        yield f"t={time.monotonic_ns()}\n"


async def async_ticks(n: int) -> AsyncIterator[str]:
    for _ in range(n):
        await asyncio.sleep(0.01)
        yield f"t={time.monotonic_ns()}\n"


async def idle(_: int) -> AsyncIterator[str]:
    yield "ready\n"
    await asyncio.sleep(3600)


async def async_blocks(n: int) -> AsyncIterator[bytes]:
    for block in blocks(n):
        yield block


CONTENTS: dict[str, Callable[[int], Any]] = {
    "sync-lines": lines,
    "async-lines": async_lines,
    "idle-plain": idle,
    "latency-sync": ticks,
    "latency-async": async_ticks,
    "memory-sync": blocks,
    "memory-async": async_blocks,
    "memory-file": lambda n: sample(n).open("rb"),
    "memory-path": sample,
    "memory-bytes": blob,
    "memory-bytesio": lambda n: io.BytesIO(blob(n)),
}


def on_starlette(
    response_class: type[StreamingResponse],
    iterate_in_threadpool: Callable[[Iterable[Any]], AsyncIterator[Any]],
) -> Starlette:
    async def stream(request: Request) -> Response:
        size = int(request.path_params["n"].removesuffix(".bin"))
        return response_class(CONTENTS[request.path_params["content"]](size))

    async def prepare(request: Request) -> Response:
        blob(request.path_params["n"])
        return PlainTextResponse("ready")

    async def bridge(request: Request) -> Response:
        """The bridge alone: the seconds it takes for n items that nobody sends anywhere."""
        started = time.perf_counter()
        async for _ in iterate_in_threadpool(lines(request.path_params["n"])):
            pass
        return PlainTextResponse(str(time.perf_counter() - started))

    return Starlette(
        routes=[
            Route("/prepare/{n:int}", prepare),
            Route("/threadpool/{n:int}", bridge),
            Route("/{content}/{n}", stream),
        ]
    )


def starlette() -> Starlette:
    return on_starlette(StreamingResponse, iterate_in_threadpool)


def streamkit() -> Starlette:
    import streamkit

    return on_starlette(streamkit.StreamingResponse, streamkit.iterate_in_threadpool)


def on_fastapi(
    response_class: type[StreamingResponse], read: Callable[[BinaryIO], Iterable[bytes]]
) -> FastAPI:
    app = FastAPI()

    @app.get("/yield-sync/{n}", response_class=response_class)
    def yield_sync(n: int) -> Iterator[str]:
        for number in range(n):
            yield f"line {number}\n"

    @app.get("/yield-async/{n}", response_class=response_class)
    async def yield_async(n: int) -> AsyncIterator[str]:
        for number in range(n):
            yield f"line {number}\n"

    @app.get("/file-chunks/{n}.bin", response_class=response_class)
    def chunks_of_file(n: int) -> Iterator[bytes]:
        with open(sample(n), "rb") as file:
            yield from read(file)

    return app


def fastapi() -> FastAPI:
    return on_fastapi(StreamingResponse, lambda file: file)


def fastapi_streamkit() -> FastAPI:
    import streamkit

    return on_fastapi(streamkit.StreamingResponse, streamkit.file_chunks)
