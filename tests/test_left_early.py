"""An async iterator that is left before its end, and closed, leaves no generator to the collector.

Such a generator is closed by a task of the loop, some time; trio warns of each.
"""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
    split_events,
    split_lines,
)
from streamkit.testing import stream

pytestmark = pytest.mark.anyio


# As good as endless: an iterator that is left has more.
MANY = 100_000


@contextmanager
def left_to_the_collector() -> Iterator[list[str]]:
    """The names of generators that are begun in this, and freed before their end."""
    hooks = sys.get_asyncgen_hooks()
    found: list[str] = []
    # What is there is not looked at again.
    gc.freeze()
    sys.set_asyncgen_hooks(hooks.firstiter, lambda left: found.append(left.__qualname__))
    try:
        yield found
        gc.collect()
    finally:
        gc.unfreeze()
        sys.set_asyncgen_hooks(*hooks)


class Content:
    """Its iterator is a generator of its own."""

    def __init__(
        self, make: Callable[[int], Any] = lambda n: b"a line\n" * 1000, count: int = MANY
    ) -> None:
        self._make = make
        self._count = count

    async def __aiter__(self) -> AsyncIterator[Any]:
        for n in range(self._count):
            yield self._make(n)
            await anyio.lowlevel.checkpoint()


def write(file: WritableFile, count: int = MANY) -> None:
    for _ in range(count):
        file.write(b"a line\n" * 1000)


def lines(count: int = MANY) -> Iterator[bytes]:
    for _ in range(count):
        yield b"a line\n" * 1000


# Of a path to a file, and of how many items the content has.
ITERATORS: dict[str, Callable[[Path, int], AsyncIterable[Any]]] = {
    "iterate_in_threadpool": lambda _, count: iterate_in_threadpool(lines(count)),
    "iterate_writes": lambda _, count: iterate_writes(partial(write, count=count)),
    "rechunk": lambda _, count: rechunk(Content(count=count), 100),
    "rechunk of a bridge": lambda _, count: rechunk(iterate_in_threadpool(lines(count)), 100),
    "split_events": lambda _, count: split_events(Content(lambda n: b": \n\n" * 1000, count)),
    "split_lines": lambda _, count: split_lines(Content(count=count)),
    "async_file_chunks": lambda path, _: async_file_chunks(path),
    "async_file_chunks of a file": lambda path, _: async_file_chunks(io.BytesIO(path.read_bytes())),
    "BytesSource": lambda path, _: BytesSource(path.read_bytes()).read(0, None),
    "PathSource": lambda path, _: PathSource(path).read(0, None),
    "FileSource": lambda path, _: FileSource(io.BytesIO(path.read_bytes())).read(0, None),
}


@pytest.mark.parametrize("make", ITERATORS.values(), ids=ITERATORS)
@pytest.mark.parametrize("count", [MANY, 2, 1], ids=["many", "two", "one"])
async def test_an_iterator_that_is_closed(
    make: Callable[[Path, int], AsyncIterable[Any]], tmp_path: Path, count: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * min(count * 65536, 300_000))
    with left_to_the_collector() as left:
        items: Any = make(path, count)
        async for _ in items:
            if count < MANY:
                # For what is read ahead: it may be the end.
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
