"""What a loop does that is closed without a word, and a process that ends: tasks are left where
they wait, and the garbage collector closes their coroutines. Nothing can be awaited then."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import CoroutineType
from typing import Any

import pytest

from streamkit import PlainTextStreamingResponse, open_streams
from streamkit.body.gather import Gatherer


class Content:
    """Waits in its first item, its second, its close, or never."""

    def __init__(self, waits_in: str) -> None:
        self._waits_in = waits_in
        self._given = 0
        self.began = self.ended = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._given += 1
        await self._wait_in("first" if self._given == 1 else "second")
        if self._given == 1000 and self._waits_in == "close":
            raise StopAsyncIteration
        return b"x" * 100

    async def aclose(self) -> None:
        await self._wait_in("close")

    async def _wait_in(self, place: str) -> None:
        if place == self._waits_in:
            self.began += 1
            try:
                await asyncio.sleep(3600)
            finally:
                self.ended += 1


async def takes_all(message: Any) -> None:
    pass


async def takes_nothing(message: Any) -> None:
    if message.get("body"):
        await asyncio.sleep(3600)


async def fails(message: Any) -> None:
    if message.get("body"):
        raise ConnectionResetError


async def gives_nothing() -> Any:
    return await asyncio.get_running_loop().create_future()


SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/",
    "headers": [(b"accept-encoding", b"gzip")],
    "http_version": "1.1",
}

CONTENT = (Gatherer._take_items.__code__, Gatherer._close_content.__code__)


def is_suspended(thing: object) -> bool:
    """Whether it is a coroutine that runs or closes a content, and waits."""
    is_content = isinstance(thing, CoroutineType) and thing.cr_code in CONTENT
    return is_content and bool(thing.cr_frame)


@pytest.mark.parametrize("send", [takes_all, takes_nothing, fails])
@pytest.mark.parametrize("waits_in", ["first", "second", "close", "nothing"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("inner_first", [False, True])
def test_what_the_content_waits_for_is_ended_with_its_task(
    waits_in: str, send: Callable[[Any], Awaitable[None]], compress: bool, inner_first: bool
) -> None:
    loop = asyncio.new_event_loop()
    content = Content(waits_in)
    response = PlainTextStreamingResponse(content, compress=compress)
    running: list[asyncio.Task[None]] = []

    async def begin() -> None:
        running.append(asyncio.create_task(response(SCOPE, gives_nothing, send)))
        for _ in range(100):
            await asyncio.sleep(0)

    loop.run_until_complete(begin())
    # The request's own task is the server's.
    left = asyncio.all_tasks(loop) - {*running}
    loop.close()
    for task in (*left, *running):
        task._log_destroy_pending = False
    coroutines = [task.get_coro() for task in left]
    if inner_first:
        # The collector closes what it finds, in no order.
        coroutines += [each for each in gc.get_objects() if is_suspended(each)]
        coroutines.reverse()
    for each in coroutines:
        # As the garbage collector does it. It would raise here if anything was awaited.
        each.close()
    # anyio's scopes would keep what nobody closes.
    with suppress(RuntimeError):
        running[0].get_coro().close()
    assert open_streams() == []
    assert content.began == content.ended
    reached = {takes_all: ("first", "second", "close"), takes_nothing: "first"}
    assert content.began == (waits_in in reached.get(send, ("first", "close")))


PROGRAM = """
import sys
from collections.abc import Iterator

import anyio

from streamkit import StreamingResponse


class Rows:
    def __iter__(self) -> Iterator[bytes]:
        return iter([b"row"])

    def close(self) -> None:
        print("closed", flush=True)


class File:
    def read(self, size: int) -> bytes:
        return b""

    close = Rows.close


async def main() -> None:
    try:
        StreamingResponse({"rows": Rows, "file": File}[sys.argv[1]](), filename="")
    except ValueError:
        print("refused", flush=True)


backend, _, loop = sys.argv[2].partition("+")
anyio.run(main, backend=backend, backend_options={"use_uvloop": True} if loop else {})
print("ended", flush=True)
"""


@pytest.mark.parametrize("loop", ["asyncio", "asyncio+uvloop", "trio"])
@pytest.mark.parametrize("content", ["rows", "file"])
def test_a_loop_that_ends_at_once_waits_for_the_closing_of_what_was_refused(
    content: str, loop: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, content, loop]
    # A thread that nobody stops would keep the process.
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["refused", "closed", "ended"]
    assert (run.returncode, run.stderr) == (0, "")
