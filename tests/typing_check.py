"""The package as a stranger's type checker sees it: mypy, pyright and pyrefly read this file.

It is never run.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import tarfile
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, assert_type

import anyio
import openpyxl
import pandas
import PIL.Image
from fastapi import APIRouter, FastAPI
from matplotlib.figure import Figure
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.responses import StreamingResponse as StarletteResponse

from streamkit import (
    CSVStreamingResponse,
    Encoder,
    FileStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    SendTimeout,
    ServerSentEvent,
    SSEStreamingResponse,
    Stream,
    StreamingResponse,
    StreamKitError,
    StreamLimit,
    StreamOutcome,
    TARStreamingResponse,
    ThreadIterator,
    WritableFile,
    ZIPStreamingResponse,
    async_file_chunks,
    file_chunks,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
    rechunk,
    split_events,
    split_lines,
    stream_limiter,
)
from streamkit.fastapi import StreamRoute
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


router = APIRouter(route_class=StreamRoute)
app.include_router(router)


class SourceRoute(StreamRoute):
    serves_source = True


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


class MadeShoutResponse(StreamingResponse):
    def make_encoder(self) -> Encoder[Any]:
        return Shout()


class GivenShoutResponse(StreamingResponse):
    encoder = partial(Shout)


# options that are functions: methods of a subclass, functions, static methods


class Noted(StreamingResponse):
    def on_close(self, outcome: StreamOutcome) -> None:
        print(self.status_code, outcome.reason)


class NotedLater(StreamingResponse):
    async def on_close(self, outcome: StreamOutcome) -> None:
        print(self.status_code, outcome.reason)


class NotedByFunction(StreamingResponse):
    on_close = note_later


class NotedByStatic(StreamingResponse):
    on_close = staticmethod(note)


class AnyRows(JSONLinesStreamingResponse):
    keep_alive = 5

    default = str

    def error_item(self, error: Exception) -> dict[str, str]:
        return {"error": str(error)}


class Defaulted(JSONArrayStreamingResponse[object]):
    def default(self, value: object) -> str:
        return f"{self.status_code}: {value}"


class Compact(JSONArrayStreamingResponse):
    nan = "null"

    @staticmethod
    def dumps(item: object) -> bytes:
        return repr(item).encode()


# options that are values


class Told(SSEStreamingResponse):
    keep_alive = None
    first_chunk_timeout = None
    farewell = ServerSentEvent(event="bye")
    keep_alive_item = "still here"
    limit = StreamLimit(total=100)

    def error_detail(self, error: Exception) -> str | None:
        return str(error)


class Pinging(SSEStreamingResponse):
    def keep_alive_item(self) -> ServerSentEvent:
        return ServerSentEvent(event="ping", data=self.status_code)


class Table(CSVStreamingResponse):
    columns = ["a", "b"]  # noqa: RUF012
    missing = ""
    extra = "ignore"
    excel = True
    dialect = {"delimiter": ";"}  # noqa: RUF012
    compress = True
    deadline = 60
    min_rate = 1000
    item_timeout = 30


class Camera(MultipartStreamingResponse):
    part_media_type = "image/jpeg"
    part_length = True


class Film(FileStreamingResponse):
    media_type = "video/mp4"
    precompressed = True
    max_rate = 1e6
    compress = ("zstd", "br")
    cleanup_timeout = None


class Archive(ZIPStreamingResponse):
    names = "posix"
    duplicates = "rename"
    compress_level = 9


def contents() -> list[StreamingResponse]:
    return [
        StreamingResponse(open("film.mp4", "rb")),
        PlainTextStreamingResponse(open("a.txt")),
        AnyRows([{"id": 1}], default=repr, keep_alive=None),
        Table(({"a": 1} for _ in range(3)), columns=("a",), dialect={"delimiter": "\t"}),
        Told(events(), farewell="bye", keep_alive_item=lambda: ServerSentEvent(comment="here")),
        Archive([], compress_level=1, etag=False),
        TARStreamingResponse([], last_modified=False),
    ]


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
    assert_type(split_events([b"a"]), Iterator[bytes])
    assert_type(split_events(chunks()), AsyncIterator[bytes])
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
    threads: Stream[int] = iterate_in_threadpool(range(3))
    await threads.aclose()


def save(file: WritableFile) -> None:
    """All that the documentation writes with."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with tarfile.open(fileobj=file, mode="w|") as tar:
        tar.add("film.mp4")
    with io.TextIOWrapper(file, "latin-1") as text:
        text.write("a")
    csv.writer(file).writerow(["a", 1])
    PIL.Image.new("RGB", (1, 1)).save(file, "PNG")
    Figure().savefig(file, format="svg")
    frame = pandas.DataFrame()
    frame.to_csv(file)
    frame.to_parquet(file)
    frame.to_excel(file)
    openpyxl.Workbook().save(file)


def save_io(file: IO[bytes]) -> None:
    file.write(b"")


def save_binary(file: BinaryIO) -> None:
    file.write(b"")


def save_raw(file: io.RawIOBase) -> None:
    file.write(b"")


def written() -> list[Stream[bytes]]:
    return [
        iterate_writes(save_io),
        iterate_writes(save_binary),
        iterate_writes(save_raw),
        iterate_writes(pandas.DataFrame().to_csv),
        iterate_writes(lambda file: file.write("text")),
        iterate_writes(lambda file: print("text", file=file)),
    ]


def on_a_thread() -> None:
    received: ThreadIterator[bytes]
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
