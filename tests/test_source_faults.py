"""What goes wrong while a source is sent: to the file, in the source, with the client."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamkit import (
    ByteSource,
    SourceError,
    SourceInfo,
    StreamingResponse,
)
from streamkit.testing import fetch
from tests.descriptors import count_descriptors, many_descriptors, opened_by
from tests.http.test_byteranges import parse_multipart
from tests.server import PATIENCE, Reply, Server, parse, serving, wait_for

MEGABYTE = 1 << 20
# More than the sockets of both sides take.
LARGE = 64 * MEGABYTE
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")


class Source(ByteSource):
    """Ten bytes in chunks of two, and a diary of what happens to it."""

    size = 10

    def __init__(self, entries: list[str]) -> None:
        self.entries = entries

    async def info(self) -> SourceInfo:
        self.entries.append("info")
        return SourceInfo(self.size, '"v7"')

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.entries.append(f"read {start} {end}")
        try:
            for at in range(start, end or 0, 2):
                yield b"0123456789"[at : min(at + 2, end or 0)]
        finally:
            self.entries.append("left")

    async def aclose(self) -> None:
        self.entries.append("closed")


class Fewer(Source):
    size = 11


class More(Source):
    size = 9

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        return super().read(start, (end or 0) + 1)


class MoreAfterTheEnd(Source):
    size = 8

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        return super().read(start, (end or 0) + 2)


class Failing(Source):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        async for chunk in super().read(start, 4):
            yield chunk
        raise ValueError("the store is gone")


class Missing(Source):
    async def info(self) -> SourceInfo:
        raise HTTPException(404, "no such object")


class HangsInInfo(Source):
    async def info(self) -> SourceInfo:
        self.entries.append("info")
        await anyio.sleep_forever()
        raise AssertionError


class HangsInRead(Source):
    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.entries.append("read")
        try:
            yield b"01"
            await anyio.sleep_forever()
        finally:
            self.entries.append("left")


class HangsInClose(Source):
    async def aclose(self) -> None:
        self.entries.append("closing")
        try:
            await anyio.sleep_forever()
        finally:
            self.entries.append("given up")


class Endless(Source):
    """As much as anyone could want, without a file behind it."""

    size = 1 << 40

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        self.entries.append("read")
        try:
            while True:
                yield b"x" * 65536
                await anyio.lowlevel.checkpoint()
        finally:
            self.entries.append("left")


SOURCES = {
    each.__name__: each
    for each in (
        Source, Fewer, More, MoreAfterTheEnd, Failing, Missing,
        HangsInInfo, HangsInRead, HangsInClose, Endless,
    )
}  # fmt: skip

diary: defaultdict[str, list[str]] = defaultdict(list)


async def send_file(request: Request) -> Response:
    entries = diary[request.query_params["key"]]
    content: Any = Path(request.query_params["path"])
    if "open" in request.query_params:
        content = content.open("rb")  # noqa: ASYNC230 (the response owns it)
    return StreamingResponse(content, on_close=lambda outcome: entries.append(outcome.reason))


async def send_source(request: Request) -> Response:
    entries = diary[request.query_params["key"]]
    return StreamingResponse(
        SOURCES[request.path_params["name"]](entries),
        on_close=lambda outcome: entries.append(outcome.reason),
        cleanup_timeout=0.1,
        send_timeout=0.3,
    )


async def read_diary(request: Request) -> JSONResponse:
    return JSONResponse(diary[request.query_params["key"]])


app = Starlette(
    routes=[
        Route("/file", send_file),
        Route("/diary", read_diary),
        Route("/{name}", send_source),
    ]
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    command = ["uvicorn", "--port={port}", "--log-level=warning", "--backlog=600"]
    with many_descriptors(), serving([*command, "tests.test_source_faults:app"]) as server:
        yield server


class Client:
    """One request over a raw socket that takes little before it is read."""

    def __init__(self, server: Server, path: str, *headers: str) -> None:
        self.raw = b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def receive(self) -> bytes:
        try:
            return self.socket.recv(MEGABYTE)
        except ConnectionResetError:
            return b""

    def receive_until(self, expected: bytes) -> None:
        while expected not in self.raw:
            data = self.receive()
            assert data, f"the connection ended without {expected!r}"
            self.raw += data

    def read(self) -> Reply:
        """Receive to the end of the connection."""
        return parse(b"".join([self.raw, *iter(self.receive, b"")]))

    def abort(self) -> None:
        """Leave with a reset, as a process does that is killed while data arrives."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.fixture
def key() -> str:
    return uuid4().hex


def entries_of(server: Server, key: str) -> list[str]:
    """What happened to a content, once its response has ended."""
    ends = {"complete", "disconnect", "error", "timeout", "cancelled"}

    def look() -> list[str]:
        body = server.fetch(f"/diary?key={key}").body.decode()
        entries = [entry.strip('" ') for entry in body.strip("[]").split(",")]
        return entries if entries[-1] in ends else []

    return wait_for(look, "the end of the response")


# The file changes.

Change = Callable[[Path], object]


def replace_with_another(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(b"new!" * (LARGE // 4))
    other.replace(path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"new!" * 1000)


@pytest.mark.parametrize("how", ["", "&open"], ids=["path", "open file"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(Path.unlink, id="deleted"),
        pytest.param(replace_with_another, id="replaced"),
        pytest.param(append, id="grown"),
        pytest.param(lambda path: path.rename(path.with_suffix(".old")), id="renamed"),
        pytest.param(lambda path: path.chmod(0), id="forbidden"),
    ],
)
def test_a_file_that_was_opened_is_sent_as_it_was_then(
    change: Change, how: str, server: Server, key: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old!" * (LARGE // 4))
    with Client(server, f"/file?key={key}&path={path}{how}") as client:
        client.receive_until(b"old!")
        change(path)
        reply = client.read()
    assert (reply.status, reply.complete) == (200, True)
    assert reply.body.count(b"old!") == LARGE // 4
    assert entries_of(server, key) == ["complete"]


@pytest.mark.parametrize("how", ["", "&open"], ids=["path", "open file"])
@pytest.mark.parametrize("header", ["X: y", f"Range: bytes=0-9,20-{LARGE}"], ids=["200", "206"])
def test_a_file_that_shrinks_cuts_the_connection(
    header: str, how: str, server: Server, key: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(LARGE)
    log = server.log_size()
    with Client(server, f"/file?key={key}&path={path}{how}", header) as client:
        client.receive_until(b"\r\n\r\n")
        os.truncate(path, 1000)
        reply = client.read()
    assert not reply.complete
    assert entries_of(server, key) == ["error"]
    wait_for(lambda: "it shrank" in server.log(log), "the reason in the log")
    assert server.log(log).count("Traceback (most recent call last)") == 1


# The source lies, fails or hangs.


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        pytest.param("Fewer", b"0123456789", "ended at byte 10 when asked for 0 to 11", id="fewer"),
        pytest.param("More", b"01234567", "gave more bytes than 0 to 9", id="more"),
        pytest.param("Failing", b"0123", "the store is gone", id="an exception"),
    ],
)
def test_a_source_that_lies_or_fails_cuts_the_connection(
    name: str, body: bytes, says: str, server: Server, key: str
) -> None:
    log = server.log_size()
    with Client(server, f"/{name}?key={key}") as client:
        reply = client.read()
    assert (reply.status, reply.complete) == (200, False)
    assert body.startswith(reply.body)
    assert entries_of(server, key)[-3:] == ["left", "closed", "error"]
    wait_for(lambda: says in server.log(log), "the reason in the log")


def test_an_object_that_is_missing_has_its_status(server: Server, key: str) -> None:
    with Client(server, f"/Missing?key={key}") as client:
        reply = client.read()
    assert (reply.status, reply.body, reply.complete) == (404, b"no such object", True)
    assert entries_of(server, key) == ["closed", "error"]


def has_noted(server: Server, key: str, entry: str) -> bool:
    return f'"{entry}"' in server.fetch(f"/diary?key={key}").body.decode()


@pytest.mark.parametrize(
    ("name", "reached", "entries"),
    [
        pytest.param("HangsInInfo", "info", ["info", "closed"], id="in info()"),
        pytest.param("HangsInRead", "read", ["info", "read", "left", "closed"], id="in read()"),
    ],
)
def test_a_source_that_hangs_is_freed_when_the_client_leaves(
    name: str, reached: str, entries: list[str], server: Server, key: str
) -> None:
    with Client(server, f"/{name}?key={key}"):
        wait_for(lambda: has_noted(server, key, reached), reached)
    assert entries_of(server, key) == [*entries, "disconnect"]


def test_a_source_that_hangs_in_aclose_is_given_up(server: Server, key: str) -> None:
    log = server.log_size()
    with Client(server, f"/HangsInClose?key={key}") as client:
        client.receive_until(b"0123456789")
    wait_for(lambda: has_noted(server, key, "given up"), "the end of aclose()")
    assert has_noted(server, key, "complete")
    assert "the content's cleanup took more than 0.1 seconds" in server.log(log)


def test_a_client_that_takes_nothing_is_dropped(server: Server, key: str) -> None:
    with Client(server, f"/Endless?key={key}") as client:
        client.receive_until(b"xx")
        assert entries_of(server, key) == ["info", "read", "left", "closed", "timeout"]


@pytest.mark.anyio
@pytest.mark.parametrize("fields", [{}, {"range": "bytes=0-1,4-"}], ids=["200", "206"])
@pytest.mark.parametrize("make", [Fewer, More, MoreAfterTheEnd])
async def test_a_source_that_lies_is_an_error_of_its_own(
    make: type[Source], fields: dict[str, str]
) -> None:
    entries: list[str] = []
    response = await fetch(StreamingResponse(make(entries)), headers=fields)
    assert not response.complete
    assert isinstance(response.error, SourceError)
    assert entries[-2:] == ["left", "closed"]
    assert len(response.body) <= int(response.headers["content-length"])


@pytest.mark.anyio
async def test_the_parts_before_a_source_ended_early_are_right() -> None:
    entries: list[str] = []
    headers = {"range": "bytes=0-3,6-"}
    response = await fetch(StreamingResponse(Fewer(entries)), headers=headers)
    assert not response.complete
    assert b"bytes 0-3/11\r\n\r\n0123\r\n--" in response.body
    assert response.body.endswith(b"bytes 6-10/11\r\n\r\n6789")
    assert entries == ["info", "read 0 4", "left", "read 6 11", "left", "closed"]


class NoGenerator(Source):
    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        return Once(b"0123456789"[start:end])


class Once(AsyncIterator[bytes]):
    """An iterator with nothing to close."""

    def __init__(self, chunk: bytes) -> None:
        self.chunk: bytes | None = chunk

    async def __anext__(self) -> bytes:
        if self.chunk is None:
            raise StopAsyncIteration
        chunk, self.chunk = self.chunk, None
        return chunk


@pytest.mark.anyio
async def test_what_a_source_gives_need_not_be_a_generator() -> None:
    response = await fetch(StreamingResponse(NoGenerator([])), headers={"range": "bytes=2-3"})
    assert (response.status, response.body, response.complete) == (206, b"23", True)


# The client leaves, or many come.


@pytest.mark.parametrize("leave", [Client.abort, Client.__exit__], ids=["reset", "closed"])
def test_a_client_that_leaves_in_the_middle_of_a_multipart_ends_it(
    leave: Callable[[Client], None], server: Server, key: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(LARGE)
    log = server.log_size()
    header = f"Range: bytes=5-9,20-{LARGE - 100},{LARGE - 10}-"
    client = Client(server, f"/file?key={key}&path={path}", header)
    client.receive_until(f"bytes 20-{LARGE - 100}/".encode())
    leave(client)
    assert entries_of(server, key) == ["disconnect"]
    assert server.log(log) == ""
    if sys.platform == "linux":
        assert opened_by(server.process.pid, tmp_path) == []


@on_linux
def test_five_hundred_ranges_at_once_are_right_and_leave_nothing_open(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    data = bytes(i % 251 for i in range(MEGABYTE))
    path.write_bytes(data)
    server.fetch("/diary?key=none")
    before = count_descriptors(server.process.pid)
    with many_descriptors():
        replies = asyncio.run(fetch_ranges(server.port, path))
    for number, raw in enumerate(replies):
        reply = parse(raw)
        start, first = number * 1000, (number * 37) % 900
        assert reply.status == 206
        assert reply.complete
        if number % 5:
            assert reply.body == data[start : start + 5000]
        else:
            one, two = parse_multipart(reply.headers["content-type"].encode(), reply.body)
            assert one.get_payload(decode=True) == data[first : first + 10]
            assert two.get_payload(decode=True) == data[start + 1000 : start + 2000]
    wait_for(lambda: count_descriptors(server.process.pid) <= before, "all descriptors closed")


async def fetch_ranges(port: int, path: Path) -> list[bytes]:
    arrived = 0
    all_there = asyncio.Event()

    async def fetch_range(number: int) -> bytes:
        nonlocal arrived
        start, first = number * 1000, (number * 37) % 900
        ranges = f"{start}-{start + 4999}"
        if number % 5 == 0:
            ranges = f"{first}-{first + 9},{start + 1000}-{start + 1999}"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        arrived += 1
        if arrived == 500:
            all_there.set()
        await all_there.wait()
        how = "&open" if number % 2 else ""
        writer.write(
            f"GET /file?key=many&path={path}{how} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Range: bytes={ranges}\r\n\r\n".encode()
        )
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()
        return raw

    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*(fetch_range(number) for number in range(500)))
