"""Lets many clients at once leave, stall and fail at random."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
from starlette.requests import ClientDisconnect

from streamkit import SendTimeout
from tests.attack.contents import KINDS, Client, Diary
from tests.attack.running import Attack, Leftovers

TOGETHER = 40


async def attack(attack: Attack) -> None:
    """Rounds of many responses, each of a client of its own kind."""
    while attack.goes_on:
        leftovers = Leftovers()
        attack.step("rounds", f"round {attack.counts['rounds']}")
        diaries: list[tuple[str, Diary]] = []
        async with anyio.create_task_group() as group:
            for _ in range(TOGETHER):
                kind = attack.random.choice(list(KINDS))
                diaries.append((kind, Diary()))
                group.start_soon(_one, attack, kind, diaries[-1][1])
        attack.counts["clients that leave"] += TOGETHER
        for kind, diary in diaries:
            await attack.settled(diary, kind)
        await leftovers.check(attack)


async def _one(attack: Attack, kind: str, diary: Diary) -> None:
    chance = attack.random
    client = Client(
        suspends=chance.random() < 0.5,
        room=chance.choice([None, 1, 2, 3, 5]),
        version=chance.choice(["2.1", "2.3", "2.4"]),
    )
    leaves_by_turns, amount = chance.random() < 0.5, chance.random()
    response: Any = KINDS[kind](diary)
    if chance.random() < 0.3:
        response.send_timeout = 0.01

    async def leave() -> None:
        if leaves_by_turns:
            for _ in range(int(amount * 60)):
                await anyio.lowlevel.checkpoint()
        else:
            await anyio.sleep(amount * 0.02)
        client.leave()

    async with anyio.create_task_group() as group:
        group.start_soon(leave)
        try:
            await client.request(response)
        except (ClientDisconnect, SendTimeout):
            pass
        except Exception as exc:
            attack.expect(False, f"{kind}: {exc!r}")
