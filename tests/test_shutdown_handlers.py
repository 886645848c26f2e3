"""Handlers of signals, ours and other people's: each is called, and none stays that was left."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import Any

import anyio
import pytest

from streamkit import StreamingResponse, graceful_shutdown
from streamkit.testing import stream
from tests.server import ROOT
from tests.shutdown_app import ticks

DEFAULT_ACTION = """
import asyncio, os, signal
from streamkit import graceful_shutdown
from streamkit.testing import stream
from tests.shutdown_app import FAREWELL, silence
from streamkit import SSEStreamingResponse

async def main():
    async with graceful_shutdown(grace=30.0):
        async with stream(SSEStreamingResponse(silence(), farewell=FAREWELL)) as client:
            await anext(client)
            os.kill(os.getpid(), signal.SIGTERM)
            print((await client.read()).decode(), flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


def test_what_would_have_ended_the_process_ends_it_after_the_streams() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEFAULT_ACTION], capture_output=True, timeout=50, cwd=ROOT
    )
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert b"data: back soon" in done.stdout


async def test_signals_are_handled_as_before_and_restored(anyio_backend: Any) -> None:
    heard: list[int] = []

    def handle(number: int, frame: Any) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        async with graceful_shutdown(30.0) as shutdown:
            assert signal.getsignal(signal.SIGTERM) != handle
            signal.raise_signal(signal.SIGTERM)
            await shutdown.wait()
            assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == handle
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_handler_set_later_is_chained_by_the_next_stream(anyio_backend: Any) -> None:
    heard: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    try:
        async with graceful_shutdown(30.0) as shutdown:
            signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                signal.raise_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    await shutdown.wait()
                assert heard == [signal.SIGTERM]
                await client.disconnect()
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_later_handler_that_calls_the_one_before_goes_round_in_no_circle(
    anyio_backend: Any,
) -> None:
    heard: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append("first"))
    try:
        async with graceful_shutdown(30.0) as shutdown:
            ours: Any = signal.getsignal(signal.SIGTERM)

            def later(number: int, frame: Any) -> None:
                heard.append("later")
                ours(number, frame)

            signal.signal(signal.SIGTERM, later)
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                signal.raise_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    await shutdown.wait()
                await client.disconnect()
            assert heard == ["later", "first"]
        assert signal.getsignal(signal.SIGTERM) is later
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_of_two_that_run_both_are_told(anyio_backend: Any) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        async with graceful_shutdown(30.0) as outer, graceful_shutdown(30.0) as inner:
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                signal.raise_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    await outer.wait()
                    await inner.wait()
                await client.disconnect()
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 0, 1)])
async def test_of_several_that_are_left_in_any_order_no_handler_stays(
    order: tuple[int, ...], anyio_backend: Any
) -> None:
    heard: list[int] = []

    def handle(number: int, frame: Any) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        contexts = [graceful_shutdown(30.0) for _ in order]
        shutdowns = [await context.__aenter__() for context in contexts]
        for position, left in enumerate(order, 1):
            await contexts[left].__aexit__(None, None, None)
            open_ones = [shutdowns[index] for index in order[position:]]
            assert not any(shutdown.requested for shutdown in open_ones)
            assert (signal.getsignal(signal.SIGTERM) == handle) == (not open_ones)
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


LEFT_FIRST = """
import asyncio, os, signal
from streamkit import graceful_shutdown
from streamkit.testing import stream
from tests.shutdown_app import FAREWELL, silence
from streamkit import SSEStreamingResponse

async def main():
    first = graceful_shutdown(grace=30.0)
    await first.__aenter__()
    async with graceful_shutdown(grace=30.0):
        await first.__aexit__(None, None, None)
        async with stream(SSEStreamingResponse(silence(), farewell=FAREWELL)) as client:
            await anext(client)
            os.kill(os.getpid(), signal.SIGTERM)
            print((await client.read()).decode(), flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


def test_the_one_that_is_left_first_does_not_take_the_grace_of_the_other() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_FIRST], capture_output=True, timeout=50, cwd=ROOT
    )
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert b"data: back soon" in done.stdout


async def test_an_ignored_signal_stays_ignored(anyio_backend: Any) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        async with graceful_shutdown():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_somebody_elses_handler_is_not_overwritten_at_the_end(anyio_backend: Any) -> None:
    heard: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    try:
        async with graceful_shutdown():
            ours = signal.getsignal(signal.SIGTERM)

            def later(number: int, frame: Any) -> None:
                heard.append(number)

            signal.signal(signal.SIGTERM, later)
        assert callable(ours)
        assert signal.getsignal(signal.SIGTERM) is later
    finally:
        signal.signal(signal.SIGTERM, before)


def test_on_another_thread_no_signal_is_touched() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def main() -> None:
        async with graceful_shutdown() as shutdown:
            assert signal.getsignal(signal.SIGTERM) == before
            shutdown.request()
            await shutdown.wait()

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    thread.join()
