"""A server with every kind of content, and a connection to it, for the tests of one file."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.server import Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(
        ["uvicorn", "--port={port}", "--log-level=warning", "tests.ranges.app:app"]
    ) as server:
        yield server


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield connection
    connection.close()
