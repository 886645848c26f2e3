"""Live routes whose bytes can be read from the middle: they answer Range, and validate caches."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter

from streamkit import (
    ByteSource,
    MP4StreamingResponse,
    OctetStreamStreamingResponse,
    PDFStreamingResponse,
    SourceInfo,
)
from streamkit.demo.pdf import make_pdf

__all__ = ["FILM", "REPORT", "NumberedLines", "router"]

FILM = Path(__file__).with_name("film.mp4")
REPORT = make_pdf(
    ["streamkit", "", "This page was made in memory, and a viewer may ask for parts."]
)
GIBIBYTE = 2**30

router = APIRouter()


@router.get("/film.mp4", response_class=MP4StreamingResponse)
def film() -> MP4StreamingResponse:
    """A video that seeks: the browser asks for the parts of the file that it needs."""
    return MP4StreamingResponse(FILM)


class NumberedLines(ByteSource):
    """Lines of 16 bytes that say which line they are, made when they are asked for."""

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
    """A download of 1 GiB that resumes, from a source of its own: no file is behind it. In a
    terminal, add -C - to the command, break it off (Ctrl+C), and run it again."""
    return OctetStreamStreamingResponse(NumberedLines(GIBIBYTE), filename="gibibyte.bin")


@router.get("/report.pdf", response_class=PDFStreamingResponse)
def report() -> PDFStreamingResponse:
    """A document from memory, shown in the browser; its ETag lets a client come back to it."""
    return PDFStreamingResponse(
        REPORT,
        filename="report.pdf",
        content_disposition_type="inline",
        etag=f'"{zlib.crc32(REPORT):x}"',
    )
