"""No item is held back, a client that takes nothing holds the content, and memory stays small."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from streamkit import StreamingResponse
from streamkit.testing import stream

pytestmark = pytest.mark.anyio


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
