"""How a content comes to its end: by what `send` raises, what the client does, and what is left
of it when its cleanup does not end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.requests import Request

from streamkit import (
    ClientTooSlow,
    JSONLinesStreamingResponse,
    PlainTextStreamingResponse,
    ResponseStart,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    graceful_shutdown,
    iterate_from_thread,
    request_chunks,
)
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio

PATIENCE = 5.0


class Stubborn:
    """Its cleanup swallows every cancellation until it is let go."""

    def __init__(self) -> None:
        self.let_go = anyio.Event()
        self.closed = anyio.Event()

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            yield "first"
            await anyio.sleep_forever()
        finally:
            while not self.let_go.is_set():
                with suppress(BaseException):
                    await self.let_go.wait()
            self.closed.set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("compress", [False, True])
async def test_a_response_goes_on_without_a_content_whose_cleanup_nothing_ends(
    compress: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamkit.watch.LAST_RESORT", 0.02)
    monkeypatch.setattr("streamkit.ending._told", set())
    content, outcomes = Stubborn(), list[StreamOutcome]()
    response = PlainTextStreamingResponse(
        content, compress=compress, cleanup_timeout=0.02, on_close=outcomes.append
    )
    with anyio.fail_after(PATIENCE):
        async with stream(response, headers={"accept-encoding": "gzip"}) as client:
            await anext(client)
            await client.disconnect()
            await client.wait_closed()
        assert not content.closed.is_set()
        content.let_go.set()
        await content.closed.wait()
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]
    assert "the content's cleanup took more than 0.02 seconds" in caplog.text
    told = "a response goes on without its content, which can't be stopped: "
    assert f"{told}{__name__}.Stubborn" in caplog.text


async def test_a_cleanup_without_a_limit_has_one_when_the_app_shuts_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamkit.shutdown.CLOSING", 0.05)
    begins, ended, outcomes = anyio.Event(), anyio.Event(), list[StreamOutcome]()

    async def content() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await anyio.sleep_forever()
        finally:
            begins.set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()

    response = StreamingResponse(content(), cleanup_timeout=None, on_close=outcomes.append)
    with anyio.fail_after(PATIENCE):
        async with graceful_shutdown(0) as shutdown, stream(response) as client:
            await anext(client)
            await client.disconnect()
            await begins.wait()
            shutdown.request()
            await client.wait_closed()
            await ended.wait()
    # What came first stands.
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]


async def test_a_client_for_which_a_send_holds_the_whole_loop_is_too_slow_as_well() -> None:
    outcomes: list[StreamOutcome] = []

    async def content() -> AsyncIterator[bytes]:
        yield b"x" * 10
        yield b"y" * 10

    response = StreamingResponse(
        content(), min_rate=1e6, min_rate_grace=0.001, on_close=outcomes.append
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def block(message: Any) -> None:
            if message["type"] == "http.response.body":
                # As a server does that writes to a file: no timer can ring meanwhile.
                time.sleep(0.05)  # noqa: ASYNC251
            await send(message)

        await response(scope, receive, block)

    with anyio.fail_after(PATIENCE):
        reply = await fetch(app)
    assert not reply.complete
    (outcome,) = outcomes
    assert outcome.reason == "timeout"
    assert isinstance(outcome.error, ClientTooSlow)


@pytest.mark.parametrize("in_a_group", [False, True])
async def test_a_content_that_hears_first_that_the_client_left_has_not_failed(
    in_a_group: bool,
) -> None:
    outcomes: list[StreamOutcome] = []
    reads = anyio.Event()

    async def upload() -> AsyncIterator[bytes]:
        yield b"one"
        await anyio.sleep_forever()

    async def content(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk.upper()
            reads.set()

    async def grouped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async with anyio.create_task_group():
            async for chunk in chunks:
                yield chunk.upper()
                reads.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        chunks = request_chunks(Request(scope, receive))
        make = grouped if in_a_group else content
        await StreamingResponse(make(chunks), on_close=outcomes.append)(scope, receive, send)

    with anyio.fail_after(PATIENCE):
        async with stream(app, method="POST", body=upload()) as client:
            assert await anext(client) == b"ONE"
            await reads.wait()
            await anyio.lowlevel.checkpoint()
            await client.disconnect()
            await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]


async def test_a_def_generator_may_read_the_requests_body() -> None:
    def content(request: Request) -> Iterator[bytes]:
        for chunk in iterate_from_thread(request.stream()):
            yield chunk.upper()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        await StreamingResponse(content(request))(scope, receive, send)

    with anyio.fail_after(PATIENCE):
        reply = await fetch(app, method="POST", body=b"body")
    assert (reply.body, reply.complete) == (b"BODY", True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError("gone"), "disconnect"),
        (ValueError(), "error"),
        (ClientTooSlow(1.0), "timeout"),
    ],
)
async def test_what_send_raises_at_a_keep_alive_ends_the_response(
    error: Exception, reason: str
) -> None:
    outcomes: list[StreamOutcome] = []

    async def content() -> AsyncIterator[str]:
        yield "first"
        await anyio.sleep_forever()

    response = SSEStreamingResponse(content(), keep_alive=0.02, on_close=outcomes.append)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def fail(message: Any) -> None:
            if message.get("body", b"").startswith(b":"):
                raise error
            await send(message)

        await response(scope, receive, fail)

    with anyio.fail_after(PATIENCE):
        async with stream(app) as client:
            assert b"data: first" in await anext(client)
            await client.wait_closed()
            assert not client.complete
    (outcome,) = outcomes
    assert outcome.reason == reason
    assert outcome.error is error


async def test_a_content_is_never_begun_if_the_client_leaves_before_the_headers() -> None:
    began: list[bool] = []
    closed: list[bool] = []

    class Content:
        def __aiter__(self) -> AsyncIterator[bytes]:
            began.append(True)
            raise AssertionError

        async def aclose(self) -> None:
            closed.append(True)

    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(Content(), first_chunk_timeout=0, on_close=outcomes.append)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def fail(message: Any) -> None:
            raise ConnectionResetError

        await response(scope, receive, fail)

    with anyio.fail_after(PATIENCE):
        async with stream(app, wait_for_start=False) as client:
            await client.wait_closed()
    assert (began, closed) == ([], [True])
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]


async def test_of_a_body_that_somebody_has_begun_to_read_the_rest_is_sent() -> None:
    async def content() -> AsyncIterator[dict[str, int]]:
        for number in range(3):
            yield {"number": number}

    response = JSONLinesStreamingResponse(content())
    body: Any = response.body_iterator
    assert await anext(body) == b'{"number":0}\n'
    reply = await fetch(response)
    assert (reply.body, reply.complete) == (b'{"number":1}\n{"number":2}\n', True)


async def test_what_is_no_exception_has_no_frame_in_the_body() -> None:
    class Exits(BaseException):
        pass

    outcomes: list[StreamOutcome] = []

    async def content() -> AsyncIterator[dict[str, int]]:
        yield {"number": 1}
        raise Exits

    response = JSONLinesStreamingResponse(content(), error_frames=True, on_close=outcomes.append)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with suppress(Exits):
            await response(scope, receive, send)

    reply = await fetch(app)
    assert (reply.body, reply.complete) == (b'{"number":1}\n', False)
    (outcome,) = outcomes
    assert isinstance(outcome.error, Exits)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_content_with_an_open_decides_on_the_start(is_async: bool) -> None:
    class Content:
        def open(self) -> Any:
            return self._open() if is_async else ResponseStart(status_code=202)

        async def _open(self) -> ResponseStart:
            return ResponseStart(status_code=202)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"later"

    reply = await fetch(StreamingResponse(Content()))
    assert (reply.status, reply.body) == (202, b"later")


class Unclosable:
    """A file of which nobody knows how it is closed."""

    def __init__(self) -> None:
        self._left = [b"one ", b"two"]

    def read(self, size: int = -1) -> bytes:
        return self._left.pop(0) if self._left else b""


class AsyncUnclosable(Unclosable):
    async def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        return super().read(size)


@pytest.mark.parametrize("kind", [Unclosable, AsyncUnclosable])
async def test_a_file_without_a_close_is_streamed(kind: Any) -> None:
    reply = await fetch(StreamingResponse(kind()))
    assert (reply.body, reply.complete) == (b"one two", True)


async def test_a_generator_that_looks_like_fastapis_wrapper_is_streamed_as_it_is() -> None:
    there: dict[str, Any] = {"__name__": "fastapi.routing"}
    exec("async def _async_stream_raw(first, second):\n    yield first + second", there)
    content = there["_async_stream_raw"](b"one ", b"two")
    assert (await fetch(StreamingResponse(content))).body == b"one two"


def hold_the_loop() -> None:
    time.sleep(0.005)


async def at_a_bare_yield() -> None:
    await asyncio.sleep(0)


async def for_a_future_that_is_done() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("wait", [at_a_bare_yield, for_a_future_that_is_done])
async def test_a_client_that_leaves_at_a_send_closes_a_content_that_could_go_on(wait: Any) -> None:
    steps: list[str] = []
    outcomes: list[StreamOutcome] = []

    async def content() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            yield b"second"
            # Longer than items are gathered: what is there leaves first.
            hold_the_loop()
            await wait()
            steps.append("went on")
            await anyio.sleep_forever()
        finally:
            await anyio.lowlevel.checkpoint()
            steps.append("closed")

    response = StreamingResponse(content(), on_close=outcomes.append)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def fail(message: Any) -> None:
            if message.get("body") == b"second":
                # The future is done meanwhile.
                await asyncio.sleep(0.01)
                raise ConnectionResetError
            await send(message)

        await response(scope, receive, fail)

    with anyio.fail_after(PATIENCE):
        reply = await fetch(app)
    assert reply.body == b"first"
    assert steps == ["closed"]
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]
