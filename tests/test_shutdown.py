"""Shutdown: open streams are told, have their grace, and are closed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from streamkit import (
    BodyCut,
    GraceExceeded,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    graceful_shutdown,
)
from streamkit.asgi.listeners import Listeners
from streamkit.testing import fetch, stream
from tests.shutdown_app import BYE, FAREWELL, brief, flood, silence, slow_ticks, ticks


@asynccontextmanager
async def shutting_down(grace: float, content: Any, **options: Any) -> AsyncIterator[Any]:
    """An open stream that has sent something, in an app that may shut down; and its outcomes."""
    outcomes: list[StreamOutcome] = []
    response_class = options.pop("response_class", StreamingResponse)
    response = response_class(content, on_close=outcomes.append, **options)
    async with graceful_shutdown(grace) as shutdown, stream(response) as client:
        await anext(client)
        yield shutdown, client, outcomes


async def test_an_event_stream_says_farewell_and_ends_cleanly(anyio_backend: Any) -> None:
    options = {"response_class": SSEStreamingResponse, "farewell": FAREWELL}
    async with shutting_down(30.0, silence(), **options) as (shutdown, client, outcomes):
        shutdown.request()
        assert await client.read() == BYE
        await client.wait_closed()
    assert [(outcome.reason, outcome.error) for outcome in outcomes] == [("cancelled", None)]


async def test_an_event_stream_without_a_farewell_ends_at_once(anyio_backend: Any) -> None:
    options = {"response_class": SSEStreamingResponse}
    async with shutting_down(30.0, silence(), **options) as (shutdown, client, outcomes):
        shutdown.request()
        assert await client.read() == b""
        assert client.complete
        await client.wait_closed()
    assert [(outcome.reason, outcome.error) for outcome in outcomes] == [("cancelled", None)]


async def test_what_was_ready_goes_out_before_the_farewell(anyio_backend: Any) -> None:
    async def events() -> AsyncIterator[str]:
        yield "first"
        shutdown.request()
        yield "second"
        await anyio.sleep_forever()

    response = SSEStreamingResponse(events(), farewell="bye")
    async with graceful_shutdown() as shutdown, stream(response) as client:
        body = await client.read()
    assert body.endswith(b"data: first\n\ndata: second\n\ndata: bye\n\n")


async def test_a_farewell_follows_an_item_that_was_on_its_way(anyio_backend: Any) -> None:
    on_its_way = anyio.Event()

    async def events() -> AsyncIterator[str]:
        for n in range(3):
            yield f"{n}"
            await anyio.sleep(0.001)
        yield "x" * 1000
        await anyio.sleep(0.001)
        yield "last"
        on_its_way.set()
        await anyio.sleep_forever()

    response = SSEStreamingResponse(events(), farewell="bye")
    async with graceful_shutdown(30.0) as shutdown, stream(response, read_ahead=5) as client:
        with anyio.fail_after(10):
            for _ in range(3):
                await anext(client)
            await on_its_way.wait()
            await anyio.sleep(0.01)
            # The client has not taken the last item yet, and its `send` waits.
            shutdown.request()
            body = await client.read()
    assert body.endswith(b"x\n\ndata: last\n\ndata: bye\n\n")


async def test_a_farewell_waits_for_no_thread(anyio_backend: Any) -> None:
    released = threading.Event()

    def events() -> Iterator[str]:
        yield "first"
        released.wait(30)

    options = {"response_class": SSEStreamingResponse, "farewell": "bye"}
    async with shutting_down(30.0, events(), **options) as (shutdown, client, _):
        shutdown.request()
        assert await client.read() == b"data: bye\n\n"
        released.set()


async def test_a_stream_that_ends_within_the_grace_is_whole(anyio_backend: Any) -> None:
    async with shutting_down(30.0, brief()) as (shutdown, client, outcomes):
        shutdown.request()
        assert (await client.read()).endswith(b"9\n")
        await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["complete"]


@pytest.mark.parametrize("content", [silence, ticks, slow_ticks, flood])
async def test_after_the_grace_a_stream_is_cut_and_closed(content: Any, anyio_backend: Any) -> None:
    async with shutting_down(0.05, content()) as (shutdown, client, outcomes):
        shutdown.request()
        with pytest.raises(BodyCut):
            await client.read()
        await client.wait_closed()
        assert not client.complete
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]
    assert isinstance(outcomes[0].error, GraceExceeded)


async def test_a_client_that_has_stalled_is_cut_as_well(anyio_backend: Any) -> None:
    async with shutting_down(0.05, flood()) as (shutdown, client, outcomes):
        client.stall()
        shutdown.request()
        await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]


async def test_a_cleanup_that_hangs_holds_no_shutdown(
    anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def hanging() -> AsyncIterator[str]:
        try:
            yield "tick\n"
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(40)

    async with shutting_down(0.0, hanging()) as (shutdown, client, outcomes):
        shutdown.request()
        with anyio.fail_after(20):
            await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]
    assert "the content's cleanup took more than 0.5 seconds" in caplog.text


async def test_leaving_the_block_ends_the_streams(anyio_backend: Any) -> None:
    async with anyio.create_task_group() as group:
        outcomes: list[StreamOutcome] = []

        async def read() -> None:
            response = StreamingResponse(silence(), on_close=outcomes.append)
            async with stream(response) as client:
                with pytest.raises(BodyCut):
                    await client.read()

        async with graceful_shutdown(0.0):
            group.start_soon(read)
            await anyio.sleep(0.05)
        assert [outcome.reason for outcome in outcomes] == ["cancelled"]


async def test_a_stream_that_begins_during_the_shutdown_is_told_at_once(anyio_backend: Any) -> None:
    async with graceful_shutdown(30.0) as shutdown:
        shutdown.request()
        async with stream(SSEStreamingResponse(silence(), farewell="bye")) as client:
            assert (await client.read()).endswith(b"data: bye\n\n")


async def test_a_stream_that_begins_after_the_grace_is_refused(anyio_backend: Any) -> None:
    async with graceful_shutdown(0.0) as shutdown:
        shutdown.request()
        await shutdown.wait()
        await anyio.sleep(0.01)
        app = Starlette(routes=[Route("/", lambda _: StreamingResponse(silence()))])
        assert (await fetch(app)).status == 503


async def test_contents_can_look_and_wait_for_the_shutdown(anyio_backend: Any) -> None:
    async def waiting() -> AsyncIterator[str]:
        yield "waiting\n"
        await shutdown.wait()
        yield f"requested: {shutdown.requested}\n"

    async with graceful_shutdown(30.0) as shutdown:
        assert not shutdown.requested
        async with stream(StreamingResponse(waiting())) as client:
            await anext(client)
            await anyio.to_thread.run_sync(shutdown.request)
            assert await client.read() == b"requested: True\n"


# servers that stop without a signal


def listening(family: str, folder: Path) -> tuple[socket.socket, Any, Any]:
    """A socket that listens, and the addresses of the server and of the client in a scope."""
    if family == "tcp":
        one = socket.create_server(("127.0.0.1", 0))
        return one, one.getsockname(), ("127.0.0.1", 5)
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(folder / "socket"))
    one.listen()
    return one, (str(folder / "socket"), None), None


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there descriptors can't be listed")
@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_a_server_that_no_longer_listens_is_shutting_down(
    family: str, tmp_path: Path, anyio_backend: Any
) -> None:
    listener, server, client = listening(family, tmp_path)
    with listener:
        async with graceful_shutdown(30.0) as shutdown:
            response = SSEStreamingResponse(silence())
            async with stream(response, scope={"server": server, "client": client}) as opened:
                await anext(opened)
                with anyio.move_on_after(0.6):
                    await shutdown.wait()
                assert not shutdown.requested
                listener.close()
                with anyio.fail_after(20):
                    assert await opened.read() == b""
                assert shutdown.requested


async def test_a_server_whose_socket_is_not_found_is_no_stopped_one(anyio_backend: Any) -> None:
    async with graceful_shutdown(30.0) as shutdown, stream(StreamingResponse(silence())) as client:
        await anext(client)
        with anyio.move_on_after(0.6):
            await shutdown.wait()
        assert not shutdown.requested


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there descriptors can't be listed")
def test_a_closed_listener_is_told_from_what_has_its_number_by_now(tmp_path: Path) -> None:
    listener, (_, port), _ = listening("tcp", tmp_path)
    second = listener.dup()
    listeners = Listeners(port)
    assert len(listeners) == 2
    listener.close()
    assert not listeners.closed()
    number = second.fileno()
    second.close()
    with (tmp_path / "file").open("wb") as file:
        os.dup2(file.fileno(), number)
        assert listeners.closed()
        os.close(number)
    assert not Listeners(port).closed()


@pytest.mark.parametrize("grace", [-1, float("nan")])
async def test_a_grace_that_makes_no_sense_is_refused(grace: float, anyio_backend: Any) -> None:
    with pytest.raises(ValueError, match="grace must be 0 or more seconds"):
        async with graceful_shutdown(grace):
            pass
