"""A response that has ended is free at once: nothing of it is left to the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import Message

from streamkit import SSEStreamingResponse, StreamingResponse

pytestmark = pytest.mark.anyio


def few() -> Iterator[str]:
    yield from "abc"


async def async_few() -> AsyncIterator[str]:
    for each in "abc":
        yield each


async def slow_few() -> AsyncIterator[str]:
    for each in "abc":
        await anyio.sleep(0.01)
        yield each


KINDS: dict[str, Callable[[Path], Any]] = {
    "sync": lambda _: StreamingResponse(few()),
    "async": lambda _: StreamingResponse(async_few()),
    "async that waits": lambda _: StreamingResponse(slow_few()),
    "events": lambda _: SSEStreamingResponse(slow_few()),
    "bytes": lambda _: StreamingResponse(b"abc"),
    "path": lambda path: StreamingResponse(path),
    "file": lambda path: StreamingResponse(path.open("rb")),
}


@contextmanager
def garbage() -> Iterator[list[Any]]:
    """What only the collector frees of the objects that are made meanwhile."""
    gc.collect()
    # What is there is not looked at again.
    gc.freeze()
    gc.disable()
    found: list[Any] = []
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


async def send_it(response: StreamingResponse) -> None:
    ended = anyio.Event()
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended.set()

    await response({"type": "http", "method": "GET", "headers": []}, receive, send)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_response_leaves_nothing_to_the_collector(
    kind: str, tmp_path: Path, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio's own cancellations keep frames")
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    await send_it(KINDS[kind](path))
    with garbage() as found:
        await send_it(KINDS[kind](path))
        # A thread may still be on its way out.
        await anyio.sleep(0.05)
    assert not {type(each) for each in found if type(each).__module__.startswith("streamkit.")}
