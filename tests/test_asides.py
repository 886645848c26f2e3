"""What is sent beside the content: keep-alives and farewells, when a client takes nothing of them,
and when the content comes to its end meanwhile."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from streamkit import (
    GraceExceeded,
    SendTimeout,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    graceful_shutdown,
)
from streamkit.testing import stream

pytestmark = pytest.mark.anyio

# Fills what lies between app and client in these tests.
EVENT = "x" * 600


@pytest.fixture(autouse=True)
def without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)


class Events:
    """An event stream whose cleanup has to await."""

    def __init__(self, *, last_after: float | None = None) -> None:
        self._last_after = last_after
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            yield EVENT
            if self._last_after is None:
                await anyio.sleep_forever()
            else:
                await anyio.sleep(self._last_after)
            yield "last"
        finally:
            await anyio.lowlevel.checkpoint()
            self.closed += 1


@pytest.mark.parametrize("last_after", [None, 0.03], ids=["waits", "has ended"])
async def test_a_client_that_does_not_take_a_keep_alive_is_dropped_and_the_content_closed(
    last_after: float | None, anyio_backend: Any
) -> None:
    events, outcomes = Events(last_after=last_after), list[StreamOutcome]()
    response = SSEStreamingResponse(
        events, keep_alive=0.01, send_timeout=0.06, on_close=outcomes.append
    )
    async with stream(response, read_ahead=5) as client:
        await anext(client)
        client.stall()
        with anyio.fail_after(5):
            await client.wait_closed()
        assert isinstance(client.error, SendTimeout)
        assert not client.complete
    assert [outcome.reason for outcome in outcomes] == ["timeout"]
    assert events.closed == 1


@pytest.mark.parametrize("flavour", ["async", "sync"])
async def test_a_client_that_takes_no_last_chunk_is_dropped_though_the_content_has_ended(
    flavour: str, anyio_backend: Any
) -> None:
    stalled = anyio.Event()

    async def generate() -> AsyncIterator[bytes]:
        yield b"first"
        await stalled.wait()
        yield b"last" * 100

    def generate_sync() -> Iterator[bytes]:
        yield b"first"
        anyio.from_thread.run(stalled.wait)
        yield b"last" * 100

    content = generate() if flavour == "async" else generate_sync()
    async with stream(StreamingResponse(content, send_timeout=0.03), read_ahead=5) as client:
        await anext(client)
        client.stall()
        stalled.set()
        with anyio.fail_after(5):
            await client.wait_closed()
        assert isinstance(client.error, SendTimeout)
        assert not client.complete


async def test_a_farewell_that_nobody_takes_is_cut_after_the_grace_and_the_content_closed(
    anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events, outcomes = Events(), list[StreamOutcome]()
    response = SSEStreamingResponse(events, farewell="bye", on_close=outcomes.append)
    async with graceful_shutdown(0.05) as shutdown, stream(response, read_ahead=5) as client:
        await anext(client)
        client.stall()
        shutdown.request()
        with anyio.fail_after(5):
            await client.wait_closed()
        assert not client.complete
    assert [type(outcome.error) for outcome in outcomes] == [GraceExceeded]
    assert events.closed == 1
    assert "took more than" not in caplog.text


async def test_a_farewell_that_a_slow_client_takes_is_not_cut_by_what_was_due_before(
    anyio_backend: Any,
) -> None:
    response = SSEStreamingResponse(Events(), keep_alive=0.03, farewell="bye")
    async with graceful_shutdown(30) as shutdown, stream(response, read_ahead=5) as client:
        await anext(client)
        client.stall()
        shutdown.request()
        await anyio.sleep(0.06)
        client.resume()
        assert (await client.read()).endswith(b"data: bye\n\n")
        assert client.complete


@pytest.mark.parametrize("flavour", ["async", "sync"])
async def test_after_a_farewell_the_content_is_closed_and_nothing_has_failed(
    flavour: str, anyio_backend: Any
) -> None:
    outcomes, closed = list[StreamOutcome](), []

    async def generate() -> AsyncIterator[str]:
        try:
            yield "first"
            shutdown.request()
            yield "second"
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.01)
            closed.append(True)

    def generate_sync() -> Iterator[str]:
        try:
            yield "first"
            anyio.from_thread.run_sync(shutdown.request)
            yield "second"
            while True:
                threading.Event().wait(0.01)
                yield "more"
        finally:
            closed.append(True)

    content = generate() if flavour == "async" else generate_sync()
    response = SSEStreamingResponse(content, farewell="bye", on_close=outcomes.append)
    async with graceful_shutdown(30) as shutdown, stream(response) as client:
        assert (await client.read()).endswith(b"data: bye\n\n")
        await client.wait_closed()
        assert closed == [True]
    assert [(outcome.reason, outcome.error) for outcome in outcomes] == [("cancelled", None)]


async def generate_parts(ask: Callable[[], None]) -> AsyncIterator[bytes]:
    yield b"data: first\n\n"
    yield b"data: ha"
    ask()
    await anyio.sleep(0.01)
    yield b"lf\n\n"
    await anyio.sleep_forever()


def generate_parts_on_a_thread(ask: Callable[[], None]) -> Iterator[bytes]:
    yield b"data: first\n\n"
    yield b"data: ha"
    anyio.from_thread.run_sync(ask)
    # While the first part is on its way, the encoder has come to the end of the event.
    yield b"lf\n\n"
    while True:
        threading.Event().wait(0.01)
        yield b"data: more\n\n"


@pytest.mark.parametrize("generate", [generate_parts, generate_parts_on_a_thread])
async def test_a_farewell_comes_between_two_events_of_bytes_that_are_cut_anywhere(
    generate: Callable[[Callable[[], None]], Any], anyio_backend: Any
) -> None:
    asked = threading.Event()

    def ask() -> None:
        shutdown.request()
        asked.set()

    response = SSEStreamingResponse(generate(ask), farewell="bye", keep_alive=None)
    async with (
        graceful_shutdown(30) as shutdown,
        stream(response, read_ahead=5, suspend_on_send=True) as client,
    ):
        body = [await anext(client)]
        while not asked.is_set():  # noqa: ASYNC110 (a thread sets it)
            await anyio.sleep(0.001)
        # For the thread to be ahead of what was sent.
        await anyio.sleep(0.02)
        body.append(await client.read())
    *events, farewell = b"".join(body).split(b"\n\n")[:-1]
    assert farewell == b"data: bye"
    assert set(events) <= {b"data: first", b"data: half", b"data: more"}
