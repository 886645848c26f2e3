"""Answers thousands of short requests of each kind, and counts what is left of them."""

from __future__ import annotations

import gc
import sys
import threading

import anyio.lowlevel

from tests.attack.contents import KINDS, Client, Diary
from tests.attack.running import Attack, Leftovers, on_trio

# Of each kind, if there is the time.
MANY = 100_000
# Blocks of memory that each response may leave, on average: none, but for chance.
BLOCKS = 0.05
# Blocks that come and go by themselves.
NOISE = 1500


async def attack(attack: Attack) -> None:
    """Each kind in turn, for its share of the time."""
    kinds = list(KINDS)
    attack.random.shuffle(kinds)
    for number, kind in enumerate(kinds):
        share = attack.share(len(kinds) - number)
        # What is made once, and kept, is there before anything is counted.
        warm = attack.share(5 * (len(kinds) - number))
        await _answer(attack, kind, 10)
        while warm.goes_on:
            await _answer(attack, kind, 10)
        leftovers = Leftovers()
        before, threads = blocks(), threading.active_count()
        count = 0
        while count < MANY and share.goes_on:
            await _answer(attack, kind, 20)
            count += 20
        await leftovers.check(attack)
        more = blocks() - before
        attack.expect(
            more < NOISE + BLOCKS * count, f"{count} responses left {more} blocks of memory"
        )
        # anyio keeps idle threads: no more of them than there were streams at once.
        more = threading.active_count() - threads
        attack.expect(more <= 2, f"{count} responses left {more} threads")


def blocks() -> int:
    """Blocks of memory that are in use."""
    if on_trio():
        from trio._core._run import GLOBAL_RUN_CONTEXT

        # trio keeps up to a thousand scopes that have ended before their deadline.
        GLOBAL_RUN_CONTEXT.runner.deadlines._prune()
    gc.collect()
    return sys.getallocatedblocks()


async def _answer(attack: Attack, kind: str, count: int) -> None:
    for _ in range(count):
        diary, client = Diary(), Client(suspends=False)
        attack.step("answered requests", kind)
        await client.request(KINDS[kind](diary))
        # What is to run soon may do so.
        await anyio.lowlevel.checkpoint()
        if not (diary.settled and client.complete):
            await attack.settled(diary)
            attack.expect(client.complete, "the body is not complete")
