"""The table of semantics for channels, row by row, over both logs."""

from __future__ import annotations

import gc
import math
from typing import Any

import anyio
import pytest

from streamkit.live import Log, SlowReader, StreamGap
from streamkit.testing import stream
from tests.live.support import data, followed_channel, rest_of, running, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("history", "expected"), [(0, ["next"]), (2, [3, 4, "next"]), (100, [0, 1, 2, 3, 4, "next"])]
)
async def test_a_channel_begins_with_its_history(
    log: Log, history: int, expected: list[Any]
) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=history)
        for n in range(5):
            await channel.publish(n)
        follow = channel.follow()
        await follow.open()
        await channel.publish("next")
        await channel.close()
        assert [item async for item in follow] == expected


async def test_a_cursor_that_fell_out_of_the_history_is_a_gap(log: Log) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=3)
        published = [await channel.publish(n) for n in range(10)]
        assert (await h.get("/channels/c", last_event_id=published[5])).status == 410
        async with stream(h.app, f"/channels/c?after={published[6]}") as client:
            assert client.status == 200
        follow = channel.follow(published[0], gap="event")
        first = await anext(follow)
        assert first.event == "gap"
        assert [await anext(follow) for _ in range(3)] == [7, 8, 9]
        await follow.aclose()


@pytest.mark.parametrize("on_slow", ["cut", "gap", "latest"])
async def test_a_reader_that_fell_out_of_the_history(log: Log, on_slow: Any) -> None:
    async with running(log) as h:
        channel, follow = await followed_channel(h, history=4, on_slow=on_slow)
        await channel.publish("first")
        assert await anext(follow) == "first"
        for n in range(2999):
            channel.publish_from_thread(n)
        await channel._flush()
        last = await channel.publish(2999)
        await until(lambda: follow._reader.tail.last == last)
        if on_slow == "cut":
            with pytest.raises(SlowReader):
                await anext(follow)
            back = await h.get("/channels/c", last_event_id=follow.position)
            assert back.status == 410
        elif on_slow == "gap":
            assert (await anext(follow)).event == "gap"
            assert [await anext(follow) for _ in range(4)] == [2996, 2997, 2998, 2999]
        else:
            assert await anext(follow) == 2999
        await follow.aclose()


async def test_now_gives_only_what_comes_next(log: Log) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=10)
        await channel.publish("before")
        follow = channel.follow("now")
        await follow.open()
        await channel.publish("after")
        assert await anext(follow) == "after"
        await follow.aclose()


async def test_a_burst_larger_than_the_history_reaches_a_reader_that_waits(log: Log) -> None:
    async with running(log) as h:
        channel, follow = await followed_channel(h, history=1)
        got: list[Any] = []

        async def read() -> None:
            async for item in follow:
                got.append(item)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.sleep(0.05)
            for n in range(50):
                await channel.publish(n)
            await until(lambda: len(got) == 50)
            await channel.close()
        assert got == list(range(50))


async def test_old_items_of_a_channel_are_not_given(log: Log) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=10, max_age=0.2)
        old = await channel.publish("old")
        older = await channel.publish("older")
        await anyio.sleep(0.3)
        await channel.publish("new")
        follow = channel.follow()
        assert await anext(follow) == "new"
        await follow.aclose()
        with pytest.raises(StreamGap):
            await channel.follow(old).open()
        follow = channel.follow(older)
        assert await anext(follow) == "new"
        await follow.aclose()


async def test_closing_a_channel_ends_its_readers_cleanly_and_publishing_opens_it(log: Log) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=10)
        await channel.publish(1)
        async with stream(h.app, "/channels/c") as client:
            await anext(aiter(client))
            await channel.close()
            await rest_of(client)
            assert client.error is None
        last = channel.follow()
        assert [item async for item in last] == [1]
        assert (await h.get("/channels/c", last_event_id=last.position)).status == 204
        await channel.publish(2)
        follow = channel.follow()
        assert [await anext(follow), await anext(follow)] == [1, 2]
        await follow.aclose()


async def test_a_channel_that_is_not_in_use_costs_nothing(log: Log) -> None:
    async with running(log) as h:
        for n in range(100):
            await h.live.channel(f"room-{n}", history=10).publish(n)
        gc.collect()
        assert not h.live._channels
        follow = h.live.channel("room-7", history=20).follow()
        # What threads publish is not lost with it.
        h.live.channel("room-7", history=20).publish_from_thread("more")
        assert [await anext(follow), await anext(follow)] == [7, "more"]
        await follow.aclose()


async def test_threads_publish_in_order(log: Log) -> None:
    async with running(log) as h:
        channel, follow = await followed_channel(h, history=5000)

        def publish() -> None:
            for n in range(3000):
                channel.publish_from_thread(n)

        await anyio.to_thread.run_sync(publish)
        assert [await anext(follow) for _ in range(3000)] == list(range(3000))
        await follow.aclose()


@pytest.mark.parametrize("on_slow", ["cut", "gap", "latest"])
async def test_a_reader_of_the_history_that_is_overtaken_by_what_is_kept(
    log: Log, on_slow: Any
) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=100, on_slow=on_slow)
        for n in range(100):
            await channel.publish(n)
        follow = channel.follow()
        assert await anext(follow) == 0
        for n in range(100, 2999):
            channel.publish_from_thread(n)
        await channel._flush()
        last = await channel.publish(2999)
        await until(lambda: h.live._core.find("c", True).last == last)
        got: list[Any] = [0]
        if on_slow == "cut":
            with pytest.raises(SlowReader, match="'c' fell 100"):  # noqa: PT012
                async for item in follow:
                    got.append(item)
        else:
            while got[-1] != 2999:
                got.append(await anext(follow))
        # What it held came first.
        behind = [item for item in got if isinstance(item, int) and item < 100]
        assert behind == list(range(len(behind)))
        rest = got[len(behind) :]
        if on_slow == "gap":
            assert rest[0].event == "gap"
            assert rest[1:] == list(range(2900, 3000))
        else:
            assert rest == ([] if on_slow == "cut" else [2999])
        await follow.aclose()


async def test_without_a_history_who_comes_back_still_misses_nothing(log: Log) -> None:
    async with running(log) as h:
        channel = h.live.channel("c")
        first = await channel.publish(1)
        await channel.publish(2)
        follow = channel.follow(first)
        assert await anext(follow) == 2
        await follow.aclose()


@pytest.mark.parametrize("history", [0, 10])
async def test_who_came_before_the_first_item_comes_back_and_misses_nothing(
    log: Log, history: int
) -> None:
    async with running(log) as h:
        channel = h.live.channel("c", history=history)
        early = channel.follow()
        await early.open()
        await early.aclose()
        await channel.publish(1)
        back = channel.follow(early.position)
        assert await anext(back) == 1
        await back.aclose()
        # Nor for one who came to nothing but an end.
        ended = h.live.channel("ended", history=history)
        for _ in range(2):
            await ended.close()
            only = ended.follow()
            assert [item async for item in only] == []
            assert (await ended.follow(only.position).open()).status_code == 204
            assert (await ended.follow(early.position).open()).status_code == 204


async def test_many_readers_of_a_long_channel_get_the_same_events(log: Log) -> None:
    count = 2500
    async with running(log) as h:
        channel = h.live.channel("c", history=10)
        bodies: list[bytes] = []

        async def read() -> None:
            async with stream(h.app, "/channels/c") as client:
                bodies.append(await rest_of(client))
                assert client.error is None

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            await until(lambda: getattr(h.live._core.find("c", True), "readers", 0) == 3)
            for n in range(count):
                await channel.publish(n)
            await channel.close()
        assert bodies[0] == bodies[1] == bodies[2]
        assert data(bodies[0]) == list(range(count))


async def test_what_never_expires_is_kept(log: Log) -> None:
    async with running(log, ttl=math.inf, lease=math.inf) as h:
        await h.done(1)
        assert [item async for item in h.live.follow("run")] == [1]
        channel = h.live.channel("c", history=10, max_age=math.inf)
        await channel.publish(1)
        follow = channel.follow()
        assert await anext(follow) == 1
        await follow.aclose()
