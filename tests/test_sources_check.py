"""The check of other people's sources finds what is wrong with them."""

from __future__ import annotations

import io
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Any, cast

import anyio
import pytest

from streamkit import (
    SourceInfo,
    iterate_in_threadpool,
)
from streamkit.testing import check_source
from tests.test_sources import DATA, Blob


class NotASource:
    pass


class WithInfo(Blob):
    def __init__(self, info: Any) -> None:
        super().__init__()
        self._info = info

    async def info(self) -> SourceInfo:
        return cast("SourceInfo", self._info)


class NewEtagEachTime(Blob):
    numbers = itertools.count()

    async def info(self) -> SourceInfo:
        return SourceInfo(10, f'"{next(self.numbers)}"')


class Inclusive(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield self.data[start : end + 1 if end is not None else None]


class Short(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield self.data[start:end][:7]


class Endless(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await anyio.lowlevel.checkpoint()


class FromTheBeginning(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield self.data[: (end or 0) - start]


class TextChunks(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[Any]:
        yield self.data[start:end].decode()


class LentChunks(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[Any]:
        yield memoryview(self.data)[start:end]


class Awaitable(Blob):
    async def read(self, start: int, end: int | None) -> Any:  # type: ignore[override]
        return self.data[start:end]


class PlainIterator(Blob):
    def read(self, start: int, end: int | None) -> Any:
        return iter([self.data[start:end]])


class ReadOnce(Blob):
    reads = 0

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.reads += 1
        yield self.data[start:end] if self.reads == 1 else b""


class ForwardsOnly(Blob):
    at = 0

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.at = max(self.at, start)
        yield self.data[self.at : end]


class EmptyIsAll(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield self.data[start:end] or self.data


class ClosesWhatItNeverOpened(Blob):
    opened: Any = None

    async def info(self) -> SourceInfo:
        self.opened = io.BytesIO(self.data)
        return SourceInfo(10)

    async def aclose(self) -> None:
        self.opened.close()


class ClosesWhatItNeverRead(Blob):
    file: Any = None

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.file = io.BytesIO(self.data)
        yield self.file.getvalue()[start:end]

    async def aclose(self) -> None:
        if self.file is None:
            raise AttributeError("file")


class SharedPosition(Blob):
    file = io.BytesIO(b"0123456789")

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.file.seek(start)
        while start < (end or 0):
            chunk = self.file.read(min(3, (end or 0) - start))
            start += len(chunk) or 10
            yield chunk


class LocksWhileRead(Blob):
    locked = False

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        if self.locked:
            raise AssertionError("read() while another is not at its end")
        self.locked = True
        for at in range(start, end or 0):
            yield self.data[at : at + 1]
        self.locked = False


class WrongInTheMiddle(Blob):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield self.data[start:end].replace(b"5", b"x")


class WrongAtAPage(Blob):
    """Right near both ends and as a whole, wrong where a read begins with a page of 64 KiB."""

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        yield b"x" * ((end or 0) - start) if start == 65536 else self.data[start:end]


single = Blob()
BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "no ByteSource": (NotASource, "must give a ByteSource, it gave NotASource"),
    "the same source twice": (lambda: single, "must give a fresh source"),
    "no SourceInfo": (lambda: WithInfo(10), "must give a SourceInfo, it gave int"),
    "a wrong size": (lambda: WithInfo(SourceInfo(11)), "size must be 10.*it is 11"),
    "a size that is no int": (
        lambda: WithInfo(SourceInfo(cast("int", 10.0))),
        "size must be 10.*it is 10.0",
    ),
    "an etag without quotes": (lambda: WithInfo(SourceInfo(10, "v7")), "'v7' is not an entity tag"),
    "an etag of bytes": (
        lambda: WithInfo(SourceInfo(10, cast("str", b'"v7"'))),
        "etag must be None or the header's value as str",
    ),
    "a date without a time zone": (
        lambda: WithInfo(SourceInfo(10, last_modified=datetime(2026, 6, 1))),
        "must be a datetime with a time zone",
    ),
    "a date that is a number": (
        lambda: WithInfo(SourceInfo(10, last_modified=cast("datetime", 1750000000))),
        "last_modified must be None or an aware datetime, it is 1750000000",
    ),
    "a media type of two lines": (
        lambda: WithInfo(SourceInfo(10, media_type="a/b\r\nx: y")),
        "media_type must be",
    ),
    "a new etag each time": (NewEtagEachTime, "must be the same for the same bytes"),
    "an inclusive end": (Inclusive, r"read\(0, 0\) must give 0 bytes, it gave more|must give"),
    "too few bytes": (Short, r"read\(0, 10\) must give 10 bytes, it gave 7"),
    "bytes without end": (Endless, r"read\(0, 10\) must give|it gave more"),
    "bytes from the beginning": (FromTheBeginning, r"the bytes from \d on, but byte"),
    "chunks of text": (TextChunks, "must give chunks of bytes, it gave str"),
    "chunks that are lent": (LentChunks, "must give chunks of bytes, it gave memoryview"),
    "a coroutine": (Awaitable, "must give an async iterator, it gave coroutine; write it as"),
    "a plain iterator": (PlainIterator, "must give an async iterator, it gave list_iterator"),
    "a source that can be read once": (ReadOnce, "it gave 0"),
    "a source that can't go back": (ForwardsOnly, r"must give"),
    "an empty range that is all": (EmptyIsAll, r"read\(0, 0\) must give 0 bytes, it gave more"),
    "a close that needs info": (ClosesWhatItNeverOpened, "'NoneType' object has no attribute"),
    "a close that needs a read": (ClosesWhatItNeverRead, "file"),
    "sources that share a position": (SharedPosition, "at the same time must be independent"),
    "a read that must reach its end": (LocksWhileRead, "while another is not at its end"),
    "a wrong byte": (WrongInTheMiddle, r"byte 5 is .*b'x6789'"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", BROKEN)
async def test_every_way_to_break_a_source_is_found(name: str) -> None:
    make, says = BROKEN[name]
    with anyio.fail_after(10), pytest.raises((AssertionError, AttributeError), match=says):
        await check_source(make, b"0123456789")


@pytest.mark.anyio
async def test_a_fault_where_sources_cut_their_chunks_is_found() -> None:
    data = DATA[:70_000]
    with pytest.raises(AssertionError, match=r"read\(65536, 65537\) .* byte 65536 is b'x'"):
        await check_source(lambda: WrongAtAPage(data), data)


@pytest.mark.anyio
async def test_the_wrong_bytes_of_a_source_of_unknown_size_are_found() -> None:
    await check_source(lambda: Blob(size=None), b"0123456789")
    with pytest.raises(AssertionError, match=r"read\(0, None\) must give 9 bytes, it gave more"):
        await check_source(lambda: Blob(size=None), b"012345678")


class Counted(Blob):
    """A source without an async generator: an iterator that has no `aclose`."""

    made: list[Counted]

    def __init__(self) -> None:
        super().__init__()
        self.closes, self.tasks = 0, set[int]()
        self.made.append(self)

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.tasks.add(anyio.get_current_task().id)
        return Steps(iter([self.data[start:end]]))

    async def aclose(self) -> None:
        self.tasks.add(anyio.get_current_task().id)
        self.closes += 1


class Steps(AsyncIterator[bytes]):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks

    async def __anext__(self) -> bytes:
        for chunk in self.chunks:
            return chunk
        raise StopAsyncIteration


@pytest.mark.anyio
async def test_the_check_closes_every_source_once_in_its_own_task() -> None:
    Counted.made = []
    await check_source(Counted, b"0123456789")
    assert {source.closes for source in Counted.made} == {1}
    assert {len(source.tasks) for source in Counted.made} == {1}
    assert len(Counted.made) > 5


@pytest.mark.anyio
async def test_the_check_closes_what_it_made_when_it_fails_too() -> None:
    Counted.made = []
    with pytest.raises(AssertionError):
        await check_source(Counted, b"0123456780")
    assert {source.closes for source in Counted.made} == {1}


def test_a_source_may_bridge_from_a_thread() -> None:
    class Bridged(Blob):
        def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
            return iterate_in_threadpool([self.data[start:end]])

    anyio.run(check_source, Bridged, b"0123456789")
