"""The package as a stranger's type checker sees it: read by mypy and pyright, run by no one."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, assert_type

import anyio
from fastapi import FastAPI
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.responses import StreamingResponse as StarletteResponse

from streamkit import (
    Encoder,
    FileStreamingResponse,
    JSONLinesStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    SendTimeout,
    ServerSentEvent,
    SSEStreamingResponse,
    StreamingResponse,
    StreamKitError,
    StreamOutcome,
    ZIPStreamingResponse,
    async_file_chunks,
    file_chunks,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
    rechunk,
    split_lines,
    stream_limiter,
)
from streamkit.testing import (
    Chunk,
    FetchedResponse,
    check_closed,
    fetch,
    stream,
    virtual_time,
)

app = FastAPI()


def rows() -> Iterator[str]:
    yield "row\n"


async def chunks() -> AsyncIterator[bytes]:
    yield b"chunk"


class Rows(JSONLinesStreamingResponse[dict[str, int]]):
    nan = "error"


# endpoints


@app.get("/logo", response_class=PNGStreamingResponse)
def logo() -> Iterator[bytes]:
    with open("logo.png", "rb") as file:
        yield from file_chunks(file)


@app.get(
    "/film",
    response_class=FileStreamingResponse,
    responses={
        **FileStreamingResponse.openapi(media_type="video/mp4"),
        404: {"description": "No film"},
    },
)
def film() -> StreamingResponse:
    return FileStreamingResponse("film.mp4")


@app.get("/rows", response_class=Rows, responses=Rows.openapi())
def typed_rows() -> Iterator[dict[str, int]]:
    yield {"id": 1}


@app.get("/report")
def report() -> StreamingResponse:
    return StreamingResponse(rows(), media_type="text/plain", filename="bericht Öl.txt")


@app.get("/events", response_class=SSEStreamingResponse)
async def events() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent({"n": 1}, event="tick", id="1", retry=1000, comment="a tick")


# responses


def note(outcome: StreamOutcome) -> None:
    assert_type(outcome.reason, Literal["complete", "disconnect", "error", "timeout", "cancelled"])
    assert_type(outcome.bytes_sent, int)
    assert_type(outcome.duration, float)
    assert_type(outcome.error, BaseException | None)


async def note_later(outcome: StreamOutcome) -> None:
    note(outcome)


def respond() -> list[Response]:
    everything = StreamingResponse(
        chunks(),
        206,
        {"x-own": "1"},
        "text/plain",
        BackgroundTask(print),
        filename="a.txt",
        content_disposition_type="inline",
        etag='"v7"',
        last_modified=datetime.now(UTC),
        on_close=note,
        charset="latin-1",
        max_buffer=1024,
        first_chunk_timeout=None,
        send_timeout=30,
        keep_alive=None,
        cleanup_timeout=5.0,
        thread_affine=True,
    )
    everything.headers["x-other"] = "2"
    assert_type(everything.status_code, int)
    starlettes: StarletteResponse = everything
    return [
        starlettes,
        PlainTextStreamingResponse("whole", on_close=note_later),
        FileStreamingResponse("film.mp4", filename="film.mp4"),
        StreamingResponse(Path("film.mp4")),
        StreamingResponse(io.BytesIO(b"file"), headers=None),
        JSONLinesStreamingResponse([{"id": 1}], thread_affine=False),
    ]


class Shout:
    """An encoder, by its shape alone."""

    def encode(self, item: str) -> bytes:
        return item.upper().encode()

    def finish(self) -> bytes:
        return b"!"

    def keep_alive(self) -> bytes:
        return b" "


shout: Encoder[str] = Shout()
shout_class: type[Encoder[str]] = Shout


class ShoutResponse(StreamingResponse):
    media_type = "text/x-shout"
    encoder = Shout
    max_buffer = 4096
    first_chunk_timeout = 0
    send_timeout = 10.0
    keep_alive = 15
    thread_affine = True


class TunedShoutResponse(ShoutResponse):
    media_type = "text/x-tuned-shout"
    send_timeout = 20


# adapters


async def adapt(file: io.BufferedReader, text: io.TextIOWrapper) -> None:
    assert_type(file_chunks(file), Iterator[bytes])
    assert_type(file_chunks(text, 1024), Iterator[str])
    assert_type(async_file_chunks("film.mp4", start=5, end=10), AsyncGenerator[bytes, None])
    assert_type(async_file_chunks(file), AsyncGenerator[bytes, None])
    async with await anyio.open_file("film.mp4", "rb") as opened:
        assert_type(async_file_chunks(opened, 1024), AsyncGenerator[bytes, None])

    assert_type(rechunk([b"a", b"b"], 5), Iterator[bytes])
    assert_type(rechunk([bytearray(b"a"), memoryview(b"b")], 5), Iterator[bytes])
    assert_type(rechunk(chunks(), 5), AsyncIterator[bytes])
    assert_type(split_lines(rows()), Iterator[str])
    assert_type(split_lines([b"a"]), Iterator[bytes])
    assert_type(split_lines(chunks()), AsyncIterator[bytes])
    for line in split_lines(file_chunks(text)):
        assert_type(line, str)


# between threads and the event loop


async def bridge(cursor: sqlite3.Cursor) -> None:
    async for row in iterate_in_threadpool(rows(), thread_affine=True, limiter=stream_limiter()):
        assert_type(row, str)
    async for number in iterate_in_threadpool(range(3), max_buffer=1024):
        assert_type(number, int)
    async for chunk in iterate_writes(save):
        assert_type(chunk, bytes)
    stream_limiter().total_tokens = 64
    ZIPStreamingResponse(iterate_writes(save), filename="all.zip")


def save(file: io.RawIOBase) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")


def on_a_thread() -> None:
    with iterate_from_thread(chunks()) as received:
        for chunk in received:
            assert_type(chunk, bytes)


# testing


async def drive() -> None:
    async with stream(app, "/report", headers={"range": "bytes=0-"}, rate=1000) as client:
        assert_type(client.status, int)
        async for chunk in client:
            assert_type(chunk, Chunk)
            assert_type(chunk.at, float)
    with virtual_time(), check_closed():
        response = await fetch(app, "/report", method="HEAD")
    assert_type(response, FetchedResponse)
    assert_type(response.body, bytes)


def handle(error: StreamKitError) -> float:
    return error.seconds if isinstance(error, SendTimeout) else 0.0
