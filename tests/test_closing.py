"""Whatever a response is given, and however it ends, its content is closed: once, on the right
side, before the response returns, and `on_close` hears of it afterwards.

One row a kind of content (`KINDS`), one column a way out (`WAYS`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamkit import StreamingResponse
from streamkit.testing import fetch, stream
from tests.closing.contents import IN_A_TASK, IN_THREADS, ITEM, KINDS, UNSCRIPTED, Ledger
from tests.closing.ways import WAYS, Run

pytestmark = pytest.mark.anyio

VERSIONS = ("2.1", "2.3", "2.4")
SCRIPTED_ONLY = {
    "disconnect while idle",
    "exception in the content",
    "exception in an item's encoding",
}
TABLE = [
    pytest.param(kind, way, id=f"{kind} / {way}")
    for kind in KINDS
    for way in WAYS
    if not (kind in UNSCRIPTED and way in SCRIPTED_ONLY)
    # A source passes bytes on as they are.
    and not (kind == "ByteSource" and way == "exception in an item's encoding")
]


async def test_an_iterator_that_is_no_async_iterable_itself_is_read_and_closed() -> None:
    closed = []

    class Iterator:
        left = 3

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return b"x"

        async def aclose(self) -> None:
            closed.append(True)

    class Content:
        def __aiter__(self) -> Any:
            return Iterator()

    assert (await fetch(StreamingResponse(Content()))).body == b"xxx"
    assert closed == [True]


async def test_a_disconnect_while_the_content_closes_of_itself_leaves_it_to_finish() -> None:
    closing, closed = anyio.Event(), []

    class Content:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._items()

        async def _items(self) -> AsyncIterator[bytes]:
            yield b"x"

        async def aclose(self) -> None:
            closing.set()
            await anyio.sleep(0.01)
            closed.append(True)

    async with stream(StreamingResponse(Content(), first_chunk_timeout=0)) as client:
        await closing.wait()
        await client.disconnect()
        await client.wait_closed()
    assert closed == [True]


@pytest.mark.parametrize(("kind", "way"), TABLE)
async def test_content_is_closed_once_on_its_side_before_the_response_returns(
    kind: str,
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # What makes a cut visible waits so long for a client that takes nothing.
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)
    leave, reason = WAYS[way]
    file = tmp_path / "content"
    file.write_bytes(ITEM * 1000)
    for version in VERSIONS:
        ledger = Ledger(way, file)
        run = Run(KINDS[kind], ledger, version)
        with anyio.fail_after(10):
            await leave(run)

        assert run.closed_at_return
        assert ledger.closes == run.made.closes()
        assert run.outcomes == ([] if reason is None else [(reason, True)])
        assert not ledger.overlapped
        if kind in IN_THREADS:
            assert ledger.loop_thread not in ledger.threads
        if kind in IN_A_TASK:
            assert len(ledger.tasks) <= 1
        assert not [record for record in caplog.records if record.name == "streamkit"]
