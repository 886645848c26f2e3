"""An async iterator that is left before its end, and closed, leaves no generator to the collector.

Such a generator is closed by a task of the loop, some time; trio warns of each.
"""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamkit import (
    BytesSource,
    CSVStreamingResponse,
    FileSource,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartPart,
    MultipartStreamingResponse,
    PathSource,
    SSEStreamingResponse,
    StreamingResponse,
    WritableFile,
    ZipMember,
    ZIPStreamingResponse,
    async_file_chunks,
    iterate_in_threadpool,
    iterate_writes,
    rechunk,
    split_lines,
)
from streamkit.testing import stream

pytestmark = pytest.mark.anyio


@contextmanager
def left_to_the_collector() -> Iterator[list[str]]:
    """The names of generators that are begun in this, and freed before their end."""
    hooks = sys.get_asyncgen_hooks()
    found: list[str] = []
    sys.set_asyncgen_hooks(hooks.firstiter, lambda left: found.append(left.__qualname__))
    try:
        yield found
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*hooks)


class Content:
    """Its iterator is a generator of its own."""

    def __init__(self, make: Callable[[int], Any] = lambda n: b"a line\n" * 1000) -> None:
        self._make = make

    async def __aiter__(self) -> AsyncIterator[Any]:
        for n in range(100_000):
            yield self._make(n)
            await anyio.lowlevel.checkpoint()


def write(file: WritableFile) -> None:
    while True:
        file.write(b"a line\n" * 1000)


def lines() -> Iterator[bytes]:
    while True:
        yield b"a line\n" * 1000


ITERATORS: dict[str, Callable[[Path], AsyncIterable[Any]]] = {
    "iterate_in_threadpool": lambda _: iterate_in_threadpool(lines()),
    "iterate_writes": lambda _: iterate_writes(write),
    "rechunk": lambda _: rechunk(Content(), 100),
    "rechunk of a bridge": lambda _: rechunk(iterate_in_threadpool(lines()), 100),
    "split_lines": lambda _: split_lines(Content()),
    "async_file_chunks": lambda path: async_file_chunks(path),
    "async_file_chunks of a file": lambda _: async_file_chunks(io.BytesIO(b"x" * 300_000)),
    "BytesSource": lambda _: BytesSource(b"x" * 300_000).read(0, None),
    "PathSource": lambda path: PathSource(path).read(0, None),
    "FileSource": lambda _: FileSource(io.BytesIO(b"x" * 300_000)).read(0, None),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 300_000)
    return path


@pytest.mark.parametrize("make", ITERATORS.values(), ids=ITERATORS)
@pytest.mark.parametrize("ends", [False, True], ids=["left", "its content has ended"])
async def test_an_iterator_that_is_closed(
    make: Callable[[Path], AsyncIterable[Any]], path: Path, ends: bool
) -> None:
    with left_to_the_collector() as left:
        items: Any = make(path)
        async for _ in items:
            if ends:
                # What is at hand may be all there is.
                await anyio.sleep(0.05)
            break
        await items.aclose()
        del items
    assert left == []


RESPONSES: dict[str, Callable[[], StreamingResponse]] = {
    "plain": lambda: StreamingResponse(Content()),
    "compressed": lambda: StreamingResponse(Content(), media_type="text/plain", compress=True),
    "CSV": lambda: CSVStreamingResponse(Content(lambda n: {"n": n})),
    "JSON lines": lambda: JSONLinesStreamingResponse(Content(lambda n: n)),
    "events": lambda: SSEStreamingResponse(Content(lambda n: n)),
    "rechunk": lambda: StreamingResponse(rechunk(Content(), 100)),
    "iterate_in_threadpool": lambda: StreamingResponse(iterate_in_threadpool(lines())),
    "iterate_writes": lambda: StreamingResponse(iterate_writes(write)),
    "a member": lambda: ZIPStreamingResponse([ZipMember("a", Content())]),
    "members": lambda: ZIPStreamingResponse(Content(lambda n: ZipMember(f"{n}", b"x"))),
    "JSON array": lambda: JSONArrayStreamingResponse(Content(lambda n: n)),
    "parts": lambda: MultipartStreamingResponse(Content(lambda n: MultipartPart(b"x"))),
}


@pytest.mark.parametrize("make", RESPONSES.values(), ids=RESPONSES)
async def test_a_response_whose_client_leaves(make: Callable[[], StreamingResponse]) -> None:
    with left_to_the_collector() as left:
        async with stream(make(), headers={"accept-encoding": "gzip"}) as client:
            async for _ in client:
                break
    assert left == []


class Bare:
    """Whose iterator is no iterable."""

    def __aiter__(self) -> Any:
        class Items:
            __anext__ = Content().__aiter__().__anext__

        return Items()


async def test_an_iterator_need_not_be_its_own_iterable() -> None:
    items: Any = rechunk(Bare(), 100)  # type: ignore[arg-type]
    assert await anext(items) == (b"a line\n" * 15)[:100]
    await items.aclose()
