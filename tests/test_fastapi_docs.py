"""The examples of FastAPI's "Stream Data" page, with streamkit's classes in place of FastAPI's."""

# The loops stand here as they do on that page.
# ruff: noqa: UP028

from __future__ import annotations

import base64
import functools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from io import BytesIO
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response

import streamkit
from streamkit import (
    OctetStreamStreamingResponse,
    PlainTextStreamingResponse,
    StreamingResponse,
    file_chunks,
)
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio

app = FastAPI()

message = """
Rick: (stumbles in drunkenly, and turns on the lights) Morty! You gotta come on. You got--... you \
gotta come with me.
Morty: (rubs his eyes) What, Rick? What's going on?
Rick: I got a surprise for you, Morty. Für dich!
"""

binary_image = (
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
    )
    + bytes(range(256)) * 500
    + b"\n" * 1000
)


def read_image() -> BytesIO:
    return BytesIO(binary_image)


class PNGStreamingResponse(StreamingResponse):
    media_type = "image/png"


@app.get("/story/stream", response_class=StreamingResponse)
async def stream_story() -> AsyncIterable[str]:
    for line in message.splitlines():
        yield line


@app.get("/story/stream-no-async", response_class=StreamingResponse)
def stream_story_no_async() -> Iterable[str]:
    for line in message.splitlines():
        yield line


@app.get("/story/stream-no-annotation", response_class=StreamingResponse)
async def stream_story_no_annotation():
    for line in message.splitlines():
        yield line


@app.get("/story/stream-no-async-no-annotation", response_class=StreamingResponse)
def stream_story_no_async_no_annotation():
    for line in message.splitlines():
        yield line


@app.get("/story/stream-bytes", response_class=StreamingResponse)
async def stream_story_bytes() -> AsyncIterable[bytes]:
    for line in message.splitlines():
        yield line.encode("utf-8")


@app.get("/story/stream-no-async-bytes", response_class=StreamingResponse)
def stream_story_no_async_bytes() -> Iterable[bytes]:
    for line in message.splitlines():
        yield line.encode("utf-8")


@app.get("/story/stream-no-annotation-bytes", response_class=StreamingResponse)
async def stream_story_no_annotation_bytes():
    for line in message.splitlines():
        yield line.encode("utf-8")


@app.get("/story/stream-no-async-no-annotation-bytes", response_class=StreamingResponse)
def stream_story_no_async_no_annotation_bytes():
    for line in message.splitlines():
        yield line.encode("utf-8")


@app.get("/image/stream", response_class=PNGStreamingResponse)
async def stream_image() -> AsyncIterable[bytes]:
    with read_image() as image_file:
        for chunk in image_file:
            yield chunk


@app.get("/image/stream-no-async", response_class=PNGStreamingResponse)
def stream_image_no_async() -> Iterable[bytes]:
    with read_image() as image_file:
        for chunk in image_file:
            yield chunk


@app.get("/image/stream-no-async-yield-from", response_class=PNGStreamingResponse)
def stream_image_no_async_yield_from() -> Iterable[bytes]:
    with read_image() as image_file:
        yield from image_file


@app.get("/image/stream-no-annotation", response_class=PNGStreamingResponse)
async def stream_image_no_annotation():
    with read_image() as image_file:
        for chunk in image_file:
            yield chunk


@app.get("/image/stream-no-async-no-annotation", response_class=PNGStreamingResponse)
def stream_image_no_async_no_annotation():
    with read_image() as image_file:
        for chunk in image_file:
            yield chunk


@app.get("/image/file-chunks", response_class=PNGStreamingResponse)
def stream_image_file_chunks() -> Iterable[bytes]:
    with read_image() as image_file:
        yield from file_chunks(image_file)


@app.get("/image/read", response_class=PNGStreamingResponse)
async def stream_image_read() -> AsyncIterable[bytes]:
    with read_image() as image_file:
        while chunk := image_file.read(1000):
            yield chunk


@app.get("/image/returned-file")
def return_image_file() -> PNGStreamingResponse:
    return PNGStreamingResponse(read_image())


STORIES = [route.path for route in app.routes if getattr(route, "path", "").startswith("/story")]
IMAGES = [route.path for route in app.routes if getattr(route, "path", "").startswith("/image")]


def test_every_route_of_the_page_is_here() -> None:
    assert (len(STORIES), len(IMAGES)) == (8, 8)


@pytest.mark.parametrize("path", STORIES)
async def test_the_story_is_streamed(path: str) -> None:
    response = await fetch(app, path)
    assert (response.status, response.complete) == (200, True)
    assert response.body.decode() == message.replace("\n", "")
    # No class of FastAPI's that leaves the media type open has this header.
    assert "content-type" not in response.headers


@pytest.mark.parametrize("path", IMAGES)
async def test_the_image_is_streamed(path: str) -> None:
    response = await fetch(app, path)
    assert (response.status, response.complete) == (200, True)
    assert response.headers["content-type"] == "image/png"
    assert response.body == binary_image


def documented(app: FastAPI, path: str, status: str = "200") -> dict[str, Any]:
    content: dict[str, Any] = app.openapi()["paths"][path]["get"]["responses"][status]["content"]
    return content


@pytest.mark.parametrize("path", IMAGES[:-1])
async def test_the_documentation_shows_the_type_of_an_image(path: str) -> None:
    assert documented(app, path) == {"image/png": {"schema": {"type": "string"}}}


TYPED = {
    name: thing
    for name, thing in vars(streamkit).items()
    if isinstance(thing, type) and issubclass(thing, StreamingResponse) and thing.media_type
}


@pytest.mark.parametrize("name", TYPED)
async def test_the_documentation_shows_the_type_of_each_class(name: str) -> None:
    response_class = TYPED[name]
    other = FastAPI()

    def endpoint() -> Iterator[bytes]:
        yield b""

    other.get("/plain", response_class=response_class)(endpoint)
    other.get("/status", response_class=response_class, status_code=201)(endpoint)
    other.get("/more", response_class=response_class, responses={404: {"description": "None"}})(
        endpoint
    )
    document = await fetch(other, "/openapi.json")
    assert document.status == 200
    assert list(documented(other, "/plain")) == [response_class.media_type]
    assert list(documented(other, "/status", "201")) == [response_class.media_type]
    assert list(documented(other, "/more")) == [response_class.media_type]
    assert "404" in other.openapi()["paths"]["/more"]["get"]["responses"]


async def test_the_documentation_shows_a_type_of_ones_own_beside_the_class() -> None:
    other = FastAPI()

    @other.get(
        "/tiles",
        response_class=OctetStreamStreamingResponse,
        responses={200: {"content": {"application/vnd.tiles": {}}}},
    )
    def tiles() -> Iterator[bytes]:
        yield b""

    assert set(documented(other, "/tiles")) == {"application/vnd.tiles", "application/octet-stream"}


async def test_a_plain_class_still_has_a_document() -> None:
    assert (await fetch(app, "/openapi.json")).status == 200
    assert "/story/stream" in app.openapi()["paths"]


async def test_the_status_of_the_route_or_of_the_response_parameter_is_sent() -> None:
    other = FastAPI()

    @other.get("/route", response_class=PlainTextStreamingResponse, status_code=201)
    def by_route() -> Iterator[str]:
        yield "created"

    @other.get("/parameter", response_class=PlainTextStreamingResponse)
    def by_parameter(response: Response) -> Iterator[str]:
        yield "too late to change the status"

    async def answer_202(response: Response) -> None:
        response.status_code = 202
        response.headers["x-by"] = "dependency"
        response.set_cookie("seen", "yes")

    @other.get(
        "/dependency",
        response_class=PlainTextStreamingResponse,
        dependencies=[Depends(answer_202)],
    )
    async def by_dependency() -> AsyncIterator[str]:
        yield "accepted"

    assert (await fetch(other, "/route")).status == 201
    assert (await fetch(other, "/parameter")).status == 200
    response = await fetch(other, "/dependency")
    assert (response.status, response.headers["x-by"]) == (202, "dependency")
    assert response.headers["set-cookie"].startswith("seen=yes")


async def test_a_returned_response_keeps_its_own_arguments() -> None:
    other = FastAPI()

    @other.get("/report", response_class=PlainTextStreamingResponse)
    def report() -> StreamingResponse:
        return StreamingResponse(
            iter(["a", "b"]), 203, {"x-own": "1"}, "text/csv", filename="bericht Öl.csv"
        )

    response = await fetch(other, "/report")
    assert (response.status, response.body) == (203, b"ab")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["x-own"] == "1"
    assert "filename*=UTF-8''bericht%20%C3%96l.csv" in (response.headers["content-disposition"])


async def connection(request: Request) -> AsyncIterator[str]:
    request.app.state.entries.append("dependency entered")
    try:
        yield "row"
    finally:
        request.app.state.entries.append("dependency left")


Connection = Annotated[str, Depends(connection)]

recording = FastAPI()


@recording.get("/sync", response_class=PlainTextStreamingResponse)
def record_sync_rows(row: Connection, tasks: BackgroundTasks) -> Iterator[str]:
    entries = recording.state.entries
    tasks.add_task(entries.append, "background task")
    try:
        yield from [row] * 3
    finally:
        entries.append("content closed")


@recording.get("/async", response_class=PlainTextStreamingResponse)
async def record_async_rows(row: Connection, tasks: BackgroundTasks) -> AsyncIterator[str]:
    entries = recording.state.entries
    tasks.add_task(entries.append, "background task")
    try:
        for _ in range(3):
            yield row
    finally:
        entries.append("content closed")


@recording.get("/returned")
def record_returned_rows(row: Connection, tasks: BackgroundTasks) -> PlainTextStreamingResponse:
    return PlainTextStreamingResponse(record_sync_rows(row, tasks))


@pytest.mark.parametrize("path", ["/sync", "/async", "/returned"])
async def test_dependencies_outlive_the_stream_and_background_tasks_follow_it(path: str) -> None:
    recording.state.entries = entries = []
    response = await fetch(recording, path)
    assert response.body == b"rowrowrow"
    assert entries == ["dependency entered", "content closed", "background task", "dependency left"]


def failing(error: Callable[[], Exception], after: int) -> FastAPI:
    other = FastAPI()

    @other.get("/sync", response_class=PlainTextStreamingResponse)
    def sync_rows() -> Iterator[str]:
        yield from ["row"] * after
        raise error()

    @other.get("/async", response_class=PlainTextStreamingResponse)
    async def async_rows() -> AsyncIterator[str]:
        for _ in range(after):
            yield "row"
        raise error()

    return other


@pytest.mark.parametrize("path", ["/sync", "/async"])
async def test_an_http_exception_above_the_first_yield_has_its_status(path: str) -> None:
    other = failing(functools.partial(HTTPException, 404, "no such report"), after=0)
    response = await fetch(other, path)
    assert (response.status, response.body) == (404, b'{"detail":"no such report"}')


@pytest.mark.parametrize("path", ["/sync", "/async"])
async def test_an_error_above_the_first_yield_is_a_500(path: str) -> None:
    response = await fetch(failing(lambda: ValueError("boom"), after=0), path)
    assert response.status == 500


@pytest.mark.parametrize("path", ["/sync", "/async"])
async def test_an_error_below_the_first_yield_cuts_the_body(path: str) -> None:
    other = failing(lambda: ValueError("boom"), after=3)
    async with stream(other, path) as client:
        assert client.status == 200
        with pytest.raises(streamkit.BodyCut) as caught:
            await client.read()
    assert caught.value.received == 9
