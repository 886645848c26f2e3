"""`iterate_from_thread`: a worker thread goes through what is async on the loop."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from streamkit import StreamingResponse, iterate_from_thread, iterate_in_threadpool, iterate_writes
from streamkit.testing import fetch, stream
from tests.bridging import Broken, until

pytestmark = pytest.mark.anyio


async def numbers(count: int, log: list[Any] | None = None) -> AsyncIterator[int]:
    try:
        for number in range(count):
            if number % 7 == 3:
                await checkpoint()
            yield number
    finally:
        await anyio.sleep(0.001)
        if log is not None:
            log.append(threading.get_ident())


@pytest.mark.parametrize("max_buffer", [1, 200, 65536])
async def test_a_worker_thread_iterates_over_an_async_iterable(max_buffer: int) -> None:
    closed: list[int] = []

    def work() -> list[int]:
        return list(iterate_from_thread(numbers(1000, closed), max_buffer=max_buffer))

    assert await anyio.to_thread.run_sync(work) == list(range(1000))
    assert closed == [threading.get_ident()]


@pytest.mark.parametrize("max_buffer", [1, 1000])
async def test_a_worker_thread_iterates_over_a_stream_of_another_thread(max_buffer: int) -> None:
    def work() -> list[int]:
        items = iterate_in_threadpool(range(2000))
        return list(iterate_from_thread(items, max_buffer=max_buffer))

    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(work) == list(range(2000))


async def test_a_slow_worker_thread_wakes_a_stream_that_gave_its_thread_back() -> None:
    def work() -> list[int]:
        received = []
        for item in iterate_from_thread(iterate_in_threadpool(range(20)), max_buffer=1):
            received.append(item)
            time.sleep(0.004)
        return received

    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(work, abandon_on_cancel=True) == list(range(20))


async def test_a_worker_thread_reads_what_another_one_writes() -> None:
    def write(file: Any) -> None:
        for _ in range(1000):
            file.write(b"x" * 100)

    def work() -> int:
        return sum(map(len, iterate_from_thread(iterate_writes(write), max_buffer=500)))

    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(work) == 100_000


async def test_what_a_library_writes_on_a_thread_of_its_own_may_wait_for_its_reader() -> None:
    def write(file: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            for number in range(5):
                pool.submit(file.write, f"{number}").result()

    def work() -> list[bytes]:
        chunks = []
        for chunk in iterate_from_thread(iterate_writes(write, max_buffer=1), max_buffer=1):
            chunks.append(chunk)
            # Longer than the writer is patient.
            time.sleep(0.03)
        return chunks

    assert b"".join(await anyio.to_thread.run_sync(work)) == b"01234"


async def test_a_sync_generator_that_streams_iterates_over_an_async_iterable() -> None:
    def generate() -> Iterator[str]:
        for number in iterate_from_thread(numbers(100)):
            yield f"{number} "

    response = await fetch(StreamingResponse(generate()))
    assert response.body.split() == [b"%d" % n for n in range(100)]


async def test_a_disconnect_closes_what_a_sync_generator_iterates_over() -> None:
    closed: list[int] = []

    def generate() -> Iterator[bytes]:
        for _ in iterate_from_thread(numbers(10**9, closed)):
            yield b"x" * 1000

    async with stream(StreamingResponse(generate(), max_buffer=2000)) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
        assert closed == [threading.get_ident()]


@pytest.mark.parametrize("kind", ["waits", "is closed", "writes"])
async def test_the_cleanup_of_content_on_a_thread_may_wait_after_the_client_has_left(
    kind: str,
) -> None:
    saved: list[int] = []
    waits = anyio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield b"x"
        waits.set()
        await anyio.sleep_forever()

    def save() -> None:
        saved.extend(iterate_from_thread(numbers(10)))

    def generate() -> Iterator[bytes]:
        try:
            if kind == "waits":
                yield from iterate_from_thread(silent())
            while True:
                yield b"x"
        finally:
            save()

    def write(file: Any) -> None:
        try:
            while True:
                file.write(b"x" * 1000)
        finally:
            save()

    content: Any = iterate_writes(write) if kind == "writes" else generate()
    with anyio.fail_after(20):
        async with stream(StreamingResponse(content)) as client:
            await client.started()
            if kind == "waits":
                await waits.wait()
    assert saved == list(range(10))


async def test_a_context_manager_closes_the_async_iterable_when_it_is_left() -> None:
    closed: list[int] = []

    def work() -> None:
        with iterate_from_thread(numbers(10**9, closed)) as items:
            assert next(items) == 0
        assert closed
        with pytest.raises(StopIteration):
            next(items)
        items.close()

    await anyio.to_thread.run_sync(work)
    assert closed == [threading.get_ident()]


async def test_close_frees_an_async_iterable_that_is_idle() -> None:
    closed = []

    async def idle() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    def work() -> None:
        items = iterate_from_thread(idle())
        assert next(items) == 1
        items.close()

    with anyio.fail_after(5):
        await anyio.to_thread.run_sync(work)
    assert closed == [True]


async def test_close_before_the_first_item_closes_the_async_iterable() -> None:
    class Content:
        begun = closed = 0

        def __aiter__(self) -> AsyncIterator[int]:
            self.begun += 1
            raise AssertionError

        async def aclose(self) -> None:
            self.closed += 1

    def work() -> None:
        # The loop may have a turn between any two steps of the thread.
        for content in contents:
            iterate_from_thread(content).close()

    contents = [Content() for _ in range(50)]
    await anyio.to_thread.run_sync(work)
    assert [(each.begun, each.closed) for each in contents] == [(0, 1)] * 50


async def test_one_that_is_dropped_closes_the_async_iterable() -> None:
    closed: list[int] = []

    def work() -> None:
        next(iterate_from_thread(numbers(10**9, closed)))
        gc.collect()

    await anyio.to_thread.run_sync(work)
    await until(lambda: closed)
    assert closed == [threading.get_ident()]


async def test_one_that_is_dropped_on_the_loop_stops_the_async_iterable() -> None:
    closed: list[int] = []
    held = [iterate_from_thread(numbers(10**9, closed))]
    await anyio.to_thread.run_sync(lambda: next(held[0]))
    held.clear()
    gc.collect()
    await until(lambda: closed)


async def test_an_exception_of_an_async_iterable_reaches_the_thread() -> None:
    async def generate() -> AsyncIterator[int]:
        yield 1
        raise Broken

    def work() -> list[int]:
        received = []
        with pytest.raises(Broken):  # noqa: PT012
            for item in iterate_from_thread(generate()):
                received.append(item)
        return received

    assert await anyio.to_thread.run_sync(work) == [1]


async def test_an_exception_in_the_cleanup_is_raised_by_close_and_once() -> None:
    async def generate() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise Broken

    def work() -> None:
        items = iterate_from_thread(generate())
        assert next(items) == 1
        with pytest.raises(Broken), items:
            pass
        items.close()

    await anyio.to_thread.run_sync(work)


async def test_an_exception_that_came_with_the_items_is_not_raised_by_close_again() -> None:
    async def generate() -> AsyncIterator[int]:
        yield 1
        raise Broken

    def work() -> None:
        items = iterate_from_thread(generate())
        with pytest.raises(Broken):
            list(items)
        items.close()

    await anyio.to_thread.run_sync(work)


async def test_one_thread_waits_at_a_time() -> None:
    goes_on = anyio.Event()

    async def late() -> AsyncIterator[int]:
        await goes_on.wait()
        yield 1

    items = iterate_from_thread(late())
    refused, taken = list[str](), list[int]()

    def wait() -> None:
        try:
            taken.append(next(items))
        except ValueError as exc:
            refused.append(str(exc))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(anyio.to_thread.run_sync, wait)
            await until(lambda: refused)
            goes_on.set()
    assert taken == [1]
    assert "another thread waits" in refused[0]


async def test_a_slow_thread_holds_the_async_iterable_back() -> None:
    produced = 0

    async def generate() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(100):
            produced += 1
            yield b"x" * 99

    def work() -> int:
        items = iterate_from_thread(generate(), max_buffer=1000)
        next(items)
        time.sleep(0.03)
        seen = produced
        items.close()
        return seen

    assert 8 <= await anyio.to_thread.run_sync(work) <= 22


async def test_iterate_from_thread_says_where_it_works() -> None:
    with pytest.raises(RuntimeError, match="worker thread"):
        next(iterate_from_thread(numbers(1)))
    with pytest.raises(TypeError, match="async iterable, got list"):
        iterate_from_thread([1])  # type: ignore[arg-type]
