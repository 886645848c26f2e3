"""Connections to Redis that break after a command ran, and before its reply came."""

from __future__ import annotations

import copy
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import anyio
import pytest

from streamkit.live import LogUnavailable, Payload, Record, RedisLog, RunFailed, SlowReader
from tests.live.conftest import RedisServer
from tests.live.support import Content, followed_channel, running, until
from tests.server import ROOT

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.anyio

ITEM = Payload("j", b"1")


class Proxy:
    """Stands between an app and Redis; of one request it keeps the reply, and hangs up.

    Connections that it was told to forget stay open, and carry nothing any more.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        # A request with these bytes is passed on, and its reply is not.
        self.swallow: bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets = [self._listener]
        self._forgotten: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, server]
                lost = threading.Event()
                for job in (self._requests, self._replies):
                    threading.Thread(target=job, args=(client, server, lost), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, lost: Any) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 20):
                if self.swallow is not None and self.swallow in data:
                    self.swallow = None
                    lost.set()
                if client not in self._forgotten:
                    server.sendall(data)

    def _replies(self, client: socket.socket, server: socket.socket, lost: Any) -> None:
        with suppress(OSError):
            while (data := server.recv(1 << 20)) and not lost.is_set():
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        self._forgotten = self._sockets[1:]

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(redis_server.port)
    yield proxy
    proxy.close()


def log_of(server: Proxy | RedisServer) -> RedisLog:
    return RedisLog(server.url, prefix=f"test-{secrets.token_hex(4)}:", timeout=5.0)


async def test_a_run_whose_beginning_was_not_confirmed_begins_once(proxy: Proxy) -> None:
    async with running(log_of(proxy)) as h:
        await h.done(0, id="first")
        proxy.swallow = b"MULTI"
        content = Content()
        run = await h.live.start(content, id="run")
        assert proxy.swallow is None
        content.put(1)
        content.end()
        assert await run.wait() == "done"
        assert content.iterated
        assert [item async for item in run.follow()] == [1]


async def test_items_whose_append_was_not_confirmed_are_there_once(proxy: Proxy) -> None:
    async with running(log_of(proxy)) as h:
        content = Content()
        run = await h.live.start(content, id="run")
        proxy.swallow = b"NOMKSTREAM"
        content.put(1, 2, 3)
        await until(lambda: proxy.swallow is None)
        content.put(4)
        content.end()
        assert await run.wait() == "done"
        assert [item async for item in run.follow()] == [1, 2, 3, 4]


async def test_what_was_published_and_not_confirmed_is_published_once(proxy: Proxy) -> None:
    async with running(log_of(proxy)) as h:
        channel = h.live.channel("c", history=10)
        first = await channel.publish(1)
        proxy.swallow = b"MAXLEN"
        second = await channel.publish(2)
        assert proxy.swallow is None
        third = await channel.publish(3)
        assert first < second < third
        follow = channel.follow()
        assert [await anext(follow) for _ in range(3)] == [1, 2, 3]
        assert follow.position == third
        await follow.aclose()


async def test_processes_that_were_forked_take_their_items_for_their_own(
    redis_server: RedisServer,
) -> None:
    log = log_of(redis_server)
    # As `gunicorn --preload` does: made once, and opened in each worker.
    forked = copy.copy(log)
    forked._numbers = count(1)
    for each in log, forked:
        await each.open()
        await each.publish("c", [ITEM], keep=10, max_age=None, ttl=60)
        await each.aclose()
    with redis.Redis(port=redis_server.port) as client:
        one, other = client.xrange(f"{log._prefix}channel:c")
    # By its token an item is found that may have been appended before a connection broke.
    assert one[1][b"t"] != other[1][b"t"]


async def test_an_end_that_was_not_confirmed_stands(proxy: Proxy) -> None:
    async with running(log_of(proxy)) as h:
        content = Content()
        run = await h.live.start(content, id="run")
        proxy.swallow = b"cancelled"
        assert await run.cancel() == "cancelled"
        assert proxy.swallow is None
        with pytest.raises(RunFailed, match="cancelled"):
            await anext(run.follow())


async def test_a_connection_that_the_network_has_forgotten_is_given_up(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.live.wire.PATIENCE", 0.1)
    async with running(log_of(proxy)) as h:
        channel = h.live.channel("c", history=10)
        await channel.publish(1)
        proxy.forget()
        await channel.publish(2)
        follow = channel.follow()
        assert [await anext(follow) for _ in range(2)] == [1, 2]
        await follow.aclose()


async def test_a_redis_that_is_slow_keeps_its_connection(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.live.wire.PATIENCE", 0.1)
    async with running(log_of(redis_server)) as h:
        log: Any = h.live._core.log
        await h.done(1)
        connection = log._wire._connection
        with redis.Redis(port=redis_server.port) as client:
            client.client_pause(500)
        await h.done(2, id="slow")
        assert log._wire._connection is connection


async def test_a_command_that_cannot_be_written_is_no_failure_of_redis(proxy: Proxy) -> None:
    async with running(log_of(proxy)) as h:
        with pytest.raises(UnicodeEncodeError):
            await h.live._core.log.info("\ud800")
        # The next one goes on a connection of its own.
        await h.done(1)


async def test_a_reader_gets_all_that_came_while_the_loop_was_busy(
    proxy: Proxy, redis_server: RedisServer
) -> None:
    async with running(log_of(proxy)) as h:
        log: Any = h.live._core.log
        channel = h.live.channel("c", history=500)
        await channel.publish(-1)
        follow = channel.follow("now")
        await follow.open()
        client = redis.Redis(port=redis_server.port)
        for n in range(200):
            client.xadd(f"{log._prefix}channel:c", {"j": str(n), "t": f"other-{n}"})
            # Each in a reply of its own.
            time.sleep(0.002)  # noqa: ASYNC251
        client.close()
        assert [await anext(follow) for _ in range(200)] == list(range(200))
        await follow.aclose()


async def anext_but(item: Any, follow: Any) -> Any:
    while (found := await anext(follow)) == item:
        pass
    return found


@pytest.mark.parametrize("left", [1025, 5], ids=["by number", "by age"])
async def test_what_was_trimmed_while_the_loop_was_busy_is_told(
    proxy: Proxy, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr("streamkit.live.link.BACKLOG", 0)
    async with running(log_of(proxy)) as h:
        log: Any = h.live._core.log
        channel, follow = await followed_channel(h, history=1000)
        await channel.publish("read")
        assert await anext(follow) == "read"
        key = f"{log._prefix}channel:c"
        with redis.Redis(port=redis_server.port) as client:
            client.xadd(key, {"j": "0", "t": "other-0"})
            # Code that keeps the loop: from here on, the thread that reads waits for it.
            while not log._link._replies:
                time.sleep(0.002)  # noqa: ASYNC251
            with client.pipeline() as pipeline:
                for n in range(1, 3000):
                    pipeline.xadd(key, {"j": str(n), "t": f"other-{n}"})
                pipeline.xtrim(key, left, approximate=False)
                pipeline.execute()
            if left == 5:
                # By its age nothing is trimmed within a second.
                for _ in range(1000):
                    if log._link._suspicious:
                        break
                    time.sleep(0.01)  # noqa: ASYNC251
        # It may be told before it has taken the first one.
        with pytest.raises(SlowReader):
            await anext_but(0, follow)


async def test_what_was_trimmed_before_the_first_item_of_a_reader_is_told(
    redis_server: RedisServer,
) -> None:
    async with running(log_of(redis_server)) as h:
        log: Any = h.live._core.log
        _, follow = await followed_channel(h, history=1000)
        key = f"{log._prefix}channel:c"
        # In one piece, as all is that comes while a connection is away.
        with redis.Redis(port=redis_server.port) as client, client.pipeline() as pipeline:
            for n in range(3000):
                pipeline.xadd(key, {"j": str(n), "t": f"other-{n}"}, maxlen=1025, approximate=False)
            pipeline.execute()
        with pytest.raises(SlowReader):
            await anext(follow)


class Sink:
    """Keeps what a log feeds it."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.missed: list[str] = []

    def feed(self, records: Sequence[Record]) -> None:
        self.data += [record.data for record in records]

    def miss(self, position: str) -> None:
        self.missed.append(position)

    def fail(self, error: Exception) -> None:
        raise error


async def test_a_reply_that_waits_for_the_loop_is_not_for_those_who_come_meanwhile(
    proxy: Proxy, redis_server: RedisServer
) -> None:
    log = log_of(proxy)
    await log.open()
    payloads = [Payload("j", b"%d" % n) for n in range(3)]
    ids = await log.publish("c", payloads, keep=2000, max_age=None, ttl=60.0)
    first, second = Sink(), Sink()
    leave = await log.subscribe("c", ids[1], first, channel=True)
    await until(lambda: first.data == [b"2"])
    with redis.Redis(port=redis_server.port) as client:
        client.xadd(f"{log._prefix}channel:c", {"j": "3", "t": "other"})
    while not log._link._replies:  # type: ignore[union-attr]
        time.sleep(0.002)  # noqa: ASYNC251
    leave()
    await log.subscribe("c", ids[0], second, channel=True)
    await until(lambda: b"3" in second.data)
    assert (second.data, second.missed) == ([b"1", b"2", b"3"], [])
    await log.aclose()


async def test_an_app_ends_although_redis_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        log = RedisLog(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        async with running(log) as h:
            # By our limit, or by the client's, which is as long.
            with pytest.raises(LogUnavailable, match=r"no answer|Timeout reading"):
                await h.live.state("run")
            with anyio.move_on_after(0.05):
                # Given up before it was sent: it need not be sent at all.
                await h.live.state("run")


def test_without_the_redis_package_the_log_says_what_to_install() -> None:
    program = "import sys; sys.modules['redis'] = None; from streamkit.live import RedisLog"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "pip install 'streamkit[redis]'" in ended.stderr
