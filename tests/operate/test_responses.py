"""Limits, rates, codings and observers, as responses keep to them."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from streamkit import (
    BodyCut,
    ByteSource,
    BytesSource,
    ClientTooSlow,
    DeadlineExceeded,
    FileStreamingResponse,
    JSONLinesStreamingResponse,
    SourceInfo,
    SSEStreamingResponse,
    StreamInfo,
    StreamingResponse,
    StreamLimit,
    StreamOutcome,
    observe,
    open_streams,
)
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio

GZIP = {"accept-encoding": "gzip"}


async def slowly() -> AsyncIterator[bytes]:
    while True:
        yield b"x"
        await anyio.sleep(0.001)


# how many


class Counting:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def started(self, info: StreamInfo) -> None: ...

    def first_byte(self, info: StreamInfo) -> None: ...

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        self.reasons.append(outcome.reason)


@pytest.mark.parametrize("kind", ["stream", "source", "whole"])
async def test_a_response_without_a_place_is_a_503_and_its_content_is_closed_unused(
    kind: str,
) -> None:
    limit, log = StreamLimit(total=1, retry_after=7), []

    class Content:
        def __aiter__(self) -> AsyncIterator[bytes]:
            raise AssertionError("it has no place")

        async def aclose(self) -> None:
            log.append("closed")

    class Source(ByteSource):
        async def info(self) -> SourceInfo:
            raise AssertionError("it has no place")

        async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
            raise AssertionError("it has no place")
            yield b""

        async def aclose(self) -> None:
            log.append("closed")

    class Whole(BytesSource):
        async def aclose(self) -> None:
            log.append("closed")

    content = {"stream": Content, "source": Source, "whole": lambda: Whole(b"whole")}[kind]()
    outcomes: list[StreamOutcome] = []
    observer = Counting()
    async with stream(StreamingResponse(slowly(), limit=limit)) as client:
        await anext(client)
        refused = StreamingResponse(content, limit=limit, on_close=outcomes.append)
        with observe(observer), pytest.raises(HTTPException) as raised:
            await fetch(refused)
        assert (raised.value.status_code, raised.value.headers) == (503, {"Retry-After": "7"})
        assert log == ["closed"]
        assert [(each.reason, each.error) for each in outcomes] == [("error", raised.value)]
        assert observer.reasons == ["error"]
        assert len(open_streams()) == 1
        await client.disconnect()
        await client.wait_closed()
    assert limit.open == 0


# how long, how slow, how fast


async def test_a_response_that_passes_its_deadline_is_cut() -> None:
    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(slowly(), deadline=0.05, on_close=outcomes.append)
    got = await fetch(response)
    assert isinstance(got.error, DeadlineExceeded)
    assert not got.complete
    assert outcomes[0].reason == "timeout"
    assert isinstance(outcomes[0].error, DeadlineExceeded)


async def test_a_client_below_the_rate_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)
    outcomes: list[StreamOutcome] = []

    def flood() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    response = StreamingResponse(
        flood(), min_rate=1_000_000, min_rate_grace=0.02, on_close=outcomes.append
    )
    async with stream(response, read_ahead=0) as client:
        client.stall()
        with anyio.fail_after(10):
            await client.wait_closed()
    assert outcomes[0].reason == "timeout"
    assert isinstance(outcomes[0].error, ClientTooSlow)


async def test_a_rate_sends_all_of_it_in_pieces() -> None:
    async with stream(StreamingResponse(b"x" * 3000, max_rate=20_000)) as client:
        chunks = [chunk async for chunk in client]
    assert b"".join(chunks) == b"x" * 3000
    assert max(map(len, chunks)) <= 2000


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("option", ["send_timeout", "item_timeout"])
async def test_what_a_rate_holds_back_is_no_fault_of_client_or_content(
    option: str, kind: str
) -> None:
    """A batch may take longer than a limit for one send, or for one item."""

    async def asynchronous() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1000

    content = asynchronous() if kind == "async" else iter([b"x" * 1000] * 10)
    response: Any = StreamingResponse(content, max_rate=10_000, **{option: 0.7})
    fetched = await fetch(response)
    assert (fetched.complete, fetched.body) == (True, b"x" * 10_000)


async def test_a_client_that_leaves_is_counted_what_has_left() -> None:
    outcomes: list[StreamOutcome] = []
    had = 0
    async with stream(
        StreamingResponse(iter([b"x" * 60_000]), max_rate=30_000, on_close=outcomes.append)
    ) as client:
        async for chunk in client:
            had += len(chunk)
            if had >= 9000:
                break
    assert had <= outcomes[0].bytes_sent <= had + 6000


async def test_a_scope_around_a_yield_ends_where_a_rate_holds_its_item_back() -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        with anyio.move_on_after(0.05) as scope:
            yield b"x" * 10_000
            await anyio.sleep_forever()
        yield b"cancelled" if scope.cancelled_caught else b"not cancelled"

    fetched = await fetch(StreamingResponse(content(), max_rate=40_000))
    assert fetched.complete
    assert fetched.body == b"first" + b"x" * 10_000 + b"cancelled"


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("deadline", 0, ValueError),
        ("deadline", "5", TypeError),
        ("min_rate", 0, ValueError),
        ("min_rate", True, TypeError),
        ("max_rate", -1, ValueError),
        ("min_rate_grace", None, TypeError),
        ("limit", 5, TypeError),
        ("compress", 5, TypeError),
        ("compress", "deflate", ValueError),
    ],
)
def test_what_makes_no_sense_is_refused_on_a_call_and_on_a_class(
    option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        StreamingResponse([], **{option: value})
    with pytest.raises(error):
        type("Wrong", (StreamingResponse,), {option: value})


# codings


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_rows_are_compressed_as_the_request_accepts_it(kind: str) -> None:
    async def asynchronous() -> AsyncIterator[dict[str, int]]:
        for number in range(500):
            yield {"id": number}

    rows = asynchronous() if kind == "async" else ({"id": number} for number in range(500))
    response = JSONLinesStreamingResponse(rows, compress=True)
    got = await fetch(response, headers=GZIP)
    assert got.headers["content-encoding"] == "gzip"
    assert got.headers["vary"] == "Accept-Encoding"
    lines = gzip.decompress(got.body).splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(500))


async def test_a_compressed_event_is_readable_when_it_is_sent() -> None:
    import zlib

    async def events() -> AsyncIterator[str]:
        yield "one"
        await anyio.sleep(3600)

    decoder = zlib.decompressobj(31)
    async with stream(SSEStreamingResponse(events(), compress=True), headers=GZIP) as client:
        with anyio.fail_after(5):
            text = b""
            while b"data: one" not in text:
                text += decoder.decompress(await anext(client))
        await client.disconnect()
        await client.wait_closed()


async def test_a_compressed_body_that_fails_has_no_end() -> None:
    received: list[bytes] = []

    def rows() -> Iterator[dict[str, int]]:
        yield {"id": 1}
        raise LookupError("broken")

    async def read(client: Any) -> None:
        async for chunk in client:
            received.append(chunk)

    async with stream(JSONLinesStreamingResponse(rows(), compress=True), headers=GZIP) as client:
        with pytest.raises(BodyCut):
            await read(client)
    with pytest.raises(EOFError):
        gzip.decompress(b"".join(received))


@pytest.mark.parametrize("accepted", [None, "gzip;q=0", "identity", "br;q=0, *;q=0"])
async def test_who_accepts_no_coding_gets_none(accepted: str | None) -> None:
    response = JSONLinesStreamingResponse([{"id": 1}], compress=("gzip",))
    got = await fetch(response, headers={} if accepted is None else {"accept-encoding": accepted})
    assert "content-encoding" not in got.headers
    assert got.headers["vary"] == "Accept-Encoding"
    assert got.body == b'{"id":1}\n'


async def test_a_compressed_sibling_is_sent_with_its_own_length(tmp_path: Path) -> None:
    plain = tmp_path / "a.txt"
    plain.write_bytes(b"text " * 1000)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(plain.read_bytes()))
    got = await fetch(FileStreamingResponse(plain, precompressed=True), headers=GZIP)
    assert got.headers["content-encoding"] == "gzip"
    assert got.headers["content-type"].startswith("text/plain")
    assert int(got.headers["content-length"]) == len(got.body)
    assert gzip.decompress(got.body) == plain.read_bytes()
    got = await fetch(FileStreamingResponse(plain, precompressed=True))
    assert "content-encoding" not in got.headers
    assert got.body == plain.read_bytes()


# observers


class Recorder:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def started(self, info: StreamInfo) -> None:
        self.heard.append(("started", info.status))

    def first_byte(self, info: StreamInfo) -> None:
        self.heard.append(("first_byte", info.status))

    def ended(self, info: StreamInfo, outcome: StreamOutcome) -> None:
        self.heard.append(("ended", info.route, info.media_type, outcome.reason))


@pytest.mark.parametrize("content", ["stream", "bytes"])
async def test_an_observer_hears_of_begin_first_byte_and_end(content: str) -> None:
    app, recorder = FastAPI(), Recorder()

    @app.get("/items/{key}")
    async def items(key: str) -> Any:
        return StreamingResponse(["a", "b"] if content == "stream" else b"ab", 201)

    with observe(recorder):
        await fetch(app, "/items/7")
    await fetch(app, "/items/7")
    assert recorder.heard == [
        ("started", None),
        ("first_byte", 201),
        ("ended", "/items/{key}", None, "complete"),
    ]


async def test_open_streams_lists_what_is_open_and_what_it_waits_for() -> None:
    async def once() -> AsyncIterator[bytes]:
        yield b"abc"
        await anyio.sleep(3600)

    before = len(open_streams())
    async with stream(StreamingResponse(once())) as client:
        await anext(client)
        with anyio.fail_after(5):
            while open_streams()[-1].waiting != "content":  # noqa: ASYNC110
                await anyio.sleep(0.001)
        (one,) = open_streams()[before:]
        assert one.bytes == 3
        assert one.since_last_item is not None
        await client.disconnect()
        await client.wait_closed()
    assert len(open_streams()) == before
