"""Streams of the bridges that are given away, left, or closed by one task and another."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from streamkit import BytesSource, StreamingResponse, iterate_in_threadpool
from streamkit.testing import fetch
from tests.bridging import until

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


def numbers(closed: threading.Event) -> Iterator[str]:
    try:
        for number in range(3):
            yield f"{number} "
    finally:
        closed.set()


async def test_a_stream_that_a_response_took_over_gives_nothing_any_more() -> None:
    closed = threading.Event()
    items = iterate_in_threadpool(numbers(closed))
    response = StreamingResponse(items)
    with pytest.raises(RuntimeError, match="this stream was given to a response or an archive"):
        await anext(items)
    # Closing it is left to the response too.
    await items.aclose()
    assert not closed.is_set()
    assert (await fetch(response)).body == b"0 1 2 "
    assert closed.is_set()


async def test_of_a_stream_that_is_under_way_a_response_sends_the_rest() -> None:
    closed = threading.Event()
    items = iterate_in_threadpool(numbers(closed))
    assert await anext(items) == "0 "
    assert (await fetch(StreamingResponse(items))).body == b"1 2 "
    assert closed.is_set()


async def test_of_two_responses_with_one_stream_the_first_has_it() -> None:
    closed = threading.Event()
    items = iterate_in_threadpool(numbers(closed))
    first, second = StreamingResponse(items), StreamingResponse(items)
    assert (await fetch(first)).body == b"0 1 2 "
    with pytest.raises(RuntimeError, match="this stream was given to a response or an archive"):
        await fetch(second)
    assert closed.is_set()


async def test_a_stream_that_was_closed_has_no_items() -> None:
    closed = threading.Event()
    items = iterate_in_threadpool(numbers(closed))
    await items.aclose()
    assert [item async for item in items] == []
    assert (await fetch(StreamingResponse(items))).body == b""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled_while_it_closes_has_closed_before_it_ends() -> None:
    begins, goes_on, closed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        try:
            yield 1
        finally:
            begins.set()
            goes_on.wait(PATIENCE)
            closed.set()

    items = iterate_in_threadpool(slow(), max_buffer=1)

    async def close() -> None:
        assert await anext(items) == 1
        await items.aclose()

    with anyio.fail_after(PATIENCE):
        closing = asyncio.create_task(close())
        while not begins.is_set():  # noqa: ASYNC110 (a thread sets it)
            await asyncio.sleep(0.001)
        closing.cancel()
        await asyncio.sleep(0.01)
        assert not closing.done()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert closed.is_set()


class Silent:
    """Gives one item, and the next one when it is told to."""

    def __init__(self) -> None:
        self.goes_on, self.is_closed = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[int]:
        yield 1
        self.goes_on.wait(PATIENCE)
        yield 2

    def close(self) -> None:
        self.is_closed.set()


@pytest.mark.parametrize("reads", [True, False])
async def test_of_the_tasks_that_wait_for_a_stream_when_it_is_closed_each_goes_on(
    reads: bool,
) -> None:
    content = Silent()
    items = iterate_in_threadpool(content)
    assert await anext(items) == 1
    ended = []

    async def read() -> None:
        # It may still get what was ready before the end.
        assert [item async for item in items] in ([], [2])
        ended.append("reader")

    async def close(name: str) -> None:
        await items.aclose()
        assert content.is_closed.is_set()
        ended.append(name)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            if reads:
                tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(close, "one")
            tasks.start_soon(close, "other")
            await anyio.wait_all_tasks_blocked()
            content.goes_on.set()
    assert sorted(ended) == ["one", "other", *(["reader"] if reads else [])]


# trio tells of each generator that it closes itself.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("thread_affine", [True, False])
async def test_a_loop_that_is_left_closes_the_iterable_without_the_garbage_collector(
    thread_affine: bool,
) -> None:
    closed = threading.Event()

    def generate() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    async def first() -> int:
        async for item in iterate_in_threadpool(generate(), thread_affine=thread_affine):
            return item
        return 0

    gc.disable()
    try:
        assert await first() == 1
        await until(closed.is_set)
    finally:
        gc.enable()


@pytest.mark.parametrize("reads_to_the_end", [True, False])
async def test_the_body_of_a_source_can_be_looked_at(reads_to_the_end: bool) -> None:
    response: Any = StreamingResponse(BytesSource(b"all of it"))
    body = response.body_iterator
    if reads_to_the_end:
        assert b"".join([chunk async for chunk in body]) == b"all of it"
    else:
        await body.aclose()
    assert [chunk async for chunk in body] == []
