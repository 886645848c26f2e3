"""How a cut reaches a stalled client: by its connection on HTTP/1, by waiting on HTTP/2."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request

from streamkit import BodyCut, Honest, Shutdown, StreamingResponse, StreamOutcome, graceful_shutdown
from streamkit.asgi import connection
from streamkit.asgi.connection import connection_of, drop, reset
from streamkit.testing import StreamClient, fetch, stream

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


async def fails_later() -> AsyncIterator[bytes]:
    yield b"first"
    await anyio.sleep(0.02)
    raise Broken


@asynccontextmanager
async def cut_that_waits(grace: float) -> AsyncIterator[tuple[Shutdown, StreamClient]]:
    """A response on HTTP/2 whose content has failed and is closed, and whose client has stalled."""
    closed = anyio.Event()
    response = StreamingResponse(fails_later(), on_close=lambda outcome: closed.set())
    with anyio.fail_after(FOREVER / 3):
        async with (
            graceful_shutdown(grace) as shutdown,
            stream(response, http_version="2", read_ahead=5) as client,
        ):
            await anext(client)
            client.stall()
            await closed.wait()
            yield shutdown, client


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.02)


def as_granian(app: Any) -> Any:
    """A server that passes over a chunk that is none, and fails at a path."""

    async def server(scope: Any, receive: Any, send: Any) -> None:
        async def take(message: Any) -> None:
            chunk = message.get("body", b"")
            await send(message if isinstance(chunk, bytes) else {**message, "body": b""})

        await app(scope, receive, take)

    return server


@pytest.mark.anyio
@pytest.mark.parametrize("server", [lambda app: app, as_granian], ids=["refuses", "passes-over"])
@pytest.mark.parametrize("relays", [1, 2, 3, 4])
@pytest.mark.usefixtures("short_patience")
async def test_on_http_2_a_cut_waits_for_its_client_as_long_as_that_takes(
    relays: int, server: Any, anyio_backend: Any
) -> None:
    closed = anyio.Event()
    app: Any = StreamingResponse(
        fails_behind_a_stalled_client(), on_close=lambda outcome: closed.set()
    )
    for _ in range(relays):
        app = BaseHTTPMiddleware(app, relay)
    app = server(app)
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
    async with cut_that_waits(grace=0.05) as (shutdown, client):
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


@pytest.mark.parametrize("number_is", ["a file", "a socket without a peer"])
def test_what_has_its_number_by_now_is_neither_closed_nor_copied(
    number_is: str, tmp_path: Path
) -> None:
    with Pair() as gone:
        addresses = gone.addresses or (("", 0), ("", 0))
    with (tmp_path / "file").open("wb") as file, socket.socket() as lonely:
        number = (file if number_is == "a file" else lonely).fileno()
        connection._listed[addresses] = number
        before = sorted(os.listdir("/dev/fd"))
        assert drop([addresses]) == 0
        assert sorted(os.listdir("/dev/fd")) == before
        os.fstat(number)


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


def test_where_the_sockets_cannot_be_listed_none_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: str) -> list[str]:
        raise FileNotFoundError(path)

    with Pair() as pair:
        monkeypatch.setattr(connection.os, "listdir", refuse)
        assert drop([pair.addresses]) == 0
        monkeypatch.undo()
        pair.server.sendall(b"x")
        assert pair.client.recv(1) == b"x"


def refuse(*arguments: object) -> None:
    raise OSError("it has gone meanwhile")


def test_a_connection_that_has_gone_meanwhile_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Pair() as pair:
        monkeypatch.setattr(socket.socket, "shutdown", refuse)
        assert drop([pair.addresses]) == 0
        monkeypatch.setattr(connection, "sys", SimpleNamespace(platform="elsewhere"))
        monkeypatch.setattr(socket.socket, "setsockopt", refuse)
        assert reset([pair.addresses]) == 0


def test_where_there_is_no_reset_at_once_it_comes_when_the_server_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "sys", SimpleNamespace(platform="elsewhere"))
    with Pair() as pair:
        assert reset([pair.addresses]) == 1
        pair.server.sendall(b"x")
        assert pair.client.recv(1) == b"x"
        pair.server.close()
        with pytest.raises(ConnectionResetError):
            pair.client.recv(1)


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is reset when it is closed")
async def test_a_cut_of_http_1_0_is_a_reset(anyio_backend: Any) -> None:
    with Pair() as pair:
        scope = {"client": pair.addresses[0], "server": pair.addresses[1]}
        app = StreamingResponse(fails_behind_a_stalled_client())
        async with stream(app, http_version="1.0", scope=scope) as client:
            with pytest.raises(BodyCut):
                await client.read()
        with pytest.raises(ConnectionResetError):
            pair.client.recv(1)


@pytest.mark.anyio
@pytest.mark.usefixtures("short_patience")
async def test_on_http_1_the_connection_of_a_stalled_client_is_dropped(
    anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Pair() as pair, anyio.fail_after(FOREVER / 3):
        scope = {"client": pair.addresses[0], "server": pair.addresses[1]}
        app = StreamingResponse(fails_later())
        async with stream(app, scope=scope, read_ahead=5) as client:
            await anext(client)
            client.stall()
            await client.wait_closed()
            assert not client.complete
        assert pair.client.recv(1) == b""
    assert "the connection of a stalled client was dropped" in caplog.text


@pytest.mark.anyio
@pytest.mark.usefixtures("short_patience")
async def test_a_cut_that_waits_when_the_grace_is_over_is_given_up(anyio_backend: Any) -> None:
    async with cut_that_waits(grace=0) as (shutdown, client):
        shutdown.request()
        await client.wait_closed()
        assert not client.complete


@pytest.mark.anyio
async def test_a_cancelled_response_is_not_whole_though_a_middleware_hides_its_errors(
    anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[StreamOutcome] = []
    scopes: list[anyio.CancelScope] = []

    async def endless() -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.sleep_forever()

    response = StreamingResponse(endless(), on_close=outcomes.append)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def hide(message: Any) -> None:
            with suppress(Exception):
                await send(message)

        with anyio.CancelScope() as cancelling:
            scopes.append(cancelling)
            await response(scope, receive, hide)

    with anyio.fail_after(FOREVER / 3):
        async with stream(app) as client:
            await anext(client)
            scopes[0].cancel()
            with pytest.raises(BodyCut):
                await client.read()
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]
    # That it was cancelled is no failure that has to be told of.
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


# Honest


def hiding(app: Any, *, ends: bool) -> Any:
    """A middleware that hides what the app raises, and may end its body as if it were whole."""

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        async def hide(message: Any) -> None:
            if isinstance(message.get("body", b""), bytes) and "path" not in message:
                await send(message)

        with suppress(Broken):
            await app(scope, receive, hide)
        if ends:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return middleware


@pytest.mark.anyio
@pytest.mark.parametrize("ends", [True, False])
async def test_honest_lets_no_middleware_hide_that_a_response_failed(
    ends: bool, anyio_backend: Any
) -> None:
    response = StreamingResponse(fails_behind_a_stalled_client())
    with anyio.fail_after(FOREVER / 3):
        reply = await fetch(Honest(hiding(response, ends=ends)))
    assert not reply.complete
    assert reply.body == b"first" + b"x" * 1000
    assert str(reply.error) == "the response failed midway"
    assert reply.error is not None
    assert isinstance(reply.error.__cause__, Broken)


@pytest.mark.anyio
async def test_without_honest_such_a_middleware_ends_the_body(anyio_backend: Any) -> None:
    response = StreamingResponse(fails_behind_a_stalled_client())
    with anyio.fail_after(FOREVER / 3):
        reply = await fetch(hiding(response, ends=True))
    assert reply.complete


@pytest.mark.anyio
async def test_honest_leaves_what_is_no_request_alone(anyio_backend: Any) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    lifespan = {"type": "lifespan"}
    await Honest(app)(lifespan, anyio.sleep_forever, print)  # type: ignore[arg-type]
    assert seen == [({"type": "lifespan"}, anyio.sleep_forever, print)]


def chain(error: BaseException | None) -> list[BaseException]:
    """An error, and those that it came of."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.anyio
@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize(
    "stack", [["gzip"], ["base"], ["gzip", "base"], ["base", "gzip"], ["gzip", "base", "base"]]
)
async def test_why_a_body_was_cut_is_raised_or_logged(
    stack: list[str], coding: str, caplog: pytest.LogCaptureFixture, anyio_backend: Any
) -> None:
    app: Any = StreamingResponse(fails_later())
    for name in stack:
        is_gzip = name == "gzip"
        app = GZipMiddleware(app, minimum_size=1) if is_gzip else BaseHTTPMiddleware(app, relay)
    answer = await fetch(app, headers={"accept-encoding": coding})
    # Without its end a gzip stream is broken, though its last message may be there.
    logged = [
        record.exc_info[1]
        for record in caplog.records
        if record.levelno == logging.ERROR and record.exc_info
    ]
    assert any(
        isinstance(each, Broken) for error in (answer.error, *logged) for each in chain(error)
    )
