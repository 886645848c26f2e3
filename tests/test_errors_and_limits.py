from __future__ import annotations

import functools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streamkit import BodyCut, SendTimeout, StreamingResponse, StreamOutcome
from streamkit.sources import ByteSource, SourceInfo
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio

FOREVER = 30.0


class Broken(Exception):
    pass


async def relay(request: Request, call_next: Any) -> Any:
    return await call_next(request)


MIDDLEWARE: dict[str, Callable[[Any], Any]] = {
    "bare": lambda app: app,
    "BaseHTTPMiddleware": lambda app: BaseHTTPMiddleware(app, relay),
    "two BaseHTTPMiddleware": lambda app: BaseHTTPMiddleware(BaseHTTPMiddleware(app, relay), relay),
    "GZipMiddleware": GZipMiddleware,
    "GZip in BaseHTTPMiddleware": lambda app: BaseHTTPMiddleware(GZipMiddleware(app), relay),
    "BaseHTTPMiddleware in GZip": lambda app: GZipMiddleware(BaseHTTPMiddleware(app, relay)),
}
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


async def as_async(items: Any) -> AsyncIterator[bytes]:
    for item in items:
        yield item


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


async def breaks_async() -> AsyncIterator[bytes]:
    yield b"part"
    await anyio.sleep(0.003)
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


# leaving


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.3", "2.4", "2.5"])
async def test_a_disconnect_is_raised_where_the_specification_has_it_so(version: str) -> None:
    outcomes: list[StreamOutcome] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent = 0

        async def break_off(message: Any) -> None:
            nonlocal sent
            sent += 1
            if sent > 3:
                raise OSError("broken pipe")
            await send(message)

        await StreamingResponse(endless(), on_close=outcomes.append)(scope, receive, break_off)

    async with stream(app, spec_version=version) as client:
        await client.wait_closed()
        raises = version in ("2.4", "2.5")
        assert isinstance(client.error, ClientDisconnect if raises else type(None))
    assert outcomes[0].reason == "disconnect"
    assert isinstance(outcomes[0].error, OSError)


async def test_a_disconnect_while_the_last_message_is_handled_is_no_disconnect() -> None:
    outcomes: list[StreamOutcome] = []
    ran = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def slow(message: Any) -> None:
            await send(message)
            await anyio.sleep(0.01)

        response = StreamingResponse(
            [b"a", b"b"], on_close=outcomes.append, background=BackgroundTask(ran.append, 1)
        )
        await response(scope, receive, slow)

    response = await fetch(app)
    assert response.complete
    assert outcomes[0].reason == "complete"
    assert ran == [1]


async def test_a_last_message_that_hangs_after_a_disconnect_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamkit.watch.LAST_RESORT", 0.01)
    outcomes: list[StreamOutcome] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def hang(message: Any) -> None:
            await send(message)
            if not message.get("more_body", True):
                await anyio.sleep_forever()

        await StreamingResponse([b"a"], on_close=outcomes.append)(scope, receive, hang)

    with anyio.fail_after(5):
        await fetch(app)
    assert outcomes[0].reason == "disconnect"


async def test_a_receive_that_fails_only_hides_disconnects() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def fail() -> Any:
            raise Broken

        await StreamingResponse(slow_items())(scope, fail, send)

    async def slow_items() -> AsyncIterator[bytes]:
        yield b"a"
        await anyio.sleep(0.005)
        yield b"b"

    response = await fetch(app)
    assert (response.body, response.complete) == (b"ab", True)


async def test_messages_of_a_request_body_do_not_end_the_response() -> None:
    async def generate() -> AsyncIterator[bytes]:
        yield b"a"
        await anyio.sleep(0.01)
        yield b"b"

    response = await fetch(
        StreamingResponse(generate()),
        method="POST",
        body=[b"1", b"2", b"3"],  # type: ignore[arg-type]
    )
    assert (response.body, response.complete) == (b"ab", True)


# limits


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_a_client_that_takes_nothing_is_dropped_after_send_timeout(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)
    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(endless(), send_timeout=0.02, on_close=outcomes.append)
    async with stream(response, spec_version=version) as client:
        await anext(client)
        client.stall()
        with anyio.fail_after(5):
            await client.wait_closed()
        assert isinstance(client.error, SendTimeout)
        assert isinstance(client.error, TimeoutError)
        assert client.error.seconds == 0.02
        assert not client.complete
    assert outcomes[0].reason == "timeout"
    assert outcomes[0].error is client.error


@pytest.mark.parametrize("make", [iter, as_async])
async def test_a_client_that_takes_nothing_of_the_last_batch_is_dropped_as_well(make: Any) -> None:
    outcomes: list[StreamOutcome] = []
    content = make([b"x" * 1000, b"y" * 50_000])
    response = StreamingResponse(content, send_timeout=0.05, on_close=outcomes.append)
    async with stream(response, read_ahead=100) as client:
        await anext(client)
        client.stall()
        with anyio.fail_after(4):
            await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["timeout"]


async def test_a_client_that_is_only_slow_is_not_dropped() -> None:
    response = StreamingResponse((b"x" * 100 for _ in range(10)), send_timeout=FOREVER)
    async with stream(response, read_ahead=50, rate=50_000) as client:
        assert len(await client.read()) == 1000


async def test_an_async_cleanup_that_hangs_is_given_up_after_cleanup_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = []

    async def generate() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            steps.append("begins")
            try:
                await anyio.sleep(FOREVER)
            finally:
                steps.append("given up")

    response = StreamingResponse(generate(), cleanup_timeout=0.02)
    async with stream(response, read_ahead=500) as client:
        await anext(client)
        await client.disconnect()
        with anyio.fail_after(5):
            await client.wait_closed()
            while "given up" not in steps:  # noqa: ASYNC110
                await anyio.sleep(0.001)
    assert steps == ["begins", "given up"]
    assert "more than 0.02 seconds" in caplog.text


async def test_a_sync_iterable_that_hangs_is_left_to_its_thread_after_cleanup_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release, closed = threading.Event(), threading.Event()
    hangs = anyio.Event()

    def generate() -> Iterator[bytes]:
        try:
            yield b"x"
            anyio.from_thread.run_sync(hangs.set)
            assert release.wait(5)
        finally:
            closed.set()

    response = StreamingResponse(generate(), cleanup_timeout=0.02)
    async with stream(response) as client:
        await anext(client)
        await hangs.wait()
        await client.disconnect()
        with anyio.fail_after(4):
            await client.wait_closed()
        assert not closed.is_set()
        release.set()
        with anyio.fail_after(5):
            while not closed.is_set():  # noqa: ASYNC110 (a thread sets it)
                await anyio.sleep(0.001)
    assert "more than 0.02 seconds" in caplog.text


async def test_a_cleanup_may_take_as_long_as_it_takes_with_none() -> None:
    done = []

    async def generate() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            await anyio.sleep(0.03)
            done.append(True)

    async with stream(StreamingResponse(generate(), cleanup_timeout=None)) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
        assert done


class Beating:
    def encode(self, item: str) -> bytes:
        return item.encode()

    def finish(self) -> bytes:
        return b"!"

    def keep_alive(self) -> bytes:
        return b"."


async def test_keep_alive_fills_a_silence_and_only_a_silence() -> None:
    beats = 0
    enough = anyio.Event()

    async def generate() -> AsyncIterator[str]:
        yield "a"
        await enough.wait()
        yield "b"

    response = StreamingResponse(generate(), encoder=Beating, keep_alive=0.01)
    body = b""
    async with stream(response) as client:
        async for chunk in client:
            body += chunk
            beats += chunk.count(b".")
            if beats == 3:
                enough.set()
    assert body.startswith(b"a...")
    assert body.endswith(b"b!")


async def test_a_keep_alive_goes_with_headers_that_no_chunk_follows() -> None:
    release = anyio.Event()

    async def generate() -> AsyncIterator[str]:
        await release.wait()
        yield "a"

    response = StreamingResponse(
        generate(), encoder=Beating, keep_alive=FOREVER, first_chunk_timeout=0
    )
    async with stream(response) as client:
        with anyio.fail_after(5):
            assert await anext(client) == b"."
        release.set()
        assert await client.read() == b"a!"


class SlowSource(ByteSource):
    async def info(self) -> SourceInfo:
        await anyio.sleep(0.01)
        return SourceInfo(4)

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield b"data"[start:end]


@pytest.mark.parametrize("timeout", [0, 0.5])
async def test_the_headers_of_a_source_wait_until_its_size_is_known(timeout: float) -> None:
    response = await fetch(StreamingResponse(SlowSource(), first_chunk_timeout=timeout))
    assert response.headers["content-length"] == "4"
    assert (response.body, response.complete) == (b"data", True)


async def test_a_server_that_sends_files_is_given_the_path(tmp_path: Path) -> None:
    outcomes: list[StreamOutcome] = []
    path = tmp_path / "file"
    path.write_bytes(b"content")
    response = StreamingResponse(path, on_close=outcomes.append)
    received = await fetch(response, extensions={"http.response.pathsend": {}})
    assert (received.body, received.complete) == (b"content", True)
    assert (outcomes[0].reason, outcomes[0].bytes_sent) == ("complete", 7)


async def test_without_a_silence_there_is_no_keep_alive() -> None:
    response = StreamingResponse(iter("abc"), encoder=Beating, keep_alive=FOREVER)
    assert (await fetch(response)).body == b"abc!"


# on_close


async def test_the_outcome_tells_how_it_went() -> None:
    outcomes: list[StreamOutcome] = []
    await fetch(StreamingResponse([b"abc", "dé"], on_close=outcomes.append))
    (outcome,) = outcomes
    assert (outcome.reason, outcome.bytes_sent, outcome.error) == ("complete", 6, None)
    assert 0 <= outcome.duration < 60
    with pytest.raises(AttributeError):
        outcome.reason = "error"  # type: ignore[misc]


async def test_on_close_may_be_async_and_is_left_to_finish_when_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)
    steps: list[str] = []

    async def on_close(outcome: StreamOutcome) -> None:
        await anyio.sleep(0.005)
        steps.append(outcome.reason)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with anyio.move_on_after(0.01):
            await StreamingResponse(endless(), on_close=on_close)(scope, receive, send)

    async with stream(app) as client:
        await client.wait_closed()
    assert steps == ["cancelled"]


async def test_on_close_may_be_a_method_of_a_subclass_or_of_anything() -> None:
    seen: list[Any] = []

    class Logged(StreamingResponse):
        def on_close(self, outcome: StreamOutcome) -> None:  # type: ignore[override]
            seen.append((self.status_code, outcome.reason))

    await fetch(Logged([b"x"], 201))
    await fetch(Logged([b"x"], on_close=functools.partial(seen.append)))
    assert seen[0] == (201, "complete")
    assert seen[1].reason == "complete"


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_an_on_close_that_raises_is_logged_and_changes_nothing(
    flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    def on_close(outcome: StreamOutcome) -> None:
        raise Broken

    async def on_close_async(outcome: StreamOutcome) -> None:
        raise Broken

    ran: list[int] = []
    response = StreamingResponse(
        [b"x"],
        on_close=on_close if flavour == "sync" else on_close_async,
        background=BackgroundTask(ran.append, 1),
    )
    result = await fetch(response)
    assert (result.body, result.error) == (b"x", None)
    assert ran == [1]
    assert "on_close failed" in caplog.text


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_what_the_cleanup_raises_after_a_disconnect_is_logged_and_told(
    flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[StreamOutcome] = []

    class Content:
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 1000

        def close(self) -> None:
            raise Broken

    class AsyncContent:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._items()

        async def _items(self) -> AsyncIterator[bytes]:
            yield b"x"
            await anyio.sleep_forever()

        async def aclose(self) -> None:
            raise Broken

    content = Content() if flavour == "sync" else AsyncContent()
    async with stream(StreamingResponse(content, on_close=outcomes.append)) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
        assert client.error is None
    assert outcomes[0].reason == "disconnect"
    assert isinstance(outcomes[0].error, Broken)
    assert len([record for record in caplog.records if record.name == "streamkit"]) == 1


async def test_an_error_after_the_last_item_still_cuts_the_body() -> None:
    class Content:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            raise Broken

    response = await fetch(StreamingResponse(Content()))
    assert not response.complete
    assert isinstance(response.error, Broken)


# background tasks


@pytest.mark.parametrize(
    ("ending", "runs"), [("complete", True), ("disconnect", True), ("error", False)]
)
async def test_background_tasks_run_as_in_starlette(ending: str, runs: bool) -> None:
    ran: list[str] = []
    content = {"complete": [b"x"], "disconnect": endless(), "error": breaks_async()}[ending]
    response = StreamingResponse(
        content,
        background=BackgroundTask(ran.append, "ran"),
        on_close=lambda outcome: ran.append(outcome.reason),
    )
    async with stream(response, spec_version="2.3") as client:
        await anext(client)
        if ending == "disconnect":
            await client.disconnect()
        await client.wait_closed()
    assert ran == [ending, "ran"] if runs else [ending]


# a websocket's denial


async def test_a_websocket_can_be_denied_with_a_stream() -> None:
    response = StreamingResponse(["go ", "away"], 403)
    async with stream(response, scope={"type": "websocket"}) as client:
        assert client.status == 403
        assert await client.read() == b"go away"
        types = {message["type"] for message in client.messages}
    assert types == {"websocket.http.response.start", "websocket.http.response.body"}


# middleware recipes


async def test_the_body_can_be_read() -> None:
    response = StreamingResponse(["a", "b"])
    assert b"".join([part async for part in response.body_iterator]) == b"ab"


async def test_the_body_can_be_read_and_put_back() -> None:
    response = StreamingResponse(["a", "b"])
    parts = [part async for part in response.body_iterator]

    async def again() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    response.body_iterator = again()
    assert (await fetch(response)).body == b"ab"


async def test_the_body_can_be_wrapped_and_both_are_closed() -> None:
    closed: list[str] = []

    async def inner() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"a"
        finally:
            closed.append("inner")

    response = StreamingResponse(inner())

    async def outer(body: Any) -> AsyncIterator[bytes]:
        try:
            async for part in body:
                yield part.upper()
        finally:
            closed.append("outer")

    wrapper = outer(response.body_iterator)
    response.body_iterator = wrapper
    assert response.body_iterator is wrapper
    async with stream(response) as client:
        assert (await anext(client)).startswith(b"A")
        await client.disconnect()
        await client.wait_closed()
        assert sorted(closed) == ["inner", "outer"]


async def test_the_body_can_be_replaced_unread_and_is_closed() -> None:
    class Content:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError

        def close(self) -> None:
            self.closed += 1

    content = Content()
    response = StreamingResponse(content)
    response.body_iterator = ["other"]  # type: ignore[assignment]
    assert (await fetch(response)).body == b"other"
    assert content.closed == 1


async def test_the_replacement_of_a_body_is_not_encoded_again() -> None:
    response = StreamingResponse(iter("ab"), encoder=Beating)
    parts = [part async for part in response.body_iterator]
    response.body_iterator = parts  # type: ignore[assignment]
    assert (await fetch(response)).body == b"ab!"


async def test_headers_can_be_changed_until_the_response_is_called() -> None:
    response = StreamingResponse(["x"], headers={"x-one": "1"}, media_type="text/plain")
    response.headers["x-two"] = "2"
    response.raw_headers.append((b"x-three", b"3"))
    response.headers.raw.append((b"x-four", b"4"))
    response.set_cookie("name", "value")
    response.status_code = 202
    received = await fetch(response)
    assert received.status == 202
    assert [received.headers[f"x-{n}"] for n in ("one", "two", "three", "four")] == list("1234")
    assert received.headers["content-type"] == "text/plain; charset=utf-8"
    assert "name=value" in received.headers["set-cookie"]


async def test_a_stream_that_was_sent_says_so_when_it_is_sent_again() -> None:
    response = StreamingResponse(iter([b"x"]))
    await fetch(response)
    with pytest.raises(RuntimeError, match="already"):
        await fetch(response)


# construction


def generator_function() -> Iterator[bytes]:
    yield b""


async def coroutine_function() -> bytes:
    return b""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: 5, ["got int", "for a fixed body use Response"]),
        (lambda: None, ["got NoneType"]),
        (lambda: object(), ["got object"]),
        (lambda: {"a": 1}, ["got dict", "JSONResponse"]),
        (lambda: generator_function, ["got function", "call it: generator_function()"]),
        (lambda: coroutine_function(), ["got coroutine", "await it first"]),
    ],
    ids=["int", "None", "object", "dict", "function", "coroutine"],
)
def test_content_that_can_not_be_streamed_is_refused_with_the_way_out(
    make: Callable[[], Any], words: list[str]
) -> None:
    with pytest.raises(TypeError) as caught:
        StreamingResponse(make())
    assert all(word in str(caught.value) for word in ["StreamingResponse content", *words])


def test_a_file_that_is_open_for_writing_only_is_refused_and_not_taken(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        with pytest.raises(TypeError, match=r"reads the files .* is open for writing only"):
            StreamingResponse(file)
        assert not file.closed


class NoEncoder:
    pass


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_buffer": 0}, ValueError, ["max_buffer", "positive", "0"]),
        ({"max_buffer": -1}, ValueError, ["max_buffer", "positive", "-1"]),
        ({"max_buffer": "1"}, TypeError, ["max_buffer", "'1'"]),
        ({"max_buffer": 1.5}, TypeError, ["max_buffer", "1.5"]),
        ({"first_chunk_timeout": -1}, ValueError, ["first_chunk_timeout", "0 or more", "-1"]),
        ({"first_chunk_timeout": float("nan")}, ValueError, ["first_chunk_timeout", "nan"]),
        ({"send_timeout": "5"}, TypeError, ["send_timeout", "seconds", "'5'"]),
        ({"send_timeout": 0}, ValueError, ["send_timeout", "None for no limit"]),
        ({"keep_alive": 0}, ValueError, ["keep_alive", "more than 0"]),
        ({"keep_alive": 5}, ValueError, ["keep_alive=5", "encoder", "TextEncoder"]),
        ({"cleanup_timeout": -0.1}, ValueError, ["cleanup_timeout", "-0.1"]),
        ({"encoder": NoEncoder}, TypeError, ["encode(item)", "finish()", "NoEncoder"]),
        ({"max_bufer": 5}, TypeError, ["'max_bufer'", "max_buffer", "send_timeout"]),
        ({"filename": ""}, ValueError, ["filename", "None for no name"]),
        ({"filename": 5}, TypeError, ["filename", "int"]),
        ({"etag": "v7"}, ValueError, ["v7"]),
        ({"charset": 8}, TypeError, ["charset must be a str", "int", "8"]),
        ({"encoder": 8}, TypeError, ["encoder must be callable", "int", "8"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_arguments_that_make_no_sense_are_refused_at_construction(
    options: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        StreamingResponse([b"x"], **options)
    assert all(word in str(caught.value) for word in words), caught.value


async def test_charset_is_that_of_the_text_and_of_the_header() -> None:
    response = StreamingResponse(["Öl"], media_type="text/plain", charset="latin-1")
    received = await fetch(response)
    assert received.body == b"\xd6l"
    assert received.headers["content-type"] == "text/plain; charset=latin-1"


async def test_a_subclass_needs_a_media_type_and_nothing_else() -> None:
    class WASMStreamingResponse(StreamingResponse):
        media_type = "application/wasm"

    received = await fetch(WASMStreamingResponse([b"\0asm"]))
    assert received.headers["content-type"] == "application/wasm"


async def test_class_attributes_configure_and_arguments_override_them() -> None:
    outcomes: list[StreamOutcome] = []

    class Configured(StreamingResponse):
        media_type = "text/plain"
        charset = "latin-1"
        max_buffer = 10
        send_timeout = 5
        first_chunk_timeout = None
        encoder = Beating
        keep_alive = FOREVER
        on_close = staticmethod(outcomes.append)

    response = Configured(["a"], max_buffer=20, media_type="text/csv")
    assert (response.max_buffer, Configured.max_buffer) == (20, 10)
    received = await fetch(response)
    assert received.body == b"a!"
    assert received.headers["content-type"] == "text/csv; charset=latin-1"
    assert outcomes[0].reason == "complete"
