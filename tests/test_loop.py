"""A task of its own: cancelled once, and left to clean up."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Generator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from streamkit import StreamingResponse
from streamkit import loop as backend
from streamkit.testing import stream

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    pass


class Recorded:
    """A task that waits in one way or another, and cleans up with an await."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.waits = anyio.Event()
        self.steps: list[str] = []
        self.ended = anyio.Event()

    async def run(self) -> None:
        try:
            await self._wait()
            self.steps.append("went on")
        except anyio.get_cancelled_exc_class():
            self.steps.append("cancelled")
        finally:
            await checkpoint()
            await anyio.sleep(0.003)
            self.steps.append("cleaned up")

    async def _wait(self) -> None:
        self.waits.set()
        match self.way:
            case "for ever":
                await anyio.sleep_forever()
            case "in checkpoints":
                while True:
                    await checkpoint()
            case "after a timeout":
                with anyio.move_on_after(0.001):
                    await anyio.sleep_forever()
                await anyio.sleep_forever()
            case "in sleeps":
                while True:  # noqa: ASYNC110
                    await anyio.sleep(0.0005)
            case "in a thread":
                await anyio.to_thread.run_sync(threading.Event().wait, 0.01)
                await anyio.sleep_forever()

    async def close(self) -> None:
        await anyio.sleep(0.003)
        self.steps.append("closed")
        self.ended.set()


WAYS = ["for ever", "in checkpoints", "after a timeout", "in sleeps", "in a thread"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_task_is_cancelled_once_and_cleans_up_with_awaits(way: str) -> None:
    recorded = Recorded(way)
    task = backend.spawn(recorded.run, recorded.close)
    await recorded.waits.wait()
    await anyio.sleep(0.004)
    task.cancel()
    with anyio.fail_after(5):
        await recorded.ended.wait()
    assert recorded.steps == ["cancelled", "cleaned up", "closed"]


async def test_a_cancellation_that_comes_late_does_not_reach_the_cleanup() -> None:
    release, ended = backend.make_signal(), anyio.Event()
    begun = anyio.Event()

    async def run() -> None:
        begun.set()
        try:
            await release.wait()
        except anyio.get_cancelled_exc_class():
            pass

    async def close() -> None:
        await anyio.sleep(0.003)
        ended.set()

    task = backend.spawn(run, close)
    await begun.wait()
    await checkpoint()
    release.set()
    task.cancel()
    with anyio.fail_after(5):
        await ended.wait()


async def test_killing_a_task_cancels_its_cleanup() -> None:
    cleans, ended = anyio.Event(), anyio.Event()

    async def close() -> None:
        cleans.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            ended.set()

    task = backend.spawn(nothing, close)
    await cleans.wait()
    await checkpoint()
    task.kill()
    with anyio.fail_after(5):
        await ended.wait()


async def test_a_generator_that_has_slept_is_freed_by_a_disconnect() -> None:
    closed = []

    async def generate() -> AsyncIterator[bytes]:
        try:
            await anyio.sleep(0.001)
            yield b"x"
            await anyio.sleep(0.001)
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.001)
            closed.append(True)

    async with stream(StreamingResponse(generate())) as client:
        await anext(client)
        await anyio.sleep(0.01)
        await client.disconnect()
        with anyio.fail_after(5):
            await client.wait_closed()
    assert closed == [True]


class Foreign:
    def __await__(self) -> Generator[Any, Any, None]:
        yield "neither asyncio nor trio knows this"


async def test_what_the_loop_raises_into_a_generator_is_an_exception_of_the_content() -> None:
    async def generate() -> AsyncIterator[bytes]:
        await Foreign()
        yield b""

    with pytest.raises((TypeError, RuntimeError)):
        async with stream(StreamingResponse(generate())):
            pass


async def test_a_signal_that_was_set_wakes_one_wait() -> None:
    signal = backend.make_signal()
    signal.set()
    signal.set()
    assert await signal.wait()
    assert not await signal.wait(0.001)


async def test_a_thread_sets_a_signal() -> None:
    signal = backend.make_signal()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, signal.set_threadsafe)
        with anyio.fail_after(5):
            assert await signal.wait()


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_signal_of_a_loop_that_has_ended_is_set_in_vain(name: str) -> None:
    async def make() -> backend.Signal:
        return backend.make_signal()

    anyio.run(make, backend=name).set_threadsafe()


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_task_that_a_loop_has_no_time_for_is_run_at_its_end(name: str) -> None:
    steps = []

    async def close() -> None:
        steps.append("closed")

    async def main() -> None:
        backend.spawn(nothing, close)

    anyio.run(main, backend=name)
    assert steps == ["closed"]


@pytest.mark.parametrize("name", ["asyncio", "trio"])
@pytest.mark.parametrize("way", WAYS)
def test_a_task_cleans_up_when_its_loop_ends(name: str, way: str) -> None:
    async def main() -> Recorded:
        recorded = Recorded(way)
        backend.spawn(recorded.run, recorded.close)
        await recorded.waits.wait()
        await anyio.sleep(0.004)
        return recorded

    assert anyio.run(main, backend=name).steps == ["cancelled", "cleaned up", "closed"]


async def test_run_somewhere_uses_the_loop_at_hand() -> None:
    threads = []
    done = anyio.Event()

    async def note() -> None:
        threads.append(threading.get_ident())
        done.set()

    backend.run_somewhere(note)
    await done.wait()
    await anyio.to_thread.run_sync(backend.run_somewhere, note)
    assert threads == [threading.get_ident()] * 2


def test_run_somewhere_makes_a_loop_where_there_is_none() -> None:
    ran = []

    async def note() -> None:
        ran.append(anyio.get_current_task().id)

    backend.run_somewhere(note)
    assert len(ran) == 1


async def test_a_cancellation_beside_a_timeout_of_the_tasks_own_is_not_lost() -> None:
    for number in range(60):
        ended = anyio.Event()
        steps: list[str] = []

        async def sleep_on(steps: list[str] = steps) -> None:
            try:
                while True:  # noqa: ASYNC110 (a timeout each time is the point)
                    await anyio.sleep(0.001)
            except anyio.get_cancelled_exc_class():
                steps.append("cancelled")

        async def clean_up(steps: list[str] = steps, ended: anyio.Event = ended) -> None:
            await checkpoint()
            steps.append("closed")
            ended.set()

        task = backend.spawn(sleep_on, clean_up)
        # Both are due at the same turn of the loop, now and then.
        await anyio.sleep(0.001 * (1 + number % 4))
        task.cancel()
        with anyio.fail_after(5):
            await ended.wait()
        assert steps == ["cancelled", "closed"]
