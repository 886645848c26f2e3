"""What the client gets of an exception: a status before the first chunk, a cut after it."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streamkit import BodyCut, StreamingResponse, StreamOutcome
from streamkit.testing import fetch, stream
from tests.failing import FOREVER, MIDDLEWARE, Broken, breaks_async

pytestmark = pytest.mark.anyio
STACKS = pytest.mark.parametrize("stack", MIDDLEWARE)


def wrapped(stack: str, response: StreamingResponse) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await response(scope, receive, send)

    return MIDDLEWARE[stack](app)


def starlette_app(endpoint: Callable[[], Any], **options: Any) -> Starlette:
    async def call(request: Request) -> Response:
        return StreamingResponse(endpoint())

    return Starlette(routes=[Route("/", call)], **options)


def fastapi_app(endpoint: Callable[[], Any], **options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/")
    def call() -> Any:
        return StreamingResponse(endpoint())

    return app


def yielding_fastapi_app(endpoint: Callable[[], Any], **options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.get("/", response_class=StreamingResponse)(endpoint)
    return app


async def raises_async(error: Exception) -> AsyncIterator[bytes]:
    raise error
    yield b""


def raises_sync(error: Exception) -> Iterator[bytes]:
    raise error
    yield b""


# before the first chunk


@pytest.mark.parametrize("make", [raises_sync, raises_async])
@pytest.mark.parametrize("framework", [starlette_app, fastapi_app, yielding_fastapi_app])
async def test_an_http_exception_before_the_first_chunk_becomes_its_status(
    framework: Any, make: Any
) -> None:
    def sync_endpoint() -> Iterator[bytes]:
        yield from make(HTTPException(404, "no such report"))

    async def async_endpoint() -> AsyncIterator[bytes]:
        async for item in make(HTTPException(404, "no such report")):
            yield item

    app = framework(sync_endpoint if make is raises_sync else async_endpoint)
    response = await fetch(app)
    assert response.status == 404
    assert b"no such report" in response.body
    assert response.complete


@pytest.mark.parametrize("make", [raises_sync, raises_async])
async def test_any_exception_before_the_first_chunk_is_for_the_apps_handlers(make: Any) -> None:
    async def handler(request: Request, exc: Exception) -> Response:
        return PlainTextResponse("broken", status_code=503)

    app = starlette_app(lambda: make(Broken()), exception_handlers={Broken: handler})
    response = await fetch(app)
    assert (response.status, response.body) == (503, b"broken")


@STACKS
@pytest.mark.parametrize("make", [raises_sync, raises_async])
async def test_an_exception_before_the_first_chunk_is_a_500_behind_middleware(
    stack: str, make: Any
) -> None:
    app = MIDDLEWARE[stack](starlette_app(lambda: make(Broken())))
    response = await fetch(app)
    assert response.status == 500
    assert isinstance(response.error, Broken)


async def test_a_late_exception_is_still_a_status_within_first_chunk_timeout() -> None:
    async def generate() -> AsyncIterator[bytes]:
        await anyio.sleep(0.02)
        raise HTTPException(404)
        yield b""

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(generate(), first_chunk_timeout=None)

    app = Starlette(routes=[Route("/", endpoint)])
    assert (await fetch(app)).status == 404


@pytest.mark.parametrize("timeout", [0, 0.01])
async def test_headers_go_out_though_no_chunk_comes(timeout: float) -> None:
    release = anyio.Event()

    async def generate() -> AsyncIterator[bytes]:
        await release.wait()
        yield b"late"

    response = StreamingResponse(generate(), first_chunk_timeout=timeout)
    with anyio.fail_after(5):
        async with stream(response) as client:
            assert client.status == 200
            assert client.bytes_received == 0
            release.set()
            assert await client.read() == b"late"


@pytest.mark.defaults
async def test_headers_wait_half_a_second_by_default_and_for_ever_with_none() -> None:
    assert StreamingResponse.first_chunk_timeout == 0.5
    release = anyio.Event()

    async def generate() -> AsyncIterator[bytes]:
        await release.wait()
        yield b"x"

    response = StreamingResponse(generate(), first_chunk_timeout=None)
    async with stream(response, wait_for_start=False) as client:
        await anyio.sleep(0.02)
        assert not client.messages
        release.set()
        assert await client.read() == b"x"


@pytest.mark.parametrize("timeout", [1e-9, float("inf")])
async def test_extreme_timeouts_are_as_good_as_others(timeout: float) -> None:
    async def generate() -> AsyncIterator[bytes]:
        await anyio.sleep(0.005)
        yield b"x"

    response = StreamingResponse(generate(), first_chunk_timeout=timeout)
    assert (await fetch(response)).body == b"x"


@pytest.mark.parametrize(
    "content",
    [[], [b""], iter([]), b"", ""],
    ids=["list", "empty chunk", "iterator", "bytes", "str"],
)
async def test_an_empty_stream_is_an_empty_200(content: Any) -> None:
    if isinstance(content, Iterator):
        content = iter([])
    response = await fetch(StreamingResponse(content))
    assert (response.status, response.body, response.complete) == (200, b"", True)


async def test_an_empty_first_item_lets_the_headers_go() -> None:
    release = threading.Event()

    def generate() -> Iterator[bytes]:
        yield b""
        assert release.wait(5)
        yield b"x"

    response = StreamingResponse(generate(), first_chunk_timeout=None)
    with anyio.fail_after(5):
        async with stream(response) as client:
            assert client.status == 200
            assert client.bytes_received == 0
            release.set()
            assert await client.read() == b"x"


# after the first chunk


def breaks_sync() -> Iterator[bytes]:
    yield b"part"
    raise Broken


async def breaks_with_a_foreign_cancellation() -> AsyncIterator[bytes]:
    yield b"part"
    await anyio.sleep(0.003)
    cancelled = anyio.get_cancelled_exc_class()
    # trio makes its own, and nobody else can.
    raise cancelled if cancelled.__module__.startswith("asyncio") else Broken


@STACKS
@pytest.mark.parametrize("make", [breaks_sync, breaks_async, breaks_with_a_foreign_cancellation])
@pytest.mark.parametrize("size", [1, 5000])
async def test_an_exception_after_the_first_chunk_never_ends_the_body_cleanly(
    stack: str, make: Any, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[StreamOutcome] = []

    async def content() -> AsyncIterator[bytes]:
        yield b"x" * size
        async for item in _async(make()):
            yield item

    app = wrapped(stack, StreamingResponse(content(), on_close=outcomes.append))
    async with stream(app) as client:
        with pytest.raises(BodyCut):
            await client.read()
        assert client.status == 200
        assert not client.complete
    (outcome,) = outcomes
    assert outcome.reason == "error"
    assert isinstance(outcome.error, Broken | RuntimeError)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def _async(items: Any) -> AsyncIterator[bytes]:
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


@pytest.mark.parametrize("make", [breaks_sync, breaks_async])
@pytest.mark.parametrize("stack", ["bare", "BaseHTTPMiddleware"])
async def test_the_exception_is_raised_as_it_is_and_once(stack: str, make: Any) -> None:
    outcomes: list[StreamOutcome] = []
    inner = wrapped(stack, StreamingResponse(make(), on_close=outcomes.append))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def measure(message: Any) -> None:
            # As the servers do first.
            len(message.get("body", b""))
            await send(message)

        await inner(scope, receive, measure)

    response = await fetch(app)
    assert response.body == b"part"
    assert isinstance(response.error, Broken)
    assert [outcome.error for outcome in outcomes] == [response.error]


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_traceback_of_an_exception_shows_what_it_was_raised_in(is_async: bool) -> None:
    def generate() -> Iterator[bytes]:
        yield b"part"
        try:
            raise KeyError("the reason")
        except KeyError:
            raise Broken  # noqa: B904 (as code does that means no harm)

    content = _async(generate()) if is_async else generate()
    error = (await fetch(StreamingResponse(content))).error
    assert isinstance(error, Broken)
    assert "the reason" in "".join(traceback.format_exception(error))


class Invalid(Exception):
    """As validators have it: a sequence of what is wrong, empty here, that compares by content."""

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        raise NotImplementedError

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("closes_well", [True, False])
async def test_an_exception_counts_whatever_its_truth_and_equality(
    is_async: bool, closes_well: bool
) -> None:
    class Content:
        def __iter__(self) -> Iterator[bytes]:
            yield b"part"
            raise Invalid

        def close(self) -> None:
            if not closes_well:
                raise Invalid

    class AsyncContent(Content):
        __iter__ = None  # type: ignore[assignment]

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"part"
            raise Invalid

    with anyio.fail_after(FOREVER):
        response = await fetch(StreamingResponse(AsyncContent() if is_async else Content()))
    assert (response.body, response.complete) == (b"part", False)
    assert type(response.error) is Invalid


async def test_items_that_can_not_be_encoded_cut_the_body_with_a_hint() -> None:
    async def generate() -> AsyncIterator[Any]:
        yield b"x"
        await anyio.sleep(0.003)
        yield {"a": 1}

    response = await fetch(StreamingResponse(generate()))
    assert (response.body, response.complete) == (b"x", False)
    assert "must be str or bytes-like, got dict" in str(response.error)


async def test_the_middle_of_an_exception_while_the_app_hangs_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)
    outcomes: list[StreamOutcome] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def hanging(message: Any) -> None:
            if message.get("body") not in (None, b"part"):
                await anyio.sleep_forever()
            await send(message)

        await StreamingResponse(breaks_async(), on_close=outcomes.append)(scope, receive, hanging)

    with anyio.fail_after(5):
        assert isinstance((await fetch(app)).error, Broken)
    assert outcomes[0].reason == "error"
