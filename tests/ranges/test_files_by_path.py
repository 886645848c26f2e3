"""Servers that send whole files by their paths: only where the file is the answer."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.ranges.answers import ask
from tests.ranges.app import DATA
from tests.server import Server, serving

SENDING = {
    "granian": ["--interface=asgi", "--port={port}", "--no-ws", "--log-level=warning"],
    "anycorn": ["--bind=127.0.0.1:{port}", "--log-level=warning"],
}


@pytest.fixture(scope="module", params=SENDING)
def sending_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that offers to send files by their paths."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    command = [request.param, *SENDING[request.param]]
    with serving([*command, "tests.ranges.app:app"]) as server:
        yield server


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
    assert (b"http.response.pathsend" in types) is by_path
    connection.close()
