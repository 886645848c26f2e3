"""Clients that leave or take nothing, and silences: each has an end, and its time."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from streamkit import SendTimeout, StreamingResponse, StreamOutcome
from streamkit.sources import ByteSource, SourceInfo
from streamkit.testing import fetch, stream
from tests.failing import FOREVER, Beating, Broken, endless

pytestmark = pytest.mark.anyio


async def as_async(items: Any) -> AsyncIterator[bytes]:
    for item in items:
        yield item


# leaving


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
