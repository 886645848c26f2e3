"""Many streams at once: contexts, threads, fairness, backpressure and memory."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from streamkit import StreamingResponse, StreamOutcome, iterate_in_threadpool, stream_limiter
from streamkit.testing import fetch, stream
from tests.versions import ANYIO

pytestmark = pytest.mark.anyio

user: ContextVar[str] = ContextVar("user", default="nobody")


# contexts and threads


async def test_a_sync_generator_keeps_its_context_from_item_to_item_and_burst_to_burst() -> None:
    def generate() -> Iterator[str]:
        token = user.set("ada")
        for _ in range(5):
            yield user.get() * 1000
        user.reset(token)
        yield user.get()

    body = b""
    async with stream(StreamingResponse(generate(), max_buffer=1), read_ahead=0) as client:
        async for chunk in client:
            body += chunk
            # Long enough for the thread to be given back, so that the next burst is another.
            await anyio.sleep(0.004)
    assert body == b"ada" * 5000 + b"nobody"


async def test_a_sync_generator_is_closed_in_the_context_it_ran_in() -> None:
    seen = []

    def generate() -> Iterator[bytes]:
        token = user.set("ada")
        try:
            while True:
                yield b"x" * 1000
        finally:
            seen.append(user.get())
            user.reset(token)

    response = StreamingResponse(generate(), max_buffer=1000)
    async with stream(response, read_ahead=0) as client:
        await anext(client)
        await anyio.sleep(0.004)
    assert seen == ["ada"]


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_content_sees_the_context_of_the_request(flavour: str) -> None:
    def sync_items() -> Iterator[str]:
        yield user.get()

    async def async_items() -> AsyncIterator[str]:
        yield user.get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        user.set("grace")
        items = sync_items() if flavour == "sync" else async_items()
        await StreamingResponse(items)(scope, receive, send)

    assert (await fetch(app)).body == b"grace"


async def test_what_one_stream_sets_no_other_stream_sees() -> None:
    def generate(name: str) -> Iterator[str]:
        user.set(name)
        for _ in range(3):
            time.sleep(0.002)
            yield user.get()

    async def check(name: str) -> None:
        response = await fetch(StreamingResponse(generate(name), max_buffer=1))
        assert response.body.decode() == name * 3

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(check, f"user{number};")


async def test_thread_affine_keeps_sqlite_on_its_thread_in_eight_streams_at_once() -> None:
    def rows() -> Iterator[str]:
        connection = sqlite3.connect(":memory:")
        try:
            connection.execute("CREATE TABLE numbers AS SELECT 1 AS n")
            connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(2, 501)])
            for (number,) in connection.execute("SELECT n FROM numbers"):
                yield f"{number}\n"
        finally:
            connection.close()

    expected = "".join(f"{n}\n" for n in range(1, 501)).encode()

    async def check() -> None:
        response = StreamingResponse(rows(), thread_affine=True, max_buffer=50)
        assert (await fetch(response, suspend_on_send=True)).body == expected

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(check)


async def test_thread_affine_is_closed_on_the_same_thread_after_a_disconnect() -> None:
    threads = []

    def generate() -> Iterator[bytes]:
        try:
            while True:
                threads.append(threading.get_ident())
                yield b"x" * 1000
        finally:
            threads.append(threading.get_ident())

    response = StreamingResponse(generate(), thread_affine=True, max_buffer=1000)
    async with stream(response, read_ahead=1000) as client:
        await anext(client)
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
    assert len(set(threads)) == 1


# the loop


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x"


async def test_an_async_generator_that_never_suspends_lets_other_tasks_run() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await checkpoint()
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        async with stream(StreamingResponse(endless()), record=False) as client:
            with anyio.fail_after(20):
                async for _ in client:
                    if ticks > 30:
                        break
        group.cancel_scope.cancel()


async def test_an_async_generator_that_never_suspends_stops_when_the_client_leaves() -> None:
    produced = 0

    async def generate() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield b"x"

    # Below 2.4 `send` takes whatever comes once the client has left, and never suspends.
    response = StreamingResponse(generate(), max_buffer=1 << 30)
    async with stream(response, record=False, spec_version="2.3") as client:
        await anext(client)
        await client.disconnect()
        with anyio.fail_after(5):
            await client.wait_closed()
        at_end = produced
        await anyio.sleep(0.01)
    assert produced == at_end


# an item is never held back


async def test_an_item_of_a_sync_generator_arrives_while_the_next_one_blocks() -> None:
    gates = [threading.Event() for _ in range(5)]

    def generate() -> Iterator[str]:
        for number, gate in enumerate(gates):
            yield f"item {number}"
            assert gate.wait(10)

    async with stream(StreamingResponse(generate())) as client:
        for number, gate in enumerate(gates):
            with anyio.fail_after(5):
                assert await anext(client) == f"item {number}".encode()
            gate.set()
        assert await client.read() == b""


async def test_an_item_of_an_async_generator_arrives_while_the_next_one_blocks() -> None:
    gates = [anyio.Event() for _ in range(5)]

    async def generate() -> AsyncIterator[str]:
        for number, gate in enumerate(gates):
            yield f"item {number}"
            await gate.wait()

    async with stream(StreamingResponse(generate())) as client:
        for number, gate in enumerate(gates):
            with anyio.fail_after(5):
                assert await anext(client) == f"item {number}".encode()
            gate.set()
        assert await client.read() == b""


async def test_a_burst_of_items_before_a_pause_arrives_whole() -> None:
    gate = threading.Event()

    def generate() -> Iterator[str]:
        yield from "abcdefgh"
        assert gate.wait(10)
        yield "z"

    async with stream(StreamingResponse(generate())) as client:
        received = b""
        with anyio.fail_after(5):
            while received != b"abcdefgh":
                received += await anext(client)
        gate.set()
        assert await client.read() == b"z"


async def test_small_items_that_are_ready_travel_together() -> None:
    async with stream(StreamingResponse(str(n % 10) for n in range(20_000))) as client:
        chunks = [chunk async for chunk in client]
    assert b"".join(chunks) == b"0123456789" * 2000
    assert len(chunks) < 2000


# backpressure


@pytest.mark.parametrize("flavour", ["sync", "sync, one thread", "async"])
async def test_a_stalled_client_stops_the_producer_at_max_buffer(flavour: str) -> None:
    produced = 0

    def sync_items() -> Iterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield b"x" * 999

    async def async_items() -> AsyncIterator[bytes]:
        for item in sync_items():
            yield item

    items = async_items() if flavour == "async" else sync_items()
    response = StreamingResponse(items, max_buffer=10_000, thread_affine="one" in flavour)
    async with stream(response, read_ahead=0) as client:
        await anext(client)
        client.stall()
        before = -1
        while produced != before:
            before = produced
            await anyio.sleep(0.03)
        behind = produced - client.bytes_received // 999
    # What the buffer holds, and one item; what a `send` that waits was given, and one item.
    assert 10 <= behind <= 2 * (10 + 1)


# threads


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


async def test_a_stalled_client_stops_an_async_generator_after_one_batch() -> None:
    produced = 0

    async def generate() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            await checkpoint()
            produced += 1
            yield b"x" * 100_000

    async with stream(StreamingResponse(generate()), read_ahead=0) as client:
        client.stall()
        for _ in range(200):
            await checkpoint()
        assert produced <= 3


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


# memory

MEMORY = """
import resource, sys
from pathlib import Path
import anyio
from streamkit import StreamingResponse, iterate_in_threadpool, iterate_writes
from streamkit.testing import stream

CHUNK, COUNT = bytes(65536), 4096

def sync_items():
    for _ in range(COUNT):
        yield CHUNK

async def async_items():
    for _ in range(COUNT):
        yield CHUNK

def write(file):
    for _ in range(COUNT):
        file.write(CHUNK)

class Pipe:
    left = COUNT
    def read(self, size):
        self.left -= 1
        return CHUNK if self.left >= 0 else b""

class AsyncPipe(Pipe):
    async def read(self, size):
        return Pipe.read(self, size)

path = Path(sys.argv[2])
content = {
    "sync generator": sync_items,
    "async generator": async_items,
    "iterate_in_threadpool": lambda: iterate_in_threadpool(sync_items()),
    "iterate_writes": lambda: iterate_writes(write),
    "file": lambda: open(path, "rb"),
    "file that can't seek": Pipe,
    "async file": AsyncPipe,
    "path": lambda: path,
}[sys.argv[1]]

async def get(response):
    async with stream(response, record=False) as client:
        total = 0
        async for chunk in client:
            total += len(chunk)
        return total

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def main():
    await get(StreamingResponse(CHUNK for _ in range(20)))
    before = peak()
    total = await get(StreamingResponse(content()))
    print(total, peak() - before)

anyio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss differs elsewhere")
@pytest.mark.parametrize(
    "form",
    [
        "sync generator",
        "async generator",
        "iterate_in_threadpool",
        "iterate_writes",
        "file",
        "file that can't seek",
        "async file",
        "path",
    ],
)
def test_256_mib_add_less_than_16_mib_to_the_peak_of_memory(form: str, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, form, str(path)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    total, added = map(int, run.stdout.split())
    assert total == 256 << 20
    assert added < 16


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
