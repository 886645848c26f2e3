"""Compressed bodies: where they are compressed, when they are flushed, and in which order."""

from __future__ import annotations

import gzip
import random
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamkit import (
    BytesSource,
    JSONLinesStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    ResponseStart,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    coded,
)
from streamkit.body.base import Coding
from streamkit.body.compressed import CompressedQueue
from streamkit.compress import make_coder
from streamkit.encoders.relay import Partial
from streamkit.encoders.sse import SSEEncoder
from streamkit.live import MemoryLog
from streamkit.testing import StreamClient, fetch, stream
from tests.live.support import running

pytestmark = pytest.mark.anyio

GZIP = {"accept-encoding": "gzip"}


class Watched:
    """A coder that notes which thread did what."""

    def __init__(self, coder: Any, notes: list[tuple[str, int]]) -> None:
        self._coder = coder
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        def call(*args: bytes) -> bytes:
            self._notes.append((name, threading.get_ident()))
            made: bytes = getattr(self._coder, name)(*args)
            return made

        return call


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    notes: list[tuple[str, int]] = []
    make = coded.make_coder
    monkeypatch.setattr(coded, "make_coder", lambda coding: Watched(make(coding), notes))
    return notes


async def inflate(client: StreamClient, decoder: Any, expected: bytes) -> bytes:
    """Receive, until what was inflated holds `expected`."""
    text = b""
    with anyio.fail_after(10):
        while expected not in text:
            text += decoder.decompress(await anext(client))
    return text


def lines(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"line %d of a text that repeats\n" % number


async def async_lines(count: int) -> AsyncIterator[bytes]:
    for line in lines(count):
        yield line


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_stream_is_compressed_where_its_items_are_encoded(
    kind: str, notes: list[tuple[str, int]]
) -> None:
    content = lines(20_000) if kind == "sync" else async_lines(20_000)
    got = await fetch(PlainTextStreamingResponse(content, compress="gzip"), headers=GZIP)
    assert gzip.decompress(got.body) == b"".join(lines(20_000))
    here = [thread == threading.get_ident() for name, thread in notes if name == "compress"]
    # What a thread leaves when it makes its next item, the loop takes over: the first, at most.
    assert all(here) if kind == "async" else here.count(True) < here.count(False)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_flood_is_compressed_in_batches(kind: str, notes: list[tuple[str, int]]) -> None:
    content = lines(20_000) if kind == "sync" else async_lines(20_000)
    got = await fetch(PlainTextStreamingResponse(content, compress="gzip"), headers=GZIP)
    flushes = sum(name == "flush" for name, _ in notes)
    assert flushes < 2000
    alone = zlib.compressobj(4, zlib.DEFLATED, 31)
    at_once = alone.compress(b"".join(lines(20_000))) + alone.flush()
    assert len(got.body) < 1.5 * len(at_once)


async def test_an_item_of_a_thread_leaves_while_the_next_one_is_made() -> None:
    going_on = threading.Event()

    def items() -> Iterator[str]:
        for number in range(5):
            yield f"item {number}\n"
            going_on.wait(20)
            going_on.clear()

    decoder = zlib.decompressobj(31)
    response = PlainTextStreamingResponse(items(), compress=True)
    async with stream(response, headers=GZIP) as client:
        for number in range(5):
            await inflate(client, decoder, b"item %d\n" % number)
            going_on.set()
        with anyio.fail_after(10):
            assert decoder.decompress(await client.read()) == b""
    assert decoder.eof


@pytest.mark.parametrize("seed", range(4))
async def test_items_of_a_thread_stay_in_order_at_any_pace(seed: int) -> None:
    chosen = random.Random(seed)
    texts = [f"{n} {'x' * chosen.choice((0, 5, 5000))}\n" for n in range(400)]

    def items() -> Iterator[str]:
        for text in texts:
            if chosen.random() < 0.05:
                time.sleep(0.001)
            yield text

    outcomes: list[StreamOutcome] = []
    response = PlainTextStreamingResponse(
        items(), compress=True, max_buffer=chosen.choice((1, 5000)), on_close=outcomes.append
    )
    got = await fetch(response, headers=GZIP)
    assert gzip.decompress(got.body) == "".join(texts).encode()
    assert (outcomes[0].reason, outcomes[0].items) == ("complete", 400)
    assert outcomes[0].bytes_sent == len(got.body)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_keep_alives_stand_between_the_items(kind: str) -> None:
    ended = threading.Event()

    def items() -> Iterator[str]:
        yield "one"
        ended.wait(20)
        yield "two"

    async def asynchronous() -> AsyncIterator[str]:
        yield "one"
        while not ended.is_set():  # noqa: ASYNC110
            await anyio.sleep(0.01)
        yield "two"

    content = items() if kind == "sync" else asynchronous()
    response = SSEStreamingResponse(content, keep_alive=0.01, compress=True)
    decoder = zlib.decompressobj(31)
    async with stream(response, headers=GZIP) as client:
        text = await inflate(client, decoder, b"data: one\n\n")
        text += await inflate(client, decoder, SSEEncoder().keep_alive())
        ended.set()
        with anyio.fail_after(10):
            text += decoder.decompress(await client.read())
    assert text.startswith(b"data: one\n\n" + SSEEncoder().keep_alive())
    assert text.endswith(b"data: two\n\n")
    assert decoder.eof


class Relayed:
    """Events from elsewhere on a thread, which begins one as soon as a frame is being made."""

    def __init__(self) -> None:
        self._asked, self._begun, self.going_on = (threading.Event() for _ in range(3))

    def __iter__(self) -> Iterator[bytes]:
        yield b"data: one\n\n"
        self._asked.wait(20)
        yield b"data: par"
        self._begun.set()
        self.going_on.wait(20)
        yield b"tial\n\n"

    def begin(self, *_: object) -> None:
        """Called on the loop, between the question whether a frame may come here and the frame."""
        self._asked.set()
        until = time.monotonic() + 20
        while not self._begun.is_set() and time.monotonic() < until:
            pass


@pytest.mark.parametrize("compress", [False, True])
async def test_no_keep_alive_lands_within_an_event_that_a_thread_has_begun(compress: bool) -> None:
    content = Relayed()
    response = SSEStreamingResponse(
        content, keep_alive=0.01, keep_alive_item=content.begin, compress=compress
    )
    text, decoder = b"", zlib.decompressobj(31)
    async with stream(response, headers=GZIP) as client:
        with anyio.fail_after(20):
            async for chunk in client:
                text += decoder.decompress(chunk) if compress else chunk
                if b"par" in text:
                    content.going_on.set()
    assert text.startswith(b"data: one\n\n")
    assert b"data: partial\n\n" in text


def test_a_body_that_ends_within_a_frame_has_a_whole_coding_and_no_farewell() -> None:
    def nobody() -> None:
        pass

    made = lambda: make_coder("gzip")  # noqa: E731
    queue = CompressedQueue(Coding(), made, wake_reader=nobody, wake_writer=nobody)
    decoder = zlib.decompressobj(31)

    def given(frame: bytes, *, last: bool = False) -> bytes:
        return decoder.decompress(b"".join(queue.frame(frame, last=last)))

    queue.add(Partial(b"data: par"))
    assert given(b": here\n\n") == b"data: par"
    assert given(b": here\n\n") == b""
    queue.add(b"tial\n\n")
    assert given(b": here\n\n") == b"tial\n\n: here\n\n"
    queue.add(Partial(b"data: an"))
    assert given(b"data: farewell\n\n", last=True) == b"data: an"
    assert decoder.eof


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_error_frame_arrives_and_the_body_has_no_end(kind: str) -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield {"id": 1}
        raise LookupError("broken")

    async def async_rows() -> AsyncIterator[dict[str, int]]:
        for row in rows():
            yield row

    content = rows() if kind == "sync" else async_rows()
    response = JSONLinesStreamingResponse(content, compress=True, error_frames=True)
    got = await fetch(response, headers=GZIP)
    decoder = zlib.decompressobj(31)
    first, frame = decoder.decompress(got.body).splitlines()
    assert first == b'{"id":1}'
    assert b'"error"' in frame
    assert not decoder.eof
    assert not got.complete


async def test_a_thread_is_no_further_ahead_than_without_compression() -> None:
    made = 0

    def items() -> Iterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x" * 1000

    response = PlainTextStreamingResponse(items(), compress=True, max_buffer=20_000)
    async with stream(response, headers=GZIP, read_ahead=0) as client:
        await anext(client)
        last = -1
        with anyio.fail_after(10):
            while last != made:
                last = made
                await anyio.sleep(0.05)
        assert made <= 60
        await client.disconnect()
        with anyio.fail_after(10):
            await client.wait_closed()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", ["content-encoding", "cache-control"])
async def test_what_the_content_says_of_itself_counts(kind: str, name: str) -> None:
    value = {"content-encoding": "br", "cache-control": "no-transform"}[name]
    start = ResponseStart(headers={name: value})

    def items() -> Iterator[Any]:
        yield start
        yield b"text"

    async def asynchronous() -> AsyncIterator[Any]:
        yield start
        yield b"text"

    content = items() if kind == "sync" else asynchronous()
    got = await fetch(PlainTextStreamingResponse(content, compress=True), headers=GZIP)
    assert (got.body, got.headers[name]) == (b"text", value)
    assert got.headers.get("content-encoding") != "gzip"


async def test_a_live_stream_is_compressed_and_resumed_by_its_ids() -> None:
    async with running(MemoryLog()) as harness:
        run = await harness.done({"n": 0}, {"n": 1}, {"n": 2})
        plain = await fetch(SSEStreamingResponse(run.follow()))
        got = await fetch(SSEStreamingResponse(run.follow(), compress=True), headers=GZIP)
        assert got.headers["content-encoding"] == "gzip"
        assert gzip.decompress(got.body) == plain.body
        # Before the first item stands the id of the beginning.
        first = plain.body.split(b"\n\n")[1].splitlines()[0].removeprefix(b"id: ").decode()
        rest = SSEStreamingResponse(run.follow(after=first), compress=True)
        got = await fetch(rest, headers=GZIP)
        assert b'{"n":0}' not in gzip.decompress(got.body)
        assert b'{"n":2}' in gzip.decompress(got.body)


@pytest.mark.parametrize(("max_buffer", "count"), [(1, 3), (65536, 5000)])
@pytest.mark.parametrize("first", ["one", ""])
async def test_items_of_a_thread_that_are_empty_make_room_for_more(
    max_buffer: int, count: int, first: str
) -> None:
    items = iter([first, *[""] * count, "two"])
    response = PlainTextStreamingResponse(items, compress="gzip", max_buffer=max_buffer)
    with anyio.fail_after(20):
        got = await fetch(response, headers=GZIP)
    assert gzip.decompress(got.body).decode() == first + "two"


@pytest.mark.parametrize("content", [[], iter(())], ids=["list", "iterator"])
async def test_an_empty_stream_is_an_empty_coded_body(content: Any) -> None:
    got = await fetch(PlainTextStreamingResponse(content, compress=True), headers=GZIP)
    assert gzip.decompress(got.body) == b""


async def test_headers_that_do_not_wait_are_those_of_a_coded_body() -> None:
    going_on = threading.Event()

    def items() -> Iterator[str]:
        going_on.wait(20)
        yield "late"

    response = PlainTextStreamingResponse(items(), compress=True, first_chunk_timeout=0)
    async with stream(response, headers=GZIP) as client:
        assert client.headers["content-encoding"] == "gzip"
        going_on.set()
        with anyio.fail_after(10):
            assert gzip.decompress(await client.read()) == b"late"


# what is whole


LONG = "line of a text that repeats\n" * 30_000


@pytest.mark.parametrize("content", [LONG, LONG.encode(), "", "short"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_whole_text_is_compressed_for_who_accepts_it(content: Any, method: str) -> None:
    def response() -> StreamingResponse:
        return PlainTextStreamingResponse(content, compress=True, etag='"v7"')

    plain = content if isinstance(content, bytes) else content.encode()
    got = await fetch(response(), headers=GZIP, method=method)
    assert (got.status, got.headers["content-encoding"]) == (200, "gzip")
    assert (got.headers["etag"], got.headers["vary"]) == ('W/"v7--gzip"', "Accept-Encoding")
    assert "content-length" not in got.headers
    assert method == "HEAD" or gzip.decompress(got.body) == plain
    known = await fetch(response(), headers=GZIP | {"if-none-match": got.headers["etag"]})
    assert known.status == 304
    # Others have its length and ranges, and are told that it varies.
    got = await fetch(response(), method=method)
    assert (got.headers["content-length"], got.headers["etag"]) == (str(len(plain)), '"v7"')
    assert (got.headers["vary"], got.headers["accept-ranges"]) == ("Accept-Encoding", "bytes")


async def test_what_has_an_address_keeps_its_ranges(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text" * 100)
    contents: list[Any] = [path, path.open("rb"), BytesSource(b"text" * 100)]
    for content in contents:
        response = PlainTextStreamingResponse(content, compress=True)
        got = await fetch(response, headers=GZIP | {"range": "bytes=2-5"})
        assert (got.status, got.body) == (206, b"xtte")


async def test_whole_bytes_that_do_not_shrink_keep_their_ranges() -> None:
    response = PNGStreamingResponse(b"0123456789", compress=True)
    got = await fetch(response, headers=GZIP | {"range": "bytes=2-5"})
    assert (got.status, got.body) == (206, b"2345")
    assert "vary" not in got.headers


# validators


class Unread:
    """Content that must not run."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("the client has it")

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("accepted", "etag", "known"),
    [
        ({}, '"v7"', '"v7"'),
        (GZIP, 'W/"v7--gzip"', 'W/"v7--gzip"'),
        (GZIP, 'W/"v7--gzip"', '"v6", "v7--gzip"'),
        (GZIP, 'W/"v7--gzip"', "*"),
    ],
)
async def test_a_tag_of_a_stream_is_coded_and_known_again(
    accepted: dict[str, str], etag: str, known: str
) -> None:
    def response(content: Any) -> StreamingResponse:
        return PlainTextStreamingResponse(content, compress=True, etag='"v7"')

    got = await fetch(response(["text"]), headers=accepted)
    assert (got.status, got.headers["etag"]) == (200, etag)
    assert "accept-ranges" not in got.headers or got.headers["accept-ranges"] == "none"
    content = Unread()
    got = await fetch(response(content), headers={**accepted, "if-none-match": known})
    assert (got.status, got.body, got.headers["etag"]) == (304, b"", etag)
    assert got.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in got.headers
    assert content.closed == 1


@pytest.mark.parametrize(("given", "sent"), [("v7", 'W/"v7--gzip"'), ('"v7', None)])
async def test_a_tag_that_the_content_gives_needs_no_quotes(given: str, sent: str | None) -> None:
    start = ResponseStart(headers={"ETag": given})
    got = await fetch(PlainTextStreamingResponse([start, "text"], compress=True), headers=GZIP)
    assert (got.status, got.headers.get("etag")) == (200, sent)
    assert gzip.decompress(got.body) == b"text"


async def test_the_tag_of_another_coding_is_another_version() -> None:
    response = PlainTextStreamingResponse(["text"], compress=True, etag='"v7"')
    got = await fetch(response, headers={**GZIP, "if-none-match": '"v7"'})
    assert got.status == 200
