"""A thousand streams on four threads: every nesting of the bridges, one after the other."""

from __future__ import annotations

import anyio

from streamkit import StreamingResponse, stream_limiter
from tests.attack.contents import Diary
from tests.attack.nesting import build, nestings
from tests.attack.running import PATIENCE, Attack, Leftovers, Taking

TOKENS = 4
# Streams at once; fewer where there is little time.
CROWD, FEW = 1000, 60
# Seconds from which there is time for a thousand of them.
LONG = 20.0
ITEMS = 3


async def attack(attack: Attack) -> None:
    """Every nesting, in an order of chance, until the time is over; clients read to the end."""
    stream_limiter().total_tokens = TOKENS
    # Three thousand threads may have to have their turns until the first byte is sent.
    attack.patience = 4 * PATIENCE
    size = CROWD if attack.seconds >= LONG else FEW
    kinds = list(nestings())
    while attack.goes_on:
        attack.random.shuffle(kinds)
        for kind in kinds:
            if not attack.goes_on:
                return
            await crowd(attack, kind, size)


async def crowd(attack: Attack, kind: str, size: int) -> None:
    """So many streams of one nesting at once: all come to their end, whole."""
    leftovers = Leftovers()
    attack.step("crowds", f"{size} streams of {kind}, {TOKENS} threads")
    diaries = [Diary() for _ in range(size)]

    async def one(diary: Diary) -> None:
        client, content = Taking(attack), build(kind, diary, ITEMS)
        # Here waiting for a thread is no fault, however long the crowd before them takes.
        await client.request(StreamingResponse(content, on_close=diary.told, thread_timeout=None))
        attack.counts["streams of crowds"] += 1
        whole = client.complete and len(client.body) == 1000 * ITEMS
        attack.expect(whole, f"{len(client.body)} bytes of {1000 * ITEMS}")

    async with anyio.create_task_group() as group:
        for diary in diaries:
            group.start_soon(one, diary)
    for diary in diaries:
        await attack.settled(diary, kind)
    await leftovers.check(attack)
