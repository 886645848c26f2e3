"""What Starlette's GZipMiddleware does with our responses, as docs/how-to/compress.md tells it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from inspect import signature
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from streamkit import (
    BodyCut,
    FileStreamingResponse,
    JSONLinesStreamingResponse,
    PlainTextStreamingResponse,
    SSEStreamingResponse,
    StreamOutcome,
    ZipMember,
    ZIPStreamingResponse,
)
from streamkit.testing import StreamClient, fetch, stream

pytestmark = pytest.mark.anyio

GZIP = {"accept-encoding": "gzip"}
TEXT = b"a line of text that repeats\n" * 1000
recent = pytest.mark.skipif(
    "exclude_content_types" not in signature(GZipMiddleware).parameters,
    reason="Starlette's GZipMiddleware flushes, and lets ranges pass, from 1.5 on",
)


def compressed(make: Callable[[], Any], **options: Any) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await make()(scope, receive, send)

    return GZipMiddleware(app, **options)


async def inflated(client: StreamClient, decompressor: Any, text: bytes) -> None:
    """Receive, until what was inflated is `text`, and no more."""
    received = b""
    with anyio.fail_after(5):
        while len(received) < len(text):
            received += decompressor.decompress(await anext(client))
    assert received == text


async def test_a_stream_is_compressed() -> None:
    app = compressed(lambda: PlainTextStreamingResponse(iter([TEXT, TEXT])))

    with anyio.fail_after(10):
        response = await fetch(app, headers=GZIP)

    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(response.body) == TEXT * 2
    assert len(response.body) < len(TEXT) / 10


async def test_a_client_that_does_not_ask_gets_the_plain_stream() -> None:
    app = compressed(lambda: PlainTextStreamingResponse(iter([TEXT, TEXT])))

    with anyio.fail_after(10):
        response = await fetch(app)

    assert "content-encoding" not in response.headers
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.body == TEXT * 2


@recent
async def test_a_live_stream_stays_live() -> None:
    seen = anyio.Event()

    async def items() -> AsyncIterator[dict[str, int]]:
        nonlocal seen
        for number in range(5):
            yield {"event": number}
            await seen.wait()
            seen = anyio.Event()

    app = compressed(lambda: JSONLinesStreamingResponse(items()))
    decompressor = zlib.decompressobj(31)

    async with stream(app, headers=GZIP) as client:
        assert client.headers["content-encoding"] == "gzip"
        for number in range(5):
            await inflated(client, decompressor, b'{"event":%d}\n' % number)
            seen.set()
        with anyio.fail_after(5):
            assert decompressor.decompress(await client.read()) == b""
    assert decompressor.eof


async def test_server_sent_events_are_not_compressed() -> None:
    app = compressed(lambda: SSEStreamingResponse(iter(["x" * 1000] * 10)))

    with anyio.fail_after(10):
        response = await fetch(app, headers=GZIP)

    assert "content-encoding" not in response.headers
    assert response.body.count(b"data: xxx") == 10


@recent
async def test_server_sent_events_can_be_compressed() -> None:
    app = compressed(
        lambda: SSEStreamingResponse(iter(["x" * 1000] * 10)), exclude_content_types=("video/*",)
    )

    with anyio.fail_after(10):
        response = await fetch(app, headers=GZIP)

    assert gzip.decompress(response.body).count(b"data: xxx") == 10


@recent
async def test_an_archive_is_not_compressed_again() -> None:
    app = compressed(lambda: ZIPStreamingResponse([ZipMember("a.txt", TEXT)]))

    with anyio.fail_after(10):
        response = await fetch(app, headers=GZIP)

    assert "content-encoding" not in response.headers
    assert response.body.startswith(b"PK")


@pytest.mark.parametrize("media_type", ["text/plain", "text/event-stream"])
async def test_a_failure_still_cuts_the_body(media_type: str) -> None:
    async def items() -> AsyncIterator[bytes]:
        yield TEXT
        await anyio.sleep(0.01)
        raise LookupError("the rest is gone")

    app = compressed(lambda: PlainTextStreamingResponse(items(), media_type=media_type))

    async with stream(app, headers=GZIP) as client:
        with anyio.fail_after(5), pytest.raises(BodyCut):
            await client.read()
    assert isinstance(client.error, LookupError)


@recent
async def test_an_error_frame_arrives_before_the_cut() -> None:
    async def items() -> AsyncIterator[dict[str, int]]:
        yield {"event": 0}
        await anyio.sleep(0.01)
        raise LookupError("the rest is gone")

    app = compressed(lambda: JSONLinesStreamingResponse(items(), error_frames=True))
    decompressor = zlib.decompressobj(31)

    with anyio.fail_after(10):
        response = await fetch(app, headers=GZIP)

    assert b'"error"' in decompressor.decompress(response.body).splitlines()[-1]
    assert not decompressor.eof
    assert not response.complete


async def test_the_content_is_closed_when_the_client_leaves() -> None:
    closed: list[str] = []
    outcomes: list[StreamOutcome] = []

    async def items() -> AsyncIterator[bytes]:
        try:
            yield TEXT
            await anyio.sleep_forever()
        finally:
            closed.append("items")

    app = compressed(lambda: PlainTextStreamingResponse(items(), on_close=outcomes.append))

    async with stream(app, headers=GZIP) as client:
        with anyio.fail_after(5):
            await anext(client)
            await client.disconnect()
            await client.wait_closed()
    assert closed == ["items"]
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]


@recent
async def test_a_range_is_sent_as_it_is() -> None:
    app = compressed(lambda: PlainTextStreamingResponse(TEXT, etag='"1"'))

    with anyio.fail_after(10):
        response = await fetch(app, headers={**GZIP, "range": "bytes=1000-2999"})

    assert response.status == 206
    assert "content-encoding" not in response.headers
    assert response.body == TEXT[1000:3000]


async def test_the_compressed_whole_keeps_the_etag_of_the_plain_one() -> None:
    # RFC 9110 §8.8.3 asks for another one: this is why what has ranges is better left alone.
    app = compressed(lambda: PlainTextStreamingResponse(TEXT, etag='"1"'))

    with anyio.fail_after(10):
        response = await fetch(app, headers=GZIP)

    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["etag"] == '"1"'
    assert response.headers["accept-ranges"] == "bytes"


async def test_the_length_is_that_of_what_is_sent() -> None:
    whole = compressed(lambda: PlainTextStreamingResponse(TEXT))
    long = compressed(lambda: PlainTextStreamingResponse(TEXT * 50))

    with anyio.fail_after(10):
        for app in (whole, long):
            response = await fetch(app, headers=GZIP)
            length = response.headers.get("content-length", str(len(response.body)))
            assert int(length) == len(response.body)
            assert len(gzip.decompress(response.body)) in (len(TEXT), len(TEXT) * 50)


@recent
async def test_a_file_that_the_server_sends_is_not_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT)
    app = compressed(lambda: FileStreamingResponse(path))

    with anyio.fail_after(10):
        sent = await fetch(app, headers=GZIP, extensions={"http.response.pathsend": {}})
        read = await fetch(app, headers=GZIP)

    assert "content-encoding" not in sent.headers
    assert sent.body == TEXT
    assert read.headers["content-encoding"] == "gzip"
    assert gzip.decompress(read.body) == TEXT


async def test_a_ready_gz_file_is_passed_on_with_its_ranges(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(ready := gzip.compress(TEXT))
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    app = compressed(lambda: FileStreamingResponse(path, headers=headers, media_type="text/plain"))

    with anyio.fail_after(10):
        whole = await fetch(app, headers=GZIP)
        part = await fetch(app, headers={**GZIP, "range": "bytes=10-19"})

    assert whole.body == ready
    assert whole.headers["content-length"] == str(len(ready))
    assert (part.status, part.body) == (206, ready[10:20])
    assert part.headers["content-encoding"] == "gzip"
