"""The log in memory: what makes room, what expires, and what it needs no lease for."""

from __future__ import annotations

import tracemalloc

import anyio
import pytest

from streamkit.live import Gone, Log, MemoryLog, Payload, Record
from tests.live.support import Content, followed_channel, running, until

pytestmark = pytest.mark.anyio

END = Payload("x", b"done ")
ORIGIN = "0000000000000-0000000000"


class Sink:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def feed(self, records: list[Record]) -> None:
        self.records += records


async def test_a_producer_in_memory_needs_no_lease() -> None:
    log = MemoryLog()
    await log.begin("run", ttl=0.1, lease=0.1, linger=None)
    await log.renew("run", ttl=0.1, lease=0.1)
    await log.attend("run", lease=0.1)
    assert await log.is_alive("run", lease=0.1)
    # Readers of this process are known without it.
    assert not await log.is_attended("run")


async def test_what_is_not_there_is_gone_and_an_empty_channel_is_empty() -> None:
    log = MemoryLog()
    with pytest.raises(Gone):
        await log.read("run", ORIGIN, 5)
    with pytest.raises(Gone):
        await log.subscribe("run", ORIGIN, Sink())  # type: ignore[arg-type]
    assert await log.read("c", ORIGIN, 5, channel=True) == []
    assert await log.oldest("c", 5, None) == ORIGIN
    with pytest.raises(Gone):
        await log.read("c", "1000000000000-0000000001", 5, channel=True)


async def test_a_subscriber_is_given_what_is_there_first() -> None:
    log, sink = MemoryLog(), Sink()
    origin = await log.begin("run", ttl=60, lease=5, linger=None)
    assert origin is not None
    await log.append("run", 0, [Payload("j", b"1")])
    stop = await log.subscribe("run", origin, sink)  # type: ignore[arg-type]
    await log.append("run", 1, [Payload("j", b"2")])
    stop()
    stop()
    await log.append("run", 2, [Payload("j", b"3")])
    assert [record.data for record in sink.records] == [b"1", b"2"]


async def test_the_largest_stream_gives_its_oldest_items_when_no_run_has_ended() -> None:
    async with running(MemoryLog(max_bytes=60_000)) as h:
        small = h.live.channel("small", history=100)
        large = h.live.channel("large", history=100)
        await small.publish("kept")
        for n in range(100):
            await large.publish(f"{n} {'x' * 2000}")
        follow = small.follow()
        assert await anext(follow) == "kept"
        await follow.aclose()
        follow = large.follow()
        oldest = int((await anext(follow)).split()[0])
        rest = [int((await anext(follow)).split()[0]) for _ in range(oldest + 1, 100)]
        assert oldest > 0
        assert rest == list(range(oldest + 1, 100))
        await follow.aclose()


async def test_one_item_larger_than_the_log_is_still_delivered() -> None:
    async with running(MemoryLog(max_bytes=1000)) as h:
        channel = h.live.channel("c", history=2)
        await channel.publish("y" * 5000)
        follow = channel.follow()
        assert await anext(follow) == "y" * 5000
        await follow.aclose()


async def test_a_channel_that_is_published_to_or_read_does_not_expire() -> None:
    async with running(MemoryLog(), ttl=2.0) as h:
        read, silent, busy = (h.live.channel(name, history=5) for name in ("r", "s", "b"))
        await read.publish(1)
        await silent.publish(1)
        await busy.publish(1)
        follow = read.follow()
        assert await anext(follow) == 1
        for n in range(4):
            await anyio.sleep(0.6)
            await busy.publish(n)
        log = h.live._core.log

        async def is_empty() -> bool:
            await log.info("s", channel=True)
            return await log.oldest("s", 5, None) == ORIGIN

        await until(is_empty)
        await read.publish(2)
        assert await anext(follow) == 2
        await follow.aclose()
        again = busy.follow()
        assert [await anext(again) for _ in range(5)] == [1, 0, 1, 2, 3]
        await again.aclose()


async def test_a_run_that_made_room_before_it_expired() -> None:
    log = MemoryLog(max_bytes=1000)
    await log.begin("one", ttl=60, lease=5, linger=None)
    await log.end("one", END, ttl=0.05)
    await log.begin("two", ttl=60, lease=5, linger=None)
    await log.append("two", 0, [Payload("b", b"x" * 700)])
    assert await log.info("one") is None
    await anyio.sleep(0.1)
    assert await log.info("two") is not None
    assert await log.begin("one", ttl=60, lease=5, linger=None) is not None


async def test_what_made_room_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.live.tail.MOST", 1_000_000)
    log = MemoryLog(max_bytes=1_000_000)
    async with running(log) as h:
        tracemalloc.start()
        try:
            content = Content()
            await h.live.start(content, id="run")
            for n in range(300):
                content.put(bytes([n % 256]) * 100_000)
                if n % 10 == 9:
                    await until(lambda n=n: h.live._core.tails[False, "run"].top == n + 1)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # Of 30 MB: what the log keeps, and what is kept for readers.
    assert held < 5_000_000


async def test_a_reader_behind_what_is_kept_for_readers_reads_on_in_the_log(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.live.tail.MOST", 100_000)
    async with running(log) as h:
        channel, slow = await followed_channel(h, history=500)
        await channel.publish("first")
        assert await anext(slow) == "first"
        for n in range(200):
            last = await channel.publish(f"{n}".ljust(10_000))
        tail = h.live._core.tails[True, "c"]
        await until(lambda: tail.last == last)
        assert len(tail.records) < 20
        await channel.close()
        assert [int(item) async for item in slow] == list(range(200))
