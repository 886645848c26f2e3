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
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    ByteSource,
    BytesSource,
    FileSource,
    PathSource,
    SourceInfo,
    StreamingResponse,
    iterate_in_threadpool,
    pagecache,
)
from streamkit.http.ranges import parse_range
from streamkit.pagecache import READ_SIZE
from streamkit.sources import is_seekable
from streamkit.testing import FetchedResponse, check_source, fetch, stream

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
@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_served_whole_wherever_it_stands_and_closed(name: str, path: Path) -> None:
    file = FILES[name](path)
    file.seek(5)
    response = await fetch_content(file)
    assert (response.status, response.body, response.complete) == (200, DATA, True)
    assert response.headers["accept-ranges"] == "bytes"
    assert file.closed


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
@pytest.mark.parametrize("name", ["BytesIO", "SpooledTemporaryFile", "BufferedReader over gzip"])
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
    for nanoseconds in (1_000_000_000, 1_000_000_001):
        os.utime(path, ns=(0, nanoseconds))
        etags.add((await fetch_content(path)).headers["etag"])
    assert len(etags) == 2


@pytest.mark.anyio
async def test_two_copies_with_equal_times_agree(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(DATA)
    for file in (path, copy):
        os.utime(file, ns=(0, 1_000_000_007))
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


# The server sends a whole file by itself, where it offers to.

PATHSEND = {"http.response.pathsend": {}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "fields", "by_path"),
    [
        pytest.param("GET", {}, True, id="the whole"),
        pytest.param("GET", {"range": "lines=1-2"}, True, id="a range that is ignored"),
        pytest.param("GET", {"range": "bytes=0-"}, True, id="a range of the whole"),
        pytest.param("GET", {"range": "bytes=1-"}, False, id="a range"),
        pytest.param("GET", {"range": "bytes=1-2,9-"}, False, id="ranges"),
        pytest.param("GET", {"range": "bytes=9999999-"}, False, id="a range that isn't there"),
        pytest.param("GET", {"if-none-match": "*"}, False, id="a 304"),
        pytest.param("HEAD", {}, False, id="HEAD"),
    ],
)
async def test_a_whole_file_goes_by_its_path_and_parts_do_not(
    method: str, fields: dict[str, str], by_path: bool, path: Path
) -> None:
    outcomes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(path, on_close=outcomes.append)(scope, receive, send)

    async with stream(app, method=method, headers=fields, extensions=PATHSEND) as client:
        body = await client.read()
        await client.wait_closed()
        sent = [m for m in client.messages if m["type"] == "http.response.pathsend"]
    assert sent == ([{"type": "http.response.pathsend", "path": str(path)}] if by_path else [])
    assert outcomes[0].reason == "complete"
    assert outcomes[0].bytes_sent == len(body)
    if by_path:
        assert body == DATA


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["open()", "BytesIO"])
async def test_only_a_path_goes_by_its_path(name: str, path: Path) -> None:
    response = await fetch_content(FILES[name](path), extensions=PATHSEND)
    assert response.body == DATA


# Any size, any ranges.


Parse = Callable[[str, bytes], list[tuple[str, bytes]]]


def parse_with_email(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    whole = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = cast("list[Message]", whole.get_payload())
    assert not whole.defects
    return [(part["content-range"], cast("bytes", part.get_payload(decode=True))) for part in parts]


def parse_with_multipart(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    reason = "the package `multipart` is missing, or older than 2.0, which knows forms only"
    multipart = pytest.importorskip("multipart", "2.0", reason=reason)
    boundary = content_type.partition("boundary=")[2]
    found: list[tuple[str, bytearray]] = []

    class Parser(multipart.PushMultipartParser):  # type: ignore[misc,name-defined]
        # The one thing that its documentation says is to be overridden for multipart/byteranges.
        def _create_segment(self, headers: Any) -> Any:
            return multipart.MultipartSegment(headers)

    with Parser(boundary) as parser:
        for event in parser.parse(body):
            if isinstance(event, multipart.MultipartSegment):
                found.append((event.header("Content-Range"), bytearray()))
            elif event:
                found[-1][1].extend(event)
    return [(place, bytes(data)) for place, data in found]


def parse_range_of(place: str) -> tuple[int, int, int]:
    span, _, size = place.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    return int(first), int(last) + 1, int(size)


positions = st.integers(0, 210)
# Mostly short, so that a few of them are together no longer than the whole.
lengths = st.one_of(st.integers(0, 5), st.integers(0, 50))
members = st.one_of(
    st.tuples(positions, lengths).map(lambda pair: f"{pair[0]}-{sum(pair)}"),
    positions.map(lambda first: f"{first}-"),
    lengths.map(lambda length: f"-{length}"),
)
range_sets = st.lists(members, min_size=1, max_size=6).map(lambda ranges: ",".join(ranges))
sizes = st.one_of(st.integers(0, 70), st.just(200))
# Line ends and dashes are what a parser could mistake for framing.
contents = sizes.flatmap(
    lambda size: st.one_of(
        st.binary(min_size=size, max_size=size),
        st.text("\r\n-a", min_size=size, max_size=size).map(str.encode),
    )
)


def naive(value: str, size: int) -> tuple[int, set[int]]:
    """The status, and which bytes are asked for: the rules of RFC 9110 §14.1.2, byte by byte."""
    wanted: list[list[int]] = []
    for member in value.split(","):
        first, _, last = member.partition("-")
        if first:
            wanted.append([*range(int(first), min(int(last or size) + 1, size))])
        else:
            wanted.append([*range(max(size - int(last), 0), size)])
    together = sum(map(len, wanted))
    if not together:
        # A suffix of nothing is satisfied by the whole.
        empty = not size and any(m[0] == "-" and int(m[1:]) for m in value.split(","))
        return (200 if empty else 416), set()
    return (200 if together > size else 206), set(itertools.chain(*wanted))


@pytest.mark.parametrize("parse", [parse_with_email, parse_with_multipart])
@given(data=contents, value=range_sets)
def test_the_parts_put_together_are_the_slices(parse: Parse, data: bytes, value: str) -> None:
    response = anyio.run(
        fetch_content, BytesSource(data, media_type="a/b"), {"range": f"bytes={value}"}
    )
    status, wanted = naive(value, len(data))
    assert (response.status, response.complete) == (status, True)
    assert int(response.headers["content-length"]) == len(response.body)
    if status == 416:
        assert (response.body, response.headers["content-range"]) == (b"", f"bytes */{len(data)}")
    elif status == 200:
        assert response.body == data
    else:
        parts = parts_of(response, parse)
        found: list[int] = []
        for place, part in parts:
            start, end, size = parse_range_of(place)
            assert (part, size) == (data[start:end], len(data))
            found += range(start, end)
        assert sorted(found) == sorted(wanted)


def parts_of(response: FetchedResponse, parse: Parse) -> list[tuple[str, bytes]]:
    if "content-range" in response.headers:
        return [(response.headers["content-range"], response.body)]
    kind = response.headers["content-type"]
    assert kind.startswith("multipart/byteranges; boundary=")
    parts = parse(kind, response.body)
    assert len(parts) > 1
    return parts


@given(
    st.integers(0, 3 * READ_SIZE), st.lists(st.integers(0, 3 * READ_SIZE), min_size=2, max_size=6)
)
def test_files_of_any_size_are_cut_where_they_should_be(size: int, cuts: list[int]) -> None:
    data = (DATA * 2)[:size]
    pairs = zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)
    value = "bytes=" + ",".join(f"{first}-{last}" for first, last in pairs)
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    path = Path(file.name)
    try:
        by_path = anyio.run(fetch_content, path, {"range": value})
        by_file = anyio.run(fetch_content, path.open("rb"), {"range": value})
        in_memory = anyio.run(fetch_content, data, {"range": value})
    finally:
        path.unlink()
    ranges = parse_range(value)
    assert ranges is not None
    for response in (by_path, by_file, in_memory):
        assert response.status == in_memory.status
        assert response.complete
        if response.status == 206:
            spans = ranges.resolve(size).spans
            assert [part for _, part in parts_of(response, parse_with_email)] == [
                data[a:b] for a, b in spans
            ]


# The check of other people's sources finds what is wrong with them.


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
