"""Several `Live`s over one Redis: leases, ends from elsewhere, and a Redis that loses things."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import anyio
import pytest

from streamkit.live import (
    Gone,
    Live,
    LogUnavailable,
    Payload,
    RedisLog,
    RunEnded,
    RunFailed,
    StreamGap,
    UnknownStream,
)
from streamkit.testing import stream
from tests.live.conftest import Place, RedisServer
from tests.live.support import Content, data, followed_run, rest_of, running, until
from tests.server import free_port

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.anyio

ITEM = Payload("j", b"1")
TIMES: Any = {"ttl": 60.0, "lease": 5.0, "linger": None}


async def test_a_run_is_waited_for_elsewhere(place: Place) -> None:
    async with running(place.log()) as one, running(place.log()) as two:
        content, seen = Content(), []
        await one.live.start(content, id="run")
        there = await two.live.start([], id="run")

        async def wait() -> None:
            seen.append(await there.wait())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await until(lambda: two.live._core.find("run", False))
            content.put(1)
            content.end()
        assert seen == ["done"]
        assert await there.wait() == "done"
        place.client.delete(place.run())
        with pytest.raises(UnknownStream):
            await there.wait()


async def test_a_lost_producer_ends_its_run_and_closes_its_content(place: Place) -> None:
    class Forgetful(RedisLog):
        async def renew(self, *args: Any, **options: Any) -> None:
            pass

    content = Content()
    async with (
        running(place.log(Forgetful), lease=0.3) as one,
        running(place.log(), lease=0.3) as two,
    ):
        await one.live.start(content, id="run")
        content.put(1)
        follow = two.live.follow("run")
        assert await anext(follow) == 1
        with pytest.raises(RunFailed, match="producer lost"):
            await anext(follow)
        assert await two.live.state("run") == "failed"
        await until(lambda: content.closed == 1)


async def test_a_run_does_not_expire_while_its_producer_lives(place: Place) -> None:
    log = place.log()
    await log.open()
    try:
        await log.begin("run", ttl=1.0, lease=600.0, linger=None)
        assert place.client.ttl(place.run()) > 600
        await log.renew("run", ttl=1.0, lease=900.0)
        assert place.client.ttl(place.run()) > 900
        await log.end("run", Payload("x", b"done "), ttl=1.0)
        assert place.client.ttl(place.run()) <= 1
    finally:
        await log.aclose()


async def test_the_state_of_a_run_whose_producer_is_lost_is_failed(place: Place) -> None:
    log = place.log()
    await log.open()
    await log.begin("run", ttl=60.0, lease=0.1, linger=None)
    await log.aclose()
    async with running(place.log(), lease=0.2) as h:

        async def is_failed() -> bool:
            return await h.live.state("run") == "failed"

        await until(is_failed)


async def test_a_lease_that_was_evicted_is_looked_at_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Redis was there for longer than any lease.
    now = [monotonic() + 10_000]
    monkeypatch.setattr("streamkit.live.redis.monotonic", lambda: now[0])
    log = place.log()
    await log.open()
    try:
        await log.begin("run", **TIMES)
        for _ in range(2):
            place.client.delete(*place.client.keys(f"{place.prefix}lease:*"))
            assert await log.is_alive("run", lease=600.0)
            await log.renew("run", ttl=60.0, lease=600.0)
            now[0] += 300
            assert await log.is_alive("run", lease=600.0)
        place.client.delete(*place.client.keys(f"{place.prefix}lease:*"))
        assert await log.is_alive("run", lease=600.0)
        now[0] += 300
        assert not await log.is_alive("run", lease=600.0)
    finally:
        await log.aclose()


async def test_that_redis_is_slow_now_and_then_excuses_no_missing_lease(place: Place) -> None:
    log = place.log()
    await log.open()
    try:
        assert await log.info("run") is None
        since = log._wire.contact_since
        place.client.client_pause(400)
        assert await log.info("run") is None
        assert log._wire.contact_since == since
    finally:
        await log.aclose()


async def test_a_lease_that_nobody_asks_for_any_more_is_forgotten(place: Place) -> None:
    log = place.log()
    await log.open()
    try:
        for n in range(5):
            assert await log.is_alive(f"run-{n}", lease=600.0)
        log._missing |= dict.fromkeys(["run-0", "run-1"], -math.inf)
        await log.is_alive("run", lease=600.0)
        assert list(log._missing) == ["run-2", "run-3", "run-4", "run"]
    finally:
        await log.aclose()


async def test_a_run_lingers_for_a_reader_elsewhere(place: Place) -> None:
    content = Content()
    async with (
        running(place.log(), lease=0.8) as one,
        running(place.log(), lease=0.8) as two,
    ):
        run = await one.live.start(content, id="run", linger=0.3)
        follow = two.live.follow("run")
        await follow.open()
        # Longer than it lingers without a reader.
        await anyio.sleep(1.2)
        assert await one.live.state("run") == "running"
        content.put(1)
        assert await anext(follow) == 1
        await follow.aclose()
        assert await run.wait() == "cancelled"
        assert content.closed == 1


async def test_only_a_run_that_is_to_end_is_asked_for_its_readers_elsewhere(place: Place) -> None:
    asked: list[str] = []

    class Asked(RedisLog):
        async def is_attended(self, run: str) -> bool:
            asked.append(run)
            return await super().is_attended(run)

    async with running(place.log(Asked), lease=1000.0) as h:
        runs = [await h.live.start(Content(), id=f"run-{n}", linger=500) for n in range(5)]
        # With the leases all are asked for.
        await until(lambda: asked)
        asked.clear()
        h.live._core.producers["run-3"].unread_since = -math.inf
        h.live._core.change()
        assert await runs[3].wait() == "cancelled"
        assert asked == ["run-3"]


async def test_readers_of_a_run_that_redis_lost_are_told(place: Place) -> None:
    content = Content()
    async with running(place.log(), lease=0.4) as one, running(place.log(), lease=0.4) as two:
        run = await one.live.start(content, id="run")
        async with stream(one.app, "/streams/run") as client:
            content.put(0)
            body = await anext(aiter(client))
            while not data(body):
                body += await anext(client)
            elsewhere = two.live.follow("run")
            assert await anext(elsewhere) == 0
            place.client.flushdb()
            with pytest.raises(LogUnavailable, match="no longer in the log"):
                await anext(elsewhere)
            # The run goes on for those who read it where it is made.
            content.put(1, 2)
            await until(lambda: one.live._core.find("run", False).top == 3)
            content.end()
            body += await rest_of(client)
            assert client.error is None
            assert data(body) == [0, 1, 2]
        assert await two.live.state("run") is None
        assert content.closed == 1
        del run


async def test_a_run_that_redis_lost_ends_for_its_own_readers(place: Place) -> None:
    async with running(place.log()) as h:
        content, run, follow = await followed_run(h)
        content.put(1)
        assert await anext(follow) == 1
        place.client.flushdb()
        content.end()
        assert await run.wait() == "done"
        with pytest.raises(StopAsyncIteration):
            await anext(follow)


async def test_a_run_with_missing_items_is_gone_rather_than_short(place: Place) -> None:
    async with running(place.log()) as h:
        await h.done(1, 2, 3)
        (entries,) = (place.client.xrange(place.run()),)
        place.client.xdel(place.run(), entries[2][0])
        follow = h.live.follow("run")
        with pytest.raises(StreamGap):
            [item async for item in follow]


async def test_appending_where_nothing_can_be_appended(place: Place) -> None:
    log = place.log()
    await log.open()
    try:
        with pytest.raises(RunEnded):
            await log.append("never", 0, [ITEM])
        assert await log.end("never", Payload("x", b"done "), ttl=60.0) is None
        with pytest.raises(Gone):
            await log.read("never", "0000000000001-0000000000", 5)
        await log.begin("gone", **TIMES)
        place.client.delete(place.run("gone"))
        with pytest.raises(RunEnded):
            await log.append("gone", 0, [ITEM])
        assert await log.end("gone", Payload("x", b"done "), ttl=60.0) is None
        # Others appended under the ids of this producer.
        await log.begin("theirs", **TIMES)
        (id_,) = await log.append("theirs", 0, [ITEM])
        assert await log.append("theirs", 0, [ITEM]) == [id_]
        with pytest.raises(LogUnavailable, match="another producer"):
            await log.append("theirs", 0, [Payload("j", b"2")])
        await log.renew("never", ttl=60.0, lease=5.0)
        assert await log.is_alive("never", lease=60.0)
    finally:
        await log.aclose()


async def test_a_run_that_ended_elsewhere_is_forgotten_by_its_producer(place: Place) -> None:
    async with running(place.log()) as one, running(place.log()) as two:
        run = await one.live.start(Content(), id="run")
        assert await two.live.cancel("run") == "cancelled"
        assert await run.wait() == "cancelled"
        place.client.delete(place.run())
        content = Content()
        await two.live.start(content, id="run")
        # By this log's memory of the first one it would be no end of the second.
        assert await one.live.cancel("run") == "cancelled"
        await until(lambda: content.closed)
        assert one.live._core.log._mine == {}


async def test_a_producer_whose_run_redis_lost_does_not_end_the_next_one(place: Place) -> None:
    one, two = place.log(), place.log()
    await one.open()
    await two.open()
    try:
        await one.begin("run", **TIMES)
        place.client.delete(place.run())
        await two.begin("run", **TIMES)
        assert await one.end("run", Payload("x", b"done "), ttl=60.0) is None
        assert await two.append("run", 0, [ITEM])
    finally:
        await one.aclose()
        await two.aclose()


async def test_a_run_whose_producer_has_given_up_the_log_is_lost(place: Place) -> None:
    log = place.log()
    await log.open()
    try:
        await log.begin("run", **TIMES)
        place.client.xadd(place.run(), {"j": "2"}, id=f"{2**44}-1")
        with pytest.raises(LogUnavailable, match="another producer"):
            await log.append("run", 0, [ITEM])
        (lease,) = place.client.keys(f"{place.prefix}lease:*")
        place.client.delete(lease)
        await log.renew("run", ttl=60.0, lease=5.0)
        assert not place.client.exists(lease)
    finally:
        await log.aclose()


async def are_followed(h: Any) -> None:
    """Wait until this process reads all channels that are open: one that is opened now is read.

    A record that comes before the first look at an emptied channel is taken for a gap.
    """
    other = h.live.channel("other", history=1)
    follow = other.follow()
    await follow.open()
    await other.publish("read")
    assert await anext(follow) == "read"
    await follow.aclose()


@pytest.mark.parametrize("hours_ahead", [0, 1])
async def test_old_items_of_a_channel_are_dropped_by_the_clock_of_redis(
    place: Place, monkeypatch: pytest.MonkeyPatch, hours_ahead: int
) -> None:
    monkeypatch.setattr("streamkit.live.redis_channels.TRIMMED", 2)
    now = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: now() + hours_ahead * 3600 * 10**9)
    times: Any = {"keep": 1000, "max_age": 60.0, "ttl": 60.0}
    log = place.log()
    await log.open()
    for name in "abc":
        key = place.channel(name)
        with place.client.pipeline() as pipeline:
            for n in range(300):
                pipeline.xadd(key, {"j": "1", "t": "old"}, id=f"{now() // 10**6 - 600_000}-{n}")
            pipeline.execute()
        await log.publish(name, [ITEM] * 300, **times)
        # Redis drops them by the hundred.
        await until(lambda key=key: place.client.xlen(key) < 500)
        assert place.client.xlen(key) >= 300
        assert len(log._trimmed) <= 2
    await log.aclose()


async def test_a_channel_that_was_emptied_goes_on(place: Place) -> None:
    async with running(place.log()) as h:
        channel = h.live.channel("c", history=5)
        last = [await channel.publish(n) for n in range(3)][-1]
        place.client.xtrim(place.channel(), maxlen=0)
        follow = channel.follow()
        await follow.open()
        back = channel.follow(last)
        await back.open()
        await are_followed(h)
        await channel.publish("next")
        assert await anext(follow) == await anext(back) == "next"
        await follow.aclose()
        await back.aclose()


async def test_who_comes_back_to_an_emptied_channel_has_missed_nothing(place: Place) -> None:
    async with running(place.log()) as h:
        channel = h.live.channel("c", history=5, max_age=60)
        last = [await channel.publish(n) for n in range(3)][-1]
        place.client.xtrim(place.channel(), maxlen=0)
        back = channel.follow(last)
        await back.open()
        # Of a channel that nobody ever published to, the first id is known.
        new = h.live.channel("new", history=5).follow("0000000000000-0000000000")
        await new.open()
        await are_followed(h)
        await channel.publish("next")
        await h.live.channel("new", history=5).publish("first")
        assert [await anext(back), await anext(new)] == ["next", "first"]
        await back.aclose()
        await new.aclose()


async def test_a_channel_of_nothing_but_its_end(place: Place) -> None:
    async with running(place.log()) as h:
        channel = h.live.channel("c", history=5)
        await channel.close()
        with pytest.raises(StopAsyncIteration):
            await anext(channel.follow())
        await channel.publish(1)
        follow = channel.follow()
        assert await anext(follow) == 1
        await follow.aclose()


async def test_a_channel_whose_key_is_no_stream_is_unavailable(place: Place) -> None:
    async with running(place.log()) as h:
        place.client.set(place.channel(), "somebody's")
        with pytest.raises(LogUnavailable, match="WRONGTYPE"):
            await h.live.channel("c").publish(1)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: RedisLog(5), TypeError, "takes a URL"),
        (lambda: RedisLog("redis://x", prefix=5), TypeError, "prefix must be str"),  # type: ignore[arg-type]
        (lambda: RedisLog("redis://x", timeout="5"), TypeError, "timeout must be"),  # type: ignore[arg-type]
        (lambda: RedisLog("redis://x", timeout=True), TypeError, "timeout must be"),
        (lambda: RedisLog("redis://x", timeout=0), ValueError, "more than 0"),
    ],
)
async def test_wrong_arguments_of_a_redis_log_are_told(
    make: Callable[[], Any], error: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("address", "why"),
    [("reader:wrong@127.0.0.1:{server}", "invalid"), ("127.0.0.1:{closed}", "refused")],
)
async def test_a_redis_that_lets_nobody_in_is_logged_once(
    redis_server: RedisServer, address: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = address.format(server=redis_server.port, closed=free_port())
    log: Any = RedisLog(f"redis://{address}", timeout=0.5)
    tries = []
    connect = log._connect
    log._connect = lambda timeout: [tries.append(timeout), connect(timeout)][1]
    async with running(log):
        # The thread that reads is at it for longer than the timeout.
        await until(lambda: len(tries) > 8)
    (logged,) = [each for each in caplog.messages if "reading from Redis failed" in each]
    assert why in logged


async def test_a_log_that_is_not_open_says_so() -> None:
    log = RedisLog("redis://127.0.0.1:1")
    with pytest.raises(LogUnavailable, match="not open"):
        await log.info("run")

    class Sink:
        pass

    with pytest.raises(LogUnavailable, match="not open"):
        await log.subscribe("run", "0", Sink())  # type: ignore[arg-type]
    await log.aclose()


async def test_a_log_of_a_client_takes_its_settings(place: Place) -> None:
    async with Live(RedisLog(place.client, prefix=place.prefix)) as live:
        run = await live.start([1, 2])
        assert await run.wait() == "done"
        assert [item async for item in run.follow()] == [1, 2]
    async with Live(RedisLog(place.client, prefix=place.prefix, timeout=math.inf)) as live:
        assert await live.state(run.id) == "done"
    # The client is left as it was.
    assert place.client.ping()


async def test_names_are_utf_8_whatever_a_client_writes(
    place: Place, redis_server: RedisServer
) -> None:
    with redis.Redis(port=redis_server.port, encoding="latin-1", protocol=3) as client:
        async with running(RedisLog(client, prefix=place.prefix)) as h:
            follow = h.live.channel("prix-été").follow()
            await follow.open()
            await h.live.channel("prix-été").publish(1)
            with anyio.fail_after(10):
                assert await anext(follow) == 1
            await follow.aclose()


async def test_readers_are_cut_when_redis_is_away_for_longer_than_the_timeout() -> None:
    import shutil

    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    server = RedisServer("redis-server")
    try:
        async with AsyncExitStack() as stack:
            h = await stack.enter_async_context(running(RedisLog(server.url, timeout=1.0)))
            channel = h.live.channel("c", history=5)
            await channel.publish(1)
            follow = channel.follow()
            assert await anext(follow) == 1
            server.kill()
            with pytest.raises(LogUnavailable):
                await anext(follow)
            with pytest.raises(LogUnavailable):
                await channel.publish(2)
    finally:
        server.close()
