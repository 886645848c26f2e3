"""A response that ends before its start still has one: nobody above it finds that there is none."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkit import StreamingResponse, StreamOutcome
from streamkit.testing import stream

pytestmark = pytest.mark.anyio


async def pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


class Monitor:
    """What monitoring does: it counts what is raised as a failure, and wants a status of all."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.failures: list[BaseException] = []
        self.statuses: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as exc:
            self.failures.append(exc)
            raise


class Recorder:
    """Innermost: the messages that the response sends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            await send(message)
            self.messages.append(message)

        await self.app(scope, receive, noted)


RELAY = Middleware(BaseHTTPMiddleware, dispatch=pass_on)
STACKS: dict[str, list[Middleware]] = {
    "none": [],
    "BaseHTTPMiddleware": [RELAY],
    "three BaseHTTPMiddleware": [RELAY] * 3,
    "GZip between two BaseHTTPMiddleware": [RELAY, Middleware(GZipMiddleware), RELAY],
}


class Waiting:
    """Content of each flavour that gives nothing, until it is stopped or released."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.release = threading.Event()

    def sync(self) -> Iterator[bytes]:
        self.began.set()
        self.release.wait(10)
        yield b""

    async def aio(self) -> AsyncIterator[bytes]:
        self.began.set()
        await anyio.sleep_forever()
        yield b""


FLAVOURS: dict[str, Callable[[Waiting], Any]] = {"sync": Waiting.sync, "async": Waiting.aio}
OPTIONS = [{}, {"first_chunk_timeout": 10}, {"first_chunk_timeout": None}]


def served(
    stack: str, response: StreamingResponse, around: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> tuple[Monitor, Recorder]:
    recorder = Recorder(around(response))
    app = Starlette(routes=[Route("/", recorder)], middleware=STACKS[stack])
    return Monitor(app), recorder


def release_soon(waiting: Waiting) -> None:
    """When the loop has seen what happened before: a thread can't be stopped."""
    threading.Timer(0.2, waiting.release.set).start()


async def until_began(waiting: Waiting) -> None:
    with anyio.fail_after(10):
        while not waiting.began.is_set():  # noqa: ASYNC110 (a thread sets it)
            await anyio.sleep(0.001)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("stack", STACKS)
async def test_a_client_that_leaves_before_the_first_chunk_is_no_failure(
    stack: str, flavour: str, options: Any
) -> None:
    outcomes: list[StreamOutcome] = []
    waiting = Waiting()
    response = StreamingResponse(FLAVOURS[flavour](waiting), on_close=outcomes.append, **options)
    monitor, recorder = served(stack, response)
    async with stream(monitor, wait_for_start=False) as client:
        await until_began(waiting)
        await client.disconnect()
        release_soon(waiting)
        with anyio.fail_after(10):
            await client.wait_closed()
        assert client.error is None
    assert monitor.failures == []
    assert monitor.statuses == [200]
    assert [message["type"] for message in recorder.messages[-2:]] == [
        "http.response.start",
        "http.response.body",
    ]
    assert recorder.messages[-1].get("body", b"") == b""
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("stack", STACKS)
async def test_a_scope_that_is_cancelled_around_the_response_leaves_a_503(
    stack: str, flavour: str
) -> None:
    outcomes: list[StreamOutcome] = []
    waiting = Waiting()
    response = StreamingResponse(
        FLAVOURS[flavour](waiting), first_chunk_timeout=10, on_close=outcomes.append
    )

    def bounded(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            with anyio.CancelScope() as cancelled:
                async with anyio.create_task_group() as group:

                    async def cancel() -> None:
                        await until_began(waiting)
                        cancelled.cancel()
                        release_soon(waiting)

                    group.start_soon(cancel)
                    await app(scope, receive, send)

        return call

    monitor, _ = served(stack, response, bounded)
    async with stream(monitor) as client:
        assert (client.status, await client.read()) == (503, b"")
        await client.wait_closed()
        assert client.error is None
    assert monitor.failures == []
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]


@pytest.mark.parametrize("stack", STACKS)
async def test_a_start_that_is_cancelled_on_its_way_is_sent_again(stack: str) -> None:
    """As by a relay that was not ready to take it."""
    starts: list[int] = []

    def slow(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            async def slow_send(message: Message) -> None:
                if message["type"] == "http.response.start" and not starts:
                    starts.append(message["status"])
                    cancelled.cancel()
                    await anyio.sleep_forever()
                await send(message)

            with anyio.CancelScope() as cancelled:
                await app(scope, receive, slow_send)

        return call

    for content in (b"whole", iter([b"item"]), Waiting().aio()):
        starts.clear()
        response = StreamingResponse(content, first_chunk_timeout=0.01)
        monitor, _ = served(stack, response, slow)
        async with stream(monitor) as client:
            assert (client.status, await client.read()) == (503, b"")
            await client.wait_closed()
        assert monitor.failures == []


@pytest.mark.parametrize("stack", STACKS)
async def test_a_send_that_fails_at_the_early_end_is_ignored(stack: str) -> None:
    waiting = Waiting()

    def broken(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            async def failing(message: Message) -> None:
                raise RuntimeError("nobody is there")

            await app(scope, receive, failing)

        return call

    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(waiting.aio(), first_chunk_timeout=10, on_close=outcomes.append)
    app = broken(response)
    async with stream(app, wait_for_start=False) as client:
        await until_began(waiting)
        await client.disconnect()
        await client.wait_closed()
        assert client.error is None
    assert [outcome.reason for outcome in outcomes] == ["disconnect"]
