"""Real servers as subprocesses on loopback ports, and a client that shows what is on the wire."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

ROOT = Path(__file__).parents[1]
# Generous, for a slow machine: nothing here waits that long unless it fails.
PATIENCE = 20.0

T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """Look until what is seen is true, and give it; AssertionError after `within` seconds."""
    until = time.monotonic() + within
    while True:
        if seen := look():
            return seen
        assert time.monotonic() < until, f"{what} did not come about in {within} s: {seen!r}"
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Reply:
    """A response as it was on the wire, up to where the connection ended."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool


class Connection:
    """One request, over a raw socket that is closed by whoever leaves the `with`."""

    def __init__(self, port: int, path: str, method: str = "GET") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.raw = b""
        self.arrivals: list[float] = []
        request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        self._socket.sendall(request.encode())
        self._method = method

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def receive(self) -> bytes:
        """What has arrived; nothing at the end, or where the server reset the connection."""
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.raw += data
        self.arrivals.append(time.monotonic())
        return data

    def receive_until(self, expected: bytes) -> None:
        while expected not in self.raw:
            assert self.receive(), f"the connection ended without {expected!r}: {self.raw!r}"

    def read(self) -> Reply:
        """Receive to the end of the connection."""
        while self.receive():
            pass
        return parse(self.raw, self._method)


def parse(raw: bytes, method: str = "GET") -> Reply:
    """Take a response apart; `complete` says whether its body is whole (RFC 9112 §6, §7)."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    status = int(first.split()[1])
    if method == "HEAD" or status in (204, 304):
        return Reply(status, headers, rest, complete=not rest)
    if headers.get("transfer-encoding") == "chunked":
        body, complete = _unchunk(rest)
        return Reply(status, headers, body, complete)
    length = int(headers["content-length"])
    return Reply(status, headers, rest, complete=len(rest) == length)


def _unchunk(rest: bytes) -> tuple[bytes, bool]:
    body = []
    while match := re.match(rb"([0-9A-Fa-f]+)\r\n", rest):
        size, start = int(match[1], 16), match.end()
        body.append(rest[start : start + size])
        rest = rest[start + size :].removeprefix(b"\r\n")
        if not size:
            return b"".join(body), not rest
    return b"".join(body), False


@dataclass
class Server:
    """A server process, its port and what it has logged."""

    process: subprocess.Popen[bytes]
    port: int
    output: IO[bytes]
    # Makes a connection: of HTTP/1.1, or what looks like it.
    client: Callable[..., Any] = Connection

    def connect(self, path: str, method: str = "GET", **options: Any) -> Any:
        return self.client(self.port, path, method, **options)

    def fetch(self, path: str, method: str = "GET") -> Reply:
        with self.connect(path, method) as connection:
            reply: Reply = connection.read()
            return reply

    def log(self, start: int = 0) -> str:
        """What was logged, from byte `start` on."""
        return os.pread(self.output.fileno(), 1 << 20, start).decode(errors="replace")

    def log_size(self) -> int:
        return os.fstat(self.output.fileno()).st_size

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"the server has ended: {self.log()}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@contextmanager
def serving(arguments: Sequence[str]) -> Iterator[Server]:
    """Run `python -m *arguments`, with `{port}` filled in, until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
        try:
            server = Server(process, port, output)
            wait_for(server.is_ready, f"{arguments[0]} on port {port}")
            yield server
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    # Its workers as well, which share its session.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
