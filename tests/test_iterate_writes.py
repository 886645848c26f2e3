"""`iterate_writes`: what a function writes to its file is what is read."""

from __future__ import annotations

import array
import csv
import io
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

from streamkit import StreamingResponse, StreamStopped, iterate_in_threadpool, iterate_writes
from streamkit.testing import fetch
from tests.bridging import Broken, collect, until

pytestmark = pytest.mark.anyio


async def whole(write: Callable[[Any], object], **options: Any) -> bytes:
    return b"".join(await collect(iterate_writes(write, **options)))


async def test_a_zip_streams_as_it_is_written() -> None:
    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(20):
                archive.writestr(f"{number}.txt", f"{number}\n" * 1000)

    with zipfile.ZipFile(io.BytesIO(await whole(write, max_buffer=100))) as archive:
        assert archive.testzip() is None
        assert archive.read("7.txt") == b"7\n" * 1000


async def test_a_tar_streams_as_it_is_written() -> None:
    def write(file: Any) -> None:
        with tarfile.open(fileobj=file, mode="w|gz") as archive:
            info = tarfile.TarInfo("hello.txt")
            info.size = 5
            archive.addfile(info, io.BytesIO(b"hello"))

    with tarfile.open(fileobj=io.BytesIO(await whole(write))) as archive:
        member = archive.extractfile("hello.txt")
        assert member is not None
        assert member.read() == b"hello"


async def test_a_csv_writer_may_write_str() -> None:
    def write(file: Any) -> None:
        csv.writer(file).writerows([["name", "age"], ["Zoë", 36]])

    assert await whole(write) == "name,age\r\nZoë,36\r\n".encode()


async def test_a_text_wrapper_gives_other_encodings() -> None:
    def write(file: Any) -> None:
        with io.TextIOWrapper(io.BufferedWriter(file), "latin-1") as text:
            text.write("Zoë")

    assert await whole(write) == b"Zo\xeb"


async def test_the_file_counts_and_copies_what_is_written() -> None:
    def write(file: Any) -> None:
        buffer = bytearray(b"ab")
        assert file.writable()
        assert file.mode == "wb"
        assert not file.seekable()
        assert file.write(buffer) == 2
        buffer[:] = b"xx"
        assert file.write(memoryview(b"cdef")[::2]) == 2
        assert file.write(array.array("H", [0x6767])) == 2
        assert file.write("é") == 1
        assert file.tell() == 8
        file.close()
        with pytest.raises(ValueError, match="closed file"):
            file.write(b"late")

    assert await whole(write) == b"abcegg\xc3\xa9"


async def test_what_the_writer_raises_reaches_the_reader_after_what_it_wrote() -> None:
    def write(file: Any) -> None:
        file.write(b"x")
        raise Broken

    items = iterate_writes(write)
    assert await anext(items) == b"x"
    with pytest.raises(Broken):
        await anext(items)


async def test_a_writer_waits_for_its_reader() -> None:
    written = 0

    def write(file: Any) -> None:
        nonlocal written
        for _ in range(100):
            file.write(b"x" * 99)
            written += 1

    items = iterate_writes(write, max_buffer=1000)
    await anext(items)
    await anyio.sleep(0.03)
    # The batch that was taken, and what the buffer holds.
    assert 8 <= written <= 22
    assert len(await collect(items)) == 99


async def test_a_writer_is_stopped_when_its_reader_leaves() -> None:
    seen = []

    def write(file: Any) -> None:
        try:
            while True:
                file.write(b"x" * 100)
        except StreamStopped as exc:
            seen.append(exc)
            raise
        finally:
            seen.append("cleaned up")

    items = iterate_writes(write, max_buffer=1000)
    await anext(items)
    await items.aclose()
    assert isinstance(seen[0], BrokenPipeError)
    assert seen[1:] == ["cleaned up"]
    assert items.error is None


async def test_a_writer_that_goes_on_regardless_adds_nothing_and_keeps_no_loop_busy() -> None:
    refused = 0
    enough = threading.Event()

    def write(file: Any) -> None:
        nonlocal refused
        while not enough.is_set():
            try:
                file.write(b"x" * 100)
            except OSError:
                refused += 1

    items = iterate_writes(write, max_buffer=1000)
    await anext(items)
    async with anyio.create_task_group() as group:
        group.start_soon(items.aclose)
        await until(lambda: refused > 100)
        enough.set()


async def test_a_stop_that_the_writer_raises_of_itself_is_an_error() -> None:
    def write(file: Any) -> None:
        raise StreamStopped("an inner stream")

    with pytest.raises(StreamStopped, match="inner"):
        await whole(write)


async def test_a_writer_that_was_never_started_never_runs() -> None:
    ran = []
    await iterate_writes(ran.append).aclose()
    assert not ran


async def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="a function of one argument, a file to write to, got str"):
        iterate_writes("out.zip")  # type: ignore[arg-type]


async def writes_async(file: Any) -> None:
    file.write(b"a")


def yields(file: Any) -> Iterator[None]:
    file.write(b"a")
    yield


async def yields_async(file: Any) -> AsyncIterator[None]:
    file.write(b"a")
    yield


@pytest.mark.parametrize("write", [writes_async, yields, yields_async, lambda file: yields(file)])
async def test_a_function_that_has_not_run_when_it_returns_is_no_empty_body(write: Any) -> None:
    with pytest.raises(TypeError, match="is async or yields, so that nothing of it ran"):
        await collect(iterate_writes(write))


class Lines:
    def encode(self, item: Any) -> bytes:
        return bytes(item) + b"\n"

    def finish(self) -> bytes:
        return b"end"


async def test_what_is_written_is_encoded_as_other_items_are() -> None:
    def write(file: Any) -> None:
        file.write(b"a")
        file.write(b"b")

    response = StreamingResponse(iterate_writes(write), encoder=Lines)
    assert (await fetch(response)).body == b"a\nb\nend"


async def test_a_stream_hands_its_iterable_to_a_response() -> None:
    response = StreamingResponse(iterate_in_threadpool(["a", "b"]))
    assert (await fetch(response)).body == b"ab"
