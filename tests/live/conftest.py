from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamkit.live import Log, MemoryLog
from tests.server import free_port

# Redis skips where it is not installed; Valkey is tested where it is.
SERVERS = ["redis-server", *(["valkey-server"] if shutil.which("valkey-server") else [])]


class RedisServer:
    """A Redis of the tests' own, which can be killed and come back."""

    def __init__(self, program: str) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._program = program
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(self._program, "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
                *("--dir", self._directory.name),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        import redis

        client = redis.Redis(port=self.port)
        until = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                assert time.monotonic() < until
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self._directory.cleanup()


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[Callable[[str], RedisServer]]:
    pytest.importorskip("redis")
    servers: dict[str, RedisServer] = {}

    def serve(program: str) -> RedisServer:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
        if program not in servers:
            servers[program] = RedisServer(program)
        return servers[program]

    yield serve
    for server in servers.values():
        server.close()


@pytest.fixture(params=SERVERS)
def redis_server(
    request: pytest.FixtureRequest, redis_servers: Callable[[str], RedisServer]
) -> RedisServer:
    return redis_servers(request.param)


class Place:
    """A prefix in Redis, its logs, and a client that does what other programs may."""

    def __init__(self, server: RedisServer) -> None:
        self.prefix = f"test-{secrets.token_hex(4)}:"
        import redis

        self.client = redis.Redis(port=server.port)
        self._url = server.url

    def log(self, kind: Callable[..., Log] | None = None) -> Any:
        from streamkit.live import RedisLog

        return (kind or RedisLog)(self._url, prefix=self.prefix, timeout=5.0)

    def run(self, name: str = "run") -> str:
        return f"{self.prefix}run:{name}"

    def channel(self, name: str = "c") -> str:
        return f"{self.prefix}channel:{name}"


@pytest.fixture
def place(redis_server: RedisServer) -> Iterator[Place]:
    place = Place(redis_server)
    yield place
    place.client.close()


@pytest.fixture(params=["memory", *SERVERS])
def make_log(request: pytest.FixtureRequest) -> Callable[[], Log]:
    """Makes logs; over Redis they share their streams, as those of several processes do."""
    if request.param == "memory":
        return MemoryLog
    server = request.getfixturevalue("redis_servers")(request.param)
    from streamkit.live import RedisLog

    prefix = f"test-{secrets.token_hex(4)}:"
    return lambda: RedisLog(server.url, prefix=prefix, timeout=5.0)


@pytest.fixture
def log(make_log: Callable[[], Log]) -> Log:
    return make_log()
