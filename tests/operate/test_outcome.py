"""What is said of the end of a response, and content that stalls."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamkit import (
    BodyCut,
    DeadlineExceeded,
    ItemTimeout,
    JSONLinesStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
)
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_a_body_whose_every_byte_is_out_is_complete_though_its_source_still_tidies_up(
    flavour: str,
) -> None:
    outcomes: list[StreamOutcome] = []
    tidies = threading.Event()
    release = threading.Event()

    def of_sync() -> Iterator[bytes]:
        yield b"12345"
        tidies.set()
        release.wait(10)

    async def of_async() -> AsyncIterator[bytes]:
        yield b"12345"
        tidies.set()
        await anyio.sleep_forever()

    response = StreamingResponse(
        of_sync() if flavour == "sync" else of_async(),
        headers={"content-length": "5"},
        on_close=outcomes.append,
    )
    async with stream(response) as client:
        assert await anext(client) == b"12345"
        with anyio.fail_after(10):
            while not tidies.is_set():  # noqa: ASYNC110 (a thread sets it)
                await anyio.sleep(0.001)
        await client.disconnect()
        release.set()
        await client.wait_closed()
        assert client.error is None
    assert [(outcome.reason, outcome.error) for outcome in outcomes] == [("complete", None)]


async def test_the_outcome_tells_that_a_client_left_after_the_last_event() -> None:
    outcomes: list[StreamOutcome] = []

    async def tokens() -> AsyncIterator[str]:
        for token in ("one", "two", "[DONE]"):
            yield token
        await anyio.sleep_forever()

    response = SSEStreamingResponse(tokens(), 201, on_close=outcomes.append)
    async with stream(response) as client:
        body = b""
        while b"[DONE]" not in body:
            body += await anext(client)
        await client.disconnect()
        await client.wait_closed()
    (outcome,) = outcomes
    assert (outcome.reason, outcome.status_code, outcome.items) == ("disconnect", 201, 3)
    assert outcome.first_chunk_after is not None
    assert 0 <= outcome.first_chunk_after <= outcome.duration


async def test_the_outcome_of_what_never_started_has_no_status() -> None:
    outcomes: list[StreamOutcome] = []

    async def broken() -> AsyncIterator[bytes]:
        raise ValueError("broken")
        yield b""

    response = StreamingResponse(broken(), on_close=outcomes.append)
    with pytest.raises(ValueError, match="broken"):
        await fetch(response)
    (outcome,) = outcomes
    assert (outcome.reason, outcome.status_code, outcome.items) == ("error", None, 0)
    assert outcome.first_chunk_after is None


# content that stalls


class Stalled:
    """Content of each flavour that gives some items, and then nothing."""

    def __init__(self, *items: str) -> None:
        self._items = items
        self.release = threading.Event()

    def sync(self) -> Iterator[str]:
        yield from self._items
        self.release.wait(1.0)

    async def aio(self) -> AsyncIterator[str]:
        for item in self._items:
            yield item
        await anyio.sleep_forever()


@pytest.mark.parametrize("flavour", ["sync", "aio"])
async def test_content_that_stalls_before_the_start_is_a_504_of_the_apps_handlers(
    flavour: str,
) -> None:
    outcomes: list[StreamOutcome] = []

    async def endpoint(request: Request) -> Response:
        return JSONLinesStreamingResponse(
            getattr(Stalled(), flavour)(),
            first_chunk_timeout=10,
            item_timeout=0.05,
            on_close=outcomes.append,
        )

    async def gateway(request: Request, exc: Exception) -> Response:
        return Response(b"upstream is silent", 504)

    app = Starlette(routes=[Route("/", endpoint)], exception_handlers={504: gateway})
    answer = await fetch(app)
    assert (answer.status, answer.body) == (504, b"upstream is silent")
    assert [(o.reason, type(o.error)) for o in outcomes] == [("error", ItemTimeout)]


@pytest.mark.parametrize("flavour", ["sync", "aio"])
@pytest.mark.parametrize("keep_alive", [None, 0.01])
@pytest.mark.parametrize(
    ("limit", "reason", "error"),
    [("item_timeout", "error", ItemTimeout), ("deadline", "timeout", DeadlineExceeded)],
)
async def test_content_that_stalls_midway_is_told_of_and_cut_whatever_the_keep_alives(
    limit: Any, reason: str, error: type[Exception], keep_alive: float | None, flavour: str
) -> None:
    outcomes: list[StreamOutcome] = []
    response = SSEStreamingResponse(
        getattr(Stalled("one"), flavour)(),
        keep_alive=keep_alive,
        error_item=lambda exc: {"failed": type(exc).__name__},
        on_close=outcomes.append,
        **{limit: 0.4},
    )
    async with stream(response) as client:
        with pytest.raises(BodyCut):
            await client.read()
        await client.wait_closed()
        body = b"".join(message.get("body", b"") for message in client.messages)
        assert isinstance(client.error, error)
    assert b"data: one\n\n" in body
    assert body.endswith(f'data: {{"failed":"{error.__name__}"}}\n\n'.encode())
    assert (b": keep-alive" in body) == (keep_alive is not None)
    assert [(o.reason, type(o.error)) for o in outcomes] == [(reason, error)]


async def test_content_that_gives_an_item_in_time_does_not_stall() -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(5):
            await anyio.sleep(0.02)
            yield b"x"

    answer = await fetch(StreamingResponse(slow(), item_timeout=5))
    assert (answer.body, answer.complete) == (b"xxxxx", True)


async def test_a_slow_client_is_no_stalled_content() -> None:
    response = StreamingResponse(iter([b"x" * 1000] * 5), item_timeout=0.05)
    async with stream(response, read_ahead=100) as client:
        body = await anext(client)
        await anyio.sleep(0.15)
        body += await client.read()
        assert client.complete
    assert len(body) == 5000
