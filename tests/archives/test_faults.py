"""Archives that can't be whole."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from streamkit import (
    StreamOutcome,
    StreamStopped,
)
from streamkit.archives import ZipMember, ZIPStreamingResponse
from streamkit.testing import fetch, stream
from tests.archives.members import (
    NOISE,
    UNPACK,
    Counted,
    async_rows,
    body_of,
    both,
)
from tests.test_sources_files import made_up_by_the_kernel

pytestmark = pytest.mark.anyio


def twice(wrap: Any) -> Any:
    second = ZipMember("a", counted := Counted())
    return counted, wrap([ZipMember("a", b""), second])


def test_a_name_that_comes_twice_in_a_list_is_refused_at_construction() -> None:
    _, members = twice(list)
    with pytest.raises(ValueError, match="a member 'a' already"):
        ZIPStreamingResponse(members)


@both
async def test_a_name_that_comes_twice_in_a_generator_cuts_the_archive(
    response_class: Any, anyio_backend: Any
) -> None:
    counted, members = twice(iter)
    fetched = await fetch(response_class(members))
    assert not fetched.complete
    assert isinstance(fetched.error, ValueError)
    assert counted.closed == 1


MIXES: dict[str, Callable[[ZipMember], Any]] = {
    "chunk after member": lambda member: [member, b"chunk"],
    "member after chunk": lambda member: [b"chunk", member],
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("wrap", [iter, async_rows], ids=["sync", "async"])
async def test_chunks_among_members_are_refused(mix: str, wrap: Any, anyio_backend: Any) -> None:
    listed, counted = Counted(), Counted()
    with pytest.raises(TypeError, match=r"not (chunks among members|members among chunks)"):
        ZIPStreamingResponse(MIXES[mix](ZipMember("a", listed)))
    items = MIXES[mix](ZipMember("a", counted))
    fetched = await fetch(ZIPStreamingResponse(wrap(items) if wrap is iter else wrap(*items)))
    assert not fetched.complete
    assert isinstance(fetched.error, TypeError)
    # What was refused at construction is closed by a task of its own.
    with anyio.fail_after(10):
        while not listed.closed:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert (listed.closed, counted.closed) == (1, 1)


@pytest.mark.parametrize("item", ["a.txt", Path("a.txt"), ("a.txt", b"")], ids=repr)
@pytest.mark.parametrize("wrap", [iter, async_rows], ids=["sync", "async"])
@both
async def test_what_begins_no_archive_is_refused_with_what_to_pass(
    item: Any, wrap: Any, response_class: Any, anyio_backend: Any
) -> None:
    says = r"takes ZipMembers, such as ZipMember\('a.txt', Path\('a.txt'\)\), .*, got .*a\.txt"
    with pytest.raises(TypeError, match=says):
        response_class([item])
    with pytest.raises(TypeError, match=says):
        await fetch(response_class(iter([item]) if wrap is iter else async_rows(item)))


def failing(error: Exception, *first: Any) -> Iterator[Any]:
    yield from first
    raise error


async def async_failing(error: Exception, *first: Any) -> AsyncIterator[Any]:
    for item in first:
        yield item
    raise error


@both
@pytest.mark.parametrize("fail", [failing, async_failing])
async def test_an_error_midway_leaves_the_archive_visibly_incomplete(
    response_class: Any, fail: Any, anyio_backend: Any
) -> None:
    outcomes: list[StreamOutcome] = []
    members = [
        ZipMember("a", NOISE),
        ZipMember("b", fail(RuntimeError("no"), NOISE)),
        ZipMember("c", c := Counted()),
    ]
    response = response_class(members, on_close=outcomes.append, first_chunk_timeout=0)
    fetched = await fetch(response)
    assert not fetched.complete
    assert str(fetched.error) == "no"
    assert outcomes[0].reason == "error"
    assert b"PK\5\6" not in fetched.body
    assert not fetched.body.endswith(bytes(1024))
    assert c.closed == 1


@both
@pytest.mark.parametrize("fail", [failing, async_failing])
async def test_an_error_before_the_first_byte_is_a_real_status(
    response_class: Any, fail: Any, anyio_backend: Any
) -> None:
    def endpoint(request: object) -> Any:
        return response_class([ZipMember("a", fail(HTTPException(404)))])

    app = Starlette(routes=[Route("/", endpoint)])
    assert (await fetch(app)).status == 404


@both
async def test_a_missing_file_is_told_before_the_status(
    response_class: Any, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await fetch(response_class([ZipMember("a", tmp_path / "none")]))


class Changing(io.BytesIO):
    """Gives other bytes when it is read again."""

    def __init__(self, first: bytes, then: bytes) -> None:
        super().__init__(first)
        self.then = then
        self.reads = 0

    def read(self, size: int | None = -1) -> bytes:
        if size == 0:
            return b""
        self.reads += 1
        return super().read(size) if self.reads == 1 else self.then


async def test_a_stored_content_that_changes_is_an_error() -> None:
    member = ZipMember("a", Changing(b"first", b"other"), compress=False)
    fetched = await fetch(ZIPStreamingResponse([member], first_chunk_timeout=0))
    assert not fetched.complete
    assert "'a' changed while it was read" in str(fetched.error)


class Shrinking(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return b"" if self.tell() > 2 else super().read(min(size or 0, 3))


@both
async def test_an_open_file_is_read_from_where_it_stands(response_class: Any) -> None:
    file = io.BytesIO(b"123456")
    file.seek(2)
    body = await body_of(response_class([ZipMember("a", file, compress=False)]))
    assert UNPACK[response_class](body) == {"a": b"3456"}


@both
@pytest.mark.parametrize("compress", [True, False])
async def test_a_member_that_shrinks_is_an_error(response_class: Any, compress: bool) -> None:
    members = [ZipMember("b", b"b"), ZipMember("a", Shrinking(b"123456"), compress=compress)]
    fetched = await fetch(response_class(members))
    assert not fetched.complete
    assert "'a' changed while it was read" in str(fetched.error)


class Slow(io.BytesIO):
    """Takes 5 ms for each read."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.005 if size else 0)
        return super().read(size)


class SlowPipe(Slow):
    def seekable(self) -> bool:
        return False


@both
async def test_a_client_that_leaves_before_the_first_byte_stops_the_reading(
    response_class: Any, anyio_backend: Any
) -> None:
    # what is read for its CRC, and what is written to a temporary file
    make = Slow if response_class is ZIPStreamingResponse else SlowPipe
    file = make(bytes(1 << 26))
    response = response_class([ZipMember("a", file, compress=False)])
    with anyio.fail_after(2):
        async with stream(response, wait_for_start=False) as client:
            await anyio.sleep(0.1)
            await client.disconnect()
            await client.wait_closed()
    assert file.closed


async def test_a_content_that_says_itself_nobody_reads_is_an_error() -> None:
    members = [ZipMember("a", failing(StreamStopped("not true")))]
    with pytest.raises(StreamStopped, match="not true"):
        await body_of(ZIPStreamingResponse(members))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc here")
@both
async def test_a_file_that_says_it_is_empty_is_read_all_the_same(response_class: Any) -> None:
    for content in (Path("/proc/self/status"), open("/proc/self/status", "rb")):  # noqa: ASYNC230, SIM115
        members = [ZipMember("status", content, compress=False)]
        assert b"Pid:" in UNPACK[response_class](await body_of(response_class(members)))["status"]


@both
@pytest.mark.parametrize("compress", [True, False])
async def test_an_open_file_whose_size_is_made_up_is_read_all_the_same(
    response_class: Any, compress: bool
) -> None:
    name = made_up_by_the_kernel(os.sysconf("SC_PAGE_SIZE"))
    members = [ZipMember("a", open(name, "rb"), compress=compress)]  # noqa: ASYNC230, SIM115
    body = await body_of(response_class(members))
    assert UNPACK[response_class](body) == {"a": Path(name).read_bytes()}  # noqa: ASYNC240


def written(make: Any, data: Any) -> Any:
    """A file that stands at its end, as after writing it."""
    file = make()
    file.write(data)
    return file


@both
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: written(io.BytesIO, b"written"), id="BytesIO"),
        pytest.param(lambda: written(io.StringIO, "written"), id="StringIO"),
        pytest.param(lambda: written(tempfile.TemporaryFile, b"written"), id="file"),
        pytest.param(lambda: written(tempfile.SpooledTemporaryFile, b"written"), id="spooled"),
    ],
)
async def test_an_open_file_at_its_end_is_whole_as_it_is_in_a_response(
    make: Any, response_class: Any
) -> None:
    members = [ZipMember("a", make()), ZipMember("b", make(), compress=False)]
    body = await body_of(response_class(members))
    assert UNPACK[response_class](body) == {"a": b"written", "b": b"written"}


class Decompressing(gzip.GzipFile):
    """Counts the bytes that it gives."""

    given = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.given += len(data)
        return data


@both
async def test_a_decompressed_file_is_read_once(response_class: Any) -> None:
    file = Decompressing(fileobj=io.BytesIO(gzip.compress(bytes(100_000))))
    body = await body_of(response_class([ZipMember("a", file, compress=False)]))
    assert UNPACK[response_class](body) == {"a": bytes(100_000)}
    assert file.given == 100_000
