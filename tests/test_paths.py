"""Paths are opened in one way, on threads that are the streams' own."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from streamkit import (
    FileStreamingResponse,
    PathSource,
    StreamingResponse,
    TARStreamingResponse,
    ZipMember,
    ZIPStreamingResponse,
    async_file_chunks,
)
from streamkit.testing import fetch, stream
from tests.descriptors import opened_by

pytestmark = pytest.mark.anyio

# All that opens a path, as the response that is sent.
WAYS: dict[str, Callable[[Path], Any]] = {
    "a path as content": StreamingResponse,
    "FileStreamingResponse": FileStreamingResponse,
    "PathSource": lambda path: StreamingResponse(PathSource(path)),
    "async_file_chunks": lambda path: StreamingResponse(async_file_chunks(path)),
    "a zip": lambda path: ZIPStreamingResponse([ZipMember("a", path)]),
    "a zip of a generator": lambda path: ZIPStreamingResponse(iter([ZipMember("a", path)])),
    "a stored zip": lambda path: ZIPStreamingResponse([ZipMember("a", path, compress=False)]),
    "a tar": lambda path: TARStreamingResponse([ZipMember("a", path)]),
    "a tar of a generator": lambda path: TARStreamingResponse(iter([ZipMember("a", path)])),
}


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: dict[str, Any] = {
    "FIFO": (make_fifo, "Not a regular file"),
    "socket": (make_socket, "Not a regular file|No such device"),
    "device": (make_device, "Not a regular file"),
    "directory": (Path.mkdir, "Only regular files are served"),
    "missing": (lambda path: None, "No such file"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
async def test_what_is_no_regular_file_is_refused_at_once_and_holds_no_thread(
    way: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    make, message = KINDS[kind]
    make(Path("it"))
    with anyio.fail_after(10), pytest.raises(OSError, match=message):
        await fetch(WAYS[way](Path("it")))
    assert opened_by("self", tmp_path) == []


class Slow(io.RawIOBase):
    """A file whose reads block until all of them are to end."""

    release = threading.Event()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.release.wait(30)
        return 0


def file_in_async(file: Any) -> Any:
    return async_file_chunks(file)


def file_as_it_is(file: Any) -> Any:
    return file


def sync_generator(file: Any) -> Iterator[bytes]:
    yield file.read(10)


@pytest.mark.parametrize("content", [file_in_async, file_as_it_is, sync_generator])
async def test_forty_five_slow_readers_leave_the_threads_of_endpoints_alone(content: Any) -> None:
    Slow.release = threading.Event()
    async with AsyncExitStack() as stack:
        stack.callback(Slow.release.set)
        for _ in range(45):
            response = StreamingResponse(content(Slow()), first_chunk_timeout=0)
            await stack.enter_async_context(stream(response))
        with anyio.fail_after(10):
            assert await anyio.to_thread.run_sync(int) == 0
        Slow.release.set()
