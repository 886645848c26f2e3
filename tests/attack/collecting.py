"""Leaves iterators to the garbage collector, which runs at any time, on any thread."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from streamkit import (
    StreamingResponse,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
    stream_limiter,
)
from tests.attack.contents import Client, Diary, async_items, sync_items, trickling
from tests.attack.running import Attack, Leftovers

TOGETHER = 20


class Cycle:
    """Holds something in a circle, so that only the collector finds it."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.itself = self


async def attack(attack: Attack) -> None:
    """Rounds of iterators that are lost half way, while other streams go on."""
    # The collector finds generators that are open, and says so: that is the point.
    warnings.simplefilter("ignore", ResourceWarning)
    thresholds = gc.get_threshold()
    while attack.goes_on:
        gc.set_threshold(*attack.random.choice([thresholds, (1, 1, 1), (10, 2, 2)]))
        leftovers = Leftovers()
        attack.step("rounds", f"round {attack.counts['rounds']}")
        diaries: list[tuple[str, Diary]] = []
        async with anyio.create_task_group() as group:
            for _ in range(TOGETHER):
                name = attack.random.choice(list(LOSERS))
                diaries.append((name, Diary()))
                group.start_soon(LOSERS[name], attack, diaries[-1][1])
        gc.set_threshold(*thresholds)
        attack.counts["lost iterators"] += TOGETHER
        gc.collect()
        for name, diary in diaries:
            await attack.eventually(partial(_collected, diary), partial(_described, name, diary))
        await leftovers.check(attack)


def _collected(diary: Diary) -> bool:
    gc.collect()
    return diary.closed == diary.opened and not diary.interrupted


def _described(name: str, diary: Diary) -> str:
    return f"{name}: {diary}"


async def _lose_in_thread(
    make: Callable[[Diary], Any], attack: Attack, diary: Diary, *, cycle: bool
) -> None:
    taken = attack.random.randint(0, 3)

    def work() -> None:
        items = iterate_from_thread(make(diary), max_buffer=600)
        held = Cycle(items) if cycle else items
        for _ in range(taken):
            next(items, None)
        del held, items
        [[] for _ in range(1000)]

    await anyio.to_thread.run_sync(work, limiter=stream_limiter())


async def _lose_on_loop(
    make: Callable[[Diary], Any], attack: Attack, diary: Diary, *, cycle: bool
) -> None:
    items: Any = make(diary)
    held = Cycle(items) if cycle else items
    for _ in range(attack.random.randint(0, 3)):
        await anext(items, None)
    del held, items
    await anyio.lowlevel.checkpoint()


def _writes(diary: Diary) -> Any:
    def write(file: Any) -> None:
        diary.opened += 1
        try:
            for _ in range(4):
                file.write(b"x" * 500)
        finally:
            diary.closed += 1

    return iterate_writes(write, max_buffer=600)


async def _keep(attack: Attack, diary: Diary) -> None:
    """A stream that nobody loses, meanwhile."""
    client = Client()
    await client.request(StreamingResponse(sync_items(diary, count=50), on_close=diary.told))
    attack.expect(len(client.body) == 25_000, f"{len(client.body)} bytes of 25000")


def _loop_stream(diary: Diary) -> Any:
    return iterate_in_threadpool(sync_items(diary), max_buffer=600)


LOSERS: dict[str, Any] = {
    "thread iterator": partial(_lose_in_thread, async_items, cycle=False),
    "thread iterator in a cycle": partial(_lose_in_thread, async_items, cycle=True),
    "idle thread iterator": partial(_lose_in_thread, trickling, cycle=False),
    "idle thread iterator in a cycle": partial(_lose_in_thread, trickling, cycle=True),
    "stream": partial(_lose_on_loop, _loop_stream, cycle=False),
    "stream in a cycle": partial(_lose_on_loop, _loop_stream, cycle=True),
    "writes": partial(_lose_on_loop, _writes, cycle=False),
    "writes in a cycle": partial(_lose_on_loop, _writes, cycle=True),
    "kept": _keep,
}
