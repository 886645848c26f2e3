"""Adapters of sync content, once the client of their stream has left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import anyio
import pytest

from streamkit import StreamingResponse, rechunk, split_events, split_lines
from streamkit.testing import stream

ADAPTERS: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    "rechunk": lambda content: rechunk(content, 65536),
    "split_lines": split_lines,
    "split_events": split_events,
}


@pytest.mark.anyio
@pytest.mark.parametrize("adapt", ADAPTERS.values(), ids=ADAPTERS)
async def test_content_that_gives_little_is_left_when_the_client_leaves(
    adapt: Callable[[Iterator[bytes]], Iterator[bytes]],
) -> None:
    made, cleaned = 0, list[bytes]()
    begun = threading.Event()

    def slow() -> Iterator[bytes]:
        nonlocal made
        try:
            for made in range(1, 1001):  # noqa: B007  nothing can be given before the last
                begun.set()
                time.sleep(0.01)
                yield b"row"
        finally:
            # The cleanup is left alone.
            cleaned.extend(rechunk([b"ab", b"c"], 2))

    async with stream(StreamingResponse(adapt(slow())), wait_for_start=False) as client:
        await anyio.to_thread.run_sync(begun.wait, 20)
        await client.disconnect()
        await client.wait_closed()
    assert made < 1000
    assert cleaned == [b"ab", b"c"]
