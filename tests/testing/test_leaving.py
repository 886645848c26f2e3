"""A client that leaves, stalls or is slow, and a test that fails or is cancelled meanwhile."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from streamkit.testing import StreamClient, stream
from tests.testing.apps import (
    END,
    START,
    SpecVersions,
    app_of,
    body,
    sends,
    settle,
    ticker,
    until_disconnect,
)

pytestmark = pytest.mark.anyio


# --- leaving


async def test_a_disconnect_ends_the_iteration_after_what_had_arrived() -> None:
    seen: list[str] = []
    async with stream(ticker(seen)) as client:
        await settle()
        await client.disconnect()
        assert await client.read() == b"tick"
        await client.wait_closed()
        assert seen == ["disconnect"]
        assert not client.complete


async def test_leaving_the_block_disconnects_and_waits_for_the_app() -> None:
    seen: list[str] = []
    async with stream(ticker(seen)) as client:
        assert not client.closed
    assert client.closed
    assert seen == ["disconnect"]


@SpecVersions
async def test_send_after_a_disconnect_does_what_the_spec_version_says(spec_version: str) -> None:
    outcome: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await until_disconnect(receive)
        try:
            await send(body(b"late"))
            outcome.append("silent")
        except OSError:
            outcome.append("OSError")

    async with stream(app_of(run), spec_version=spec_version) as client:
        await client.disconnect()
        assert await client.read() == b""
    assert outcome == ["OSError" if spec_version == "2.4" else "silent"]
    assert len(client.messages) == 1


@SpecVersions
async def test_a_client_may_leave_before_the_response_starts(spec_version: str) -> None:
    received: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        received.append((await receive())["type"])
        await send(START)

    async with stream(
        app_of(run), spec_version=spec_version, wait_for_start=False, body=b"unread"
    ) as client:
        await client.disconnect()
        await client.wait_closed()
        with pytest.raises(RuntimeError, match="no response has arrived"):
            _ = client.status
        with pytest.raises(OSError if spec_version == "2.4" else RuntimeError, match="client ha"):
            await client.started()
        assert await client.read() == b""
    assert received == ["http.disconnect"]
    assert client.messages == []


async def test_receive_tells_of_a_disconnect_once_the_response_is_complete() -> None:
    received: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        received.append((await receive())["type"])

    async with stream(app_of(run), body=b"unread") as client:
        await client.wait_closed()
    assert received == ["http.disconnect"]


async def test_background_tasks_end_before_wait_closed_returns() -> None:
    seen: list[str] = []

    async def background() -> None:
        await settle()
        seen.append("background")

    response = PlainTextResponse("hi", background=BackgroundTask(background))
    async with stream(response) as client:
        assert await client.read() == b"hi"
        assert seen == []
        await client.wait_closed()
        assert seen == ["background"]


async def test_an_app_that_ignores_the_disconnect_is_cancelled_with_a_clear_error() -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await anyio.sleep_forever()

    clients: list[StreamClient] = []
    with pytest.raises(TimeoutError, match=r"shutdown_timeout=0\.01 seconds"):
        async with stream(app_of(run), shutdown_timeout=0.01) as client:
            clients.append(client)
    assert isinstance(clients[0].error, anyio.get_cancelled_exc_class())


async def test_an_app_that_swallows_its_cancellation_is_waited_for() -> None:
    seen: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(3):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                seen.append("swallowed")

    with pytest.raises(TimeoutError, match="did not return"):
        async with stream(app_of(run), shutdown_timeout=0.01):
            pass
    assert seen == ["swallowed"] * 3


# --- exceptions and cancellation of the test


async def test_an_exception_of_the_block_comes_out_as_itself_after_a_disconnect() -> None:
    seen: list[str] = []
    error, cause = LookupError("test"), OSError("cause")
    with pytest.raises(LookupError) as caught:
        async with stream(ticker(seen)):
            raise error from cause
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is None
    assert seen == ["disconnect"]


async def test_an_exception_group_of_the_block_comes_out_as_itself() -> None:
    group = ExceptionGroup("the test's own", [LookupError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with stream(ticker([])):
            raise group
    assert caught.value is group


async def test_a_cancelled_test_cancels_the_app() -> None:
    ended: list[type[BaseException]] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        try:
            await anyio.sleep_forever()
        except BaseException as exc:
            ended.append(type(exc))
            raise

    with anyio.CancelScope() as scope:
        async with stream(app_of(run)):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert ended == [anyio.get_cancelled_exc_class()]


async def test_a_test_can_be_cancelled_while_entering() -> None:
    with anyio.move_on_after(0.01) as scope:
        async with stream(app_of(lambda receive, send: until_disconnect(receive))):
            raise AssertionError("entered")
    assert scope.cancelled_caught


async def test_a_cancelled_read_loses_no_chunk() -> None:
    app = sends(START, body(b"a" * 100), body(b"b", more=False))
    async with stream(app, rate=1000) as client:
        with anyio.move_on_after(0.005) as scope:
            await anext(client)
        assert scope.cancelled_caught
        assert await client.read() == b"a" * 100 + b"b"


# --- backpressure


def counting(sent: list[int], size: int = 100) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for number in range(10):
            await send(body(b"x" * size))
            sent.append(number)
        await send(END)

    return app


@pytest.mark.parametrize(("read_ahead", "ahead"), [(0, 1), (99, 1), (100, 2), (250, 3)])
async def test_send_waits_while_more_than_read_ahead_is_unread(read_ahead: int, ahead: int) -> None:
    sent: list[int] = []
    async with stream(counting(sent), read_ahead=read_ahead) as client:
        await settle()
        assert len(sent) == ahead
        await anext(client)
        await settle()
        assert len(sent) == ahead + 1
        assert client.bytes_received == (ahead + 1) * 100
        assert len(await client.read()) == 900
        assert client.complete


async def test_send_does_not_suspend_while_there_is_room() -> None:
    seen: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(5):
            await send(body(b"x"))
        seen.append("sent")

    async with stream(app_of(run), wait_for_start=False) as client:
        await client.started()
        assert seen == ["sent"]


async def test_send_suspends_each_time_on_request() -> None:
    stop = False

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        while not stop:
            await send(body(b"x"))

    async with stream(app_of(run), suspend_on_send=True) as client:
        assert await anext(client) == b"x"
        await client.disconnect()
        stop = True


async def test_send_never_suspends_after_a_silent_disconnect() -> None:
    ticks: list[int] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await until_disconnect(receive)
        before = len(ticks)
        for _ in range(1000):
            await send(body(b"x"))
        assert len(ticks) == before

    async def tick() -> None:
        while True:
            ticks.append(1)
            await checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        async with stream(app_of(run)) as client:
            await client.disconnect()
            await client.wait_closed()
            assert client.error is None
        group.cancel_scope.cancel()
    assert ticks


async def test_a_stalled_client_takes_nothing_until_it_resumes() -> None:
    sent: list[int] = []
    async with stream(counting(sent), read_ahead=150, wait_for_start=False) as client:
        client.stall()
        await settle()
        assert client.messages == []
        client.resume()
        await client.started()
        assert await anext(client) == b"x" * 100
        await settle()
        client.stall()
        before = len(sent)
        assert await anext(client) == b"x" * 100
        assert await anext(client) == b"x" * 100
        await settle()
        assert len(sent) == before
        client.resume()
        assert len(await client.read()) == 700


@SpecVersions
async def test_a_disconnect_frees_a_blocked_send(spec_version: str) -> None:
    async with stream(
        counting([]), spec_version=spec_version, wait_for_start=False, read_ahead=0
    ) as client:
        client.stall()
        await settle()
        assert not client.closed
        await client.disconnect()
        await client.wait_closed()
        assert isinstance(client.error, OSError) is (spec_version == "2.4")


async def test_a_client_with_a_rate_takes_that_many_bytes_a_second() -> None:
    sent: list[int] = []
    async with stream(counting(sent), rate=20_000, read_ahead=0) as client:
        times = [chunk.at async for chunk in client]
    assert times == sorted(times)
    assert len(times) == 10
    assert 0.05 <= times[-1] < 1
