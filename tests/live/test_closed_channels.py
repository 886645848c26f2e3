"""Channels that are closed, opened again and forgotten, over both logs."""

from __future__ import annotations

import random
import secrets
from contextlib import suppress
from typing import Any

import anyio
import pytest

from streamkit.live import Log, SlowReader, StreamGap
from streamkit.testing import fetch
from tests.live.conftest import RedisServer
from tests.live.support import followed_channel, running, until

pytestmark = pytest.mark.anyio


async def test_a_reader_of_a_closed_channel_that_is_opened_again_goes_on(log: Log) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=50)
        for n in range(20):
            await channel.publish(n)
        await channel.close()
        slow = channel.follow()
        got = [await anext(slow)]
        await channel.publish(20)
        got += [await anext(slow) for _ in range(20)]
        await channel.publish(21)
        assert [*got, await anext(slow)] == list(range(22))
        await slow.aclose()


async def test_who_comes_to_a_channel_that_is_open_again_hears_of_what_comes(log: Log) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=50)
        await channel.publish("before")
        await channel.close()
        slow = channel.follow()
        await slow.open()
        await channel.publish("again")
        late = channel.follow("now")
        await late.open()
        await channel.publish("next")
        assert await anext(late) == "next"
        assert [await anext(slow) for _ in range(3)] == ["before", "again", "next"]
        await late.aclose()
        await slow.aclose()


@pytest.mark.parametrize("item", [True, False])
async def test_who_comes_back_is_told_however_often_a_channel_was_closed(
    log: Log, item: bool
) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=50)
        after = await channel.publish(1) if item else None
        # As by each of several workers, in its lifespan.
        for _ in range(20):
            await channel.close()
            follow = channel.follow(after or "now")
            assert (await follow.open()).status_code == 204
        await channel.publish(2)
        follow = channel.follow(after)
        assert await anext(follow) == 2
        await follow.aclose()


async def test_a_thread_closes_a_channel_which_takes_items_afterwards(log: Log) -> None:
    async with running(log) as h:
        channel, follow = await followed_channel(h, history=10)

        @h.app.post("/close")
        def close() -> None:
            channel.publish_from_thread("last")
            channel.close()

        assert (await fetch(h.app, "/close", method="POST")).status == 200
        assert [item async for item in follow] == ["last"]
        channel.publish_from_thread("next")
        again = channel.follow(follow.position)

        async def is_open() -> bool:
            info = await log.info("c", channel=True)
            return info is not None and info.end is None

        await until(is_open)
        assert await anext(again) == "next"
        await again.aclose()


async def test_who_comes_back_with_the_id_of_the_end_has_all_of_it(log: Log) -> None:
    async with running(log) as h:
        run = await h.done(1, 2)
        channel = h.live.channel("c", history=10)
        await channel.publish(1)
        await channel.close()
        for follow_after, name in (run.follow, "run"), (channel.follow, "c"):
            info = await log.info(name, channel=name == "c")
            assert info is not None
            assert info.end is not None
            assert (await follow_after(info.end.id).open()).status_code == 204


async def test_what_threads_have_published_comes_before_the_end(log: Log) -> None:
    async with running(log) as h:
        channel, follow = await followed_channel(h, history=500)
        for n in range(300):
            channel.publish_from_thread(n)
        await channel.close()
        assert [item async for item in follow] == list(range(300))
        # The end is the newest record: the channel is not open again.
        info = await log.info("c", channel=True)
        assert info is not None
        assert info.end is not None


@pytest.mark.parametrize("history", [0, 10])
async def test_who_comes_to_a_channel_that_redis_has_forgotten_hears_of_what_comes(
    redis_server: RedisServer, history: int
) -> None:
    import redis

    from streamkit.live import RedisLog

    client, prefix = redis.Redis(port=redis_server.port), f"test-{secrets.token_hex(4)}:"
    async with running(RedisLog(redis_server.url, prefix=prefix)) as h:
        channel = h.live.channel("c", history=history)
        await channel.publish("before")
        first = channel.follow("now")
        await first.open()
        # As after `ttl` seconds without an item.
        client.delete(f"{prefix}channel:c")
        second = channel.follow()
        got: list[Any] = []

        async def read() -> None:
            got.append(await anext(second))

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await until(lambda: second._reader and second._reader.is_level)
            await channel.publish("after")
        assert got == [await anext(first)] == ["after"]
        await first.aclose()
        await second.aclose()
    client.close()


class Model:
    """A channel that anything happens to, and what its readers must then have been given."""

    def __init__(self, channel: Any, seed: int) -> None:
        self.channel = channel
        self.random = random.Random(seed)
        # Numbers, and None for each time it was closed.
        self.published: list[int | None] = []
        self.readers: list[Reader] = []

    async def publish(self) -> None:
        for _ in range(self.random.choice([1, 2, 7])):
            await self.channel.publish(len(self.published))
            self.published.append(len(self.published))

    async def close(self) -> None:
        await self.channel.close()
        self.published.append(None)

    async def come(self) -> None:
        known = [reader.follow.position for reader in self.readers if reader.got]
        follow = self.channel.follow(self.random.choice([None, "now", *known[-2:]]))
        with suppress(StreamGap):
            if (await follow.open()).status_code is None:
                self.readers.append(Reader(follow, len(self.published)))

    async def read(self) -> None:
        if self.readers:
            with anyio.move_on_after(0.01):
                await self.random.choice(self.readers).read(self.random.choice([1, 3, 20]))

    async def step(self) -> None:
        kinds = [self.publish, self.close, self.come, self.read]
        (kind,) = self.random.choices(kinds, [4, 1, 2, 3])
        await kind()

    async def check(self) -> None:
        await self.publish()
        for reader in self.readers:
            with anyio.fail_after(10):
                while not reader.over and reader.got[-1:] != self.published[-1:]:
                    await reader.read(1)
            # In order, and nothing left out; an end only where the channel was closed.
            got = reader.got
            begin = got[0] if got else reader.came
            rest = iter(self.published[begin:])
            assert [next(n for n in rest if n is not None) for _ in got] == got
            assert reader.over != "end" or None in (list(rest) if got else self.published)
            await reader.follow.aclose()


class Reader:
    def __init__(self, follow: Any, came: int) -> None:
        self.follow = follow
        self.came = came
        self.got: list[int] = []
        self.over: str | None = None

    async def read(self, count: int) -> None:
        for _ in range(0 if self.over else count):
            try:
                self.got.append(await anext(self.follow))
            except StopAsyncIteration:
                self.over = "end"
                return
            except SlowReader:
                self.over = "slow"
                return


@pytest.mark.parametrize("history", [0, 5, 50])
async def test_readers_miss_nothing_whenever_a_channel_is_closed_and_opened_again(
    log: Log, history: int
) -> None:
    for seed in range(3 if log.remote else 12):
        async with running(log) as h:
            model = Model(h.live.channel(f"c{seed}", history=history), seed)
            for _ in range(60):
                await model.step()
            await model.check()
