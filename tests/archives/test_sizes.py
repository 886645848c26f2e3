"""Archives of many members, large members, and little memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamkit.archives import TARStreamingResponse, ZipMember, ZIPStreamingResponse
from tests.archives.members import (
    NOISE,
    body_of,
    rows,
    tool,
    untarred,
)

pytestmark = pytest.mark.anyio

GIB = 1 << 30
slow = pytest.mark.skipif(
    not os.environ.get("STREAMKIT_SLOW"), reason="writes 35 GiB; set STREAMKIT_SLOW=1 to run it"
)


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
