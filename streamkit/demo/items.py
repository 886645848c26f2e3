"""Live routes that stream items instead of bytes: events, rows, pictures, members."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import count

import anyio
from fastapi import APIRouter, Request

from streamkit import (
    CSVStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    ZipMember,
    ZIPStreamingResponse,
    last_event_id,
)
from streamkit.demo.png import encode_png, paint_waves
from streamkit.demo.record import PlannedFailure, routes
from streamkit.demo.seekable import FILM, REPORT

__all__ = ["router"]

ANSWER = "Each token is an event, and the page shows it as soon as it arrives."
FRAMES = 16

router: APIRouter = routes()
Events = AsyncIterator[ServerSentEvent]


@router.get("/clock", response_class=SSEStreamingResponse)
async def clock(request: Request, fail: int = 0) -> Events:
    """Ticks as events; a browser that reconnects misses none."""
    for number in count(int(last_event_id(request) or 0) + 1):
        now = datetime.now().astimezone().isoformat("T", "milliseconds")
        yield ServerSentEvent(now, id=str(number), retry=500)
        await anyio.sleep(0.5)
        if number == fail:
            raise PlannedFailure("the clock stopped")


@router.get("/answer", response_class=SSEStreamingResponse)
async def answer() -> Events:
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
def readings(fail: int = 0) -> Iterator[Reading]:
    """Rows as lines of JSON, written by pydantic."""
    for number in range(1, 61):
        yield read_sensor(number)
        time.sleep(0.2)
        if number == fail:
            raise PlannedFailure("the sensor was unplugged")


class CompressedRows(JSONLinesStreamingResponse):
    compress: bool | str | Sequence[str] = True


@router.get("/compressed.jsonl", response_class=CompressedRows)
async def compressed() -> AsyncIterator[Reading]:
    """Rows in the coding that the client likes best: 500 of them at once, then one at a time."""
    for number in range(1, 601):
        yield read_sensor(number)
        if number >= 500:
            await anyio.sleep(0.2)


@cache
def draw_frame(number: int) -> bytes:
    return b"".join(encode_png(160, 100, paint_waves(160, 100, math.tau * number / FRAMES)))


@router.get("/pictures", response_class=MultipartStreamingResponse)
def pictures() -> MultipartStreamingResponse:
    """Pictures that replace each other in a plain <img>."""

    def frames() -> Iterator[bytes]:
        while True:
            for number in range(FRAMES):
                yield draw_frame(number)
                time.sleep(0.1)

    return MultipartStreamingResponse(frames(), part_media_type="image/png")


@router.get("/readings.csv", response_class=CSVStreamingResponse)
def table() -> CSVStreamingResponse:
    """10,000 rows as a file for a spreadsheet."""
    rows = (read_sensor(number) for number in range(1, 10_001))
    return CSVStreamingResponse(rows, filename="readings.csv", excel=True)


@router.get("/export.zip", response_class=ZIPStreamingResponse)
def export(fail: int = 0) -> ZIPStreamingResponse:
    """An archive of a file, of bytes, and of content that is made while it is sent."""
    members = [
        ZipMember("film.mp4", FILM, compress=False),
        ZipMember("documents/report.pdf", REPORT),
    ]
    for day in range(1, 13):
        members.append(ZipMember(f"days/{day:02}.txt", write_day(day, fail)))
    return ZIPStreamingResponse(members, filename="export.zip")


def write_day(day: int, fail: int) -> Iterator[str]:
    for number in range(1, 6):
        yield f"line {number} of day {day}\n"
        time.sleep(0.02)
    if day == fail:
        raise PlannedFailure(f"day {day} has no end")
