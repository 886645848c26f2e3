"""HEAD says what GET says; statuses without content have none; the content may decide on both."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from streamkit import (
    BodyCut,
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    PlainTextStreamingResponse,
    ResponseStart,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    TARStreamingResponse,
    ZIPStreamingResponse,
)
from streamkit.testing import fetch, stream
from tests.failing import MIDDLEWARE

pytestmark = pytest.mark.anyio

FLAVOURS = ["sync", "async"]


class Content:
    """Items of either flavour, which are counted, and whose generator is closed."""

    def __init__(self, *items: Any, endless: bool = False, wait: float = 0) -> None:
        self._items, self._endless, self._wait = items, endless, wait
        self.given = 0
        self.closed = 0

    def sync(self) -> Iterator[Any]:
        try:
            time.sleep(self._wait)
            yield from self._all()
        finally:
            self.closed += 1

    async def aio(self) -> AsyncIterator[Any]:
        try:
            await anyio.sleep(self._wait)
            for item in self._all():
                yield item
        finally:
            await anyio.lowlevel.checkpoint()
            self.closed += 1

    def _all(self) -> Iterator[Any]:
        while True:
            for item in self._items:
                if isinstance(item, Exception):
                    raise item
                self.given += 1
                yield item
            if not self._endless:
                return

    def of(self, flavour: str) -> Any:
        return self.sync() if flavour == "sync" else self.aio()


CASES: dict[str, Any] = {
    "items": lambda: Content(b"a", b"b"),
    "nothing": Content,
    "an error before the first": lambda: Content(HTTPException(404, "none")),
    "another error": lambda: Content(ValueError("broken")),
    "an error after the first": lambda: Content(b"a", ValueError("broken")),
    "a start": lambda: Content(ResponseStart(status_code=202, headers={"x-count": "2"}), b"a"),
    "endless": lambda: Content(b"a", endless=True),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("case", CASES)
async def test_head_has_the_status_and_headers_of_get_and_closes_the_content(
    case: str, flavour: str
) -> None:
    heads = {}
    for method in ("GET", "HEAD"):
        outcomes: list[StreamOutcome] = []
        content = CASES[case]()

        def make(content: Content = content, outcomes: Any = outcomes) -> StreamingResponse:
            return StreamingResponse(
                content.of(flavour), media_type="text/plain", on_close=outcomes.append
            )

        app = MIDDLEWARE["BaseHTTPMiddleware"](answering(make))
        async with stream(app, method=method) as client:
            heads[method] = (client.status, dict(client.headers))
            if method == "GET" and case != "endless":
                with suppress(BodyCut):
                    await client.read()
            if method == "HEAD":
                assert await client.read() == b""
                await client.wait_closed()
                # The first, and one that may be under way meanwhile.
                assert content.given <= 2
        assert content.closed == 1
        assert len(outcomes) == 1
    assert heads["HEAD"] == heads["GET"]


def answering(make: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await make()(scope, receive, send)

    return Starlette(routes=[Mount("/", app)])


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_head_waits_no_longer_for_the_content_than_first_chunk_timeout(flavour: str) -> None:
    content = Content(b"late", wait=1)
    response = StreamingResponse(content.of(flavour), first_chunk_timeout=0.2)
    with anyio.fail_after(10):
        answer = await fetch(response, method="HEAD")
    assert (answer.status, answer.body, answer.complete) == (200, b"", True)
    # Stopped where it was cancelled, or closed after its wait on a thread, if it had one in time.
    allowed = [(0, 1)] if flavour == "async" else [(1, 1), (0, 0)]
    assert (content.given, content.closed) in allowed


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("cls", [StreamingResponse, JSONLinesStreamingResponse])
async def test_a_status_without_content_sends_none_and_closes_it_unread(
    cls: Any, status: int, flavour: str
) -> None:
    class Closing:
        closed = 0

        def close(self) -> None:
            Closing.closed += 1

    class Sync(Closing):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("it is not read")

    class Async(Closing):
        def __aiter__(self) -> AsyncIterator[str]:
            raise AssertionError("it is not read")

    outcomes: list[StreamOutcome] = []
    content = Sync() if flavour == "sync" else Async()
    response = cls(content, status, headers={"content-length": "3"}, on_close=outcomes.append)
    answer = await fetch(response)
    assert (answer.status, answer.body, answer.complete) == (status, b"", True)
    assert answer.headers.get("content-length") == ("0" if status == 205 else None)
    assert [(outcome.reason, outcome.status_code) for outcome in outcomes] == [("complete", status)]
    assert Closing.closed == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("items", [0, 1])
@pytest.mark.parametrize(
    ("cls", "item", "options"),
    [
        (StreamingResponse, b"a", {}),
        (PlainTextStreamingResponse, "a", {"compress": True}),
        (JSONLinesStreamingResponse, {"a": 1}, {"error_frames": True}),
        (JSONArrayStreamingResponse, {"a": 1}, {"compress": True}),
        (SSEStreamingResponse, "a", {"farewell": "bye"}),
        (CSVStreamingResponse, {"a": 1}, {"columns": ["a"]}),
        (MultipartStreamingResponse, b"a", {"part_media_type": "image/png"}),
        (ZIPStreamingResponse, b"PK", {}),
        (TARStreamingResponse, b"a", {}),
    ],
)
async def test_a_status_without_content_that_the_content_decides_on_sends_none(
    cls: Any, item: Any, options: Any, items: int, status: int, flavour: str
) -> None:
    outcomes: list[StreamOutcome] = []
    start = ResponseStart(status, headers={"content-length": "3", "x-kept": "1"})
    content = Content(start, *[item] * items)
    response = cls(content.of(flavour), on_close=outcomes.append, **options)
    answer = await fetch(response, headers={"accept-encoding": "gzip"})
    assert (answer.status, answer.body, answer.complete) == (status, b"", True)
    assert answer.headers.get("content-length") == ("0" if status == 205 else None)
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-kept"] == "1"
    assert [(outcome.reason, outcome.status_code) for outcome in outcomes] == [("complete", status)]
    assert content.closed == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    ("cls", "item", "body"),
    [
        (StreamingResponse, b"a", b"a"),
        (JSONLinesStreamingResponse, {"a": 1}, b'{"a":1}\n'),
        (SSEStreamingResponse, "a", b"data: a\n\n"),
        (CSVStreamingResponse, {"a": 1}, b"a\r\n1\r\n"),
    ],
)
async def test_the_very_first_item_may_say_status_and_headers(
    cls: Any, item: Any, body: bytes, flavour: str
) -> None:
    start = ResponseStart(status_code=206, headers={"x-count": "1", "x-kept": "new"})
    response = cls(Content(start, item).of(flavour), headers={"x-kept": "old", "x-own": "1"})
    answer = await fetch(response)
    assert (answer.status, answer.body) == (206, body)
    assert [answer.headers[name] for name in ("x-count", "x-kept", "x-own")] == ["1", "new", "1"]
    assert len(answer.headers.getlist("x-kept")) == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("cls", [StreamingResponse, CSVStreamingResponse, SSEStreamingResponse])
async def test_what_is_raised_after_the_start_item_is_what_the_app_sees(
    cls: Any, flavour: str
) -> None:
    async def conflicts() -> AsyncIterator[Any]:
        yield ResponseStart(headers={"x-count": "1"})
        raise HTTPException(409, "the real reason")

    def conflicts_sync() -> Iterator[Any]:
        yield ResponseStart(headers={"x-count": "1"})
        raise HTTPException(409, "the real reason")

    content = conflicts() if flavour == "async" else conflicts_sync()
    answer = await fetch(answering(lambda: cls(content)))
    assert (answer.status, answer.body) == (409, b"the real reason")


@pytest.mark.parametrize(
    ("headers", "error", "says"),
    [
        ({"x-total-count": 5}, TypeError, r"'x-total-count' must be str, got int: 5; pass str"),
        ({"x-total-count": None}, TypeError, "'x-total-count' must be str, got NoneType"),
        ({b"x-total-count": "5"}, TypeError, "must be str, got bytes"),
        ({"content-disposition": 'attachment; filename="日"'}, ValueError, r"Latin-1.*UTF-8''"),
    ],
    ids=["int", "None", "bytes", "beyond Latin-1"],
)
def test_a_header_that_can_not_be_sent_is_refused_where_the_start_is_made(
    headers: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ResponseStart(headers=headers)


async def test_a_file_name_of_users_is_sent_as_the_page_has_it() -> None:
    name = 'Größe "日".csv'

    def rows() -> Iterator[ResponseStart | str]:
        value = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        yield ResponseStart(headers={"Content-Disposition": value})
        yield "a"

    sent = (await fetch(PlainTextStreamingResponse(rows()))).headers["content-disposition"]
    message = EmailMessage()
    message["content-disposition"] = sent
    assert message.get_filename() == name


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_a_later_start_is_an_error_that_says_so(flavour: str) -> None:
    response = StreamingResponse(Content(b"a", ResponseStart(status_code=201)).of(flavour))
    answer = await fetch(response)
    assert not answer.complete
    assert "ResponseStart must be the very first item" in str(answer.error)


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_a_start_after_the_headers_is_an_error_that_says_so(flavour: str) -> None:
    content = Content(ResponseStart(status_code=201), b"a", wait=0.1)
    answer = await fetch(StreamingResponse(content.of(flavour), first_chunk_timeout=0.01))
    assert (answer.status, answer.complete) == (200, False)
    assert "first_chunk_timeout" in str(answer.error)


async def test_a_start_works_in_an_endpoint_that_yields() -> None:
    app = FastAPI()

    @app.get("/async", response_class=StreamingResponse)
    async def of_async() -> AsyncIterator[Any]:
        yield ResponseStart(status_code=202, headers={"set-cookie": "a=b"})
        yield b"a"

    @app.get("/sync", response_class=StreamingResponse)
    def of_sync() -> Iterator[Any]:
        yield ResponseStart(status_code=202, headers={"set-cookie": "a=b"})
        yield b"a"

    for path in ("/async", "/sync"):
        answer = await fetch(app, path)
        assert (answer.status, answer.headers["set-cookie"], answer.body) == (202, "a=b", b"a")
