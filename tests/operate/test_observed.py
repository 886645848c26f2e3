"""What observers are told of each kind of response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import Message, Scope

from streamkit import (
    ByteSource,
    BytesSource,
    FileStreamingResponse,
    SourceInfo,
    SSEStreamingResponse,
    StreamInfo,
    StreamingResponse,
    StreamLimit,
    StreamOutcome,
    observe,
)
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio


class Recorder:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.statuses: list[int | None] = []
        self.media_types: list[str | None] = []
        self.outcomes: list[StreamOutcome] = []

    def started(self, info: StreamInfo) -> None:
        self.heard.append("started")

    def first_byte(self, info: StreamInfo) -> None:
        self.heard.append("first_byte")

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        self.heard.append("ended")
        self.statuses.append(info.status)
        self.media_types.append(info.media_type)
        self.outcomes.append(outcome)


async def items(*items: bytes) -> AsyncIterator[bytes]:
    for item in items:
        yield item


FRESH = {"if-none-match": '"a"'}

# The response, what it is asked with, its status, and whether it has a body.
KINDS: dict[str, tuple[Callable[[], StreamingResponse], dict[str, Any], int, bool]] = {
    "a stream": (lambda: StreamingResponse(items(b"x")), {}, 200, True),
    "an empty stream": (lambda: StreamingResponse(items()), {}, 200, False),
    "an empty item": (lambda: StreamingResponse(items(b"")), {}, 200, False),
    "a stream on a thread": (lambda: StreamingResponse(iter([b"x"])), {}, 200, True),
    "HEAD of a stream": (lambda: StreamingResponse(items(b"x")), {"method": "HEAD"}, 200, False),
    "a known stream": (
        lambda: StreamingResponse(items(b"x"), etag='"a"'), {"headers": FRESH}, 304, False,
    ),
    "no content": (lambda: StreamingResponse(items(), status_code=204), {}, 204, False),
    "whole bytes": (lambda: StreamingResponse(b"x"), {}, 200, True),
    "no bytes": (lambda: StreamingResponse(b""), {}, 200, False),
    "HEAD of bytes": (lambda: StreamingResponse(b"x"), {"method": "HEAD"}, 200, False),
    "known bytes": (
        lambda: StreamingResponse(b"x", etag='"a"'), {"headers": FRESH}, 304, False,
    ),
    "a range": (lambda: StreamingResponse(b"xyz"), {"headers": {"range": "bytes=1-"}}, 206, True),
    "no such range": (
        lambda: StreamingResponse(b"xyz"), {"headers": {"range": "bytes=9-"}}, 416, False,
    ),
    "a file": (lambda: FileStreamingResponse(__file__), {}, 200, True),
    "a file by the server": (
        lambda: FileStreamingResponse(__file__),
        {"extensions": {"http.response.pathsend": {}}}, 200, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_an_observer_is_told_the_status_and_the_first_byte(kind: str) -> None:
    make, request, status, has_body = KINDS[kind]
    scope: Scope = {
        "type": "http", "method": "GET", "path": "/", "http_version": "1.1",
        "asgi": {"spec_version": "2.4"},
        **request,
        "headers": [(k.encode(), v.encode()) for k, v in request.get("headers", {}).items()],
    }  # fmt: skip

    async def send(message: Message) -> None:
        heard_before.append(recorder.heard.copy())

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    recorder, heard_before = Recorder(), list[list[str]]()
    with observe(recorder):
        await make()(scope, receive, send)
    # The first byte is told when it is out: neither before the status line nor before the body.
    assert heard_before[:2] == [["started"]] * len(heard_before[:2])
    assert recorder.statuses == [status] == [outcome.status_code for outcome in recorder.outcomes]
    assert recorder.heard == ["started", *["first_byte"] * has_body, "ended"]


async def test_a_keep_alive_is_a_byte_of_the_body() -> None:
    async def silent() -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""

    recorder = Recorder()
    with observe(recorder):
        response = SSEStreamingResponse(silent(), keep_alive=0.01, first_chunk_timeout=0.01)
        async with stream(response) as client:
            await anext(client)
    assert (recorder.heard, recorder.statuses) == (["started", "first_byte", "ended"], [200])


async def test_the_type_of_a_source_is_told(tmp_path: Path) -> None:
    recorder = Recorder()
    with observe(recorder):
        await fetch(StreamingResponse(BytesSource(b"x", media_type="image/png")))
        await fetch(StreamingResponse(items(), media_type='application/x; name="\xe9"'))
    assert recorder.media_types == ["image/png", 'application/x; name="\xe9"']


class Unasked(ByteSource):
    """A source that fails when it is asked without waiting, or tells what can't be sent."""

    def __init__(self, told: Callable[[], SourceInfo], fails_to_read: bool = False) -> None:
        self.told = told
        self.fails_to_read = fails_to_read
        self.closed = 0

    def info_now(self) -> SourceInfo:
        return self.told()

    async def info(self) -> SourceInfo:
        return self.told()

    def read_now(self, start: int, stop: int) -> bytes | None:
        if self.fails_to_read:
            raise OSError("the disk is gone")
        return b"abc"[start:stop]

    async def read(self, start: int, stop: int | None) -> AsyncIterator[bytes]:
        yield self.read_now(start, 3 if stop is None else stop) or b""

    async def aclose(self) -> None:
        self.closed += 1


def gone() -> SourceInfo:
    raise OSError("the store is down")


SOURCES: dict[str, Callable[[], Unasked]] = {
    "no info": lambda: Unasked(gone),
    "no bytes": lambda: Unasked(lambda: SourceInfo(3), fails_to_read=True),
    "no entity tag": lambda: Unasked(lambda: SourceInfo(3, etag="v7")),
    "no time zone": lambda: Unasked(lambda: SourceInfo(3, last_modified=datetime(2020, 1, 1))),
    "no type": lambda: Unasked(lambda: SourceInfo(3, media_type="text/\u03c0")),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
async def test_a_source_that_fails_at_once_is_closed_and_told_of(
    make: Callable[[], Unasked],
) -> None:
    source, recorder, outcomes = make(), Recorder(), list[StreamOutcome]()
    limit = StreamLimit(total=1)
    response = StreamingResponse(source, on_close=outcomes.append, limit=limit)
    with observe(recorder), pytest.raises((OSError, ValueError)) as raised:
        await fetch(response)
    assert source.closed == 1
    assert [outcome.error for outcome in outcomes] == [raised.value]
    assert recorder.outcomes == outcomes
    assert limit.open == 0


@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})]
)
async def test_a_cancellation_during_on_close_hides_no_end() -> None:
    told = anyio.Event()

    async def waits(_: StreamOutcome) -> None:
        told.set()
        await asyncio.sleep(60)

    def fails() -> Iterator[bytes]:
        yield b"x"
        raise LookupError

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    recorder, sent = Recorder(), list[Message]()
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with observe(recorder):
        response = StreamingResponse(fails(), on_close=waits)
        serving = asyncio.create_task(response(scope, receive, send))
        with anyio.fail_after(10):
            await told.wait()
        serving.cancel()
        with pytest.raises((asyncio.CancelledError, LookupError)):
            await serving
    assert recorder.heard == ["started", "first_byte", "ended"]
    # The body has no end, and the cut was made visible: by a message that no relay can send.
    bodies = [message for message in sent if message["type"] == "http.response.body"]
    assert all(message.get("more_body") or isinstance(message["body"], str) for message in bodies)
    assert sent[-1] not in bodies or isinstance(sent[-1]["body"], str)
