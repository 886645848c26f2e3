"""A Redis that lost some of a run: after a failover the newest items are gone, or all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from streamkit.live import Gone, LogUnavailable, Payload, Record, RunFailed, StreamGap
from tests.live.conftest import Place
from tests.live.support import Content, running, until

pytest.importorskip("redis")
pytestmark = pytest.mark.anyio

ITEM = Payload("j", b"1")
DONE = Payload("x", b"done ")
TIMES: Any = {"ttl": 60.0, "lease": 5.0, "linger": None}


class Sink:
    """Keeps what a log feeds it, and how it failed."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.errors: list[Exception] = []

    def feed(self, records: Sequence[Record]) -> None:
        self.records += records

    def miss(self, position: str) -> None:
        raise AssertionError("runs are never trimmed")

    def fail(self, error: Exception) -> None:
        self.errors.append(error)


async def test_a_reader_is_cut_where_items_are_missing(place: Place) -> None:
    async with running(place.log()) as one, running(place.log()) as two:
        content = Content()
        await one.live.start(content, id="run")
        content.put("first")
        follow, late = two.live.follow("run"), two.live.follow("run")
        assert await anext(follow) == "first"
        # The second one is lost.
        generation = one.live._core.find("run", False).last[:13]
        place.client.xadd(place.run(), {"j": "3"}, id=f"{generation}-3")
        with pytest.raises(LogUnavailable, match="lost items"):
            await anext(follow)
        with pytest.raises(StreamGap):
            await anext(late)


async def test_a_reader_is_not_led_on_into_the_next_run_of_that_id(place: Place) -> None:
    async with running(place.log()) as one, running(place.log()) as two:
        content = Content()
        await one.live.start(content, id="run")
        content.put("old")
        follow = two.live.follow("run")
        assert await anext(follow) == "old"
        place.client.delete(place.run())
        async with running(place.log()) as three:
            await three.live.start(["new"], id="run")
            with pytest.raises(LogUnavailable, match="lost items"):
                [item async for item in follow]


async def test_an_end_that_counts_more_items_than_there_are_is_no_clean_one(place: Place) -> None:
    log, sink = place.log(), Sink()
    await log.open()
    await log.begin("run", **TIMES)
    ids = [(await log.append("run", number, [ITEM]))[0] for number in range(3)]
    place.client.xdel(place.run(), place.client.xrevrange(place.run(), count=1)[0][0])
    await log.subscribe("run", ids[1], sink)
    assert await log.end("run", DONE, ttl=60.0) is not None
    await until(lambda: sink.errors)
    assert sink.records == []
    with pytest.raises(Gone):
        await log.read("run", ids[1], 5)
    await log.aclose()
    async with running(place.log()) as h:
        assert await h.live.state("run") == "failed"
        with pytest.raises(RunFailed, match="items lost"):
            await anext(h.live.follow("run", "now"))


async def test_an_end_of_all_items_is_a_clean_one_for_each_reader(place: Place) -> None:
    log, other, early, late = place.log(), place.log(), Sink(), Sink()
    await log.open()
    await other.open()
    origin = await log.begin("run", **TIMES)
    ids = await log.append("run", 0, [ITEM] * 3)
    await other.subscribe("run", origin, early)
    await other.subscribe("run", ids[-1], late)
    end = await log.end("run", DONE, ttl=60.0)
    await until(lambda: late.records == [end] and early.records[-1:] == [end])
    assert [record.id for record in early.records] == [*ids, end.id]
    assert (early.errors, late.errors) == ([], [])
    await log.aclose()
    await other.aclose()
