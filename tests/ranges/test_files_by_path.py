"""Servers that send whole files by their paths: only where the file is the answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.ranges.answers import ask
from tests.ranges.app import DATA, LARGE
from tests.server import Server, serving

GRANIAN = ["granian", "--interface=asgi", "--port={port}", "--no-ws", "--log-level=warning"]
ANYCORN = ["anycorn", "--bind=127.0.0.1:{port}", "--log-level=warning"]
SENDING = {
    "granian": GRANIAN,
    "anycorn-asyncio": [*ANYCORN, "--worker-class=asyncio"],
    "anycorn-trio": [*ANYCORN, "--worker-class=trio"],
}
# What a server does wrong: files are then read, and it is not asked to send them.
WRONG = {
    "anycorn-asyncio": "anycorn 0.20 on asyncio can't wait for a client while it sends a file: "
    "pathsend and zerocopysend fail once the socket's buffers are full",
}


@pytest.fixture(scope="module", params=SENDING)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a server that offers to send files by their paths."""
    program = SENDING[request.param][0]
    pytest.importorskip(program, reason=f"{program} is not installed")
    return str(request.param)


@pytest.fixture(scope="module")
def sending_server(name: str) -> Iterator[Server]:
    with serving([*SENDING[name], "tests.ranges.app:app"]) as server:
        yield server


@pytest.fixture
def slow(sending_server: Server) -> Iterator[HTTPConnection]:
    """A client that is slower than a file."""
    connection = HTTPConnection("127.0.0.1", sending_server.port, timeout=20)
    connection.connect()
    assert connection.sock is not None
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("method", "fields", "kind", "status", "by_path"),
    [
        pytest.param("GET", {}, "path", 200, True, id="the whole"),
        pytest.param("GET", {"Range": "bytes=0-"}, "path", 206, True, id="a range of the whole"),
        pytest.param("GET", {"Range": "bytes=1-9"}, "path", 206, False, id="a range"),
        pytest.param("GET", {"Range": "bytes=1-2,5-6"}, "path", 206, False, id="ranges"),
        pytest.param("GET", {"If-None-Match": "*"}, "path", 304, False, id="a 304"),
        pytest.param("HEAD", {}, "path", 200, False, id="HEAD"),
        pytest.param("GET", {}, "open-file", 200, False, id="an open file"),
        pytest.param("GET", {}, "bytes", 200, False, id="bytes"),
    ],
)
def test_a_server_that_offers_it_sends_whole_files_by_their_paths(
    method: str,
    fields: dict[str, str],
    kind: str,
    status: int,
    by_path: bool,
    name: str,
    sending_server: Server,
) -> None:
    connection = HTTPConnection("127.0.0.1", sending_server.port, timeout=20)
    answer = ask(connection, f"{kind}/both", fields, method)
    assert answer.status == status
    if method == "GET" and status == 200:
        assert answer.body == DATA
    if status == 206:
        assert all(body in DATA for _, body in answer.parts())
    connection.request("GET", "/sent")
    types = connection.getresponse().read()
    assert (b"http.response.pathsend" in types) is (by_path and name not in WRONG)
    connection.close()


def test_a_large_file_arrives_whole_whoever_reads_it(slow: HTTPConnection) -> None:
    for _ in range(2):
        answer = ask(slow, "large/both", {})
        assert answer.status == 200
        assert answer.body == LARGE


def test_a_server_sends_a_large_file_whole(name: str, slow: HTTPConnection) -> None:
    if name in WRONG:
        pytest.skip(WRONG[name])
    slow.request("GET", "/by-the-server")
    answer = slow.getresponse()
    assert answer.read() == LARGE
