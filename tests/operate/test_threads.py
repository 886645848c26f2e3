"""Threads that are all taken: a status in time, and a log that says by what."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streamkit import (
    BodyCut,
    StreamingResponse,
    StreamOutcome,
    ThreadTimeout,
    ending,
    iterate_writes,
    stream_limiter,
)
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def thread_taken(release: threading.Event) -> AsyncIterator[None]:
    """A stream that blocks its thread until the event is set."""
    blocking = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"blocks"
        blocking.set()
        release.wait(30)

    async with stream(StreamingResponse(blocks())):
        # Its first chunk is not enough: between two items a stream gives way to who waits.
        with anyio.fail_after(10):
            while not blocking.is_set():  # noqa: ASYNC110
                await anyio.sleep(0.001)
        try:
            yield
        finally:
            # Before it is left, which waits for its thread.
            release.set()


@asynccontextmanager
async def all_threads_taken(count: int = 2) -> AsyncIterator[threading.Event]:
    """As many streams as there are threads, which block until the event is set."""
    limiter = stream_limiter()
    before, limiter.total_tokens = limiter.total_tokens, count
    release = threading.Event()

    try:
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(thread_taken(release))
            yield release
    finally:
        limiter.total_tokens = before


class Content:
    """Sync content that says where it was closed."""

    def __init__(self) -> None:
        self.closed_on: list[threading.Thread] = []

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"content"])

    def close(self) -> None:
        self.closed_on.append(threading.current_thread())


def starlette_app(endpoint: Any, handlers: Any) -> Any:
    return Starlette(routes=[Route("/", endpoint)], exception_handlers=handlers)


def fastapi_app(endpoint: Any, handlers: Any) -> Any:
    app = FastAPI(exception_handlers=handlers)
    app.add_api_route("/", endpoint, response_model=None)
    return app


def relayed_app(endpoint: Any, handlers: Any) -> Any:
    async def pass_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    return BaseHTTPMiddleware(starlette_app(endpoint, handlers), pass_on)


@pytest.mark.parametrize("make_app", [starlette_app, fastapi_app, relayed_app])
async def test_a_stream_that_gets_no_thread_is_a_503_of_the_apps_handlers(
    make_app: Callable[..., Any],
) -> None:
    contents: list[Content] = []
    outcomes: list[StreamOutcome] = []

    async def endpoint(request: Request) -> Response:
        contents.append(Content())
        # The headers do not go out meanwhile, though no chunk comes.
        return StreamingResponse(
            contents[-1], thread_timeout=0.1, first_chunk_timeout=0.02, on_close=outcomes.append
        )

    async def busy(request: Request, exc: Exception) -> Response:
        return PlainTextResponse("busy", 503, headers={"retry-after": "1"})

    app = make_app(endpoint, {503: busy})
    async with all_threads_taken():
        response = await fetch(app)
    assert (response.status, response.body) == (503, b"busy")
    assert response.headers["retry-after"] == "1"
    assert [(outcome.reason, type(outcome.error)) for outcome in outcomes] == [
        ("error", ThreadTimeout)
    ]
    # Its cleanup may block, so that it isn't the loop's thread.
    assert len(contents[0].closed_on) == 1
    assert threading.current_thread() not in contents[0].closed_on
    assert (await fetch(app)).body == b"content"


@pytest.mark.parametrize("compress", [False, True])
async def test_a_cleanup_that_takes_long_without_a_thread_starts_no_response(
    compress: bool,
) -> None:
    class Slow(Content):
        def close(self) -> None:
            time.sleep(0.2)
            super().close()

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(
            Slow(),
            media_type="text/plain",
            thread_timeout=0.05,
            first_chunk_timeout=0.02,
            compress=compress,
        )

    app = starlette_app(endpoint, {})
    async with all_threads_taken():
        assert (await fetch(app, headers={"accept-encoding": "gzip"})).status == 503


async def test_what_writes_to_a_file_waits_for_a_thread_no_longer_either() -> None:
    written: list[bytes] = []

    def write(file: Any) -> None:
        written.append(b"written")

    async with all_threads_taken():
        response = await fetch(
            starlette_app(
                lambda _: StreamingResponse(iterate_writes(write), thread_timeout=0.05), {}
            )
        )
    assert response.status == 503
    assert not written


async def test_a_stream_that_gets_its_thread_late_is_whole() -> None:
    response = StreamingResponse(
        iter([b"late"]), first_chunk_timeout=0.05, item_timeout=0.05, thread_timeout=30
    )
    async with all_threads_taken() as release, anyio.create_task_group() as group:
        results: list[Any] = []

        async def read() -> None:
            results.append(await fetch(response))

        group.start_soon(read)
        # Longer than any limit that counts while the content runs.
        await anyio.sleep(0.2)
        assert not results
        release.set()
    assert (results[0].status, results[0].body, results[0].complete) == (200, b"late", True)


async def test_a_stream_that_loses_its_thread_midway_is_cut() -> None:
    outcomes: list[StreamOutcome] = []
    release = threading.Event()

    def pauses() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    limiter = stream_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    response = StreamingResponse(
        pauses(), thread_timeout=0.1, on_close=outcomes.append, max_buffer=1000
    )

    try:
        async with stream(response, read_ahead=1000) as client:
            await anext(client)
            async with thread_taken(release):
                with anyio.fail_after(10), pytest.raises(BodyCut):
                    await client.read()
    finally:
        limiter.total_tokens = before
    assert [(outcome.reason, type(outcome.error)) for outcome in outcomes] == [
        ("error", ThreadTimeout)
    ]


async def test_a_client_that_leaves_while_its_stream_waits_for_a_thread_ends_it() -> None:
    content, outcomes = Content(), list[StreamOutcome]()
    response = StreamingResponse(content, on_close=outcomes.append, thread_timeout=None)
    async with all_threads_taken():
        async with stream(response, wait_for_start=False) as client:
            await anyio.sleep(0.02)
            await client.disconnect()
            with anyio.fail_after(10):
                await client.wait_closed()
        assert stream_limiter().statistics().tasks_waiting == 0
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]
    assert len(content.closed_on) == 1


async def test_the_limiter_says_how_many_streams_wait_for_a_thread() -> None:
    async with all_threads_taken(), AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(
                stream(StreamingResponse(iter([b"waits"])), wait_for_start=False)
            )
        with anyio.fail_after(10):
            while stream_limiter().statistics().tasks_waiting < 3:  # noqa: ASYNC110
                await anyio.sleep(0.001)
        assert stream_limiter().statistics().borrowed_tokens == 2


async def leave(content: Any) -> None:
    async with stream(StreamingResponse(content, cleanup_timeout=0.01)) as client:
        await anext(client)
        await anyio.sleep(0.01)
        await client.disconnect()
        with anyio.fail_after(10):
            await client.wait_closed()


async def test_the_log_says_once_which_content_was_given_up_and_still_blocks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_told", set())
    release = threading.Event()

    def rows() -> Iterator[bytes]:
        yield b"row"
        release.wait(30)

    class Report:
        def __iter__(self) -> Iterator[bytes]:
            return rows()

    caplog.set_level(logging.DEBUG, "streamkit")
    try:
        async with anyio.create_task_group() as group:
            for content in (rows(), rows(), rows(), Report()):
                group.start_soon(leave, content)
    finally:
        release.set()
    told = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.ERROR and "goes on without" in record.getMessage()
    ]
    assert len(told) == 2
    assert all("still blocks a thread" in line for line in told)
    name = "test_the_log_says_once_which_content_was_given_up_and_still_blocks.<locals>"
    assert any(f"{name}.Report" in line for line in told)
    # Where it stands, as many functions are called alike.
    assert any(f"{name}.rows ({__file__}:" in line for line in told)
