"""The clients of the matrix: raw sockets that read, or stall, and say how a body ended."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h11

from tests.matrix.ways import END

WHOLE, CUT, STATUS = "whole", "cut", "status"
CLEAN_END, HANG, NOT_CLOSED = "CLEAN END", "HANG", "NOT CLOSED"
# Seconds without a byte after which a client that hears that the app has returned gives up.
SILENCE = 4.0
# Seconds without a byte that are a hang in any case.
PATIENCE = 12.0


@dataclass
class Ending:
    """What a client has seen of a response when there is no more to see."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    # How an incomplete one ended.
    how: str = "nothing ended it"

    def verdict(self) -> tuple[str, str]:
        """The verdict, and what it rests on."""
        size = f"{len(self.body)} bytes"
        if not self.complete:
            return (HANG if self.how == "nothing ended it" else CUT), f"{self.how}, {size}"
        if self.status != 200:
            return STATUS, str(self.status)
        try:
            body = _decoded(bytes(self.body), self.headers.get("content-encoding", "identity"))
        except Exception as exc:
            return CLEAN_END, f"{size}, {exc}"
        if body is None:
            return CLEAN_END, f"{size}, and the coding has no end"
        return (WHOLE if body[-len(END) :].upper() == END else CLEAN_END), size


def _decoded(body: bytes, coding: str) -> bytes | None:
    """What was coded; None if that has no end."""
    if coding == "gzip":
        unpacker = zlib.decompressobj(wbits=31)
        plain = unpacker.decompress(body)
        return plain if unpacker.eof else None
    if coding == "br":
        import brotli  # type: ignore[import-untyped]

        decoder = brotli.Decompressor()
        plain = bytes(decoder.process(body))
        return plain if decoder.is_finished() else None
    if coding == "zstd":
        import zstandard

        reader = zstandard.ZstdDecompressor().decompressobj()
        plain = reader.decompress(body)
        return plain if reader.eof else None
    return body


class Exchange(Protocol):
    """One request over a connection: what to send, and what comes back."""

    def request(self, authority: str, path: str, codings: str) -> bytes: ...
    def feed(self, data: bytes) -> bytes:
        """Take what came, b"" for the end of the connection; what to answer."""
        ...

    ending: Ending
    over: bool


class HTTP1:
    """HTTP/1.1 on a connection that stays open after a body that was complete."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.CLIENT)
        self.ending = Ending()
        self.over = False

    def request(self, authority: str, path: str, codings: str) -> bytes:
        headers = [("Host", authority), ("Accept-Encoding", codings)]
        request = self._connection.send(h11.Request(method="GET", target=path, headers=headers))
        return (request or b"") + (self._connection.send(h11.EndOfMessage()) or b"")

    def feed(self, data: bytes) -> bytes:
        try:
            self._connection.receive_data(data)
            self._take()
        except h11.RemoteProtocolError as exc:
            self.over, self.ending.how = True, f"FIN ({exc})" if not data else str(exc)
        return b""

    def _take(self) -> None:
        while (event := self._connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                self.ending.status = event.status_code
                self.ending.headers = {
                    name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers
                }
            elif isinstance(event, h11.Data):
                self.ending.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.over = self.ending.complete = True
                return
            elif isinstance(event, h11.ConnectionClosed):
                self.over, self.ending.how = True, "FIN"
                return


class HTTP10(HTTP1):
    """HTTP/1.0, in which the end of the connection is the end of a body without a length."""

    def request(self, authority: str, path: str, codings: str) -> bytes:
        return super().request(authority, path, codings).replace(b"HTTP/1.1", b"HTTP/1.0", 1)


class HTTP2:
    """HTTP/2 with prior knowledge, one stream."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._connection = h2.connection.H2Connection(config)
        self.ending = Ending()
        self.over = False

    def request(self, authority: str, path: str, codings: str) -> bytes:
        self._connection.initiate_connection()
        headers = {
            ":method": "GET",
            ":scheme": "http",
            ":authority": authority,
            ":path": path,
            "accept-encoding": codings,
        }
        self._connection.send_headers(1, list(headers.items()), end_stream=True)
        return self._connection.data_to_send()

    def feed(self, data: bytes) -> bytes:
        if not data:
            self.over, self.ending.how = True, "FIN"
            return b""
        try:
            for event in self._connection.receive_data(data):
                self._take(event)
        except h2.exceptions.ProtocolError as exc:
            self.over, self.ending.how = True, f"{type(exc).__name__}: {exc}"
        return self._connection.data_to_send()

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            headers: dict[str, str] = {str(name): str(value) for name, value in event.headers or ()}
            self.ending.status = int(headers.pop(":status"))
            self.ending.headers = headers
        elif isinstance(event, h2.events.DataReceived):
            self.ending.body += event.data or b""
            if event.flow_controlled_length:
                with suppress(h2.exceptions.StreamClosedError):
                    self._connection.acknowledge_received_data(event.flow_controlled_length, 1)
        elif isinstance(event, h2.events.StreamEnded):
            self.over = self.ending.complete = True
        elif isinstance(event, h2.events.StreamReset):
            self.over, self.ending.how = True, f"RST_STREAM {event.error_code}"
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.ending.how = f"GOAWAY {event.error_code}"


PROTOCOLS: dict[str, Callable[[], Exchange]] = {"h1.0": HTTP10, "h1": HTTP1, "h2": HTTP2}


def ask(
    port: int,
    protocol: str,
    path: str,
    codings: str,
    *,
    stall: Callable[[], None] | None,
    returned: Callable[[], bool],
) -> Ending:
    """Send one request and read its response to the end; `stall` waits before it is read on.

    `returned` says whether the app has returned, so that nothing more can come.
    """
    exchange = PROTOCOLS[protocol]()
    with socket.socket() as connection:
        if stall is not None:
            # So that the server feels it soon; more than a segment of the loopback, so that the
            # window opens again at once. Set before the connection: a window never shrinks.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(("127.0.0.1", port))
            connection.sendall(exchange.request(f"127.0.0.1:{port}", path, codings))
            _read(connection, exchange, stall, returned)
        except OSError as exc:
            exchange.ending.how = type(exc).__name__
    return exchange.ending


def _read(
    connection: socket.socket,
    exchange: Exchange,
    stall: Callable[[], None] | None,
    returned: Callable[[], bool],
) -> None:
    heard = monotonic()
    while not exchange.over:
        connection.settimeout(SILENCE)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            if monotonic() - heard > PATIENCE or returned():
                return
            continue
        heard = monotonic()
        answer = exchange.feed(data)
        if stall is not None and exchange.ending.body:
            stall()
            stall, heard = None, monotonic()
        if answer and not exchange.over:
            connection.sendall(answer)
