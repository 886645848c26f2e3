"""`async def` endpoints that yield: FastAPI's wrapper is taken off, and what follows from that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from streamkit import StreamingResponse, StreamOutcome
from streamkit.testing import stream

pytestmark = pytest.mark.anyio

# Seconds: long enough for the first item to be sent before, on a busy machine too.
EXPIRES = 0.1

# What the client does while a scope around a `yield` expires: it reads, or it has stalled, so that
# the response waits in its `send`.
CLIENTS = pytest.mark.parametrize("client_is", ["reading", "stalled"])


async def play(content: AsyncIterator[bytes], client_is: str) -> tuple[bytes, StreamOutcome]:
    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(content, on_close=outcomes.append)
    body = b""
    with anyio.fail_after(10):
        async with stream(response, read_ahead=0) as client:
            body += await anext(client)
            if client_is == "stalled":
                client.stall()
                await anyio.sleep(2 * EXPIRES)
                client.resume()
            try:
                async for chunk in client:
                    body += chunk
            except Exception:
                assert outcomes[0].reason != "complete"
            await client.wait_closed()
    (outcome,) = outcomes
    return body, outcome


@CLIENTS
async def test_a_scope_around_a_yield_that_expires_is_the_contents(client_is: str) -> None:
    seen: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        with anyio.move_on_after(EXPIRES) as scope:
            while True:
                yield b"x"
                await anyio.sleep(0.001)
        seen.append("expired" if scope.cancelled_caught else "not expired")
        await anyio.lowlevel.checkpoint()
        yield b"end"

    body, outcome = await play(content(), client_is)
    assert body.endswith(b"end")
    assert seen == ["expired"]
    assert outcome.reason == "complete"


@CLIENTS
async def test_fail_after_around_a_yield_is_a_timeout_error_of_the_content(client_is: str) -> None:
    seen: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        try:
            with anyio.fail_after(EXPIRES):
                while True:
                    yield b"x"
                    await anyio.sleep(0.001)
        except TimeoutError:
            seen.append("timeout")
        yield b"end"

    body, outcome = await play(content(), client_is)
    assert (body[-3:], seen, outcome.reason) == (b"end", ["timeout"], "complete")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@CLIENTS
async def test_asyncio_timeout_around_a_yield_is_the_contents(client_is: str) -> None:
    seen: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(EXPIRES):
                while True:
                    yield b"x"
                    await asyncio.sleep(0.001)
        except TimeoutError:
            seen.append("timeout")
        yield b"end"

    body, outcome = await play(content(), client_is)
    assert (body[-3:], seen, outcome.reason) == (b"end", ["timeout"], "complete")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@CLIENTS
async def test_the_error_of_a_task_group_of_asyncio_reaches_the_content(client_is: str) -> None:
    seen: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(EXPIRES)
        raise ValueError("child")

    async def content() -> AsyncIterator[bytes]:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                while True:
                    yield b"x"
                    await asyncio.sleep(0.001)
        except* ValueError as errors:
            seen.append(str(errors.exceptions[0]))
        yield b"end"

    body, outcome = await play(content(), client_is)
    assert (body[-3:], seen, outcome.reason) == (b"end", ["child"], "complete")


@CLIENTS
async def test_the_error_of_a_task_group_reaches_the_content(client_is: str) -> None:
    seen: list[str] = []

    async def fail() -> None:
        await anyio.sleep(EXPIRES)
        raise ValueError("child")

    async def content() -> AsyncIterator[bytes]:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(fail)
                while True:
                    yield b"x"
                    await anyio.sleep(0.001)
        except* ValueError as errors:
            seen.append(str(errors.exceptions[0]))
        yield b"end"

    body, outcome = await play(content(), client_is)
    assert (body[-3:], seen, outcome.reason) == (b"end", ["child"], "complete")


@CLIENTS
async def test_an_error_that_leaves_the_content_is_never_lost(client_is: str) -> None:
    async def content() -> AsyncIterator[bytes]:
        with anyio.fail_after(EXPIRES):
            while True:
                yield b"x"
                await anyio.sleep(0.001)

    _, outcome = await play(content(), client_is)
    assert outcome.reason == "error"
    assert isinstance(outcome.error, TimeoutError)


@pytest.mark.parametrize("how", ["disconnect", "outer scope"])
async def test_a_scope_of_the_content_does_not_hide_the_end_of_the_response(how: str) -> None:
    steps: list[Any] = []

    async def content() -> AsyncIterator[bytes]:
        with anyio.move_on_after(30):
            try:
                while True:
                    yield b"x"
                    await anyio.sleep(0.001)
            finally:
                await anyio.sleep(0.002)
                steps.append("closed")

    response = StreamingResponse(content(), on_close=lambda outcome: steps.append(outcome.reason))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with anyio.move_on_after(EXPIRES if how == "outer scope" else 30):
            await response(scope, receive, send)

    with anyio.fail_after(10):
        async with stream(app) as client:
            await anext(client)
            if how == "disconnect":
                await client.disconnect()
            await client.wait_closed()
    assert steps == ["closed", "disconnect" if how == "disconnect" else "cancelled"]


async def in_a_thread() -> None:
    await anyio.to_thread.run_sync(int)


async def if_cancelled() -> None:
    await anyio.lowlevel.checkpoint_if_cancelled()


async def in_a_task_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)


async def with_a_lock() -> None:
    async with anyio.Lock():
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("cleanup", [in_a_thread, if_cancelled, in_a_task_group, with_a_lock])
@pytest.mark.parametrize("waits", ["for ever", "in turns", "in a thread", "without a yield"])
async def test_a_cleanup_may_await_whatever_it_likes(waits: str, cleanup: Any) -> None:
    steps: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            while True:
                if waits == "for ever":
                    await anyio.sleep_forever()
                elif waits == "in a thread":
                    await anyio.to_thread.run_sync(int)
                else:
                    await anyio.lowlevel.checkpoint()
                if waits != "without a yield":
                    yield b"y"
        finally:
            steps.append("closing")
            await cleanup()
            await cleanup()
            steps.append("closed")

    response = StreamingResponse(content(), on_close=lambda outcome: steps.append(outcome.reason))
    with anyio.fail_after(10):
        async with stream(response) as client:
            await anext(client)
            await client.disconnect()
            await client.wait_closed()
    assert steps == ["closing", "closed", "disconnect"]


async def at_a_bare_yield() -> None:
    # Longer than the time for which items are gathered: the chunk before leaves first.
    time.sleep(0.005)  # noqa: ASYNC251
    await asyncio.sleep(0)


async def for_a_future_that_is_done_meanwhile() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(EXPIRES / 4, future.set_result, None)
    await future


async def for_a_future() -> None:
    await asyncio.get_running_loop().create_future()


async def for_a_task() -> None:
    await asyncio.create_task(asyncio.sleep(30))


async def at_its_yield() -> None:
    pass


WAITS = [
    at_a_bare_yield, for_a_future_that_is_done_meanwhile, for_a_future, for_a_task, at_its_yield,
]  # fmt: skip


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("wait", WAITS)
async def test_while_the_client_stalls_a_scope_expires_wherever_the_content_waits(
    wait: Callable[[], Awaitable[None]], goes_on: bool
) -> None:
    seen: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        with anyio.move_on_after(EXPIRES) as scope:
            yield b"x" if wait is not at_its_yield else b"x" * 100_000
            await wait()
            while True:
                yield b"x" * 100_000
        seen.append("expired" if scope.cancelled_caught else "not expired")
        if goes_on:
            yield b"end"

    body, outcome = await play(content(), "stalled")
    assert body.endswith(b"xend" if goes_on else b"x")
    assert seen == ["expired"]
    assert outcome.reason == "complete"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_that_is_raised_at_no_yield_ends_the_response_as_an_error() -> None:
    class Numbers:
        """No generator: nothing can be raised at its `yield`."""

        scope = anyio.CancelScope()

        def __aiter__(self) -> AsyncIterator[bytes]:
            self.scope.__enter__()
            self.scope.deadline = anyio.current_time() + EXPIRES
            return self

        async def __anext__(self) -> bytes:
            return b"x" * 100_000

        async def aclose(self) -> None:
            self.scope.__exit__(None, None, None)

    with anyio.fail_after(10):
        _, outcome = await play(Numbers(), "stalled")  # type: ignore[arg-type]
    assert outcome.reason == "error"


async def test_a_scope_that_expires_at_the_last_yield_ends_the_content() -> None:
    seen: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        with anyio.move_on_after(EXPIRES) as scope:
            while True:
                yield b"x" * 100_000
        seen.append("expired" if scope.cancelled_caught else "not expired")

    body, outcome = await play(content(), "stalled")
    assert body.endswith(b"x")
    assert (seen, outcome.reason) == (["expired"], "complete")
