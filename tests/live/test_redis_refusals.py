"""Commands that Redis refuses: for now, because it has become a replica, or altogether."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest

from streamkit.live import LogUnavailable, RedisLog, RunFailed, UnknownStream
from tests.live.conftest import RedisServer
from tests.live.support import Content, followed_run, running, until
from tests.live.test_redis_connections import Proxy

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.anyio


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=redis_server.port) as client:
        yield client


@contextmanager
def setting(client: Any, name: str, value: str, usual: str) -> Iterator[None]:
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, usual)


def log_of(server: Any) -> RedisLog:
    return RedisLog(server.url, prefix=f"test-{secrets.token_hex(4)}:", timeout=10.0)


@pytest.mark.parametrize(
    ("name", "value", "usual"), [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")]
)
async def test_what_redis_refuses_for_a_while_is_appended_afterwards(
    redis_server: RedisServer,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    usual: str,
) -> None:
    monkeypatch.setattr("streamkit.live.redis.FIRST", 0.2)
    log = log_of(redis_server)
    async with running(log, lease=10.0) as h:
        content, run, follow = await followed_run(h)
        channel = h.live.channel("c", history=10)
        refused = Content()
        async with anyio.create_task_group() as group:
            with setting(client, name, value, usual):
                content.put(1)
                group.start_soon(channel.publish, 2)
                with pytest.raises(LogUnavailable):
                    await h.live.start(refused, id="refused")
                assert (refused.closed, refused.iterated) == (1, False)
        content.end()
        assert await run.wait() == "done"
        # All of it is in the log.
        assert [item async for item in run.follow()] == [1]
        assert [item async for item in follow] == [1]
        assert client.xlen(f"{log._prefix}channel:c") == 1
        await h.done(id="refused")


async def test_a_run_whose_lease_redis_refuses_is_not_lost(
    redis_server: RedisServer, client: Any
) -> None:
    here = log_of(redis_server)
    there = RedisLog(redis_server.url, prefix=here._prefix)
    async with running(here, lease=1.5) as one, running(there, lease=1.5) as two:
        content, run, reader = await followed_run(one)
        other = two.live.follow(run.id)
        await other.open()
        with setting(client, "maxmemory", "1", "0"):
            await until(lambda: not client.keys(f"{here._prefix}lease:*"))
            # Long enough for others to miss it, and to want to say so.
            await anyio.sleep(1.5)
        await until(lambda: client.keys(f"{here._prefix}lease:*"))
        # What was refused is tried again by now.
        await anyio.sleep(1)
        content.put(1)
        content.end()
        assert [item async for item in reader] == [item async for item in other] == [1]
        assert await two.live.state(run.id) == "done"


async def test_a_run_that_redis_was_too_slow_to_begin_can_be_begun_again(
    redis_server: RedisServer, client: Any
) -> None:
    async with running(log_of(redis_server)) as h:
        refused = Content()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("streamkit.live.redis.FIRST", 0.05)
            # It begins the run afterwards, when nobody waits for that.
            client.client_pause(500)
            with pytest.raises(LogUnavailable):
                await h.live.start(refused, id="run")
        assert (refused.closed, refused.iterated) == (1, False)

        async def is_done() -> bool:
            with suppress(LogUnavailable, RunFailed, UnknownStream):
                await h.done(1)
                return True
            return False

        await until(is_done)
        assert [item async for item in h.live.follow("run")] == [1]


async def test_a_full_redis_is_not_asked_whether_it_took_what_it_refused(
    redis_server: RedisServer, client: Any
) -> None:
    async with running(log_of(redis_server)) as h:
        channel = h.live.channel("c", history=10)

        def count(command: str, what: str) -> int:
            return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get(what, 0))

        async with anyio.create_task_group() as group:
            with setting(client, "maxmemory", "1", "0"):
                client.config_resetstat()
                group.start_soon(channel.publish, 1)
                await until(lambda: count("xadd", "rejected_calls") >= 3)
        # It reads a thousand records each time, from a server that has enough to do.
        assert count("xrevrange", "calls") == 0


@pytest.mark.parametrize("stale", ["yes", "no"])
async def test_a_server_that_has_become_a_replica_is_left(
    redis_server: RedisServer, client: Any, stale: str
) -> None:
    promoted = RedisServer("redis-server")
    proxy = Proxy(redis_server.port)
    try:
        async with running(log_of(proxy)) as h:
            channel = h.live.channel("c", history=10)
            await channel.publish("before")
            # What it is a replica of is away: it refuses to read, too, unless it may be stale.
            with setting(client, "replica-serve-stale-data", stale, "yes"):
                client.replicaof("127.0.0.1", "1")
                proxy._port = promoted.port
                await channel.publish("after")
                await h.done(1)
    finally:
        client.replicaof("no", "one")
        proxy.close()
        promoted.close()


async def test_a_key_that_is_no_stream_is_a_503(redis_server: RedisServer, client: Any) -> None:
    log = log_of(redis_server)
    async with running(log) as h:
        content = Content()
        for key in ("run:bad", "channel:bad"):
            client.set(f"{log._prefix}{key}", "somebody's")
        for job in (
            lambda: h.live.start(content, id="bad"),
            lambda: h.live.state("bad"),
            lambda: h.live.cancel("bad"),
            lambda: anext(h.live.follow("bad")),
            lambda: anext(h.live.channel("bad").follow()),
        ):
            with pytest.raises(LogUnavailable, match="WRONGTYPE"):
                await job()  # type: ignore[no-untyped-call]
        assert content.closed == 1
        assert (await h.get("/streams/bad")).status == 503


async def test_a_user_that_may_not_append_is_told_why(
    redis_server: RedisServer, client: Any
) -> None:
    client.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xadd"])
    try:
        url = redis_server.url.replace("://", "://reader:any@")
        async with running(RedisLog(url, prefix=f"test-{secrets.token_hex(4)}:")) as h:
            with pytest.raises(LogUnavailable, match="permissions"):
                await h.live.start([1])
            with pytest.raises(LogUnavailable, match="permissions"):
                await h.live.channel("c").publish(1)
    finally:
        client.acl_deluser("reader")
