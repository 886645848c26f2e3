"""Live routes that stream text and bytes from plain generators."""

from __future__ import annotations

import random
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import anyio
from fastapi import APIRouter, Request

from streamkit import (
    OctetStreamStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    StreamLimit,
    WAVStreamingResponse,
    WritableFile,
    ZIPStreamingResponse,
    iterate_writes,
)
from streamkit.demo.melody import MELODY, encode_wav, play_notes
from streamkit.demo.png import encode_png, paint_waves
from streamkit.demo.record import PlannedFailure, record, routes

__all__ = ["router"]

MEGABYTE = 1_000_000
SENTENCE = "Each of these words went out alone, as soon as it was there. "

router: APIRouter = routes()


@router.get("/drawing.png", response_class=PNGStreamingResponse)
def drawing() -> Iterator[bytes]:
    """A picture that is drawn while it is sent, line by line."""
    for chunk in encode_png(320, 200, paint_waves(320, 200)):
        time.sleep(0.01)
        yield chunk


@router.get("/tokens", response_class=PlainTextStreamingResponse)
async def tokens(fail: int = 0) -> AsyncIterator[str]:
    """Words from an async generator, 20 a second."""
    for number, word in enumerate(6 * SENTENCE.split(), 1):
        yield f"{word} "
        await anyio.sleep(1 / 20)
        if number == fail:
            raise PlannedFailure("the model went away")


@router.get("/slow-file", response_class=PlainTextStreamingResponse)
def slow_file() -> Iterator[str]:
    """A file that is read slowly, and closed by its with block."""
    with record.open_file(Path(__file__)) as file:
        for line in file:
            yield line
            time.sleep(0.2)


@router.get("/firehose", response_class=PlainTextStreamingResponse)
def firehose(request: Request) -> Iterator[str]:
    """Lines without end, and a count of what was made."""
    entry = request.state.stream
    for number in count(1):
        block = f"{number:7}\n" * 4096
        entry.add_made(len(block))
        yield block
        time.sleep(0.001)


@router.get("/melody.wav", response_class=WAVStreamingResponse)
def melody() -> WAVStreamingResponse:
    """A prelude by Bach, each note calculated when its turn comes."""
    size, chunks = encode_wav(play_notes(MELODY), len(MELODY))
    return WAVStreamingResponse(chunks, headers={"content-length": str(size)})


class LimitedLines(PlainTextStreamingResponse):
    max_rate: float | None = 20_000
    max_buffer: int = 2_000
    limit: StreamLimit | None = StreamLimit(per_client=1)


@router.get("/limited", response_class=LimitedLines)
def limited() -> Iterator[str]:
    """Lines that are made at once, and leave at a rate: one stream for a client at a time."""
    for number in range(1, 20_001):
        yield f"line {number:6} of 20,000\n"


@router.get("/lines", response_class=PlainTextStreamingResponse)
def lines() -> Iterator[str]:
    """Lines from a plain def generator, which may block: it runs on a worker thread."""
    for number in range(1, 21):
        yield f"line {number} of 20\n"
        time.sleep(0.1)


@router.get("/megabytes.bin", response_class=OctetStreamStreamingResponse)
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


@router.get("/archive.zip", response_class=ZIPStreamingResponse)
def archive() -> ZIPStreamingResponse:
    """A zip archive, by a function that believes it writes to a file."""

    def write(file: WritableFile) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
            for number in range(1, 31):
                members.writestr(f"report-{number}.txt", f"report {number}\n" * 1000)
                time.sleep(0.05)

    return ZIPStreamingResponse(iterate_writes(write), filename="archive.zip")
