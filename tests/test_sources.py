from __future__ import annotations

import gzip
import io
import itertools
import os
import socket
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from streamkit import (
    ByteSource,
    BytesSource,
    FileSource,
    PathSource,
    SourceInfo,
    StreamingResponse,
    pagecache,
)
from streamkit.pagecache import READ_SIZE
from streamkit.sources import is_seekable
from streamkit.testing import FetchedResponse, check_source, fetch

MODIFIED = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
# A few chunks of a file, and not a whole number of them.
DATA = bytes(i * 7 % 251 for i in range(2 * READ_SIZE + 77))
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is cached")


class Blob(ByteSource):
    """A source of a user's own, over a few bytes."""

    def __init__(self, data: bytes = b"0123456789", chunk: int = 3, size: int | None = -1) -> None:
        self.data, self.chunk = data, chunk
        self.size = len(data) if size == -1 else size

    async def info(self) -> SourceInfo:
        return SourceInfo(self.size, '"v7"', MODIFIED, "image/png")

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        stop = len(self.data) if end is None else end
        for at in range(start, stop, self.chunk):
            yield self.data[at : min(at + self.chunk, stop)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


async def fetch_content(content: Any, headers: Any = None, **options: Any) -> FetchedResponse:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(content)(scope, receive, send)

    return await fetch(app, headers=headers, **options)


def zip_member(path: Path) -> Any:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("member", DATA)
    return zipfile.ZipFile(archive).open("member")


def tar_member(path: Path) -> Any:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.add(path, "member")
    archive.seek(0)
    return tarfile.open(fileobj=archive).extractfile("member")


def compressed(path: Path) -> Any:
    archive = path.with_suffix(".gz")
    archive.write_bytes(gzip.compress(DATA))
    return io.BufferedReader(cast("Any", gzip.open(archive)))


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 (the response owns it)
    file.write(DATA)
    return file


def temporary(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 (the response owns it)
    file.write(DATA)
    file.flush()
    return file


class SubclassedBytesIO(io.BytesIO):
    pass


FILES: dict[str, Callable[[Path], Any]] = {
    "open()": lambda path: open(path, "rb"),  # noqa: SIM115
    "open(), unbuffered": lambda path: open(path, "rb", buffering=0),  # noqa: SIM115
    "open() for writing too": lambda path: open(path, "r+b"),  # noqa: SIM115
    "BytesIO": lambda path: io.BytesIO(DATA),
    "a subclass of BytesIO": lambda path: SubclassedBytesIO(DATA),
    "SpooledTemporaryFile": spooled,
    "NamedTemporaryFile": temporary,
    "ZipFile.open()": zip_member,
    "TarFile.extractfile()": tar_member,
    "BufferedReader over gzip": compressed,
}
SOURCES: dict[str, Callable[[Path], ByteSource]] = {
    "PathSource": PathSource,
    "BytesSource": lambda path: BytesSource(DATA),
    "BytesSource of a bytearray": lambda path: BytesSource(bytearray(DATA)),
    "BytesSource of a memoryview": lambda path: BytesSource(memoryview(DATA)[::1]),
    **{
        f"FileSource of {name}": (lambda path, opener=opener: FileSource(opener(path)))
        for name, opener in FILES.items()
    },
    "a source of one's own": lambda path: Blob(DATA, 50_000),
    "one of unknown size": lambda path: Blob(DATA, 50_000, size=None),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", SOURCES)
async def test_a_source_gives_exactly_the_bytes_it_is_asked_for(name: str, path: Path) -> None:
    with anyio.fail_after(30):
        await check_source(lambda: SOURCES[name](path), DATA)


@pytest.mark.parametrize("size", [0, 1, 2, 11])
def test_small_sources_as_well(size: int, tmp_path: Path) -> None:
    data, path = DATA[:size], tmp_path / "small"
    path.write_bytes(data)
    for make in (
        lambda: PathSource(path),
        lambda: BytesSource(data),
        lambda: FileSource(open(path, "rb")),  # noqa: SIM115
        lambda: FileSource(io.BytesIO(data)),
    ):
        anyio.run(check_source, make, data)


@pytest.mark.anyio
async def test_writes_that_are_still_buffered_are_served_too(tmp_path: Path) -> None:
    file = (tmp_path / "file").open("w+b")
    file.write(b"buffered")
    assert (await fetch_content(file)).body == b"buffered"


# What only the system knows: whether bytes are cached, and who says so.


def not_offered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pagecache._kernel, "opens", False)
    patch.setattr(pagecache._kernel, "reads", False)


def refused(error: type[OSError]) -> Callable[[pytest.MonkeyPatch], None]:
    def patch_preadv(patch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object) -> int:
            raise error("not now")

        patch.setattr(os, "preadv", refuse, raising=False)

    return patch_preadv


def cached_in_part(patch: pytest.MonkeyPatch) -> None:
    preadv, turns = os.preadv, itertools.count()

    def read(fd: int, buffers: Any, start: int, flags: int) -> int:
        if next(turns) % 3 == 0:
            raise BlockingIOError
        return preadv(fd, [memoryview(buffers[0])[: len(buffers[0]) // 3 + 1]], start, flags)

    patch.setattr(os, "preadv", read)


def without_pread(patch: pytest.MonkeyPatch) -> None:
    not_offered(patch)
    patch.delattr(os, "pread", raising=False)


SYSTEMS = {
    "no RWF_NOWAIT and no openat2": not_offered,
    "a file system that can't tell": refused(OSError),
    "a cold cache": refused(BlockingIOError),
    "a cache that has some of it": cached_in_part,
    "no pread": without_pread,
}


@pytest.mark.anyio
@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_file_gives_the_same_bytes_whatever_the_system_offers(
    system: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if system == "a cache that has some of it" and sys.platform != "linux":
        pytest.skip("only Linux tells what is cached")
    SYSTEMS[system](monkeypatch)
    with anyio.fail_after(30):
        await check_source(lambda: PathSource(path), DATA)
        response = await fetch_content(path, {"range": "bytes=10-300000,400000-"})
    body = response.body
    assert response.status == 206
    assert DATA[10:300001] in body
    assert DATA[400000:] in body


@on_linux
@pytest.mark.anyio
async def test_what_is_cached_needs_no_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a thread was asked for")

    path.read_bytes()  # noqa: ASYNC240
    if pagecache.open_cached(str(path)) is None:
        pytest.skip("this kernel or file system does not tell what is cached")
    monkeypatch.setattr("streamkit.sources.run_in_stream_thread", refuse)
    assert (await fetch_content(path)).body == DATA


# Which files are served, and how they are described.


@pytest.mark.anyio
async def test_size_and_validators_are_those_of_the_opened_file(path: Path) -> None:
    os.utime(path, ns=(0, 1_750_000_000_123_456_789))
    source = PathSource(path, media_type="video/mp4")
    info = await source.info()
    await source.aclose()
    assert info.size == len(DATA)
    assert info.etag == f'"{1_750_000_000_123_456_789:x}-{len(DATA):x}"'
    assert info.last_modified is not None
    assert int(info.last_modified.timestamp()) == 1_750_000_000
    assert info.media_type == "video/mp4"


@pytest.mark.anyio
async def test_an_open_file_has_the_validators_of_its_path(path: Path) -> None:
    by_path, by_file = PathSource(path), FileSource(path.open("rb"))
    assert await by_path.info() == await by_file.info()
    await by_path.aclose()
    await by_file.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["BytesIO", "SpooledTemporaryFile", "ZipFile.open()"])
async def test_a_file_of_no_file_system_has_no_validators_but_those_given(
    name: str, path: Path
) -> None:
    for given_info in (SourceInfo(len(DATA)), SourceInfo(len(DATA), '"v7"', MODIFIED, "image/png")):
        source = FileSource(
            FILES[name](path),
            etag=given_info.etag,
            last_modified=given_info.last_modified,
            media_type=given_info.media_type,
        )
        assert await source.info() == given_info
        await source.aclose()


@pytest.mark.anyio
async def test_given_validators_go_before_those_of_the_file(path: Path) -> None:
    source = PathSource(path, etag='"v7"', last_modified=MODIFIED)
    info = await source.info()
    await source.aclose()
    assert (info.etag, info.last_modified) == ('"v7"', MODIFIED)


@pytest.mark.anyio
async def test_the_etag_changes_within_a_second(path: Path) -> None:
    etags = set()
    for nanoseconds in (1_750_000_000_000_000_000, 1_750_000_000_000_000_001):
        os.utime(path, ns=(0, nanoseconds))
        etags.add((await fetch_content(path)).headers["etag"])
    assert len(etags) == 2


@pytest.mark.anyio
async def test_two_copies_with_equal_times_agree(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(DATA)
    for file in (path, copy):
        os.utime(file, ns=(0, 1_750_000_000_000_000_007))
    first, second = await fetch_content(path), await fetch_content(copy)
    assert first.headers["etag"] == second.headers["etag"]


@pytest.mark.anyio
async def test_an_empty_file_is_an_empty_200(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    response = await fetch_content(tmp_path / "empty", {"range": "bytes=0-"})
    assert (response.status, response.headers["content-range"]) == (416, "bytes */0")
    response = await fetch_content(tmp_path / "empty")
    assert (response.status, response.headers["content-length"], response.body) == (200, "0", b"")
    assert response.complete


@pytest.mark.anyio
async def test_the_end_of_a_large_sparse_file_is_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    size = 5 << 30
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    response = await fetch_content(path, {"range": "bytes=-5"})
    assert (response.status, response.body) == (206, b"\0\0end")
    assert response.headers["content-range"] == f"bytes {size - 5}-{size - 1}/{size}"


@pytest.mark.anyio
async def test_a_symlink_is_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    assert (await fetch_content(link)).body == DATA


def make_fifo(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no FIFOs here")
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets here")
    with socket.socket(socket.AF_UNIX) as unix:
        try:
            unix.bind(str(path))
        except OSError as exc:
            pytest.skip(f"no socket can be made here: {exc}")


def make_forbidden(path: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.write_bytes(DATA)
    path.chmod(0)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


UNSERVED: dict[str, tuple[Callable[[Path], object], type[OSError], str]] = {
    "a missing file": (lambda path: None, FileNotFoundError, "No such file"),
    "a directory": (Path.mkdir, IsADirectoryError, "Only regular files"),
    "a FIFO": (make_fifo, OSError, "Not a regular file but a FIFO"),
    "a socket": (make_socket, OSError, "No such device"),
    "a forbidden file": (make_forbidden, PermissionError, "Permission denied"),
    "a symlink to itself": (make_loop, OSError, "Too many levels"),
    "a symlink to nothing": (
        lambda path: path.symlink_to(path.parent / "nothing"),
        FileNotFoundError,
        "No such file",
    ),
}


@pytest.mark.anyio
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "on a thread"])
@pytest.mark.parametrize("name", UNSERVED)
async def test_what_is_no_regular_file_is_an_error_before_the_status_line(
    name: str, cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not cached:
        not_offered(monkeypatch)
    make, error, says = UNSERVED[name]
    path = tmp_path / "x"
    make(path)
    with anyio.fail_after(10), pytest.raises(error, match=says) as caught:
        await fetch_content(path)
    assert str(caught.value.filename) == str(path)


def test_a_relative_path_means_the_directory_of_now(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    source = PathSource(path.name)
    monkeypatch.chdir("/")
    assert source.path == str(path)


def test_a_path_that_c_would_shorten_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        PathSource("/etc/hostname\0.png")


def test_text_is_no_bytes_source() -> None:
    with pytest.raises(TypeError, match="encode str first"):
        BytesSource("text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def text_wrapper() -> Any:
    return tempfile.SpooledTemporaryFile(mode="w+")


@pytest.mark.parametrize(
    ("open_it", "name"),
    [
        pytest.param(lambda: io.StringIO("text"), "StringIO", id="text"),
        pytest.param(text_wrapper, "SpooledTemporaryFile", id="text in a wrapper"),
        pytest.param(lambda: Pipe(b"x"), "Pipe", id="not seekable"),
        pytest.param(lambda: object(), "object", id="no file"),
    ],
)
def test_a_file_source_takes_seekable_binary_files(open_it: Callable[[], Any], name: str) -> None:
    file = open_it()
    assert not is_seekable(file)
    with pytest.raises(TypeError, match=f"seekable binary file, got {name}"):
        FileSource(file)
    if close := getattr(file, "close", None):
        close()


@pytest.mark.anyio
async def test_a_text_file_in_a_wrapper_is_a_stream_of_text(tmp_path: Path) -> None:
    file = tempfile.NamedTemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (the response owns it)
    file.write("naïve")
    file.seek(0)
    response = await fetch_content(file)
    assert "content-length" not in response.headers
    assert (response.body.decode(), response.complete) == ("naïve", True)


@pytest.mark.anyio
async def test_a_path_source_can_be_read_before_anyone_asked_for_its_info(path: Path) -> None:
    source = PathSource(path)
    assert b"".join([chunk async for chunk in source.read(5, 9)]) == DATA[5:9]
    await source.aclose()
    await PathSource(path).aclose()


@pytest.mark.anyio
async def test_a_file_source_without_a_close_is_left_alone() -> None:
    class File:
        def __init__(self) -> None:
            inner = io.BytesIO(DATA)
            self.read, self.seek, self.seekable = inner.read, inner.seek, inner.seekable

    await check_source(lambda: FileSource(File()), DATA)


@pytest.mark.anyio
async def test_the_rest_of_a_file_can_be_asked_for(path: Path) -> None:
    for make in (PathSource, lambda path: FileSource(zip_member(path))):
        source = make(path)
        await source.info()
        assert b"".join([chunk async for chunk in source.read(7, None)]) == DATA[7:]
        await source.aclose()
