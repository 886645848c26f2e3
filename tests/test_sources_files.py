"""Files as people have them: where they stand, sizes that are made up, times that say nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.datastructures import UploadFile

from streamkit import BytesSource, FileSource, PathSource, StreamingResponse, file_chunks
from streamkit.errors import SourceError
from streamkit.testing import FetchedResponse, check_source, fetch, stream
from tests.test_sources import DATA, FILES, MODIFIED, fetch_content

SIZE = len(DATA)
pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


async def get(
    content: Any, fields: dict[str, str] | None = None, **options: Any
) -> FetchedResponse:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(content, **options)(scope, receive, send)

    return await fetch(app, headers=fields)


# Where a file stands.

STANDS = [
    pytest.param(0, DATA, id="at its beginning"),
    pytest.param(5, DATA[5:], id="after a header"),
    pytest.param(SIZE - 1, DATA[-1:], id="before its last byte"),
    pytest.param(SIZE, DATA, id="at its end"),
]
SEEKABLE = [name for name in FILES if "gzip" not in name]


@pytest.mark.parametrize(("position", "expected"), STANDS)
@pytest.mark.parametrize("name", SEEKABLE)
async def test_a_file_is_sent_from_where_it_stands_and_whole_from_its_end(
    name: str, position: int, expected: bytes, path: Path
) -> None:
    file = FILES[name](path)
    file.seek(position)
    response = await get(file)
    assert (response.status, response.body, response.complete) == (200, expected, True)
    assert response.headers["content-length"] == str(len(expected))
    assert file.closed


async def test_a_file_of_text_is_whole_from_its_end(tmp_path: Path) -> None:
    written = io.StringIO()
    written.write("written")
    assert (await get(written)).body == b"written"
    read = open(tmp_path / "text", "w+", encoding="utf-8")  # noqa: ASYNC230, SIM115
    read.write("w\xe4re")
    assert (await get(read)).body == "w\xe4re".encode()
    assert (written.closed, read.closed) == (True, True)


@pytest.mark.parametrize(("position", "expected"), STANDS)
async def test_an_async_file_is_sent_in_the_same_way(
    position: int, expected: bytes, path: Path
) -> None:
    file = await anyio.open_file(path, "rb")
    await file.seek(position)
    assert (await get(file)).body == expected
    empty = path.with_name("empty")
    empty.touch()
    assert (await get(await anyio.open_file(empty, "rb"))).body == b""


@pytest.mark.parametrize("name", SEEKABLE)
async def test_byte_0_of_a_range_is_where_the_file_stands(name: str, path: Path) -> None:
    for fields, part in (("bytes=0-2", DATA[5:8]), ("bytes=-3", DATA[-3:])):
        file = FILES[name](path)
        file.seek(5)
        response = await get(file, {"range": fields})
        assert (response.status, response.body) == (206, part)
        assert response.headers["content-range"].endswith(f"/{SIZE - 5}")


@pytest.mark.parametrize("name", SEEKABLE)
async def test_a_file_that_stands_in_the_middle_keeps_the_contract(name: str, path: Path) -> None:
    def make() -> FileSource:
        file = FILES[name](path)
        file.seek(1000)
        return FileSource(file)

    with anyio.fail_after(60):
        await check_source(make, DATA[1000:])


async def test_parts_of_a_file_have_etags_of_their_own(path: Path) -> None:
    etags = []
    for position in (0, 5, 6, SIZE):
        file = path.open("rb")
        file.seek(position)
        source = FileSource(file)
        etags.append((await source.info()).etag)
        await source.aclose()
    assert len(set(etags)) == 3
    assert etags[0] == etags[3], "from its end it is sent whole"


@pytest.mark.parametrize("read", [0, 5, -1])
@pytest.mark.parametrize("rolled", [False, True])
async def test_an_upload_is_read_as_the_file_it_wraps(read: int, rolled: bool) -> None:
    upload = UploadFile(io.BytesIO(DATA), filename="a")
    if rolled:
        import tempfile

        spooled = tempfile.SpooledTemporaryFile(max_size=10)  # noqa: SIM115
        spooled.write(DATA)
        spooled.seek(0)
        upload = UploadFile(spooled, filename="a")  # type: ignore[arg-type]
    await upload.read(read)
    expected = DATA if read == -1 else DATA[read:]
    await check_source_once(FileSource(upload), expected)
    assert upload.file.closed


async def check_source_once(source: FileSource, expected: bytes) -> None:
    info = await source.info()
    assert info.size in (None, len(expected))
    assert b"".join([chunk async for chunk in source.read(0, info.size)]) == expected
    await source.aclose()


# Files that only say that they can seek.


class CountedFile(io.FileIO):
    had = 0

    def readinto(self, buffer: Any) -> Any:
        count = super().readinto(buffer)
        self.had += count
        return count

    def read(self, size: int = -1) -> Any:
        data = super().read(size)
        self.had += len(data)
        return data


def opened_with_zstd(file: Any) -> Any:
    return pytest.importorskip("backports.zstd").ZstdFile(file)


DECOMPRESSORS: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bz2": bz2.BZ2File,
    "lzma": lzma.LZMAFile,
    "zstd": opened_with_zstd,
    "buffered gzip": lambda file: io.BufferedReader(gzip.GzipFile(fileobj=file)),  # type: ignore[type-var]
}


def compressed(name: str, data: bytes) -> bytes:
    if name == "zstd":
        return bytes(pytest.importorskip("backports.zstd").compress(data))
    return {"bz2": bz2.compress, "lzma": lzma.compress}.get(name, gzip.compress)(data)


@pytest.mark.parametrize(("position", "expected"), STANDS)
@pytest.mark.parametrize("name", DECOMPRESSORS)
async def test_what_is_decompressed_is_streamed_and_read_once(
    name: str, position: int, expected: bytes, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    # Noise, so that the archive is many reads long.
    data = bytes(os.urandom(SIZE))
    archive.write_bytes(compressed(name, data))
    raw = CountedFile(str(archive))
    file = DECOMPRESSORS[name](raw)
    if position:
        assert len(file.read(position)) == position
        assert position < SIZE or file.read(1) == b""
    before = raw.had
    response = await get(file, {"range": "bytes=1-2"})
    assert response.status == 200
    assert response.body == (data if position == SIZE else data[position:])
    assert len(response.body) == len(expected)
    assert "content-length" not in response.headers
    assert raw.had - before <= archive.stat().st_size + 100
    raw.close()


async def test_a_decompressed_file_keeps_the_contract(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(gzip.compress(DATA))
    with anyio.fail_after(60):
        await check_source(lambda: FileSource(gzip.GzipFile(archive)), DATA)


async def test_the_end_of_a_compressed_member_is_known_without_decompressing_it(path: Path) -> None:
    member = FILES["ZipFile.open()"](path)
    source = FileSource(member)
    assert (await source.info()).size == SIZE
    assert member.tell() == 0
    await source.aclose()


class Claims(io.BytesIO):
    """A file that says it can seek, and fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(DATA)
        self.error = error

    def seek(self, *args: Any) -> int:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError("Cannot seek streaming file"), id="ValueError"),
        pytest.param(NotImplementedError(), id="NotImplementedError"),
        pytest.param(io.UnsupportedOperation("seek"), id="UnsupportedOperation"),
    ],
)
async def test_a_file_that_only_claims_to_seek_is_streamed(error: Exception) -> None:
    response = await get(Claims(error), {"range": "bytes=1-2"})
    assert (response.status, response.body) == (200, DATA)
    assert "content-length" not in response.headers
    assert "accept-ranges" not in response.headers


@pytest.mark.parametrize("adapt", [lambda file: file, file_chunks])
async def test_a_file_that_can_not_tell_whether_it_seeks_is_streamed(adapt: Any) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        header = tarfile.TarInfo("member")
        header.size = SIZE
        archive.addfile(header, io.BytesIO(DATA))
    written.seek(0)
    with tarfile.open(fileobj=written, mode="r|gz") as archive:
        member = archive.extractfile(next(iter(archive)))
        response = await get(adapt(member))
    assert (response.status, response.body) == (200, DATA)


async def test_a_disk_that_fails_is_no_claim() -> None:
    source = FileSource(Claims(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        await source.info()


class Origin(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        if "says" in self.path:
            self.send_header("Accept-Ranges", "none")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(DATA)


@contextmanager
def origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def test_fsspec_without_ranges_is_streamed_or_fails_before_the_start() -> None:
    pytest.importorskip("aiohttp")
    fsspec = pytest.importorskip("fsspec")
    with origin() as url:
        file = fsspec.open(f"{url}/says", "rb").open()
        assert file.seekable()
        response = await get(file)
        assert (response.status, response.body) == (200, DATA)
        with pytest.raises(SourceError, match="its server gives no ranges"):
            await get(fsspec.open(f"{url}/silent", "rb", block_size=1000).open())


# Sizes that are made up.


def made_up_by_the_kernel(size: int) -> str:
    """A file of /proc or /sys that says `size` and gives another number of bytes."""
    for name in ("/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled",
                 "/sys/devices/system/cpu/online", "/sys/kernel/uevent_seqnum"):  # fmt: skip
        try:
            data = Path(name).read_bytes()
        except OSError:
            continue
        if os.stat(name).st_size == size != len(data):
            return name
    pytest.skip(f"no such file with a size of {size}")


@pytest.mark.parametrize(
    "size", [0, os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096]
)
@pytest.mark.parametrize("how", ["path", "file", "file at its end"])
async def test_a_file_that_gives_more_or_less_than_its_size_is_streamed(
    how: str, size: int
) -> None:
    name = made_up_by_the_kernel(size)
    with open(name, "rb") as file:  # noqa: ASYNC230
        expected = file.read()
        if how == "file":
            file.seek(0)
        content = Path(name) if how == "path" else file
        response = await get(content, {"range": "bytes=1-2"})
    assert (response.status, response.body, response.complete) == (200, expected, True)
    assert not {"content-length", "etag", "last-modified", "accept-ranges"} & {*response.headers}


async def test_a_file_without_blocks_is_believed_if_it_gives_what_it_says(tmp_path: Path) -> None:
    for size in (10, 3_000_000):
        (tmp_path / "sparse").write_bytes(b"")
        os.truncate(tmp_path / "sparse", size)
        response = await get(tmp_path / "sparse")
        assert response.headers["content-length"] == str(size)
        assert response.body == bytes(size)
        assert "etag" in response.headers


# Times that say nothing.

TIMES = [
    pytest.param(0, False, id="the epoch"),
    pytest.param(1, False, id="a second after it"),
    pytest.param(1.5, False, id="a fraction after that"),
    pytest.param(-5, False, id="before it"),
    pytest.param(315532800, False, id="the first day of ZIP"),
    pytest.param(315532800 - 14 * 3600, False, id="the same, farthest to the east"),
    pytest.param(315532800 + 12 * 3600, False, id="the same, farthest to the west"),
    pytest.param(499162500, False, id="npm's"),
    pytest.param(1_000_000_000, True, id="2001"),
    pytest.param(1_750_000_000.25, True, id="2025"),
]


@pytest.mark.parametrize(("seconds", "speaks"), TIMES)
@pytest.mark.parametrize("how", ["path", "file"])
async def test_a_time_that_builds_set_makes_no_validator(
    how: str, seconds: float, speaks: bool, path: Path
) -> None:
    os.utime(path, ns=(0, int(seconds * 1e9)))
    response = await get(path if how == "path" else path.open("rb"))
    assert response.body == DATA
    assert ("etag" in response.headers, "last-modified" in response.headers) == (speaks, speaks)


async def test_a_file_from_the_future_has_no_date_after_now(path: Path) -> None:
    os.utime(path, (4_000_000_000, 4_000_000_000))
    response = await get(path)
    sent = datetime.strptime(response.headers["last-modified"], "%a, %d %b %Y %H:%M:%S GMT")
    assert sent.replace(tzinfo=UTC) <= datetime.now(UTC)
    assert "etag" in response.headers


def file_source(path: Path, **given: Any) -> FileSource:
    file = path.open("rb")
    try:
        return FileSource(file, **given)
    except BaseException:
        file.close()
        raise


MAKERS: dict[str, Callable[..., Any]] = {
    "PathSource": lambda path, **given: PathSource(path, **given),
    "FileSource": file_source,
    "BytesSource": lambda path, **given: BytesSource(DATA, **given),
}


@pytest.mark.parametrize("name", MAKERS)
async def test_validators_can_be_switched_off(name: str, path: Path) -> None:
    source = MAKERS[name](path, etag=False, last_modified=False)
    info = await source.info()
    await source.aclose()
    assert (info.size, info.etag, info.last_modified) == (SIZE, None, None)
    source = MAKERS[name](path, etag='"v7"', last_modified=MODIFIED, media_type="image/png")
    info = await source.info()
    await source.aclose()
    assert (info.etag, info.last_modified, info.media_type) == ('"v7"', MODIFIED, "image/png")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        pytest.param({"etag": "v7"}, ValueError, "is not an entity tag", id="no quotes"),
        pytest.param({"etag": True}, TypeError, "etag must be a str", id="a flag"),
        pytest.param({"etag": 7}, TypeError, "etag must be a str", id="a number"),
        pytest.param({"last_modified": datetime(2026, 1, 1)}, ValueError, "naive", id="naive"),
        pytest.param({"last_modified": 7}, TypeError, "must be a datetime", id="a timestamp"),
    ],
)
def test_validators_are_checked_when_they_are_given(
    name: str, given: dict[str, Any], error: type[Exception], match: str, path: Path
) -> None:
    with pytest.raises(error, match=match):
        MAKERS[name](path, **given)


# The server sends a whole file by itself, where it offers to.

PATHSEND: dict[str, Any] = {"http.response.pathsend": {}}


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
@pytest.mark.parametrize(
    "limits", [{"send_timeout": 30}, {"min_rate": 1000}, {"max_rate": 100_000_000}], ids=str
)
async def test_a_file_whose_client_is_watched_does_not_go_by_its_path(
    limits: dict[str, Any], path: Path
) -> None:
    app = StreamingResponse(path, **limits)
    async with stream(app, extensions=PATHSEND) as client:
        assert await client.read() == DATA
        assert {m["type"] for m in client.messages} == {"http.response.start", "http.response.body"}


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["open()", "BytesIO"])
async def test_only_a_path_goes_by_its_path(name: str, path: Path) -> None:
    response = await fetch_content(FILES[name](path), extensions=PATHSEND)
    assert response.body == DATA
