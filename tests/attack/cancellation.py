"""Cancels responses of every kind at every suspension, and at every turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import anyio
import anyio.lowlevel

from tests.attack.contents import KINDS, Client, Diary
from tests.attack.running import Attack, Leftovers, on_trio

# Suspensions and turns that no response of these needs.
MOST = 400


class AtSuspension:
    """Awaits a coroutine, and calls a function at its k-th suspension."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], at: int, call: Callable[[], object]):
        self._coroutine = coroutine
        self._at = at
        self._call = call
        self.reached = False

    def __await__(self) -> Generator[Any, Any, None]:
        count = 0
        step: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                given = step()
            except StopIteration:
                return
            count += 1
            if count == self._at:
                self.reached = True
                self._call()
            try:
                value = yield given
            except BaseException as exc:
                step = _thrower(self._coroutine, exc)
            else:
                step = _sender(self._coroutine, value)


def _thrower(coroutine: Coroutine[Any, Any, None], exc: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(exc)


def _sender(coroutine: Coroutine[Any, Any, None], value: Any) -> Callable[[], Any]:
    return lambda: coroutine.send(value)


async def by_scope(client: Client, response: Any, at: int) -> bool:
    """An anyio scope around the response is cancelled at its k-th suspension."""
    with anyio.CancelScope() as scope:
        run = AtSuspension(client.request(response), at, scope.cancel)
        await run
    return run.reached


async def natively(client: Client, response: Any, at: int) -> bool:
    """The task of the response is cancelled at its k-th suspension, as uvicorn's shutdown does."""

    async def main() -> None:
        await run

    run = AtSuspension(client.request(response), at, lambda: task.cancel())
    task = asyncio.create_task(main())
    await asyncio.wait([task])
    _raise_what_is_no_cancellation(task)
    return run.reached


async def twice(client: Client, response: Any, at: int) -> bool:
    """The task is cancelled at its k-th suspension, and again at each turn after that."""

    async def main() -> None:
        await run

    run = AtSuspension(client.request(response), at, lambda: task.cancel())
    task = asyncio.create_task(main())
    while not task.done():
        await asyncio.sleep(0)
        if run.reached:
            task.cancel()
    _raise_what_is_no_cancellation(task)
    return run.reached


async def at_turn(client: Client, response: Any, at: int) -> bool:
    """The scope is cancelled after k turns of the loop, wherever its tasks are then."""
    done = begun = False
    scope = anyio.CancelScope()

    async def count() -> None:
        while not begun:
            await anyio.lowlevel.checkpoint()
        for _ in range(at):
            await anyio.lowlevel.checkpoint()
        if not done:
            scope.cancel()

    async def main() -> None:
        nonlocal done, begun
        begun = True
        with scope:
            await client.request(response)
        done = True

    async with anyio.create_task_group() as group:
        group.start_soon(main)
        group.start_soon(count)
    return scope.cancel_called


def _raise_what_is_no_cancellation(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()


async def attack(attack: Attack) -> None:
    """Every kind, every way of cancelling, every k until the response ends by itself."""
    ways = [by_scope, at_turn] if on_trio() else [by_scope, at_turn, natively, twice]
    rounds = [
        (kind, way, suspends, room)
        for kind in KINDS
        for way in ways
        for suspends in (True, False)
        for room in (None, 2)
    ]
    while attack.goes_on:
        attack.random.shuffle(rounds)
        for kind, way, suspends, room in rounds:
            if attack.goes_on:
                await _every_suspension(attack, kind, way, suspends, room)
                attack.counts["kinds x ways"] += 1


async def _leave(client: Client) -> None:
    """A client that has stalled leaves in the end."""
    await anyio.sleep(0.02)
    client.leave()


async def _every_suspension(
    attack: Attack, kind: str, way: Any, suspends: bool, room: int | None
) -> None:
    leftovers = Leftovers()
    for at in range(1, MOST):
        diary, client = Diary(), Client(suspends=suspends, room=room)
        name = f"{kind}, {way.__name__} {at}, suspends={suspends}, room={room}"
        attack.step("cancelled responses", name)
        response, reached = KINDS[kind](diary), True
        try:
            async with anyio.create_task_group() as group:
                if room is not None:
                    group.start_soon(_leave, client)
                reached = await way(client, response, at)
                group.cancel_scope.cancel()
        except Exception as exc:
            attack.expect(False, f"raised {exc!r}")
        await attack.settled(diary)
        if client.left or not reached or not attack.goes_on:
            break
    await leftovers.check(attack)
