"""The client: raw blocking sockets and one buffer, so that what is measured is the server.

Bodies are counted, not kept: a fixed length by its count, a chunked body by its last chunk. Only
`fetch`, which the warm-up compares bodies with, takes the chunked framing apart.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection

from .same import decoder_of

Address = tuple[str, int]

LAST_CHUNK = b"\r\n0\r\n\r\n"
BUFFER_SIZE = 1 << 18


class ClientError(Exception):
    """The server answered with an error, or cut a body before its end."""


@dataclass
class Reply:
    """Follows one response from its first byte to its last; `feed` is true at the end."""

    keep: bool = False
    head: bytes = b""
    length: int | None = None
    received: int = 0
    body: bytearray = field(default_factory=bytearray)
    _in_body: bool = False
    _tail: bytes = b"\r\n"

    def feed(self, data: memoryview) -> bool:
        if not self._in_body:
            self.head += data
            head, found, rest = self.head.partition(b"\r\n\r\n")
            if not found:
                return False
            self._begin(head)
            data = memoryview(rest)
        self.received += len(data)
        if self.keep:
            self.body += data
        if self.length is not None:
            return self.received >= self.length
        self._tail = (self._tail + data[-7:])[-7:]
        return self._tail == LAST_CHUNK

    def _begin(self, head: bytes) -> None:
        self._in_body, self.head = True, head
        if head[9:12] not in (b"200", b"206"):
            raise ClientError(f"the server answered {head[9:12].decode()}")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        self.length = int(length[1]) if length else None

    def payload(self) -> bytes:
        return bytes(self.body) if self.length is not None else unchunk(self.body)


def unchunk(body: bytearray) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        line = body.index(b"\r\n", at)
        size = int(body[at:line], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(bytes(body[line + 2 : line + 2 + size]))
        at = line + size + 4


def request(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


def connect(address: Address) -> socket.socket:
    connection = socket.create_connection(address, timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive(connection: socket.socket, buffer: memoryview) -> memoryview:
    count = connection.recv_into(buffer)
    if not count:
        raise ClientError("the server cut the body before its end")
    return buffer[:count]


def fetch(address: Address, path: str, headers: str = "") -> bytes:
    """One response in full: the payload, without its framing."""
    reply, buffer = Reply(keep=True), memoryview(bytearray(BUFFER_SIZE))
    with connect(address) as connection:
        connection.sendall(request(path, headers))
        while not reply.feed(_receive(connection, buffer)):
            pass
    return reply.payload()


def drain(address: Address, path: str, headers: str = "") -> float:
    """One response, thrown away: the seconds from the request to its last byte."""
    return drained(address, path, headers)[0]


def drained(address: Address, path: str, headers: str = "") -> tuple[float, int]:
    """The same, and the bytes of its body, with their framing."""
    reply, buffer = Reply(), memoryview(bytearray(BUFFER_SIZE))
    with connect(address) as connection:
        started = time.perf_counter()
        connection.sendall(request(path, headers))
        while not reply.feed(_receive(connection, buffer)):
            pass
        return time.perf_counter() - started, reply.received


def hammer(
    address: Address, path: str, *, connections: int, requests: int, headers: str = ""
) -> float:
    """So many requests over keep-alive connections that each have one under way: the seconds."""
    wanted, buffer = request(path, headers), memoryview(bytearray(BUFFER_SIZE))
    pool = [connect(address) for _ in range(min(connections, requests))]
    replies = {connection: Reply() for connection in pool}
    waiting, done = requests - len(pool), 0
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for connection in pool:
            selector.register(connection, selectors.EVENT_READ, connection)
            connection.sendall(wanted)
        while done < requests:
            for key, _ in selector.select():
                connection = key.data
                if not replies[connection].feed(_receive(connection, buffer)):
                    continue
                done += 1
                if waiting:
                    waiting -= 1
                    replies[connection] = Reply()
                    connection.sendall(wanted)
        seconds = time.perf_counter() - started
    for connection in pool:
        connection.close()
    return seconds


def delays(address: Address, path: str) -> list[float]:
    """Seconds between an item's own `t=<time.monotonic_ns()>` stamp and its arrival here.

    CLOCK_MONOTONIC is one clock for all processes of a Linux machine, so the two compare.
    """
    reply, buffer, found = Reply(), memoryview(bytearray(BUFFER_SIZE)), []
    with connect(address) as connection:
        connection.sendall(request(path))
        ended = False
        while not ended:
            data = _receive(connection, buffer)
            now = time.monotonic_ns()
            found += [(now - int(stamp)) / 1e9 for stamp in re.findall(rb"t=(\d+)\n", data)]
            ended = reply.feed(data)
    return found


def decoded_delays(address: Address, path: str, codings: str) -> list[float]:
    """The same for a body in one of these codings."""
    found: list[float] = []
    connection = HTTPConnection(*address, timeout=120)
    connection.request("GET", path, headers={"Accept-Encoding": codings})
    answer = connection.getresponse()
    decode: Callable[[bytes], bytes] | None = None
    while data := answer.read1(BUFFER_SIZE):
        if decode is None:
            decode = decoder_of(data)
        text = decode(data)
        now = time.monotonic_ns()
        found += [(now - int(stamp)) / 1e9 for stamp in re.findall(rb"t=(\d+)\n", text)]
    connection.close()
    return found


def hold(address: Address, path: str, count: int) -> list[socket.socket]:
    """So many streams, each open and past its first event; close the sockets when done."""
    connections = [connect(address) for _ in range(count)]
    for connection in connections:
        connection.sendall(request(path))
    for connection in connections:
        seen = b""
        while b"ready" not in seen:
            seen += _receive(connection, memoryview(bytearray(4096)))
    return connections
