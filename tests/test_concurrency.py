"""Many streams at once share the threads, and each loop has a limiter of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from streamkit import StreamingResponse, StreamOutcome, iterate_in_threadpool, stream_limiter
from streamkit.testing import fetch, stream
from tests.versions import ANYIO

pytestmark = pytest.mark.anyio


async def test_sleeping_sync_streams_share_the_threads_fairly() -> None:
    stream_limiter().total_tokens = 8
    streams, items = 40, 4
    counts = [0] * streams
    fewest_when_first_done: list[int] = []
    plain_calls = 0

    def generate() -> Iterator[bytes]:
        for _ in range(items):
            time.sleep(0.012)
            yield b"x"

    async def read(number: int) -> None:
        async with stream(StreamingResponse(generate())) as client:
            async for _ in client:
                counts[number] += 1
        fewest_when_first_done.append(min(counts))

    async def call_plainly() -> None:
        nonlocal plain_calls
        while True:
            await anyio.to_thread.run_sync(time.sleep, 0.001)
            plain_calls += 1

    async with anyio.create_task_group() as group:
        group.start_soon(call_plainly)
        async with anyio.create_task_group() as readers:
            for number in range(streams):
                readers.start_soon(read, number)
        group.cancel_scope.cancel()
    assert counts == [items] * streams
    assert fewest_when_first_done[0] >= 1
    # The default limiter, on which `def` endpoints run, has had nothing to wait for.
    assert plain_calls > 10


async def test_a_slow_generator_gives_its_thread_up_though_its_client_is_stalled() -> None:
    stream_limiter().total_tokens = 1
    produced, enough = 0, threading.Event()

    def generate() -> Iterator[bytes]:
        nonlocal produced
        while produced < 100 and not enough.is_set():
            time.sleep(0.012)
            produced += 1
            yield b"x"

    async with stream(StreamingResponse(generate()), read_ahead=0) as client:
        client.stall()
        await anyio.sleep(0.05)
        assert (await fetch(StreamingResponse(iter([b"x"])))).body == b"x"
        assert produced < 50
        enough.set()


async def test_a_thousand_sleeping_streams_take_turns(
    anyio_backend_name: str,
) -> None:
    if ANYIO < (4, 14, 2) and anyio_backend_name == "asyncio":
        pytest.skip("asyncio's limiter, before anyio 4.14.2, calls free what it has promised")
    counts = [0] * 1000
    # As they are made: how soon they are read is the loop's share of a busy machine.
    made = [0] * 1000
    without_at_a_fourth: int | None = None
    all_wait = threading.Event()

    def generate(number: int) -> Iterator[bytes]:
        nonlocal without_at_a_fourth
        # Who has not asked for a thread yet has no claim to a share.
        all_wait.wait(30)
        for _ in range(4):
            time.sleep(0.02)
            made[number] += 1
            if made[number] == 4 and without_at_a_fourth is None:
                without_at_a_fourth = made.count(0)
            yield b"x"

    async def read(number: int) -> None:
        async for _ in iterate_in_threadpool(generate(number)):
            counts[number] += 1

    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(read, number)
        while stream_limiter().statistics().tasks_waiting < 1000 - 256:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        all_wait.set()
    assert counts == [4] * 1000
    assert without_at_a_fourth is not None
    # The system may let one thread of 256 sleep on.
    assert without_at_a_fourth < 10


async def test_a_thread_gives_way_while_a_token_passes_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What another thread sees while the loop hands a token on: it is nobody's yet.
    monkeypatch.setattr(type(limiter := anyio.CapacityLimiter(1)), "available_tokens", 1)
    order: list[str] = []
    waits = threading.Event()

    def generate(name: str) -> Iterator[bytes]:
        for _ in range(3):
            assert waits.wait(10)
            time.sleep(0.02)
            order.append(name)
            yield b"x"

    async def read(name: str) -> None:
        async for _ in iterate_in_threadpool(generate(name), limiter=limiter):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(read, "a")
        group.start_soon(read, "b")
        while not limiter.statistics().tasks_waiting:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        waits.set()
    assert order != sorted(order)


async def test_slow_clients_of_fast_generators_hold_no_threads() -> None:
    clients = 1000
    outcomes: list[StreamOutcome] = []
    closed = 0

    def generate() -> Iterator[bytes]:
        nonlocal closed
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed += 1

    stalled = 0
    leave = anyio.Event()

    async def serve() -> None:
        started = False

        async def send(message: Any) -> None:
            nonlocal stalled, started
            if message.get("body"):
                stalled += 1
                await anyio.sleep_forever()

        async def receive() -> Any:
            await leave.wait()
            return {"type": "http.disconnect"}

        response = StreamingResponse(generate(), max_buffer=3000, on_close=outcomes.append)
        await response({"type": "http", "method": "GET"}, receive, send)

    async with anyio.create_task_group() as group:
        for _ in range(clients):
            group.start_soon(serve)
        with anyio.fail_after(30):
            while stalled < clients or stream_limiter().borrowed_tokens:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        leave.set()
    assert closed == clients
    assert {outcome.reason for outcome in outcomes} == {"disconnect"}
    with anyio.fail_after(5):
        while stream_limiter().borrowed_tokens:
            await checkpoint()


async def test_a_stream_waits_for_a_thread_when_all_are_taken() -> None:
    stream_limiter().total_tokens = 1
    gate = threading.Event()

    def blocked() -> Iterator[bytes]:
        yield b"a"
        assert gate.wait(10)

    async with stream(StreamingResponse(blocked())) as first:
        assert await anext(first) == b"a"
        async with stream(StreamingResponse(iter([b"b"])), wait_for_start=False) as second:
            await anyio.sleep(0.02)
            assert second.bytes_received == 0
            gate.set()
            assert await second.read() == b"b"


async def test_the_streams_have_a_limiter_of_their_own_with_256_threads() -> None:
    limiter = stream_limiter()
    assert limiter.total_tokens == 256
    assert limiter is stream_limiter()
    assert limiter is not anyio.to_thread.current_default_thread_limiter()


def test_every_loop_has_a_limiter_of_its_own() -> None:
    async def total(change: bool) -> float:
        if change:
            stream_limiter().total_tokens = 3
        return stream_limiter().total_tokens

    assert anyio.run(total, True) == 3
    assert anyio.run(total, False) == 256


# the end of a loop


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("one_thread", [False, True], ids=["many threads", "one thread"])
def test_a_loop_that_ends_while_a_burst_runs_still_closes_the_content(
    backend: str, one_thread: bool
) -> None:
    closed = []
    # Kept, or trio warns of it when the garbage collector comes by before the end.
    kept = []

    def generate() -> Iterator[bytes]:
        try:
            while True:
                time.sleep(0.01)
                yield b"x"
        finally:
            closed.append(threading.get_ident())

    async def main() -> None:
        items = iterate_in_threadpool(generate(), thread_affine=one_thread)
        kept.append(items)
        await anext(items)

    anyio.run(main, backend=backend)
    assert len(closed) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_ends_closes_async_content_with_its_awaits(backend: str) -> None:
    closed = []
    # Kept, or trio warns of it when the garbage collector comes by before the end.
    kept = []

    async def generate() -> AsyncIterator[bytes]:
        try:
            while True:
                await anyio.sleep(0.001)
                yield b"x"
        finally:
            await anyio.sleep(0.01)
            closed.append(True)

    async def main() -> None:
        body: Any = StreamingResponse(generate()).body_iterator
        kept.append(body)
        await anext(body)

    anyio.run(main, backend=backend)
    assert closed == [True]
