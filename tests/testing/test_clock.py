"""Time that jumps over the waiting, and over nothing else."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio.testing
from fastapi import FastAPI

from streamkit import (
    PlainTextStreamingResponse,
    SendTimeout,
    SSEStreamingResponse,
    StreamingResponse,
    async_file_chunks,
    iterate_in_threadpool,
)
from streamkit.testing import fetch, stream, virtual_time
from tests.conftest import BACKENDS

pytestmark = pytest.mark.anyio

ASYNCIO, UVLOOP, TRIO = BACKENDS
KEEP_ALIVE = b": keep-alive\n\n"
# Seconds that a busy machine may take for what takes no time, far less than what is jumped over.
MOMENT = 10.0


@pytest.fixture(params=[ASYNCIO, TRIO])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loops whose clock can be reached."""
    return request.param


async def silent_for(seconds: float) -> AsyncIterator[str]:
    yield "before"
    await anyio.sleep(seconds)
    yield "after"


async def test_a_thousand_seconds_of_keep_alives_pass_at_once() -> None:
    began = time.perf_counter()
    with virtual_time():
        async with stream(SSEStreamingResponse(silent_for(1000))) as client:
            first, *beats, last = [chunk async for chunk in client]

    assert time.perf_counter() - began < MOMENT
    assert (first, last) == (b"data: before\n\n", b"data: after\n\n")
    assert beats == [KEEP_ALIVE] * 66
    for number, beat in enumerate(beats, 1):
        assert beat.at == pytest.approx(15 * number, abs=MOMENT)
    assert last.at == pytest.approx(1000, abs=MOMENT)


async def test_a_client_that_takes_nothing_is_dropped_after_its_time() -> None:
    with virtual_time():
        response = PlainTextStreamingResponse(["x"] * 100_000, send_timeout=3600)
        async with stream(response, read_ahead=0) as client:
            client.stall()
            began = anyio.current_time()
            await client.wait_closed()
            assert isinstance(client.error, SendTimeout)
            assert 3600 <= anyio.current_time() - began < 3600 + MOMENT


async def test_a_cleanup_that_hangs_is_given_up_after_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def generate() -> AsyncIterator[str]:
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(3600)

    with virtual_time():
        async with stream(StreamingResponse(generate()), shutdown_timeout=60) as client:
            await anext(client)
            began = anyio.current_time()
            await client.disconnect()
            await client.wait_closed()
            assert 30 <= anyio.current_time() - began < 30 + MOMENT
    assert "more than 30.0 seconds" in caplog.text


async def test_the_headers_wait_as_long_as_they_may_for_the_first_chunk() -> None:
    async def late() -> AsyncIterator[str]:
        await anyio.sleep(100)
        yield "late"

    with virtual_time():
        began = anyio.current_time()
        async with stream(StreamingResponse(late(), first_chunk_timeout=20)) as client:
            assert 20 <= anyio.current_time() - began < 20 + MOMENT
            assert (await anext(client)).at >= 100


async def test_a_slow_reader_takes_its_time_at_once() -> None:
    with virtual_time():
        async with stream(StreamingResponse(["x" * 50_000] * 20), rate=1000) as client:
            chunks = [chunk async for chunk in client]

    assert chunks[-1].at == pytest.approx(1000, abs=MOMENT)


async def test_sleepers_wake_in_their_order_and_at_their_time() -> None:
    woken: list[int] = []

    async def sleeper(seconds: int) -> None:
        began = anyio.current_time()
        await anyio.sleep(seconds)
        woken.append(seconds)
        assert anyio.current_time() - began == pytest.approx(seconds, abs=MOMENT)

    with virtual_time():
        async with anyio.create_task_group() as group:
            for seconds in (300, 100, 200):
                group.start_soon(sleeper, seconds)

    assert woken == [100, 200, 300]


async def test_a_deadline_of_the_test_comes_at_once_where_nothing_else_would() -> None:
    with virtual_time(), anyio.move_on_after(1000) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_what_is_ready_goes_before_any_jump() -> None:
    with virtual_time(), anyio.fail_after(MOMENT):
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()


def slowly() -> Iterator[str]:
    yield "a"
    time.sleep(0.05)
    yield "b"


async def test_a_content_on_a_worker_thread_is_not_jumped_over() -> None:
    with virtual_time():
        async with stream(SSEStreamingResponse(slowly())) as client:
            chunks = [chunk async for chunk in client]

    assert chunks == [b"data: a\n\n", b"data: b\n\n"]
    assert chunks[1].at - chunks[0].at < 15


async def test_an_endpoint_on_a_worker_thread_is_not_jumped_over() -> None:
    app = FastAPI()

    @app.get("/")
    def endpoint() -> str:
        time.sleep(0.05)
        return "done"

    with virtual_time(), anyio.fail_after(MOMENT):
        assert (await fetch(app, "/")).body == b'"done"'


async def test_a_file_read_on_worker_threads_is_not_jumped_over(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * 300_000)
    with virtual_time(), anyio.fail_after(MOMENT):
        size = 0
        async for chunk in async_file_chunks(path):
            size += len(chunk)
        assert size == 300_000


async def test_threads_of_a_limiter_of_ones_own_are_not_jumped_over() -> None:
    limiter = anyio.CapacityLimiter(1)
    with virtual_time(), anyio.fail_after(MOMENT):
        items = [item async for item in iterate_in_threadpool(slowly(), limiter=limiter)]
        await anyio.to_thread.run_sync(time.sleep, 0.05, limiter=limiter)

    assert items == ["a", "b"]


async def test_a_thread_that_calls_the_loop_waits_for_it_in_its_time() -> None:
    def call() -> float:
        anyio.from_thread.run(anyio.sleep, 0.05)
        return anyio.from_thread.run_sync(anyio.current_time)

    with virtual_time():
        began = anyio.current_time()
        assert 0.05 <= await anyio.to_thread.run_sync(call) - began < MOMENT


async def test_time_jumps_again_once_the_threads_are_done() -> None:
    with virtual_time():
        for _ in range(20):
            await anyio.to_thread.run_sync(time.sleep, 0.001)
            await anyio.sleep(1000)


@pytest.mark.parametrize("anyio_backend", [ASYNCIO])
async def test_a_call_on_an_executor_of_asyncio_is_not_jumped_over() -> None:
    with virtual_time():
        async with asyncio.timeout(MOMENT):
            await asyncio.to_thread(time.sleep, 0.05)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, time.sleep, 0.05)


@pytest.mark.parametrize("anyio_backend", [ASYNCIO])
async def test_a_connection_within_the_loop_is_served_before_any_jump() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with virtual_time():
            writer.write(b"ping")
            await asyncio.sleep(0)
            assert await reader.read() == b"ping"
        writer.close()
        await writer.wait_closed()


async def test_time_is_real_again_after_the_block_and_never_goes_back() -> None:
    before = anyio.current_time()
    with virtual_time():
        await anyio.sleep(1000)
        inside = anyio.current_time()
    after = anyio.current_time()
    assert before + 1000 <= inside <= after < inside + MOMENT

    began = time.perf_counter()
    await anyio.sleep(0.02)
    assert time.perf_counter() - began > 0.015


async def test_a_task_that_outlives_the_block_wakes_no_sooner_than_it_asked_for() -> None:
    async def sleeper() -> None:
        began = anyio.current_time()
        await anyio.sleep(1000.05)
        assert anyio.current_time() - began == pytest.approx(1000, abs=MOMENT)

    with anyio.fail_after(1000 + MOMENT):
        async with anyio.create_task_group() as group:
            with virtual_time():
                group.start_soon(sleeper)
                await anyio.sleep(1000)


async def test_a_block_within_a_block_changes_nothing() -> None:
    began = anyio.current_time()
    with virtual_time():
        with virtual_time():
            await anyio.sleep(100)
        await anyio.sleep(100)
    assert 200 <= anyio.current_time() - began < 200 + MOMENT


async def test_a_loop_of_many_tests_has_one_clock() -> None:
    began = anyio.current_time()
    # More than a stack is deep.
    for _ in range(sys.getrecursionlimit()):
        with virtual_time():
            await anyio.sleep(1)
    assert anyio.current_time() - began >= sys.getrecursionlimit()


async def test_an_exception_comes_out_as_itself() -> None:
    async def fail() -> None:
        with virtual_time():
            await anyio.sleep(100)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()


@pytest.mark.parametrize("anyio_backend", [UVLOOP])
async def test_a_clock_that_cannot_be_reached_is_told_of() -> None:
    with pytest.raises(RuntimeError, match=r"asyncio's own event loop, or trio: .*uvloop"):
        virtual_time().__enter__()


def test_it_works_where_asyncio_runs_without_anyio() -> None:
    began = ended = 0.0

    async def run() -> None:
        nonlocal began, ended
        with virtual_time():
            began = anyio.current_time()
            await asyncio.sleep(100)
            with anyio.move_on_after(100) as scope:
                await anyio.to_thread.run_sync(time.sleep, 0.05)
            assert not scope.cancelled_caught
            ended = anyio.current_time()

    asyncio.run(run())
    assert 100 <= ended - began < 200


def test_it_needs_a_loop_that_runs() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        virtual_time().__enter__()


def test_a_mock_clock_is_told_of() -> None:
    async def enter() -> None:
        with pytest.raises(RuntimeError, match="virtual already"):
            virtual_time().__enter__()

    trio.run(enter, clock=trio.testing.MockClock())


async def test_a_thread_of_ones_own_is_not_waited_for() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, args=(MOMENT,))
    thread.start()
    with virtual_time():
        await anyio.sleep(1000)
    assert thread.is_alive()
    done.set()
    thread.join()
