"""Nests the bridges between threads and the loop every way, with fewer threads than streams."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from itertools import product
from typing import Any

import anyio

from streamkit import (
    StreamingResponse,
    ZipMember,
    ZIPStreamingResponse,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
    stream_limiter,
)
from tests.attack.contents import SMALL, Diary, async_items, sync_items
from tests.attack.running import Attack, Leftovers, Taking

# T: iterate_in_threadpool, W: iterate_writes, S: a sync generator; they take sync content.
# F: iterate_from_thread, A: an async generator; they take async content.
TAKES_SYNC, TAKES_ASYNC = "TWS", "FA"
GIVES_SYNC = "SF"
DEPTH = 5
TOKENS = (1, 2, 4, 256)


def nestings() -> Iterator[str]:
    """Every way to nest the bridges: "aFT" is T over F over an async generator."""
    level = ["a", "s"]
    for _ in range(DEPTH):
        following = []
        for nesting in level:
            gives_sync = nesting[-1] in GIVES_SYNC + "s"
            for bridge in TAKES_SYNC if gives_sync else TAKES_ASYNC:
                # A plain generator over a plain generator adds nothing.
                if not (bridge in "SA" and nesting[-1] in "saSA"):
                    following.append(nesting + bridge)
        yield from following
        level = following


def build(nesting: str, diary: Diary, count: int) -> Any:
    """The content that a nesting stands for."""
    item = b"x" * 1000
    content: Any = (async_items if nesting[0] == "a" else sync_items)(diary, item, count)
    for bridge in nesting[1:]:
        content = BRIDGES[bridge](content)
    return content


def _write(file: Any, content: Iterable[bytes]) -> None:
    try:
        for item in content:
            file.write(item)
    finally:
        # Only the one who makes a generator can close it here.
        content.close()  # type: ignore[attr-defined]


def _sync(content: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from content
    finally:
        content.close()  # type: ignore[attr-defined]


def _from_thread(content: AsyncIterable[bytes]) -> Iterator[bytes]:
    with iterate_from_thread(content, max_buffer=3000) as items:
        yield from items


async def _async(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for item in content:
            yield item
    finally:
        with anyio.CancelScope(shield=True):
            await content.aclose()  # type: ignore[attr-defined]


BRIDGES: dict[str, Callable[[Any], Any]] = {
    "T": lambda content: iterate_in_threadpool(content, max_buffer=3000),
    "W": lambda content: iterate_writes(lambda file: _write(file, content), max_buffer=3000),
    "S": _sync,
    "F": _from_thread,
    "A": _async,
}


async def attack(attack: Attack) -> None:
    """Rounds of more streams than threads: of one nesting, or of all; read, or left."""
    kinds = [*nestings(), "zip"]
    rounds = list(product(TOKENS, (True, False), (True, False)))
    limiter = stream_limiter()
    while attack.goes_on:
        attack.random.shuffle(rounds)
        for tokens, mixed, reads in rounds:
            if not attack.goes_on:
                return
            limiter.total_tokens = tokens
            leftovers = Leftovers()
            size = 2 * tokens + 8 if tokens > 4 else attack.random.choice([8, 40])
            one = attack.random.choice(kinds)
            chosen = [attack.random.choice(kinds) if mixed else one for _ in range(size)]
            what = "mixed" if mixed else one
            attack.step("rounds", f"{size} streams of {what}, {tokens} threads, reads={reads}")
            await _round(attack, chosen, reads)
            await leftovers.check(attack)


async def _round(attack: Attack, chosen: list[str], reads: bool) -> None:
    diaries = [Diary() for _ in chosen]
    async with anyio.create_task_group() as group:
        for nesting, diary in zip(chosen, diaries, strict=True):
            leaves = not reads and attack.random.random() < 0.9
            group.start_soon(_one, attack, nesting, diary, leaves)
    attack.counts["nested streams"] += len(chosen)
    for nesting, diary in zip(chosen, diaries, strict=True):
        await attack.settled(diary, nesting)


async def _one(attack: Attack, nesting: str, diary: Diary, leaves: bool) -> None:
    count = attack.random.choice([3, 12])
    client = Taking(attack, room=attack.random.randint(0, 8) if leaves else None)
    if nesting == "zip":
        members = [
            ZipMember("async", async_items(diary)),
            ZipMember("path", SMALL),
            ZipMember("threads", build("aFT", diary, count)),
        ]
        response: Any = ZIPStreamingResponse(members, on_close=diary.told)
    else:
        response = StreamingResponse(build(nesting, diary, count), on_close=diary.told)
    async with anyio.create_task_group() as group:
        if leaves:
            group.start_soon(_leave, client, attack.random.random() * 0.05)
        try:
            await client.request(response)
        except Exception as exc:
            attack.expect(False, f"{nesting}: {exc!r}")
        group.cancel_scope.cancel()
    if not leaves:
        whole = client.complete and (nesting == "zip" or len(client.body) == 1000 * count)
        attack.expect(whole, f"{nesting}: {len(client.body)} bytes of {1000 * count}")


async def _leave(client: Taking, after: float) -> None:
    await anyio.sleep(after)
    client.leave()
