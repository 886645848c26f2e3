"""Small bodies that are there as a whole, and are sent in the request's own task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamkit import (
    ByteSource,
    FileStreamingResponse,
    GraceExceeded,
    SourceInfo,
    StreamingResponse,
    StreamOutcome,
    graceful_shutdown,
    open_streams,
)
from streamkit.testing import fetch, stream
from tests.test_cuts import Pair

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


def whole(outcomes: list[StreamOutcome]) -> StreamingResponse:
    return StreamingResponse(b"all of it", on_close=outcomes.append)


@pytest.mark.parametrize(
    ("error", "reason"), [(ConnectionResetError(), "disconnect"), (ValueError(), "error")]
)
async def test_what_send_raises_is_the_reason(error: Exception, reason: str) -> None:
    outcomes: list[StreamOutcome] = []
    response = whole(outcomes)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def fail(message: Any) -> None:
            if message["type"] == "http.response.body":
                raise error
            await send(message)

        await response(scope, receive, fail)

    reply = await fetch(app)
    assert not reply.complete
    (outcome,) = outcomes
    assert outcome.reason == reason
    assert outcome.error is error


class Slow(ByteSource):
    """Bytes in memory, of something whose close hangs."""

    def info_now(self) -> SourceInfo:
        return SourceInfo(5)

    async def info(self) -> SourceInfo:
        return SourceInfo(5)

    def read_now(self, start: int, end: int) -> bytes:
        return b"bytes"[start:end]

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield b"bytes"[start:end]

    async def aclose(self) -> None:
        await anyio.sleep_forever()


async def test_a_close_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(PATIENCE):
        reply = await fetch(StreamingResponse(Slow(), cleanup_timeout=0.02))
    assert (reply.body, reply.complete) == (b"bytes", True)
    assert "the content's cleanup took more than 0.02 seconds" in caplog.text


async def test_a_start_that_nobody_takes_keeps_no_cancellation_waiting() -> None:
    outcomes: list[StreamOutcome] = []
    response = whole(outcomes)
    with anyio.fail_after(PATIENCE):
        with anyio.move_on_after(0.02):
            await response(
                {"type": "http", "method": "GET", "headers": []},
                anyio.sleep_forever,
                lambda message: anyio.sleep_forever(),
            )
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]


async def test_while_its_client_takes_nothing_it_is_listed_as_open() -> None:
    # A loop that another test has closed may have left some.
    before = len(open_streams())
    waits, goes_on = anyio.Event(), anyio.Event()
    response = whole([])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def wait(message: Any) -> None:
            waits.set()
            await goes_on.wait()
            await send(message)

        await response(scope, receive, wait)

    with anyio.fail_after(PATIENCE):
        async with stream(app, "/here", wait_for_start=False) as client:
            await waits.wait()
            (info,) = open_streams()[before:]
            assert (info.bytes, info.waiting) == (0, "client")
            assert info.age >= 0
            goes_on.set()
            assert await client.read() == b"all of it"
            await client.wait_closed()
    assert len(open_streams()) == before


async def test_a_shutdown_drops_a_client_that_takes_nothing_of_it() -> None:
    outcomes: list[StreamOutcome] = []
    response = whole(outcomes)
    waits = anyio.Event()

    with Pair() as pair, anyio.fail_after(PATIENCE):
        scope = {"client": pair.addresses[0], "server": pair.addresses[1]}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def wait_for_the_client(message: Any) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    return
                waits.set()
                pair.server.setblocking(False)
                await anyio.wait_readable(pair.server)
                raise ConnectionResetError

            await response(scope, receive, wait_for_the_client)

        async with (
            graceful_shutdown(0) as shutdown,
            stream(app, scope=scope, wait_for_start=False) as client,
        ):
            await waits.wait()
            shutdown.request()
            await client.wait_closed()
            assert not client.complete
        # A reset, where there is one at once; else the end of the connection.
        with suppress(ConnectionResetError):
            assert pair.client.recv(1) == b""
    (outcome,) = outcomes
    assert outcome.reason == "cancelled"
    assert isinstance(outcome.error, GraceExceeded)


@pytest.mark.parametrize("rates", [{"max_rate": 1e6}, {"min_rate": 1.0}])
async def test_a_file_with_a_rate_is_not_left_to_the_server(
    rates: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * 1000)
    response = FileStreamingResponse(path, **rates)
    async with stream(response, extensions={"http.response.pathsend": {}}) as client:
        assert await client.read() == b"x" * 1000
        assert {message["type"] for message in client.messages} == {
            "http.response.start",
            "http.response.body",
        }
