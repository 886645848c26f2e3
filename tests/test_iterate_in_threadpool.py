"""`iterate_in_threadpool`: any iterable, item by item, on threads, and closed there."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.from_thread
import pytest

from streamkit import iterate_from_thread, iterate_in_threadpool, iterate_writes, stream_limiter
from tests.bridging import Broken, collect, until

pytestmark = pytest.mark.anyio


class Countdown:
    """Has an iterator that is no iterable itself, as `__iter__` alone may give."""

    class Iterator:
        left = 3

        def __next__(self) -> int:
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

    def __iter__(self) -> Any:
        return self.Iterator()


class Indexed:
    def __getitem__(self, index: int) -> int:
        return [5, 6, 7][index]


@pytest.mark.parametrize(
    ("iterable", "items"),
    [
        ([1, 2, 3], [1, 2, 3]),
        (iter([1, 2, 3]), [1, 2, 3]),
        ((n for n in range(3)), [0, 1, 2]),
        (range(10_000), list(range(10_000))),
        ("abc", ["a", "b", "c"]),
        ({"a": 1}, ["a"]),
        (Countdown(), [2, 1, 0]),
        (Indexed(), [5, 6, 7]),
        ([], []),
        ([None, False], [None, False]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_iterate_in_threadpool_gives_the_items_of_any_iterable(
    iterable: Any, items: list[Any]
) -> None:
    if isinstance(iterable, Iterator):
        # One test a backend shares the parameter, which flows once.
        iterable = iter(items)
    assert await collect(iterate_in_threadpool(iterable)) == items


@pytest.mark.parametrize("options", [{}, {"thread_affine": True}, {"max_buffer": 1}], ids=str)
async def test_the_iterable_runs_and_is_closed_on_worker_threads(options: Any) -> None:
    threads = set()

    def generate() -> Iterator[int]:
        try:
            for number in range(5):
                threads.add(threading.get_ident())
                yield number
        finally:
            threads.add(threading.get_ident())

    assert await collect(iterate_in_threadpool(generate(), **options)) == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in threads
    if "thread_affine" in options:
        assert len(threads) == 1


async def test_an_exception_comes_after_the_items_before_it() -> None:
    def generate() -> Iterator[int]:
        yield from (1, 2)
        raise Broken

    received = []
    with pytest.raises(Broken):  # noqa: PT012
        async for item in iterate_in_threadpool(generate()):
            received.append(item)
    assert received == [1, 2]


async def test_an_exception_in_close_is_raised_at_the_end() -> None:
    class Content:
        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def close(self) -> None:
            raise Broken

    items = iterate_in_threadpool(Content())
    assert await anext(items) == 1
    with pytest.raises(Broken):
        await anext(items)


async def test_iterator_and_iterable_are_closed_each_once_though_one_close_raises() -> None:
    closed = []

    class Content:
        def __iter__(self) -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                closed.append("iterator")
                raise Broken

        def close(self) -> None:
            closed.append("iterable")

    items = iterate_in_threadpool(Content(), max_buffer=1)
    assert await anext(items) == 1
    with pytest.raises(Broken):
        await items.aclose()
    assert closed == ["iterator", "iterable"]
    # Once.
    await items.aclose()


async def test_an_exception_that_the_reader_left_before_it_came_to_it_is_not_raised() -> None:
    has_failed = threading.Event()

    class Content:
        def __iter__(self) -> Iterator[int]:
            yield from (1, 2)
            raise Broken

        def close(self) -> None:
            has_failed.set()

    items = iterate_in_threadpool(Content())
    assert await anext(items) == 1
    await until(has_failed.is_set)
    await until(lambda: items.error)
    await items.aclose()


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
async def test_a_stop_iteration_from_within_is_no_clean_end(error: type[Exception]) -> None:
    class Content:
        def __iter__(self) -> Iterator[int]:
            raise error

    with pytest.raises((RuntimeError, StopIteration)):
        await collect(iterate_in_threadpool(Content()))


async def test_aclose_after_an_early_break_closes_the_iterable() -> None:
    closed = threading.Event()

    def generate() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = iterate_in_threadpool(generate(), max_buffer=100)
    async for _ in items:
        break
    await items.aclose()
    assert closed.is_set()
    await items.aclose()


async def test_a_loop_that_was_left_can_be_gone_on_with() -> None:
    items = iterate_in_threadpool(range(5), max_buffer=1)
    async for item in items:
        if item == 1:
            break
    assert await collect(items) == [2, 3, 4]


async def test_aclose_of_a_stream_that_never_started_closes_the_iterable() -> None:
    class Content:
        thread = 0

        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def close(self) -> None:
            self.thread = threading.get_ident()

    content = Content()
    items = iterate_in_threadpool(content)
    await items.aclose()
    assert content.thread not in (0, threading.get_ident())
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_aclose_waits_for_the_item_at_hand() -> None:
    events = []
    at_work = anyio.Event()

    def generate() -> Iterator[int]:
        try:
            yield 1
            anyio.from_thread.run_sync(at_work.set)
            time.sleep(0.03)
            events.append("item made")
            yield 2
        finally:
            events.append("closed")

    items = iterate_in_threadpool(generate())
    assert await anext(items) == 1
    await at_work.wait()
    await items.aclose()
    assert events == ["item made", "closed"]


async def test_with_a_buffer_of_one_the_iterable_is_one_item_ahead() -> None:
    produced = 0

    def generate() -> Iterator[int]:
        nonlocal produced
        for number in range(20):
            produced += 1
            yield number

    async for number in iterate_in_threadpool(generate(), max_buffer=1):
        await anyio.sleep(0.001)
        assert produced <= number + 2


async def test_items_run_on_the_threads_of_a_limiter_that_was_given() -> None:
    limiter = anyio.CapacityLimiter(1)
    gate = threading.Event()

    def generate() -> Iterator[int]:
        yield 1
        assert gate.wait(5)

    items = iterate_in_threadpool(generate(), limiter=limiter)
    assert await anext(items) == 1
    assert limiter.borrowed_tokens == 1
    assert stream_limiter().borrowed_tokens == 0
    gate.set()
    assert await collect(items) == []
    await until(lambda: limiter.borrowed_tokens == 0)


async def test_two_streams_take_turns_on_the_one_thread_of_a_limiter() -> None:
    limiter = anyio.CapacityLimiter(1)
    order = []

    def generate(name: str) -> Iterator[str]:
        for _ in range(3):
            time.sleep(0.012)
            order.append(name)
            yield name

    async with anyio.create_task_group() as group:
        for name in "ab":
            group.start_soon(collect, iterate_in_threadpool(generate(name), limiter=limiter))
    assert "".join(order) not in ("aaabbb", "bbbaaa")


class NoThreads(anyio.CapacityLimiter):
    """A limiter under which no thread can be had."""

    def __new__(cls) -> NoThreads:
        return object.__new__(cls)

    def __init__(self) -> None:
        pass

    def acquire_on_behalf_of_nowait(self, borrower: object) -> None:
        raise anyio.WouldBlock

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        raise Broken

    async def __aenter__(self) -> None:
        raise Broken

    async def __aexit__(self, *exc_info: object) -> None:
        raise AssertionError


async def test_where_no_thread_can_be_had_the_content_is_closed_and_the_reason_raised() -> None:
    closed = []

    class Content:
        def __iter__(self) -> Iterator[int]:
            raise AssertionError

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(Broken):
        await collect(iterate_in_threadpool(Content(), limiter=NoThreads()))
    assert closed == [True]


@pytest.mark.parametrize("iterable", [None, 5, object()], ids=["None", "number", "object"])
async def test_what_is_no_iterable_is_refused_at_once(iterable: Any) -> None:
    with pytest.raises(TypeError, match=type(iterable).__name__):
        iterate_in_threadpool(iterable)


async def test_an_async_iterable_is_refused_with_a_hint() -> None:
    async def generate() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="async for"):
        iterate_in_threadpool(generate())  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -1, 1.5, "1", None])
async def test_a_buffer_without_room_is_refused(size: Any) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    for make in (
        lambda: iterate_in_threadpool([], max_buffer=size),
        lambda: iterate_writes(print, max_buffer=size),
        lambda: iterate_from_thread(nothing(), max_buffer=size),
    ):
        with pytest.raises((TypeError, ValueError), match="max_buffer must be a"):
            make()
