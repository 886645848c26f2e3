from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from streamkit.archives import TARStreamingResponse, ZipMember, ZIPStreamingResponse
from streamkit.iterate import iterate_in_threadpool, iterate_writes
from streamkit.errors import StreamStopped
from streamkit.threads import stream_limiter
from streamkit.outcome import StreamOutcome
from streamkit.sources import BytesSource
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio

NOISE = bytes(range(256)) * 400  # 100 kB that deflate can do little with
GIB = 1 << 30
slow = pytest.mark.skipif(
    not os.environ.get("STREAMKIT_SLOW"), reason="writes 35 GiB; set STREAMKIT_SLOW=1 to run it"
)
both = pytest.mark.parametrize(
    "response_class", [ZIPStreamingResponse, TARStreamingResponse], ids=["zip", "tar"]
)


def tool(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


# what archives are made of


def rows(*items: Any) -> Iterator[Any]:
    yield from items


async def async_rows(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        await anyio.lowlevel.checkpoint()
        yield item


class AsyncFile:
    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.closed = 0

    async def read(self, size: int = -1) -> bytes:
        await anyio.lowlevel.checkpoint()
        return self.file.read(min(size, 1000))

    async def aclose(self) -> None:
        self.closed += 1


class Pipe(io.RawIOBase):
    """A file that can't seek."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)


def save(file: io.RawIOBase) -> None:
    file.write(b"saved ")
    file.write(NOISE)


CONTENTS: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    "bytes": (lambda _: NOISE, NOISE),
    "no bytes": (lambda _: b"", b""),
    "bytearray": (lambda _: bytearray(b"array"), b"array"),
    "memoryview": (lambda _: memoryview(b"a-b-c")[::2], b"abc"),
    "str": (lambda _: "Öl", "Öl".encode()),
    "list": (lambda _: ["a", b"b", bytearray(b"c")], b"abc"),
    "generator": (
        lambda _: rows("a", b"b" * 300_000, memoryview(b"c")),
        b"a" + b"b" * 300_000 + b"c",
    ),
    "empty generator": (lambda _: rows(), b""),
    "small rows": (
        lambda _: (f"{n}\n" for n in range(30_000)),
        b"".join(b"%d\n" % n for n in range(30_000)),
    ),
    "async generator": (lambda _: async_rows("a", NOISE, b"c"), b"a" + NOISE + b"c"),
    "path": (lambda d: d / "noise", NOISE),
    "empty path": (lambda d: d / "empty", b""),
    "file": (lambda d: (d / "noise").open("rb"), NOISE),
    "text file": (lambda d: (d / "text").open(encoding="utf-8"), "Öl\n".encode() * 50_000),
    "pipe": (lambda _: Pipe(NOISE), NOISE),
    "async file": (lambda _: AsyncFile(NOISE), NOISE),
    "writes": (lambda _: iterate_writes(save), b"saved " + NOISE),
    "threadpool": (lambda _: iterate_in_threadpool(rows(b"a", b"b")), b"ab"),
    "source": (lambda _: BytesSource(NOISE), NOISE),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "noise").write_bytes(NOISE)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("Öl\n" * 50_000, encoding="utf-8")
    return tmp_path


def every_kind(directory: Path) -> list[ZipMember]:
    members = [ZipMember("a directory/", None)]
    for name, (make, _) in CONTENTS.items():
        members.append(ZipMember(f"deflated/{name} Öl", make(directory)))
        members.append(ZipMember(f"stored/{name}", make(directory), compress=False))
    return members


EVERY_KIND = {
    name: data
    for kind, (_, data) in CONTENTS.items()
    for name in (f"deflated/{kind} Öl", f"stored/{kind}")
}


async def body_of(response: Any) -> bytes:
    fetched = await fetch(response)
    if fetched.error is not None:
        raise fetched.error
    assert fetched.status == 200
    assert fetched.complete
    return fetched.body


def unzipped(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def untarred(body: bytes) -> dict[str, bytes]:
    """From a stream that can't seek."""
    found = {}
    with tarfile.open(fileobj=Pipe(body), mode="r|") as archive:
        for info in archive:
            file = archive.extractfile(info)
            found[info.name + "/" * info.isdir()] = file.read() if file is not None else b""
    return found


UNPACK = {ZIPStreamingResponse: unzipped, TARStreamingResponse: untarred}


# round trips


@both
async def test_every_kind_of_content_arrives_unchanged(
    response_class: Any, directory: Path, anyio_backend: Any
) -> None:
    body = await body_of(response_class(every_kind(directory)))
    assert UNPACK[response_class](body) == {"a directory/": b"", **EVERY_KIND}


@both
@pytest.mark.parametrize("wrap", [list, tuple, iter, rows, async_rows], ids=lambda w: w.__name__)
async def test_members_come_from_any_iterable(
    response_class: Any, wrap: Any, anyio_backend: Any
) -> None:
    members = [ZipMember("a", b"1"), ZipMember("b/", None), ZipMember("b/c", async_rows("2"))]
    content = wrap(*members) if wrap in (rows, async_rows) else wrap(members)
    body = await body_of(response_class(content))
    assert UNPACK[response_class](body) == {"a": b"1", "b/": b"", "b/c": b"2"}


class OldSequence:
    """Iterable by `__getitem__`'s younger sibling: an iterator that has no `__iter__`."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)

    def __iter__(self) -> Any:
        return Bare(self.items)


class Bare:
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __next__(self) -> Any:
        if not self.items:
            raise StopIteration
        return self.items.pop(0)


async def test_an_iterator_without_iter_is_enough() -> None:
    members = OldSequence(ZipMember("a", OldSequence("b", "c")))
    assert unzipped(await body_of(ZIPStreamingResponse(members))) == {"a": b"bc"}


@both
@pytest.mark.parametrize("wrap", [list, iter, async_rows], ids=lambda w: w.__name__)
async def test_no_members_make_an_empty_archive(
    response_class: Any, wrap: Any, anyio_backend: Any
) -> None:
    content = async_rows() if wrap is async_rows else wrap([])
    assert UNPACK[response_class](await body_of(response_class(content))) == {}


READY: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda body, _: body,
    "path": lambda _, path: path,
    "file": lambda _, path: path.open("rb"),
    "list": lambda body, _: [body[:10], body[10:]],
    "generator": lambda body, _: rows(body[:10], body[10:]),
    "async generator": lambda body, _: async_rows(body[:10], body[10:]),
    "writes": lambda body, _: iterate_writes(lambda file: file.write(body)),
    "threadpool": lambda body, _: iterate_in_threadpool(rows(body)),
}


@both
@pytest.mark.parametrize("kind", READY)
async def test_a_ready_archive_is_sent_as_it_is(
    response_class: Any, kind: str, tmp_path: Path, anyio_backend: Any
) -> None:
    body = b"any bytes, not looked at" * 1000
    path = tmp_path / "ready"
    path.write_bytes(body)
    fetched = await fetch(response_class(READY[kind](body, path)))
    assert fetched.body == body
    assert fetched.headers["content-type"] in ("application/zip", "application/x-tar")


NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\:"), min_size=1)
    .filter(lambda part: part not in (".", ".."))
    .map(lambda part: part[:40]),
    min_size=1,
    max_size=4,
).map("/".join)
CHUNKS = st.lists(st.binary(max_size=200) | st.text(st.characters(exclude_categories=["Cs"])))
MEMBERS = st.lists(
    st.tuples(NAMES, CHUNKS, st.booleans(), st.sampled_from(["sync", "async", "whole", "file"])),
    unique_by=lambda member: member[0],
    max_size=6,
)


def _member(name: str, chunks: list[Any], compress: bool, kind: str) -> tuple[ZipMember, bytes]:
    data = b"".join(c.encode() if isinstance(c, str) else c for c in chunks)
    contents: dict[str, Callable[[], Any]] = {
        "sync": lambda: rows(*chunks),
        "async": lambda: async_rows(*chunks),
        "whole": lambda: data,
        "file": lambda: io.BytesIO(data),
    }
    return ZipMember(name, contents[kind](), compress=compress), data


@both
@given(given_members=MEMBERS)
def test_any_members_cut_anywhere_come_back(response_class: Any, given_members: Any) -> None:
    async def round_trip() -> bytes:
        return await body_of(response_class([member for member, _ in made]))

    made = [_member(*member) for member in given_members]
    expected = {member.name: data for member, data in made}
    assert UNPACK[response_class](anyio.run(round_trip)) == expected


# other people's readers

JAVA = """
import java.util.zip.*;
public class Unzip {
    public static void main(String[] args) throws Exception {
        ZipInputStream zip = new ZipInputStream(System.in);
        byte[] buffer = new byte[1 << 16];
        for (ZipEntry entry; (entry = zip.getNextEntry()) != null; ) {
            CRC32 crc = new CRC32();
            long size = 0;
            for (int n; (n = zip.read(buffer)) > 0; size += n) crc.update(buffer, 0, n);
            System.out.println(entry.getName() + "\\t" + size + "\\t" + crc.getValue());
        }
    }
}
"""


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("java")
    (directory / "Unzip.java").write_text(JAVA)
    subprocess.run([tool("javac"), "Unzip.java"], cwd=directory, check=True)
    return [
        tool("java"),
        "-Dfile.encoding=UTF-8",
        "-Dstdout.encoding=UTF-8",
        "-cp",
        str(directory),
        "Unzip",
    ]


def read_with(command: list[str], body: bytes) -> bytes:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=body, capture_output=True, env=environment, timeout=50)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def by_java(java: list[str], body: bytes) -> dict[str, tuple[int, int]]:
    lines = read_with(java, body).decode().splitlines()
    table = [line.split("\t") for line in lines]
    return {name: (int(size), int(crc)) for name, size, crc in table}


@pytest.fixture(scope="module")
def archive_of_every_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, bytes]:
    directory = tmp_path_factory.mktemp("kinds")
    (directory / "noise").write_bytes(NOISE)
    (directory / "empty").write_bytes(b"")
    (directory / "text").write_text("Öl\n" * 50_000, encoding="utf-8")
    return {
        response_class: anyio.run(body_of, response_class(every_kind(directory)))
        for response_class in (ZIPStreamingResponse, TARStreamingResponse)
    }


def test_java_reads_every_entry_from_a_stream(
    java: list[str], archive_of_every_kind: dict[Any, bytes]
) -> None:
    found = by_java(java, archive_of_every_kind[ZIPStreamingResponse])
    expected = {name: (len(data), zipfile.crc32(data)) for name, data in EVERY_KIND.items()}  # type: ignore[attr-defined]
    assert found == {"a directory/": (0, 0), **expected}


@both
def test_bsdtar_reads_every_entry_from_a_pipe(
    response_class: Any, archive_of_every_kind: dict[Any, bytes], tmp_path: Path
) -> None:
    command = [tool("bsdtar"), "-xf", "-", "-C", str(tmp_path)]
    read_with(command, archive_of_every_kind[response_class])
    for name, data in EVERY_KIND.items():
        assert (tmp_path / name).read_bytes() == data
    assert (tmp_path / "a directory").is_dir()


def test_unzip_finds_no_fault(archive_of_every_kind: dict[Any, bytes], tmp_path: Path) -> None:
    path = tmp_path / "every.zip"
    path.write_bytes(archive_of_every_kind[ZIPStreamingResponse])
    found = read_with([tool("unzip"), "-t", str(path)], b"")
    assert b"No errors detected" in found


def test_tar_finds_no_fault(archive_of_every_kind: dict[Any, bytes], tmp_path: Path) -> None:
    command = [tool("tar"), "-xf", "-", "-C", str(tmp_path)]
    read_with(command, archive_of_every_kind[TARStreamingResponse])
    for name, data in EVERY_KIND.items():
        assert (tmp_path / name).read_bytes() == data


async def test_what_can_be_read_twice_is_stored_and_the_rest_deflated_at_no_level(
    directory: Path,
) -> None:
    body = await body_of(ZIPStreamingResponse(every_kind(directory)))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        stored = {i.filename for i in archive.infolist() if i.compress_type == zipfile.ZIP_STORED}
        sizes = {i.filename: (i.file_size, i.compress_size) for i in archive.infolist()}
    kinds = ("bytes", "no bytes", "bytearray", "memoryview", "str", "path", "file")
    assert stored == {"a directory/", *(f"stored/{kind}" for kind in kinds)}
    size, packed = sizes["stored/generator"]
    assert size < packed < size * 1.001 + 20


# sizes


async def save_body(response: Any, path: Path) -> None:
    """Without a buffer in between, as a server does."""
    scope = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.3"}}

    with path.open("wb") as file:

        async def send(message: Any) -> None:
            file.write(message.get("body", b""))

        await response(scope, anyio.sleep_forever, send)


def test_more_than_65535_members_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    members = (ZipMember(f"{n}", b"", compress=False) for n in range(66_000))
    anyio.run(save_body, ZIPStreamingResponse(members), path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{n}" for n in range(66_000)]
        assert archive.getinfo("65999").header_offset > 65_999 * 30


def zeros(size: int) -> Iterator[bytes]:
    chunk = bytes(1 << 20)
    for _ in range(size >> 20):
        yield chunk


def sparse(path: Path, size: int) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
    return path


@slow
def test_entries_of_3_and_5_gib_are_read_by_all(java: list[str], tmp_path: Path) -> None:
    three, five = sparse(tmp_path / "3", 3 * GIB), sparse(tmp_path / "5", 5 * GIB)
    members = [
        ZipMember("stored", three, compress=False),
        ZipMember("deflated", three),
        ZipMember("large deflated", five),
        ZipMember("large of unknown size", zeros(5 * GIB)),
        ZipMember("large stored", five, compress=False),
        ZipMember("last", b"last"),
    ]
    path = tmp_path / "large.zip"
    anyio.run(save_body, ZIPStreamingResponse(members, compress_level=1), path)
    sizes = [3 * GIB, 3 * GIB, 5 * GIB, 5 * GIB, 5 * GIB, 4]
    with zipfile.ZipFile(path) as archive:
        assert [info.file_size for info in archive.infolist()] == sizes
    with open(path, "rb") as file:
        done = subprocess.run(java, stdin=file, capture_output=True, text=True, check=True)
    assert [int(line.split("\t")[1]) for line in done.stdout.splitlines()] == sizes
    with open(path, "rb") as file:
        command = [tool("bsdtar"), "-tvf", "-"]
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == len(sizes)
    subprocess.run([tool("unzip"), "-tq", str(path)], check=True)


@slow
def test_a_tar_member_of_9_gib_has_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.tar"
    members = [ZipMember("large", sparse(tmp_path / "9", 9 * GIB)), ZipMember("last", b"last")]
    anyio.run(save_body, TARStreamingResponse(members), path)
    with tarfile.open(path) as archive:
        assert [(info.name, info.size) for info in archive] == [("large", 9 * GIB), ("last", 4)]


async def test_descriptors_below_4_gib_take_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await body_of(ZIPStreamingResponse([ZipMember("a", rows("b"))]))
    start = whole.index(b"PK\7\x08")
    assert whole.index(b"PK\1\2") - start == 16
    # as if 2 bytes were 4 GiB: the descriptor's width is told by the size that was counted
    monkeypatch.setattr("streamkit.archives.writers.MAX_32", 2)
    whole = await body_of(ZIPStreamingResponse([ZipMember("a", rows("bcd"))]))
    start = whole.index(b"PK\7\x08")
    assert whole.index(b"PK\1\2") - start == 24
    assert b"\1\0\x10\0" not in whole[:start]
    # known before, the header tells it too
    whole = await body_of(ZIPStreamingResponse([ZipMember("a", b"bcd")]))
    assert b"\1\0\x10\0" in whole[: whole.index(b"PK\7\x08")]


MEMORY = """
import anyio, resource, sys
from pathlib import Path
from streamkit.archives import TARStreamingResponse, ZIPStreamingResponse, ZipMember

NOISE = Path(sys.argv[1])

def sync(n):
    for _ in range(n):
        yield bytes(1 << 16)

async def asynchronous(n):
    for _ in range(n):
        yield bytes(1 << 16)

async def run(n):
    async def send(message):
        pass
    scope = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.3"}}
    for response_class in (ZIPStreamingResponse, TARStreamingResponse):
        members = [
            ZipMember("path", NOISE if n > 1 else Path(__file__), compress=False),
            ZipMember("sync", sync(n), compress=False),
            ZipMember("async", asynchronous(n), compress=False),
            ZipMember("deflated", sync(n)),
        ]
        await response_class(members)(scope, anyio.sleep_forever, send)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

anyio.run(run, 1)
before = peak()
anyio.run(run, 1024)
print(peak() - before)
"""


def test_members_of_64_mib_take_no_more_than_16_mib_of_memory(tmp_path: Path) -> None:
    script = tmp_path / "memory.py"
    script.write_text(MEMORY)
    noise = sparse(tmp_path / "noise", 64 << 20)
    command = [sys.executable, str(script), str(noise)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 16 * 1024


# names, times and permissions


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("C:/x", "is absolute"),
        ("c:x", "is absolute"),
        ("../x", "has the part '..'"),
        ("a/../../x", "has the part '..'"),
        ("a/..", "has the part '..'"),
        ("./a", "has the part '.'"),
        ("a//b", "has the part ''"),
        ("a//", "has the part ''"),
        ("/", "is absolute"),
        ("a\\b", "has a backslash"),
        ("a\0b", r"has the control character '\x00'"),
        ("a\nb", r"has the control character '\n'"),
        ("a\x85b", r"has the control character '\x85'"),
        ("a\udc80", "has a lone surrogate"),
        ("ä" * 40_000, "takes 80000 bytes"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_name_that_could_be_unpacked_elsewhere_is_refused(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"such as 'docs/a\.txt'") as caught:
        ZipMember(name, b"")
    assert says in str(caught.value)


def test_arguments_of_other_kinds_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"path.as_posix\(\)"):
        ZipMember(tmp_path, b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'a' content must be .* got int"):
        ZipMember("a", 1)
    with pytest.raises(TypeError, match=r"'a' content must be .* got NoneType"):
        ZipMember("a", None)
    with pytest.raises(ValueError, match="a directory's content is None, got bytes"):
        ZipMember("a/", b"")
    with pytest.raises(TypeError, match="fromtimestamp"):
        ZipMember("a", b"", modified=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="can't tell"):
        ZipMember("a", b"", modified=datetime.min)
    with pytest.raises(ValueError, match="compress_level must be 1"):
        ZIPStreamingResponse([], compress_level=0)
    with pytest.raises(TypeError, match="put a single one into a list"):
        ZIPStreamingResponse(ZipMember("a", b""))
    with pytest.raises(TypeError, match="got dict"):
        ZIPStreamingResponse({"a": b""})
    with pytest.raises(TypeError, match="got int"):
        ZIPStreamingResponse(1)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'level'"):
        ZIPStreamingResponse([], level=1)  # type: ignore[call-arg]


def test_a_member_shows_its_name_and_not_its_content() -> None:
    assert repr(ZipMember("a", b"secret")) == "ZipMember(name='a', modified=None, compress=True)"


async def test_times_and_permissions_are_told(directory: Path) -> None:
    moment = datetime(2020, 2, 29, 12, 30, 45, tzinfo=UTC)
    os.utime(directory / "noise", (0, 0))
    members = [
        ZipMember("aware", b"", modified=moment),
        ZipMember("naive", b"", modified=datetime(2020, 2, 29, 12, 30, 44)),
        ZipMember("now", b""),
        ZipMember("path", directory / "noise"),
        ZipMember("future", b"", modified=datetime(2200, 1, 1)),
        ZipMember("directory/", None),
    ]
    body = await body_of(ZIPStreamingResponse(members))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        infos = {info.filename: info for info in archive.infolist()}
    assert infos["naive"].date_time == (2020, 2, 29, 12, 30, 44)
    assert infos["path"].date_time == (1980, 1, 1, 0, 0, 0)
    assert infos["future"].date_time == (2107, 12, 31, 23, 59, 58)
    assert infos["aware"].extra[-4:] == int(moment.timestamp()).to_bytes(4, "little")
    now = datetime(*infos["now"].date_time)
    assert abs(datetime.now() - now) < timedelta(seconds=30)
    assert infos["now"].external_attr >> 16 == stat.S_IFREG | 0o644
    assert infos["directory/"].external_attr >> 16 == stat.S_IFDIR | 0o755
    assert infos["directory/"].is_dir()

    body = await body_of(TARStreamingResponse(members[:4]))
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        times = {info.name: info.mtime for info in tar}
        assert {info.mode for info in tar} == {0o644}
    assert times["aware"] == moment.timestamp()
    assert times["path"] == 0


async def test_long_names_of_any_script_come_back() -> None:
    name = "/".join(["ключ 鍵 " * 20] * 5)
    for response_class, unpack in UNPACK.items():
        assert list(unpack(await body_of(response_class([ZipMember(name, b"")])))) == [name]


# faults


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
    counted = Counted()
    items = MIXES[mix](ZipMember("a", counted))
    with pytest.raises(TypeError, match=r"not (chunks among members|members among chunks)"):
        ZIPStreamingResponse(items)
    fetched = await fetch(ZIPStreamingResponse(wrap(items) if wrap is iter else wrap(*items)))
    assert not fetched.complete
    assert isinstance(fetched.error, TypeError)
    assert counted.closed == 1


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


async def test_a_tar_member_that_shrinks_is_an_error() -> None:
    fetched = await fetch(TARStreamingResponse([ZipMember("a", Shrinking(b"123456"))]))
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
    members = [ZipMember("status", Path("/proc/self/status"), compress=False)]
    assert b"Pid:" in UNPACK[response_class](await body_of(response_class(members)))["status"]


# closing


class Counted:
    """Rows that count how often, and by whom, they are closed."""

    def __init__(self, items: Iterable[Any] = (b"x",)) -> None:
        self.items = iter(items)
        self.closed = 0
        self.sides: set[int] = set()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.items)

    def close(self) -> None:
        self.closed += 1
        self.sides.add(threading.get_ident())


class CountedFile(io.BytesIO):
    closings = 0

    def close(self) -> None:
        self.closings += 1
        super().close()


class AsyncCounted:
    def __init__(self, items: Iterable[Any] = (b"x",)) -> None:
        self.items = iter(items)
        self.closed = 0
        self.tasks: set[int] = set()

    def __aiter__(self) -> AsyncCounted:
        return self

    async def __anext__(self) -> Any:
        self.tasks.add(anyio.get_current_task().id)
        await anyio.lowlevel.checkpoint()
        for item in self.items:
            return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.tasks.add(anyio.get_current_task().id)
        # what real cleanups do, also in a task that was cancelled
        await anyio.sleep(0.01)
        self.closed += 1


def endless() -> Iterator[bytes]:
    while True:
        yield NOISE


async def async_endless() -> AsyncIterator[bytes]:
    while True:
        yield NOISE


def spoiled(error: str) -> Iterator[bytes]:
    yield NOISE
    raise RuntimeError(error)


async def complete(response: Any) -> None:
    assert (await fetch(response)).complete


async def head(response: Any) -> None:
    assert (await fetch(response, method="HEAD")).body == b""


async def start_fails(response: Any) -> None:
    async def send(message: Any) -> None:
        raise OSError("gone")

    scope = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.3"}}
    await response(scope, anyio.sleep_forever, send)


async def leave(response: Any) -> None:
    async with stream(response) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()


async def fail(response: Any) -> None:
    # before the first byte, as a tar member of unknown size fails, or after it
    with pytest.raises(RuntimeError, match="spoiled"):
        await body_of(response)


WAYS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], str]] = {
    # first member's content, what happens, and the reason on_close is told
    "complete": (lambda: b"first", complete, "complete"),
    "HEAD": (lambda: b"first", head, "complete"),
    "sending the start fails": (lambda: b"first", start_fails, "disconnect"),
    "disconnect at the first": (endless, leave, "disconnect"),
    "disconnect at the first, async": (async_endless, leave, "disconnect"),
    "error in the first": (lambda: spoiled("spoiled"), fail, "error"),
}


@pytest.mark.parametrize("way", WAYS)
@both
async def test_each_content_of_a_list_is_closed_once_on_its_side(
    way: str, response_class: Any, anyio_backend: Any
) -> None:
    first, act, reason = WAYS[way]
    if response_class is TARStreamingResponse and reason == "disconnect":
        # a tar member of unknown size is sent when it is at its end
        first = {endless: lambda: [NOISE] * 100, async_endless: lambda: AsyncFile(NOISE * 50)}.get(
            first, first
        )
    outcomes: list[StreamOutcome] = []
    before, after = Counted(), Counted()
    counted, file = AsyncCounted(), CountedFile(b"1")
    async_file = AsyncFile(b"2")
    members = [
        ZipMember("first", first()),
        ZipMember("b", before),
        ZipMember("directory/", None),
        ZipMember("c", counted),
        ZipMember("d", file),
        ZipMember("e", async_file),
        ZipMember("f", after, compress=False),
    ]
    with anyio.fail_after(10):
        await act(response_class(members, on_close=outcomes.append))
    assert [outcome.reason for outcome in outcomes] == [reason]
    closings = [before.closed, after.closed, counted.closed, file.closings, async_file.closed]
    assert closings == [1] * 5
    assert threading.get_ident() not in before.sides | after.sides
    assert len(counted.tasks) == 1


async def test_contents_are_closed_when_the_response_cannot_be_made(anyio_backend: Any) -> None:
    sync_content, async_content = Counted(), AsyncCounted()
    with pytest.raises(ValueError, match="max_buffer"):
        ZIPStreamingResponse(
            [ZipMember("a", sync_content), ZipMember("b", async_content)], max_buffer=0
        )
    with anyio.fail_after(5):
        while not (sync_content.closed and async_content.closed):  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert (sync_content.closed, async_content.closed) == (1, 1)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_of_a_generator_only_what_it_gave_is_closed_and_itself(
    kind: str, anyio_backend: Any
) -> None:
    seen: list[str] = []
    given = Counted(endless())

    def generate() -> Iterator[ZipMember]:
        try:
            yield ZipMember("a", given)
            seen.append("second")
        finally:
            seen.append("closed")

    async def async_generate() -> AsyncIterator[ZipMember]:
        try:
            yield ZipMember("a", given)
            seen.append("second")
        finally:
            await anyio.sleep(0.01)
            seen.append("closed")

    with anyio.fail_after(10):
        await leave(ZIPStreamingResponse(generate() if kind == "sync" else async_generate()))
    assert seen == ["closed"]
    assert given.closed == 1


@pytest.mark.parametrize("way", ["HEAD", "sending the start fails"])
@pytest.mark.parametrize("kind", [Counted, AsyncCounted])
async def test_members_that_were_never_asked_for_are_closed(
    way: str, kind: Any, anyio_backend: Any
) -> None:
    members = kind([])
    with anyio.fail_after(10):
        await WAYS[way][1](ZIPStreamingResponse(members))
    assert members.closed == 1


async def test_what_a_generator_holds_open_around_its_yield_stays_open(anyio_backend: Any) -> None:
    is_open = False

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        nonlocal is_open
        is_open = True
        yield
        is_open = False

    async def reading() -> AsyncIterator[bytes]:
        for _ in range(5):
            await anyio.sleep(0.001)
            assert is_open
            yield NOISE

    async def members() -> AsyncIterator[ZipMember]:
        for name in "ab":
            async with opened():
                yield ZipMember(name, reading())

    assert list(unzipped(await body_of(ZIPStreamingResponse(members())))) == ["a", "b"]


@both
@pytest.mark.parametrize("nested", [False, True], ids=["list", "async members"])
async def test_an_async_content_that_waits_is_stopped_at_once(
    response_class: Any, nested: bool, anyio_backend: Any
) -> None:
    closed = 0

    async def waits() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield NOISE
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.01)
            closed += 1

    never = AsyncCounted()
    members = [ZipMember("a", NOISE * 2), ZipMember("b", waits()), ZipMember("c", never)]
    content = async_rows(*members) if nested else members
    async with stream(response_class(content)) as client:
        received = 0
        while received < len(NOISE) // 100:
            received += len(await anext(client))
        await anyio.sleep(0.05)
        began = time.monotonic()
        await client.disconnect()
        await client.wait_closed()
    assert time.monotonic() - began < 1
    assert closed == 1
    assert never.closed == (0 if nested else 1)


async def test_a_cleanup_that_never_ends_is_given_up_on() -> None:
    async def stubborn() -> AsyncIterator[bytes]:
        try:
            yield NOISE
            await anyio.sleep_forever()
        finally:
            await anyio.sleep_forever()

    response = ZIPStreamingResponse([ZipMember("a", stubborn())], cleanup_timeout=0.1)
    with anyio.fail_after(5):
        async with stream(response, wait_for_start=False) as client:
            await anyio.sleep(0.1)
            await client.disconnect()
            await client.wait_closed()


async def test_one_thread_reads_all_sync_contents_where_affinity_is_wanted() -> None:
    threads: set[int] = set()

    def notes() -> Iterator[bytes]:
        for _ in range(20):
            threads.add(threading.get_ident())
            yield os.urandom(100_000)

    members = [ZipMember(name, notes()) for name in "abc"]
    async with stream(ZIPStreamingResponse(members, thread_affine=True)) as client:
        async for _ in client:
            await anyio.to_thread.run_sync(time.sleep, 0.001)
    assert len(threads) == 1


async def test_a_stalled_client_stops_the_archive_and_holds_no_thread() -> None:
    made = 0

    def noise() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield os.urandom(1 << 16)

    async with stream(ZIPStreamingResponse([ZipMember("a", noise())])) as client:
        await anext(client)
        client.stall()
        await anyio.sleep(0.2)
        ahead = made
        await anyio.sleep(0.1)
        assert made == ahead < 20
        assert stream_limiter().borrowed_tokens == 0


async def test_the_core_answers_ranges_of_a_ready_archive(tmp_path: Path) -> None:
    path = tmp_path / "ready.zip"
    path.write_bytes(b"0123456789")
    fetched = await fetch(ZIPStreamingResponse(path), headers={"range": "bytes=2-4"})
    assert (fetched.status, fetched.body) == (206, b"234")


async def test_a_file_name_is_sent() -> None:
    fetched = await fetch(ZIPStreamingResponse([], filename="export.zip"))
    assert fetched.headers["content-disposition"].startswith("attachment")
    assert "export.zip" in fetched.headers["content-disposition"]


def test_the_temporary_file_of_a_tar_member_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    spools: list[Any] = []

    class Spool(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            spools.append(self)

    monkeypatch.setattr("streamkit.archives.writers.SpooledTemporaryFile", Spool)
    large = rows(*[NOISE] * 20)
    body = anyio.run(body_of, TARStreamingResponse([ZipMember("a", large)]))
    assert untarred(body) == {"a": NOISE * 20}
    assert [spool.closed for spool in spools] == [True]
