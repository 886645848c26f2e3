"""Many streams at once, and pings beside them from a process that has nothing else to do.

`python -m tests.benchmarks.crowd PORT PATH SECONDS` prints how long each ping took, as JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

from .client import BUFFER_SIZE, Address, ClientError, connect, request

ROOT = Path(__file__).parents[2]
WORD = b"tick"  # in each chunk, once
BATCH = 250  # connections at a time; a listener's backlog holds 2048
OPEN_WITHIN = 40.0
PING_EVERY = 0.01


class Crowd:
    """So many open streams, which are read as fast as they come; each chunk holds `WORD`."""

    def __init__(self, address: Address, path: str, count: int) -> None:
        self._buffer = bytearray(BUFFER_SIZE)
        self._selector = selectors.DefaultSelector()
        self._silent: set[socket.socket] = set()
        self._until = time.monotonic() + OPEN_WITHIN
        for number in range(count):
            self._open(address, path)
            if number % BATCH == BATCH - 1:
                self.read(0.05)

    def _open(self, address: Address, path: str) -> None:
        if time.monotonic() > self._until:
            raise ClientError(f"it did not take the connections within {OPEN_WITHIN:g} s")
        connection = connect(address)
        connection.sendall(request(path))
        self._selector.register(connection, selectors.EVENT_READ)
        self._silent.add(connection)

    def wait_for_all(self) -> None:
        """Until each stream has had its first chunk."""
        while self._silent:
            if time.monotonic() > self._until:
                silent = f"{len(self._silent)} streams had sent nothing"
                raise ClientError(f"{silent} {OPEN_WITHIN:g} s after the first was opened")
            self.read(0.05)

    def read(self, seconds: float) -> int:
        """Read for so long: the number of chunks that came."""
        chunks, until = 0, time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                chunks += self._receive(key.fileobj)  # type: ignore[arg-type]
        return chunks

    def _receive(self, connection: socket.socket) -> int:
        count = connection.recv_into(self._buffer)
        if not count:
            raise ClientError("the server ended a stream that has no end")
        found = self._buffer.count(WORD, 0, count)
        if found:
            self._silent.discard(connection)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


class SlowCrowd:
    """So many clients that take a byte a second each of a stream."""

    def __init__(self, address: Address, path: str, count: int) -> None:
        self._connections = [self._open(address, path) for _ in range(count)]
        self._due = time.monotonic()

    def _open(self, address: Address, path: str) -> socket.socket:
        connection = socket.socket()
        # Little is taken by the kernel for a client that takes nothing.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(address)
        connection.sendall(request(path))
        connection.setblocking(False)
        return connection

    def read(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        if self._due <= until:
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._due += 1.0
            for connection in self._connections:
                with suppress(BlockingIOError, ConnectionError):
                    connection.recv(1)
        time.sleep(max(0.0, until - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()


class Readable(Protocol):
    """What is read while somebody else pings."""

    def read(self, seconds: float) -> object: ...


def pings_beside(crowd: Readable, address: Address, path: str, seconds: float) -> list[float]:
    """The seconds that each ping took, while the crowd is read."""
    command = [sys.executable, "-m", __name__, str(address[1]), path, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            while process.poll() is None:
                crowd.read(0.1)
        finally:
            process.kill()
        assert process.stdout
        found: list[float] = json.loads(process.stdout.read())
    return found


def pings(address: Address, path: str, seconds: float) -> list[float]:
    """One every 10 ms, timed from the moment it was due: a server that stalls delays them all.

    Those without an answer at the end have waited until then.
    """
    found: list[float] = []
    with connect(address) as connection:
        due = time.monotonic()
        until = due + seconds
        silent = False
        while due < until:
            time.sleep(max(0.0, due - time.monotonic()))
            silent = silent or not _answers(connection, path, until)
            found.append((until if silent else time.monotonic()) - due)
            due += PING_EVERY
    return found


def _answers(connection: socket.socket, path: str, until: float) -> bool:
    connection.settimeout(max(0.001, until - time.monotonic()))
    try:
        connection.sendall(request(path))
        answer = b""
        while not answer.endswith(b"pong"):
            data = connection.recv(4096)
            if not data:
                raise ClientError("the server left a ping unanswered")
            answer += data
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    found = pings(("127.0.0.1", int(sys.argv[1])), sys.argv[2], float(sys.argv[3]))
    print(json.dumps(found))
