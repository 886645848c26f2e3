"""Members of every kind, and the readers that unpack what is made of them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamkit import (
    BytesSource,
    iterate_in_threadpool,
    iterate_writes,
)
from streamkit.archives import TARStreamingResponse, ZipMember, ZIPStreamingResponse
from streamkit.testing import fetch

NOISE = bytes(range(256)) * 400  # 100 kB that deflate can do little with
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


def fill(directory: Path) -> Path:
    (directory / "noise").write_bytes(NOISE)
    (directory / "empty").write_bytes(b"")
    (directory / "text").write_text("Öl\n" * 50_000, encoding="utf-8")
    return directory


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
            file = archive.extractfile(info) if info.isreg() else None
            found[info.name + "/" * info.isdir()] = file.read() if file is not None else b""
    return found


UNPACK = {ZIPStreamingResponse: unzipped, TARStreamingResponse: untarred}


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


def read_with(command: list[str], body: bytes) -> bytes:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=body, capture_output=True, env=environment, timeout=50)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def by_java(java: list[str], body: bytes) -> dict[str, tuple[int, int]]:
    lines = read_with(java, body).decode().splitlines()
    table = [line.split("\t") for line in lines]
    return {name: (int(size), int(crc)) for name, size, crc in table}
