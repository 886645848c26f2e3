"""Live routes that stream items instead of bytes: events, rows, pictures, members."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import anyio
from fastapi import APIRouter

from streamkit import (
    CSVStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    ZipMember,
    ZIPStreamingResponse,
)
from streamkit.demo.png import encode_png, paint_waves
from streamkit.demo.seekable import FILM, REPORT

__all__ = ["router"]

ANSWER = "Each token is an event of its own, and the page shows it as soon as it is there."
FRAMES = 16

router = APIRouter()


@router.get("/clock", response_class=SSEStreamingResponse)
async def clock() -> AsyncIterator[ServerSentEvent]:
    """The server's time as server-sent events, which a browser reads with EventSource."""
    while True:
        now = datetime.now().astimezone()
        yield ServerSentEvent(now.isoformat(timespec="seconds"), event="tick")
        await anyio.sleep(1)


@router.get("/answer", response_class=SSEStreamingResponse)
async def answer() -> AsyncIterator[ServerSentEvent]:
    """Tokens as events, and one that says that it was the last: EventSource would reconnect."""
    for token in ANSWER.split():
        yield ServerSentEvent(f"{token} ", event="token")
        await anyio.sleep(1 / 20)
    yield ServerSentEvent("", event="end")


@dataclass
class Reading:
    number: int
    time: datetime
    celsius: float


def read_sensor(number: int) -> Reading:
    celsius = round(20 + 5 * math.sin(number / 4), 1)
    return Reading(number, datetime.now().astimezone(), celsius)


@router.get("/readings.jsonl", response_class=JSONLinesStreamingResponse)
def readings() -> Iterator[Reading]:
    """Rows as lines of JSON; a dataclass and its datetime are written by pydantic."""
    for number in range(1, 61):
        yield read_sensor(number)
        time.sleep(0.2)


@cache
def draw_frame(number: int) -> bytes:
    return b"".join(encode_png(160, 100, paint_waves(160, 100, math.tau * number / FRAMES)))


@router.get("/pictures", response_class=MultipartStreamingResponse)
def pictures() -> MultipartStreamingResponse:
    """Pictures that replace each other in a plain <img>, as cameras send them."""

    def frames() -> Iterator[bytes]:
        while True:
            for number in range(FRAMES):
                yield draw_frame(number)
                time.sleep(0.1)

    return MultipartStreamingResponse(frames(), part_media_type="image/png")


@router.get("/readings.csv", response_class=CSVStreamingResponse)
def table() -> CSVStreamingResponse:
    """10,000 rows as a file for a spreadsheet, the header from the names of the fields."""
    rows = (read_sensor(number) for number in range(1, 10_001))
    return CSVStreamingResponse(rows, filename="readings.csv", excel=True)


@router.get("/export.zip", response_class=ZIPStreamingResponse)
def export() -> ZIPStreamingResponse:
    """A zip archive of what its members hold: a file, bytes, and lines that are made on the way."""
    members = [
        ZipMember("film.mp4", FILM, compress=False),
        ZipMember("documents/report.pdf", REPORT),
        ZipMember("documents/lines.txt", (f"line {number}\n" for number in range(100_000))),
    ]
    return ZIPStreamingResponse(members, filename="export.zip")
