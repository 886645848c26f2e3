"""An HTTP/2 client that shows what is on the wire, as tests/server.py has one for HTTP/1.1."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.server import PATIENCE, Reply


class Connection:
    """One request, over HTTP/2 with prior knowledge.

    `takes` False grants the server no more than the window it begins with.
    """

    def __init__(self, port: int, path: str, method: str = "GET", *, takes: bool = True) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._takes = takes
        self.raw = b""
        self.arrivals: list[float] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        # Whether the stream has ended, and whether in order.
        self.over = self.complete = False
        self._h2.initiate_connection()
        authority = f"127.0.0.1:{port}"
        request = {":method": method, ":scheme": "http", ":authority": authority, ":path": path}
        self._h2.send_headers(1, list(request.items()), end_stream=True)
        self._flush()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Leave the stream, as a browser does that goes elsewhere, and keep the connection."""
        self._h2.reset_stream(1, error_code=8)
        self._flush()

    def receive(self) -> bytes:
        """What has arrived of the body; nothing at its end."""
        before = len(self.raw)
        while len(self.raw) == before and not self.over:
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            self.arrivals.append(time.monotonic())
            if not data:
                self.over = True
                break
            for event in self._h2.receive_data(data):
                self._take(event)
            with suppress(BrokenPipeError, ConnectionResetError):
                self._flush()
        return self.raw[before:]

    def receive_until(self, expected: bytes) -> None:
        while expected not in self.raw:
            assert self.receive(), f"the stream ended without {expected!r}: {self.raw!r}"

    def read(self) -> Reply:
        """Receive to the end of the stream."""
        while self.receive():
            pass
        return Reply(self.status, self.headers, self.raw, self.complete)

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.headers = {str(name): str(value) for name, value in event.headers or ()}
            self.status = int(self.headers.pop(":status"))
        elif isinstance(event, h2.events.DataReceived):
            self.raw += event.data or b""
            if self._takes and event.flow_controlled_length:
                with suppress(h2.exceptions.StreamClosedError):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, 1)
        elif isinstance(event, h2.events.StreamEnded):
            self.over = self.complete = True
        elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            self.over = True

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())
