"""How a cut reaches a stalled client: by its connection on HTTP/1, by waiting on HTTP/2."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request

from streamkit import BodyCut, StreamingResponse, graceful_shutdown
from streamkit.asgi import connection
from streamkit.asgi.connection import connection_of, drop, reset
from streamkit.testing import stream

FOREVER = 30.0


class Broken(Exception):
    pass


async def relay(request: Request, call_next: Any) -> Any:
    return await call_next(request)


async def fails_behind_a_stalled_client() -> AsyncIterator[bytes]:
    yield b"first"
    await anyio.sleep(0.02)
    yield b"x" * 1000
    raise Broken


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.02)


@pytest.mark.anyio
@pytest.mark.parametrize("relays", [1, 2])
@pytest.mark.usefixtures("short_patience")
async def test_on_http_2_a_cut_waits_for_its_client_as_long_as_that_takes(
    relays: int, anyio_backend: Any
) -> None:
    closed = anyio.Event()
    app: Any = StreamingResponse(
        fails_behind_a_stalled_client(), on_close=lambda outcome: closed.set()
    )
    for _ in range(relays):
        app = BaseHTTPMiddleware(app, relay)
    with anyio.fail_after(FOREVER / 3):
        async with stream(app, http_version="2", read_ahead=5) as client:
            await anext(client)
            client.stall()
            # The content is closed and told of meanwhile.
            await closed.wait()
            await anyio.sleep(0.1)
            client.resume()
            with pytest.raises(BodyCut):
                await client.read()
            assert not client.complete


@pytest.mark.anyio
@pytest.mark.usefixtures("short_patience")
async def test_such_a_wait_holds_no_shutdown(anyio_backend: Any) -> None:
    closed = anyio.Event()

    async def fails() -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.sleep(0.02)
        raise Broken

    response = StreamingResponse(fails(), on_close=lambda outcome: closed.set())
    with anyio.fail_after(FOREVER / 3):
        async with (
            graceful_shutdown(0.05) as shutdown,
            stream(response, http_version="2", read_ahead=5) as client,
        ):
            await anext(client)
            client.stall()
            await closed.wait()
            await anyio.sleep(0.1)
            shutdown.request()
            await client.wait_closed()


@pytest.mark.anyio
async def test_a_relay_that_has_failed_is_not_waited_for(
    anyio_backend: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", FOREVER)
    app: Any = StreamingResponse(fails_behind_a_stalled_client())
    for _ in range(3):
        app = BaseHTTPMiddleware(app, relay)
    with anyio.fail_after(FOREVER / 3):
        async with stream(app) as client:
            with pytest.raises(BodyCut):
                await client.read()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


class Pair:
    """A connection over TCP, and its addresses as a server tells them."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.server, _ = listener.accept()
        scope = {"client": self.server.getpeername(), "server": self.server.getsockname()}
        self.addresses = connection_of(scope)
        self.client.settimeout(5)
        self.server.settimeout(5)

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()
        self.server.close()


def test_a_dropped_connection_ends_for_both_sides() -> None:
    with Pair() as one, Pair() as other:
        assert drop([one.addresses, None]) == 1
        assert one.client.recv(1) == b""
        assert one.server.recv(1) == b""
        other.server.sendall(b"x")
        assert other.client.recv(1) == b"x"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is reset when it is closed")
def test_a_reset_is_noticed_by_both_sides_at_once() -> None:
    with Pair() as one:
        assert reset([one.addresses]) == 1
        for side in (one.client, one.server):
            with pytest.raises(ConnectionResetError):
                side.recv(1)


def test_a_descriptor_that_was_taken_over_by_another_connection_is_left_alone() -> None:
    with Pair() as gone:
        assert drop([gone.addresses]) == 1
        number = gone.server.fileno()
    with Pair() as later:
        connection._listed[gone.addresses or (("", 0), ("", 0))] = later.server.fileno()
        assert number
        assert drop([gone.addresses]) == 0
        later.server.sendall(b"x")
        assert later.client.recv(1) == b"x"


def test_of_many_that_fail_at_once_the_descriptors_are_listed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listings = []
    list_descriptors = connection._list_descriptors

    def count() -> None:
        listings.append(True)
        list_descriptors()

    monkeypatch.setattr(connection, "_list_descriptors", count)
    pairs = [Pair() for _ in range(20)]
    for pair in pairs:
        assert drop([pair.addresses]) == 1
    assert len(listings) == 1
    for pair in pairs:
        pair.__exit__()


@pytest.mark.parametrize(
    ("client", "server"),
    [(None, ("::1", 80)), (("10.0.0.1", 0), ("::1", 80)), (("/run/sock", None), ("/run", None))],
)
def test_what_is_no_address_of_a_socket_is_none(client: Any, server: Any) -> None:
    assert connection_of({"client": client, "server": server}) is None
