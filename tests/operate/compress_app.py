"""What is compressed, for readers of all kinds; the tests serve it."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from streamkit import (
    FileStreamingResponse,
    JSONLinesStreamingResponse,
    PlainTextStreamingResponse,
    SSEStreamingResponse,
)
from streamkit.compress import make_coder

ROWS = 5000
FOLDER = Path(tempfile.mkdtemp())
PLAIN = FOLDER / "app.js"
PLAIN.write_text("console.log('a line of a program that repeats');\n" * 500)
for suffix, coding in ((".zst", "zstd"), (".br", "br")):
    coder = make_coder(coding)
    ready = coder.compress(PLAIN.read_bytes()) + coder.finish()
    Path(f"{PLAIN}{suffix}").write_bytes(ready)
Path(f"{PLAIN}.gz").write_bytes(gzip.compress(PLAIN.read_bytes()))
gone: list[str] = []


def rows() -> Iterator[dict[str, Any]]:
    for number in range(ROWS):
        yield {"id": number, "name": f"Zeile {number} mit Ö"}


async def async_rows() -> AsyncIterator[dict[str, Any]]:
    for row in rows():
        yield row


def broken() -> Iterator[dict[str, Any]]:
    yield from rows()
    raise LookupError("gone")


async def events() -> AsyncIterator[str]:
    """The next one is made when the reader says that it has this one."""
    for number in range(5):
        yield f"event {number}"
        while f"event {number}" not in gone:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def sync_events() -> Iterator[str]:
    for number in range(5):
        yield f"event {number}"
        while f"event {number}" not in gone:
            time.sleep(0.001)


CONTENTS: dict[str, Any] = {"sync": rows, "async": async_rows, "broken": broken}


async def json_lines(request: Request) -> Response:
    content = CONTENTS[request.path_params["kind"]]()
    offered = request.query_params.getlist("offer") or True
    return JSONLinesStreamingResponse(content, compress=offered, etag='"v7"')


async def live(request: Request) -> Response:
    gone.clear()
    content = events() if request.path_params["kind"] == "async" else sync_events()
    return SSEStreamingResponse(content, compress=True)


async def seen(request: Request) -> Response:
    gone.append(request.query_params["event"])
    return PlainTextResponse("")


async def page(request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>reader</title>")


async def asset(request: Request) -> Response:
    return FileStreamingResponse(PLAIN, precompressed=True)


async def text(request: Request) -> Response:
    return PlainTextStreamingResponse(iter(["text"]), compress=("gzip",))


app = Starlette(
    routes=[
        Route("/rows/{kind}", json_lines),
        Route("/events/{kind}", live),
        Route("/seen", seen),
        Route("/page", page),
        Route("/app.js", asset),
        Route("/text", text),
    ]
)
