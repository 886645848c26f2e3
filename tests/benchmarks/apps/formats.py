"""Structured streams: JSON lines, events, CSV and zip, each by its peers and by ours.

Streamkit's, sse-starlette's and the zip writers' responses are returned by Starlette routes;
FastAPI's own formats exist as `yield` in a path operation only.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..samples import blob

COLUMNS = ("id", "name", "price", "active")
MEMBERS = 200
TEXT = b"".join(b'{"row": %d, "square": %d}\n' % (i, i * i) for i in range(60_000))


def rows(n: int) -> Iterator[dict[str, Any]]:
    for number in range(n):
        yield {"id": number, "name": f"row {number}", "price": number / 4, "active": True}


async def async_rows(n: int) -> AsyncIterator[dict[str, Any]]:
    for row in rows(n):
        yield row


def records(n: int) -> Iterator[tuple[Any, ...]]:
    for number in range(n):
        yield number, f"row {number}", number / 4, True


def events(event: Callable[..., Any], n: int) -> Iterator[Any]:
    for number in range(n):
        yield event(f"token {number}", event="token")


async def async_events(event: Callable[..., Any], n: int) -> AsyncIterator[Any]:
    for item in events(event, n):
        yield item


async def idle(event: Callable[..., Any], _: int = 0) -> AsyncIterator[Any]:
    yield event("ready", event="token")
    await anyio.sleep_forever()


def members(total: int) -> Iterator[tuple[str, bytes, bool]]:
    """Name, content and whether to compress: as many deflated members as stored ones."""
    size = total // (2 * MEMBERS)
    text = (TEXT * (size // len(TEXT) + 1))[:size]
    for number in range(MEMBERS):
        yield f"stored/{number}.bin", blob(size), False
        yield f"deflated/{number}.txt", text, True


def on_routes(contents: dict[str, Callable[[int], Response]]) -> Starlette:
    async def stream(request: Request) -> Response:
        return contents[request.path_params["name"]](request.path_params["n"])

    return Starlette(routes=[Route("/{name}/{n:int}", stream)])


def streamkit() -> Starlette:
    import streamkit as kit

    def event(data: str, event: str) -> Any:
        return kit.ServerSentEvent(data, event=event)

    def zip_members(n: int) -> Iterable[Any]:
        for name, content, compress in members(n):
            yield kit.ZipMember(name, content, compress=compress)

    return on_routes(
        {
            "jsonlines-sync": lambda n: kit.JSONLinesStreamingResponse(rows(n)),
            "jsonlines-async": lambda n: kit.JSONLinesStreamingResponse(async_rows(n)),
            "events-sync": lambda n: kit.SSEStreamingResponse(events(event, n)),
            "events-async": lambda n: kit.SSEStreamingResponse(async_events(event, n)),
            "idle-events": lambda n: kit.SSEStreamingResponse(idle(event)),
            "csv": lambda n: kit.CSVStreamingResponse(records(n), columns=COLUMNS),
            "zip": lambda n: kit.ZIPStreamingResponse(zip_members(n)),
            "zip-6": lambda n: kit.ZIPStreamingResponse(zip_members(n), compress_level=6),
        }
    )


def fastapi() -> FastAPI:
    app = FastAPI()

    def event(data: str, event: str) -> ServerSentEvent:
        return ServerSentEvent(raw_data=data, event=event)

    @app.get("/jsonlines-sync/{n}")
    def jsonlines_sync(n: int):  # type: ignore[no-untyped-def]
        yield from rows(n)

    @app.get("/jsonlines-async/{n}")
    async def jsonlines_async(n: int):  # type: ignore[no-untyped-def]
        for row in rows(n):
            yield row

    @app.get("/events-sync/{n}", response_class=EventSourceResponse)
    def events_sync(n: int):  # type: ignore[no-untyped-def]
        yield from events(event, n)

    @app.get("/events-async/{n}", response_class=EventSourceResponse)
    async def events_async(n: int):  # type: ignore[no-untyped-def]
        for item in events(event, n):
            yield item

    @app.get("/idle-events/{n}", response_class=EventSourceResponse)
    async def idle_events(n: int):  # type: ignore[no-untyped-def]
        yield event("ready", "token")
        await anyio.sleep_forever()

    return app


def sse_starlette() -> Starlette:
    from sse_starlette import EventSourceResponse, ServerSentEvent

    return on_routes(
        {
            "events-async": lambda n: EventSourceResponse(async_events(ServerSentEvent, n)),
            "idle-events": lambda n: EventSourceResponse(idle(ServerSentEvent)),
        }
    )


def starlette() -> Starlette:
    class Echo:
        def write(self, line: str) -> str:
            return line

    def csv_lines(n: int) -> Iterator[str]:
        writer: Any = csv.writer(Echo())
        yield writer.writerow(COLUMNS)
        for record in records(n):
            yield writer.writerow(record)

    def plain(data: str, event: str) -> str:
        return f"{data} {event}\n"

    return on_routes(
        {
            "csv": lambda n: StreamingResponse(csv_lines(n), media_type="text/csv"),
            "idle-events": lambda n: StreamingResponse(idle(plain)),
        }
    )


def stream_zip() -> Starlette:
    from stream_zip import NO_COMPRESSION_32, ZIP_32
    from stream_zip import stream_zip as write

    now = datetime.now(UTC)

    def archive(n: int) -> Iterable[bytes]:
        return write(
            (
                (name, now, 0o600, ZIP_32 if compress else NO_COMPRESSION_32, [content])
                for name, content, compress in members(n)
            ),
            # zlib's usual level, as both others have it; stream-zip's own is 9
            get_compressobj=lambda: zlib.compressobj(wbits=-zlib.MAX_WBITS),
        )

    return on_routes(dict.fromkeys(("zip", "zip-6"), lambda n: StreamingResponse(archive(n))))


def zipstream_ng() -> Starlette:
    from zipstream import ZIP_DEFLATED, ZIP_STORED, ZipStream

    def archive(n: int) -> Iterable[bytes]:
        stream = ZipStream()
        for name, content, compress in members(n):
            stream.add(content, name, compress_type=ZIP_DEFLATED if compress else ZIP_STORED)
        return stream

    return on_routes(dict.fromkeys(("zip", "zip-6"), lambda n: StreamingResponse(archive(n))))
