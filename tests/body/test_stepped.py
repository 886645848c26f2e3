"""Each kind of thing that content on asyncio may await, while it is driven by hand.

asyncio's task protocol is what this rests on: a coroutine yields None, or a future.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from streamkit import StreamingResponse, StreamOutcome
from streamkit.testing import fetch, stream
from tests.conftest import BACKENDS

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", BACKENDS[:2])]


async def on_a_future() -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.002, lambda: future.done() or future.set_result(None))
    await future


async def on_a_future_that_is_done() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    await future


async def on_a_task() -> None:
    await asyncio.create_task(asyncio.sleep(0.002))


async def on_gather() -> None:
    await asyncio.gather(asyncio.sleep(0.002), asyncio.sleep(0.001))


async def on_a_bare_yield() -> None:
    await asyncio.sleep(0)


async def on_many_bare_yields() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def on_an_event() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()


async def on_a_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    asyncio.get_running_loop().call_later(0.001, queue.put_nowait, 1)
    await queue.get()


async def on_wait_for() -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(60), 0.002)


async def on_a_timeout() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(0.002):
            await asyncio.sleep(60)


async def on_a_shielded_task() -> None:
    await asyncio.shield(asyncio.create_task(asyncio.sleep(0.002)))


async def on_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0.002))


async def on_a_task_group_of_anyio() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0.002)


async def on_a_scope_that_is_cancelled() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep(60)


async def on_a_scope_in_a_scope() -> None:
    with anyio.move_on_after(0.002), anyio.CancelScope():
        await anyio.sleep_forever()


async def on_a_checkpoint() -> None:
    await anyio.lowlevel.checkpoint()


async def on_a_thread() -> None:
    await anyio.to_thread.run_sync(int)


async def on_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, int)


async def on_a_future_of_threads() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(int))


class Awaited:
    """An awaitable of one's own."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from asyncio.sleep(0.001).__await__()


async def on_an_awaitable_of_ones_own() -> None:
    await Awaited()


async def on_nothing() -> None:
    pass


WAITS = [
    on_a_future, on_a_future_that_is_done, on_a_task, on_gather, on_a_bare_yield,
    on_many_bare_yields, on_an_event, on_a_queue, on_wait_for, on_a_timeout, on_a_shielded_task,
    on_a_task_group, on_a_task_group_of_anyio, on_a_scope_that_is_cancelled, on_a_scope_in_a_scope,
    on_a_checkpoint, on_a_thread, on_an_executor, on_a_future_of_threads,
    on_an_awaitable_of_ones_own, on_nothing,
]  # fmt: skip
EACH = pytest.mark.parametrize("wait", WAITS)

Wait = Callable[[], Awaitable[None]]


@EACH
async def test_items_between_waits_arrive_in_order(wait: Wait) -> None:
    tasks: set[Any] = set()

    async def content() -> AsyncIterator[str]:
        for number in range(4):
            tasks.add(asyncio.current_task())
            yield f"{number} "
            await wait()
            yield f"{number}' "
        await wait()

    with anyio.fail_after(10):
        response = await fetch(StreamingResponse(content()))
    assert response.body == b"0 0' 1 1' 2 2' 3 3' "
    assert response.complete
    # All of it ran in one task, as scopes and timeouts need.
    assert len(tasks) == 1


@EACH
async def test_an_error_after_a_wait_is_the_contents(wait: Wait) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"x"
        await wait()
        raise ValueError("after the wait")

    with anyio.fail_after(10):
        response = await fetch(StreamingResponse(content()))
    assert isinstance(response.error, ValueError)
    assert not response.complete


@EACH
@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_client_that_leaves_during_a_wait_closes_it_once(wait: Wait, before: int) -> None:
    steps: list[Any] = []

    async def content() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            for _ in range(before):
                await wait()
            while True:
                await wait()
                await asyncio.sleep(0)
                yield b"x"
        finally:
            await wait()
            steps.append("closed")

    def told(outcome: StreamOutcome) -> None:
        steps.append(outcome.reason)

    with anyio.fail_after(10):
        async with stream(StreamingResponse(content(), on_close=told)) as client:
            await anext(client)
            await client.disconnect()
            await client.wait_closed()
    assert steps == ["closed", "disconnect"]
    del content
    gc.collect()


async def test_what_is_awaited_but_is_no_future_is_an_error_of_the_content() -> None:
    class Wrong:
        def __await__(self) -> Generator[Any, Any, None]:
            yield "neither None nor a future"

    async def content() -> AsyncIterator[bytes]:
        yield b"x"
        await Wrong()

    with anyio.fail_after(10):
        response = await fetch(StreamingResponse(content()))
    assert isinstance(response.error, RuntimeError)
    assert not response.complete
