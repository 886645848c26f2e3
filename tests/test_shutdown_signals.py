"""A signal that would end the process does so after the streams; what a shutdown leaves alone."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest

from streamkit import StreamingResponse, graceful_shutdown
from streamkit.asgi.listeners import address_of
from streamkit.testing import stream

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


async def ticks() -> AsyncIterator[str]:
    yield "tick\n"
    await anyio.sleep_forever()


@pytest.fixture
def harmless() -> Iterator[signal.Signals]:
    """A signal whose default is to do nothing, in the place of those that end a server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamkit.shutdown.SIGNALS", (signal.SIGWINCH,))
        before = signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        yield signal.SIGWINCH
        signal.signal(signal.SIGWINCH, before)


@pytest.mark.skipif(not hasattr(signal, "SIGWINCH"), reason="a signal of Unix")
@pytest.mark.parametrize("times", [1, 2])
async def test_the_default_action_comes_after_the_streams_or_at_the_second_signal(
    times: int, harmless: signal.Signals
) -> None:
    with anyio.fail_after(PATIENCE):
        async with graceful_shutdown(0.05) as shutdown:
            ours = signal.getsignal(harmless)
            assert ours is not signal.SIG_DFL
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                signal.raise_signal(harmless)
                assert shutdown.requested
                # It is put off: the stream has its grace.
                assert signal.getsignal(harmless) == ours
                if times == 2:
                    signal.raise_signal(harmless)
                    assert signal.getsignal(harmless) is signal.SIG_DFL
                await client.wait_closed()
            while signal.getsignal(harmless) == ours:  # noqa: ASYNC110
                await anyio.sleep(0.001)
            assert signal.getsignal(harmless) is signal.SIG_DFL


@pytest.mark.skipif(not hasattr(signal, "SIGWINCH"), reason="a signal of Unix")
async def test_a_later_handler_that_still_calls_ours_gets_what_was_there_before(
    harmless: signal.Signals,
) -> None:
    async with graceful_shutdown(0):
        ours: Any = signal.getsignal(harmless)
    assert signal.getsignal(harmless) is signal.SIG_DFL
    signal.signal(harmless, ours)
    signal.raise_signal(harmless)
    # The default action was taken, and the signal is the default's again.
    assert signal.getsignal(harmless) is signal.SIG_DFL


async def test_leaving_the_block_ends_a_stream_whose_server_still_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, anyio.fail_after(PATIENCE):
        scope = {"server": listener.getsockname(), "client": ("127.0.0.1", 5)}
        leaving = graceful_shutdown(0)
        await leaving.__aenter__()
        async with stream(StreamingResponse(ticks()), scope=scope) as client:
            await anext(client)
            await leaving.__aexit__(None, None, None)
            await client.wait_closed()
            assert not client.complete


async def test_a_listener_is_looked_at_no_more_when_its_streams_have_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, anyio.fail_after(PATIENCE):
        scope = {"server": listener.getsockname(), "client": ("127.0.0.1", 5)}
        async with graceful_shutdown(0) as shutdown:
            async with stream(StreamingResponse(ticks()), scope=scope) as client:
                await anext(client)
            # Longer than it takes to look.
            await anyio.sleep(0.4)
            listener.close()
            await anyio.sleep(0.4)
            assert not shutdown.requested


async def test_the_shutdown_of_another_loop_leaves_streams_alone() -> None:
    runs, ends = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        async with graceful_shutdown(0) as shutdown:
            runs.set()
            await anyio.to_thread.run_sync(ends.wait, PATIENCE)
            shutdown.request()

    thread = threading.Thread(target=anyio.run, args=(elsewhere,))
    thread.start()
    try:
        with anyio.fail_after(PATIENCE):
            await anyio.to_thread.run_sync(runs.wait, PATIENCE)
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                ends.set()
                await anyio.to_thread.run_sync(thread.join)
                assert not client.closed
    finally:
        ends.set()
        thread.join()


def test_a_request_that_tells_no_server_has_no_address() -> None:
    assert address_of({}) is None
    assert address_of({"server": ("/run/app", None)}) == "/run/app"
    assert address_of({"server": ("::1", "80")}) == 80
