"""Two server processes and one Redis, which are stopped, killed and restarted."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import anyio
import httpx
import pytest

from streamkit.testing import stream
from tests.live.conftest import RedisServer
from tests.live.support import Content, data, events, ids, rest_of, running
from tests.server import Server, serving, wait_for

Serve = Callable[[], Server]


@pytest.fixture
def serve(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start another process of the app."""
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("PREFIX", f"test-{secrets.token_hex(4)}:")
    monkeypatch.setenv("LEASE", "1")
    arguments = ["uvicorn", "tests.live.app:app", "--port", "{port}", "--log-level", "warning"]
    with ExitStack() as stack:
        yield lambda: stack.enter_context(serving(arguments))


def url(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


class Reader(threading.Thread):
    """Reads a stream in a thread of its own, until it ends, well or not."""

    def __init__(self, server: Server, path: str, method: str = "GET", **headers: str) -> None:
        super().__init__(daemon=True)
        self.body = b""
        self.status = 0
        self.error: Exception | None = None
        self._request = (method, url(server, path))
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream(*self._request, headers=self._headers, timeout=30) as response:
                self.status = response.status_code
                for chunk in response.iter_raw():
                    self.body += chunk
        except httpx.HTTPError as exc:
            self.error = exc

    def numbers(self) -> list[int]:
        return [item["n"] for item in data(self.body)]

    def wait_for_items(self, count: int) -> None:
        wait_for(lambda: len(self.numbers()) >= count or self.error, f"{count} items")

    def finish(self) -> Reader:
        self.join(30)
        assert not self.is_alive()
        return self


def test_a_stream_begun_on_one_process_goes_on_byte_for_byte_on_another(serve: Serve) -> None:
    one, two = serve(), serve()
    first = Reader(one, "/start/run?items=60", method="POST")
    first.wait_for_items(20)
    middle = ids(first.body)[15]
    resumed = Reader(two, "/streams/run", last_event_id=middle)
    whole, rest = first.finish().body, resumed.finish().body
    assert first.numbers() == list(range(60))
    at = whole.index(b"id: " + middle.encode())
    at = whole.index(b"\n\n", at) + 2
    assert rest.removeprefix(b"id: " + middle.encode() + b"\n\n") == whole[at:]
    assert httpx.head(url(two, "/streams/run")).headers["stream-state"] == "done"
    ended = httpx.get(url(two, "/streams/run"), headers={"last-event-id": ids(whole)[-1]})
    assert (ended.status_code, ended.headers["stream-state"]) == (204, "done")


def test_a_run_is_cancelled_from_another_process(serve: Serve) -> None:
    one, two = serve(), serve()
    reader = Reader(one, "/start/run?items=10000", method="POST")
    reader.wait_for_items(3)
    deleted = httpx.delete(url(two, "/streams/run"))
    assert (deleted.status_code, deleted.headers["stream-state"]) == (204, "cancelled")
    assert reader.finish().error is not None
    wait_for(lambda: "end run" in one.log(), "the content's end")


def test_readers_are_told_when_the_producer_was_killed(serve: Serve) -> None:
    one, two = serve(), serve()
    httpx.post(url(one, "/begin/run?items=10000")).raise_for_status()
    reader = Reader(two, "/streams/run")
    reader.wait_for_items(5)
    os.kill(one.process.pid, signal.SIGKILL)
    # Two leases of a second each; the rest is for a busy machine.
    reader.join(10)
    assert not reader.is_alive()
    assert reader.error is not None
    assert httpx.head(url(two, "/streams/run")).headers["stream-state"] == "failed"
    late = Reader(two, "/streams/run").finish()
    assert late.error is not None
    assert late.numbers() == reader.numbers()


def test_a_producer_that_was_thought_dead_appends_nothing(serve: Serve) -> None:
    one, two = serve(), serve()
    httpx.post(url(one, "/begin/run?items=10000")).raise_for_status()
    reader = Reader(two, "/streams/run")
    reader.wait_for_items(5)
    os.kill(one.process.pid, signal.SIGSTOP)
    try:
        assert reader.finish().error is not None
    finally:
        os.kill(one.process.pid, signal.SIGCONT)
    wait_for(lambda: "end run" in one.log(), "the content's end")
    assert Reader(two, "/streams/run").finish().numbers() == reader.numbers()
    assert Reader(one, "/streams/run").finish().numbers() == reader.numbers()


def test_of_two_starts_at_once_one_produces(serve: Serve) -> None:
    servers = [serve(), serve()]

    def start(job: tuple[int, Server]) -> Any:
        n, server = job
        return httpx.post(url(server, f"/start/run{n}?items=3&pause=0"), timeout=30).content

    jobs = [(n, server) for n in range(100) for server in servers]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(start, jobs))
    for n in range(100):
        assert bodies[2 * n] == bodies[2 * n + 1]
        assert [item["n"] for item in data(bodies[2 * n])] == [0, 1, 2]
    logs = "".join(server.log() for server in servers)
    assert sorted(line for line in logs.split("\n") if line.startswith("begin")) == sorted(
        f"begin run{n}" for n in range(100)
    )


def test_redis_that_stops_for_a_while_delays_and_loses_nothing(
    serve: Serve, redis_server: RedisServer
) -> None:
    one, two = serve(), serve()
    first = Reader(one, "/start/run?items=150&pause=0.02", method="POST")
    first.wait_for_items(5)
    second = Reader(two, "/streams/run")
    second.wait_for_items(5)
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    threading.Event().wait(5)
    os.kill(redis_server.process.pid, signal.SIGCONT)
    for reader in (first.finish(), second.finish()):
        assert reader.error is None
        assert reader.numbers() == list(range(150))
    assert httpx.head(url(two, "/streams/run")).headers["stream-state"] == "done"


def test_redis_that_was_killed_and_restarted_loses_nothing(
    serve: Serve, redis_server: RedisServer
) -> None:
    one, two = serve(), serve()
    first = Reader(one, "/start/run?items=200&pause=0.02", method="POST")
    second = Reader(two, "/news")
    first.wait_for_items(5)
    httpx.post(url(one, "/news?items=3")).raise_for_status()
    second.wait_for_items(3)
    redis_server.kill()
    refused = httpx.post(url(two, "/begin/other"), timeout=30)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    redis_server.start()
    assert first.finish().error is None
    assert first.numbers() == list(range(200))
    third = Reader(two, "/streams/run").finish()
    assert third.numbers() == list(range(200))
    httpx.post(url(one, "/news?items=2"), timeout=30).raise_for_status()
    second.wait_for_items(5)
    assert second.numbers() == [0, 1, 2, 0, 1]
    assert events(second.body)[0].keys() == {"id"}


def test_a_run_goes_on_for_its_first_client_when_redis_is_gone() -> None:
    server = RedisServer("redis-server") if shutil.which("redis-server") else None
    if server is None:
        pytest.skip("redis-server is not installed")
    from streamkit.live import RedisLog

    async def main() -> None:
        log = RedisLog(server.url, timeout=1.0)
        with anyio.fail_after(30):
            async with running(log) as h:
                content = Content()
                run = await h.live.start(content)
                async with stream(h.app, f"/streams/{run.id}") as client:
                    content.put(0, 1)
                    body = b""
                    while len(data(body)) < 2:
                        body += await anext(aiter(client))
                    server.kill()
                    content.put(2, 3)
                    content.end()
                    body += await rest_of(client)
                    assert client.error is None
                    assert data(body) == [0, 1, 2, 3]

    try:
        anyio.run(main)
    finally:
        server.close()


def test_an_app_begins_without_redis_and_finds_it_later(
    serve: Serve, redis_server: RedisServer
) -> None:
    redis_server.kill()
    try:
        one = serve()
        assert httpx.get(url(one, "/streams/run"), timeout=30).status_code == 503
    finally:
        redis_server.start()
    assert Reader(one, "/start/run?items=3", method="POST").finish().numbers() == [0, 1, 2]


def test_a_server_that_is_told_to_stop_ends_readers_and_marks_its_runs(serve: Serve) -> None:
    one, two = serve(), serve()
    httpx.post(url(one, "/begin/run?items=10000")).raise_for_status()
    reader = Reader(one, "/news")
    httpx.post(url(two, "/news?items=1")).raise_for_status()
    reader.wait_for_items(1)
    one.process.terminate()
    assert reader.finish().error is None
    assert one.process.wait(15) is not None
    assert "end run" in one.log()
    assert httpx.head(url(two, "/streams/run")).headers["stream-state"] == "failed"


def test_a_run_ends_a_lease_after_its_last_reader_in_any_process(serve: Serve) -> None:
    one, two = serve(), serve()
    httpx.post(url(one, "/begin/run?items=10000&linger=1.5")).raise_for_status()
    with httpx.stream("GET", url(two, "/streams/run")) as response:
        chunks = response.iter_raw()
        # Longer than it would linger without this reader.
        for _ in range(300):
            next(chunks)
    assert httpx.head(url(one, "/streams/run")).headers["stream-state"] == "running"
    wait_for(lambda: "end run" in one.log(), "the content's end")
    assert httpx.head(url(two, "/streams/run")).headers["stream-state"] == "cancelled"
