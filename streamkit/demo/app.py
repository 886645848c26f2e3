"""The demo's live routes and its app. The index page shows the source of each as it stands."""

from __future__ import annotations

import io
import random
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
from fastapi import Depends, FastAPI, Request, Response

from streamkit import (
    FileStreamingResponse,
    HTMLStreamingResponse,
    OctetStreamStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    ZIPStreamingResponse,
    iterate_writes,
)
from streamkit.demo import items, seekable
from streamkit.demo.files import CountedFiles
from streamkit.demo.page import SCRIPT, examples, render_page
from streamkit.demo.png import encode_png, paint_waves

__all__ = ["app"]

MEGABYTE = 1_000_000
SENTENCE = "Each of these words went out alone, as soon as it was there. "
# Browsers then show text as it arrives, instead of gathering some to guess its type.
NO_SNIFFING = {"x-content-type-options": "nosniff"}


async def forbid_sniffing(response: Response) -> None:
    """Add a header to what the yielding routes send."""
    response.headers.update(NO_SNIFFING)


counted_files = CountedFiles()
app = FastAPI(title="streamkit demo", dependencies=[Depends(forbid_sniffing)])


@app.get("/", response_class=HTMLStreamingResponse, include_in_schema=False)
def index(request: Request) -> Iterator[str]:
    """This page."""
    routes = [*items.router.routes, *seekable.router.routes, *app.routes]
    yield from render_page(examples(routes), str(request.url.replace(query="")))


@app.get("/page.js", include_in_schema=False)
def script() -> FileStreamingResponse:
    """What the page runs, revalidated each time."""
    return FileStreamingResponse(
        SCRIPT, media_type="text/javascript", headers={"cache-control": "no-cache"}
    )


app.include_router(items.router)
app.include_router(seekable.router)


@app.get("/drawing.png", response_class=PNGStreamingResponse)
def drawing() -> Iterator[bytes]:
    """A picture that is drawn while it is sent, a line of pixels at a time."""
    for chunk in encode_png(320, 200, paint_waves(320, 200)):
        time.sleep(0.01)
        yield chunk


@app.get("/lines", response_class=PlainTextStreamingResponse)
def lines() -> Iterator[str]:
    """Lines from a plain def generator, which may block: it runs on a worker thread."""
    for number in range(1, 21):
        yield f"line {number} of 20\n"
        time.sleep(0.1)


@app.get("/tokens", response_class=PlainTextStreamingResponse)
async def tokens() -> AsyncIterator[str]:
    """Words from an async def generator, 20 a second, as a language model sends them."""
    for _ in range(6):
        for word in SENTENCE.split():
            yield f"{word} "
            await anyio.sleep(1 / 20)


@app.get("/megabytes.bin", response_class=OctetStreamStreamingResponse)
def megabytes() -> OctetStreamStreamingResponse:
    """A download of 100 MB that is made up on the way and never in memory as a whole."""

    def numbers() -> Iterator[bytes]:
        source = random.Random(2026)
        for _ in range(100):
            yield source.randbytes(MEGABYTE)

    return OctetStreamStreamingResponse(
        numbers(),
        headers={"content-length": str(100 * MEGABYTE)},
        filename="hundert Megabyte für Öl.bin",
    )


@app.get("/archive.zip", response_class=ZIPStreamingResponse)
def archive() -> ZIPStreamingResponse:
    """A zip archive, by a function that believes it writes to a file."""

    def write(file: io.RawIOBase) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
            for number in range(1, 31):
                members.writestr(f"report-{number}.txt", f"report {number}\n" * 1000)
                time.sleep(0.05)

    return ZIPStreamingResponse(iterate_writes(write), filename="archive.zip")


@app.get("/slow-file", response_class=PlainTextStreamingResponse)
def slow_file() -> PlainTextStreamingResponse:
    """A file that is read slowly. Leave in the middle (Ctrl+C), then look at /open-files: it was
    closed, and on_close was told why."""

    def read_slowly() -> Iterator[str]:
        with counted_files.open(Path(__file__)) as file:
            for line in file:
                yield line
                time.sleep(0.2)

    return PlainTextStreamingResponse(
        read_slowly(), headers=NO_SNIFFING, on_close=counted_files.record
    )


@app.get("/open-files", response_class=PlainTextStreamingResponse)
async def open_files() -> AsyncIterator[str]:
    """How many files of /slow-file are open, and how its last response ended."""
    yield counted_files.report()
