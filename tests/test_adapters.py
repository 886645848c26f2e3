from __future__ import annotations

import io
import os
import threading
from array import array
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import async_file_chunks, file_chunks, rechunk, split_lines
from tests.descriptors import opened_by

T = TypeVar("T")

DATA = bytes(range(256)) * 10


class Content:
    """Chunks, sync, that say whether they were closed; an error ends them if given."""

    def __init__(self, chunks: Iterable[Any], error: Exception | None = None) -> None:
        self._chunks = iter(chunks)
        self._error = error
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        for chunk in self._chunks:
            return chunk
        raise self._error or StopIteration

    def close(self) -> None:
        self.closed += 1


class AsyncContent:
    """The same, async."""

    def __init__(self, chunks: Iterable[Any], error: Exception | None = None) -> None:
        self._content = Content(chunks, error)
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._content)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1


async def agen(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def run_async(adapted: AsyncIterable[T]) -> list[T]:
    async def collect() -> list[T]:
        return [item async for item in adapted]

    return anyio.run(collect)


def split_at(whole: Any, cuts: Iterable[int]) -> list[Any]:
    """The pieces of `whole` between the cuts; some may be empty."""
    places = [0, *sorted(cuts), len(whole)]
    return [whole[start:end] for start, end in pairwise(places)]


@st.composite
def pieces(draw: st.DrawFn, wholes: st.SearchStrategy[Any]) -> list[Any]:
    """What comes in, cut anywhere."""
    whole = draw(wholes)
    return split_at(whole, draw(st.lists(st.integers(0, len(whole)), max_size=8)))


class TestFileChunks:
    @pytest.mark.parametrize("size", [1, 7, 2559, 2560, 2561, 65536])
    def test_chunks_have_the_size_and_the_last_one_the_rest(self, size: int) -> None:
        chunks = list(file_chunks(io.BytesIO(DATA), size))
        assert b"".join(chunks) == DATA
        assert {len(chunk) for chunk in chunks[:-1]} <= {size}
        assert 0 < len(chunks[-1]) <= size

    def test_chunks_have_64_kib_by_default(self) -> None:
        assert list(map(len, file_chunks(io.BytesIO(bytes(70_000))))) == [65536, 4464]

    def test_an_empty_file_has_no_chunks(self) -> None:
        assert list(file_chunks(io.BytesIO())) == []

    def test_a_file_is_read_from_where_it_stands_and_not_closed(self) -> None:
        file = io.BytesIO(DATA)
        file.seek(2550)
        assert list(file_chunks(file)) == [DATA[2550:]]
        assert not file.closed

    def test_a_text_file_gives_characters(self) -> None:
        assert list(file_chunks(io.StringIO("Größe"), 2)) == ["Gr", "öß", "e"]

    def test_a_path_opened_as_raw_file_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_bytes(DATA)
        with open(tmp_path / "data", "rb", buffering=0) as file:
            assert b"".join(file_chunks(file, 1000)) == DATA

    def test_an_object_with_read_alone_is_a_file(self) -> None:
        class Reader:
            def __init__(self) -> None:
                self.read = io.BytesIO(DATA).read

        assert b"".join(file_chunks(Reader(), 100)) == DATA

    @pytest.mark.parametrize("buffering", [0, -1])
    def test_a_pipe_gives_what_has_arrived(self, buffering: int) -> None:
        reader, writer = os.pipe()
        with open(reader, "rb", buffering=buffering) as file:
            chunks = file_chunks(file)
            os.write(writer, b"first")
            assert next(chunks) == b"first"
            os.write(writer, b"second")
            os.close(writer)
            assert list(chunks) == [b"second"]

    def test_nothing_is_read_before_the_first_chunk_is_asked_for(self) -> None:
        file = io.BytesIO(DATA)
        file_chunks(file)
        assert file.tell() == 0

    @pytest.mark.parametrize(
        ("file", "given"),
        [("logo.png", "str"), (b"data", "bytes"), (None, "NoneType"), (Path("x"), "PosixPath")],
    )
    def test_refuses_what_has_no_read(self, file: Any, given: str) -> None:
        with pytest.raises(TypeError, match=rf"sync read\(size\), got {given}"):
            file_chunks(file)

    def test_refuses_an_async_file(self) -> None:
        with pytest.raises(TypeError, match="async_file_chunks"):
            file_chunks(AsyncFile(DATA))  # type: ignore[arg-type, type-var]


class AsyncFile:
    """An async file over bytes; `seek` may be sync or async."""

    def __init__(self, data: bytes, seek_is_async: bool = True) -> None:
        self._file = io.BytesIO(data)
        self._seek_is_async = seek_is_async
        self.closed = False

    async def read(self, size: int, /) -> bytes:
        await anyio.lowlevel.checkpoint()
        return self._file.read(size)

    def seek(self, position: int) -> Any:
        async def seek() -> int:
            return self._file.seek(position)

        return seek() if self._seek_is_async else self._file.seek(position)


def open_as(kind: str, path: Path) -> Any:
    match kind:
        case "path":
            return path
        case "str":
            return str(path)
        case "file":
            return io.BytesIO(path.read_bytes())
        case "async file":
            return AsyncFile(path.read_bytes())
    return AsyncFile(path.read_bytes(), seek_is_async=False)


KINDS = ["path", "str", "file", "async file", "async file, sync seek"]


@pytest.mark.anyio
class TestAsyncFileChunks:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        (tmp_path / "data").write_bytes(DATA)
        return tmp_path / "data"

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (0, None),
            (0, 0),
            (0, 1),
            (0, 2560),
            (0, 9999),
            (1, None),
            (7, 7),
            (7, 1007),
            (2559, None),
            (2560, None),
            (9999, None),
        ],
    )
    async def test_the_bytes_are_those_of_the_half_open_range(
        self, kind: str, start: int, end: int | None, path: Path
    ) -> None:
        content = async_file_chunks(open_as(kind, path), 100, start=start, end=end)
        chunks = [chunk async for chunk in content]
        assert b"".join(chunks) == DATA[start:end]
        assert {len(chunk) for chunk in chunks[:-1]} <= {100}
        assert b"" not in chunks

    async def test_an_anyio_file_is_read_and_left_open(self, path: Path) -> None:
        async with await anyio.open_file(path, "rb") as file:
            chunks = [chunk async for chunk in async_file_chunks(file, 1000, start=10)]
            assert b"".join(chunks) == DATA[10:]
            assert not file.closed

    async def test_a_file_is_read_from_where_it_stands_and_left_open(self) -> None:
        file = io.BytesIO(DATA)
        file.seek(2550)
        assert [chunk async for chunk in async_file_chunks(file, end=5)] == [DATA[2550:2555]]
        assert not file.closed

    async def test_a_sync_file_is_read_on_a_worker_thread(self) -> None:
        threads = []

        class Reader(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                threads.append(threading.current_thread())
                return super().read(size)

        assert [chunk async for chunk in async_file_chunks(Reader(b"data"))] == [b"data"]
        assert threading.current_thread() not in threads

    async def test_a_missing_path_raises_when_the_first_chunk_is_asked_for(
        self, path: Path
    ) -> None:
        missing = async_file_chunks(path.parent / "missing")
        with pytest.raises(FileNotFoundError):
            await anext(missing)

    async def test_a_path_is_opened_late_and_closed_when_left_early(self, path: Path) -> None:
        content = async_file_chunks(path, 10)
        assert opened_by("self", path) == []
        assert await anext(content) == DATA[:10]
        assert opened_by("self", path) == [str(path)]
        await content.aclose()
        assert opened_by("self", path) == []

    async def test_a_file_that_grows_is_read_to_where_it_ends_then(self, path: Path) -> None:
        content = async_file_chunks(path, 2560)
        assert await anext(content) == DATA
        with path.open("ab") as file:
            file.write(b"more")
        assert [chunk async for chunk in content] == [b"more"]

    @pytest.mark.parametrize("thing", [None, 7, b"data", ["x"]])
    async def test_refuses_what_is_neither_path_nor_file(self, thing: Any) -> None:
        with pytest.raises(TypeError, match=f"got {type(thing).__name__}"):
            async_file_chunks(thing)

    @pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4), (0, -1)])
    async def test_refuses_a_range_that_makes_no_sense(self, start: int, end: int | None) -> None:
        with pytest.raises(ValueError, match=f"0 <= start <= end, got start={start}, end={end}"):
            async_file_chunks("data", start=start, end=end)


SIZES = [
    pytest.param(lambda size: file_chunks(io.BytesIO(), size), id="file_chunks"),
    pytest.param(lambda size: async_file_chunks("x", size), id="async_file_chunks"),
    pytest.param(lambda size: rechunk([], size), id="rechunk"),
]


@pytest.mark.parametrize("adapt", SIZES)
@pytest.mark.parametrize("size", [0, -1, -65536])
def test_a_size_that_is_not_positive_is_refused(adapt: Any, size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be at least 1, got {size}"):
        adapt(size)


@pytest.mark.parametrize("adapt", SIZES)
@pytest.mark.parametrize("size", [1.5, "1", None, True])
def test_a_size_that_is_no_int_is_refused(adapt: Any, size: Any) -> None:
    with pytest.raises(TypeError, match="must be a number of bytes, got"):
        adapt(size)


class TestRechunk:
    @given(pieces(st.binary(max_size=200)), st.integers(1, 50))
    def test_chunks_are_slices_of_the_whole(self, chunks: list[bytes], size: int) -> None:
        whole = b"".join(chunks)
        slices = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert list(rechunk(chunks, size)) == slices

    @given(pieces(st.binary(max_size=100)), st.integers(1, 20))
    def test_async_content_gives_the_same(self, chunks: list[bytes], size: int) -> None:
        assert run_async(rechunk(agen(chunks), size)) == list(rechunk(chunks, size))

    @pytest.mark.parametrize(
        "chunk",
        [bytearray(b"abcd"), memoryview(b"abcd"), array("H", b"abcd"), memoryview(b"a-b-c-d")[::2]],
        ids=["bytearray", "memoryview", "array", "strided"],
    )
    def test_any_buffer_is_taken(self, chunk: Any) -> None:
        assert list(rechunk([chunk, b"e"], 2)) == [b"ab", b"cd", b"e"]

    def test_a_chunk_is_given_as_soon_as_it_is_whole(self) -> None:
        source = iter([b"ab", b"cd", b"ef"])
        chunks = rechunk(source, 3)
        assert next(chunks) == b"abc"
        assert next(source) == b"ef"

    @pytest.mark.parametrize("chunk", ["text", None, 5])
    def test_refuses_chunks_that_are_not_bytes(self, chunk: Any) -> None:
        content = Content([chunk])
        with pytest.raises(TypeError):
            list(rechunk(content, 3))
        assert content.closed


ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
TEXTS = st.lists(st.sampled_from([*ENDS, "a", "é", ""]), max_size=12).map("".join)
BYTES = TEXTS.map(str.encode)


class TestSplitLines:
    @given(st.one_of(pieces(TEXTS), pieces(BYTES)))
    def test_lines_are_those_of_the_whole(self, chunks: list[Any]) -> None:
        whole = chunks[0][:0].join(chunks)
        assert list(split_lines(chunks)) == whole.splitlines()

    @given(pieces(TEXTS))
    def test_async_content_gives_the_same(self, chunks: list[str]) -> None:
        assert run_async(split_lines(agen(chunks))) == list(split_lines(chunks))

    @pytest.mark.parametrize(
        "whole",
        [
            "a\r\nb",
            "a\r\r\n\n\rb\n",
            "".join(f"{number}{end}" for number, end in enumerate(ENDS)),
            "".join(ENDS),
            "\r\n" * 3,
            "\n",
            "\r",
        ],
    )
    @pytest.mark.parametrize("encode", [str, str.encode], ids=["str", "bytes"])
    def test_lines_are_the_same_at_every_split_point(self, whole: str, encode: Any) -> None:
        data = encode(whole)
        expected = data.splitlines()
        for first in range(len(data) + 1):
            for second in range(first, len(data) + 1):
                chunks = split_at(data, [first, second])
                assert list(split_lines(chunks)) == expected, chunks
        assert list(split_lines([data[i : i + 1] for i in range(len(data))])) == expected

    @pytest.mark.parametrize(
        ("first", "lines"),
        [
            (b"a\nb", [b"a"]),
            (b"a\n", [b"a"]),
            (b"a\nb\n\n", [b"a", b"b", b""]),
            ("a\u2028b", ["a"]),
            ("a\u2028", ["a"]),
        ],
    )
    def test_a_line_is_given_as_soon_as_its_end_is_sure(
        self, first: Any, lines: Sequence[Any]
    ) -> None:
        source = iter([first, first[:0] + first])
        content = split_lines(source)
        assert [next(content) for _ in lines] == lines
        assert next(source) == first

    def test_a_cr_waits_for_what_follows(self) -> None:
        source = iter([b"a\r", b"b", b"c"])
        content = split_lines(source)
        assert next(content) == b"a"
        assert next(source) == b"c"

    @pytest.mark.parametrize("chunk", [bytearray(b"a\nb"), memoryview(b"a\nb")])
    def test_any_buffer_is_taken(self, chunk: Any) -> None:
        assert list(split_lines([chunk])) == [b"a", b"b"]

    @pytest.mark.parametrize("chunk", [None, 5])
    def test_refuses_chunks_that_are_neither_text_nor_bytes(self, chunk: Any) -> None:
        content = Content([chunk])
        with pytest.raises(TypeError):
            list(split_lines(content))
        assert content.closed

    def test_a_long_line_in_many_chunks_takes_linear_time(self) -> None:
        assert list(split_lines([b"x" * 10] * 100_000)) == [b"x" * 1_000_000]


ADAPTERS = [
    pytest.param(lambda content: rechunk(content, 2), id="rechunk"),
    pytest.param(split_lines, id="split_lines"),
]


@pytest.mark.parametrize("adapt", ADAPTERS)
class TestContent:
    def test_is_closed_at_its_end(self, adapt: Any) -> None:
        content = Content([b"ab\n", b"cd\n"])
        list(adapt(content))
        assert content.closed

    def test_is_closed_after_an_error_which_passes(self, adapt: Any) -> None:
        content = Content([b"ab\n"], ValueError("boom"))
        with pytest.raises(ValueError, match="boom"):
            list(adapt(content))
        assert content.closed

    @pytest.mark.parametrize("taken", [0, 1])
    def test_is_closed_with_the_iterator(self, adapt: Any, taken: int) -> None:
        content = Content([b"ab\n", b"cd\n"])
        iterator = adapt(content)
        for _ in range(taken):
            next(iterator)
        iterator.close()
        assert content.closed
        assert list(iterator) == []

    @pytest.mark.anyio
    @pytest.mark.parametrize("taken", [0, 1])
    async def test_async_is_closed_with_the_iterator(self, adapt: Any, taken: int) -> None:
        content = AsyncContent([b"ab\n", b"cd\n"])
        iterator = adapt(content)
        for _ in range(taken):
            await anext(iterator)
        await iterator.aclose()
        assert content.closed

    @pytest.mark.anyio
    async def test_async_is_closed_at_its_end(self, adapt: Any) -> None:
        content = AsyncContent([b"ab\n"])
        assert [item async for item in adapt(content)]
        assert content.closed

    @pytest.mark.anyio
    async def test_async_is_closed_after_an_error_which_passes(self, adapt: Any) -> None:
        content = AsyncContent([b"ab\n"], ValueError("boom"))
        with pytest.raises(ValueError, match="boom"):
            [item async for item in adapt(content)]
        assert content.closed

    @pytest.mark.anyio
    async def test_an_async_iterator_with_a_sync_close_is_closed(self, adapt: Any) -> None:
        class Cursor(AsyncContent):
            aclose = None  # type: ignore[assignment]

            def close(self) -> None:
                self.closed += 1

        content = Cursor([b"ab\n"])
        assert [item async for item in adapt(content)]
        assert content.closed

    def test_without_a_close_is_taken_as_well(self, adapt: Any) -> None:
        iterator = adapt([b"ab"])
        assert list(iterator) == [b"ab"]
        iterator.close()

    def test_keeps_its_flavour(self, adapt: Any) -> None:
        assert isinstance(adapt([b"x"]), Iterator)
        assert not isinstance(adapt([b"x"]), AsyncIterator)
        assert isinstance(adapt(agen([b"x"])), AsyncIterator)
        assert not isinstance(adapt(agen([b"x"])), Iterator)

    def test_is_not_touched_before_the_first_item_is_asked_for(self, adapt: Any) -> None:
        content = iter([b"ab\n"])
        adapt(content)
        assert next(content) == b"ab\n"

    @pytest.mark.parametrize("content", ["text", b"data", bytearray(b"data"), 5, None])
    def test_that_is_one_chunk_or_none_is_refused(self, adapt: Any, content: Any) -> None:
        with pytest.raises(TypeError, match=f"got {type(content).__name__}"):
            adapt(content)

    def test_that_is_a_memoryview_is_refused(self, adapt: Any) -> None:
        with pytest.raises(TypeError, match="got memoryview"):
            adapt(memoryview(b"data"))
