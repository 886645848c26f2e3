"""Live routes whose bytes can be read from the middle: they answer Range, and validate caches."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from fastapi import APIRouter, HTTPException

from streamkit import (
    ByteSource,
    MP4StreamingResponse,
    OctetStreamStreamingResponse,
    PDFStreamingResponse,
    PlainTextStreamingResponse,
    SourceInfo,
)
from streamkit.demo.pdf import make_pdf
from streamkit.demo.record import SourceRoute, routes

__all__ = ["BUCKET", "FILM", "REPORT", "NumberedLines", "StoredObject", "router"]

FILM = Path(__file__).with_name("film.mp4")
REPORT = make_pdf(
    ["streamkit", "", "This page was made in memory, and a viewer may ask for parts."]
)
GIBIBYTE = 2**30

router: APIRouter = routes(SourceRoute)


@router.get("/film.mp4", response_class=MP4StreamingResponse)
def film() -> MP4StreamingResponse:
    """A video that seeks: the browser asks for the parts it needs."""
    return MP4StreamingResponse(FILM)


class NumberedLines(ByteSource):
    """Lines of 16 bytes each, made when they are asked for."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def info(self) -> SourceInfo:
        return SourceInfo(self.size, etag=f'"lines-{self.size}"')

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        stop = self.size if end is None else end
        while start < stop:
            first = start // 16
            lines = b"".join(b"%015d\n" % number for number in range(first, first + 4096))
            chunk = lines[start % 16 :][: stop - start]
            yield chunk
            start += len(chunk)


@router.get("/gibibyte.bin", response_class=OctetStreamStreamingResponse)
def gibibyte() -> OctetStreamStreamingResponse:
    """A download of 1 GiB that resumes, and no file behind it."""
    lines = NumberedLines(GIBIBYTE)
    return OctetStreamStreamingResponse(lines, filename="gibibyte.bin")


@router.get("/report.pdf", response_class=PDFStreamingResponse)
def report() -> PDFStreamingResponse:
    """A document from memory; its ETag lets a client come back to it."""
    return PDFStreamingResponse(
        REPORT,
        filename="report.pdf",
        content_disposition_type="inline",
        etag=f'"{zlib.crc32(REPORT):x}"',
    )


# From Tennyson's "The Brook".
BROOK = """I come from haunts of coot and hern,
  I make a sudden sally,
And sparkle out among the fern,
  To bicker down a valley.

I chatter over stony ways,
  In little sharps and trebles,
I bubble into eddying bays,
  I babble on the pebbles.

And out again I curve and flow
  To join the brimming river,
For men may come and men may go,
  But I go on for ever.
"""
BUCKET = {"brook.txt": BROOK.encode()}


class StoredObject(ByteSource):
    """An object in a store, whose bytes come bit by bit."""

    pause: float = 0.03

    def __init__(self, key: str) -> None:
        if key not in BUCKET:
            raise HTTPException(404, f"no object {key}")
        self.data: bytes = BUCKET[key]

    async def info(self) -> SourceInfo:
        return SourceInfo(len(self.data), etag=f'"{zlib.crc32(self.data):x}"')

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        stop = len(self.data) if end is None else end
        for position in range(start, stop, 16):
            await anyio.sleep(self.pause)
            yield self.data[position : min(position + 16, stop)]


@router.get("/objects/{key}", response_class=PlainTextStreamingResponse)
def stored(key: str) -> PlainTextStreamingResponse:
    """An object from memory, with ranges and ETags."""
    return PlainTextStreamingResponse(StoredObject(key))
