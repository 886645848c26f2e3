"""Has contents raise everything, `GeneratorExit` too, everywhere: in body, calls and closing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel

from streamkit import (
    ByteSource,
    SourceInfo,
    StreamingResponse,
    ZipMember,
    ZIPStreamingResponse,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
)
from tests.attack.contents import Client, Diary, async_items
from tests.attack.running import Attack, Leftovers


class Interrupt(BaseException):
    """What is no `Exception`, as `KeyboardInterrupt` is, but of no meaning to a loop."""


RAISED = (ValueError, GeneratorExit, Interrupt, StopIteration, StopAsyncIteration, OSError)
PLACES = ("before", "first", "later", "call", "closing")


def sync_content(diary: Diary, place: str, error: type[BaseException]) -> Iterator[bytes]:
    diary.opened += 1
    try:
        for number in range(3):
            if place == ("before", "later", "call")[number]:
                raise error
            yield b"x" * 100
            if place == "first" and not number:
                raise error
    finally:
        diary.closed += 1
        if place == "closing":
            raise error


async def async_content(
    diary: Diary, place: str, error: type[BaseException]
) -> AsyncIterator[bytes]:
    async def call() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    diary.opened += 1
    try:
        if place == "before":
            raise error
        yield b"x" * 100
        if place == "first":
            raise error
        await anyio.lowlevel.checkpoint()
        yield b"x" * 100
        if place == "later":
            raise error
        if place == "call":
            await call()
        await anyio.sleep(0.001)
        yield b"x" * 100
    finally:
        diary.closed += 1
        if place == "closing":
            raise error


class Iterating:
    """An async iterator that is no generator: what it raises is not changed on its way."""

    def __init__(self, diary: Diary, place: str, error: type[BaseException]) -> None:
        self._diary = diary
        self._place = place
        self._error = error
        self._count = 0
        diary.opened += 1

    def __aiter__(self) -> Iterating:
        return self

    async def __anext__(self) -> bytes:
        self._count += 1
        if self._count > 4:
            raise StopAsyncIteration
        if self._count == {"before": 1, "first": 2, "later": 3}.get(self._place):
            raise self._error
        await anyio.lowlevel.checkpoint()
        if self._place == "call" and self._count == 3:
            raise self._error
        return b"x" * 100

    async def aclose(self) -> None:
        self._diary.closed += 1
        if self._place == "closing":
            raise self._error


class Source(ByteSource):
    """A source that fails."""

    def __init__(self, diary: Diary, place: str, error: type[BaseException]) -> None:
        self._diary = diary
        self._place = place
        self._error = error
        diary.opened += 1

    async def info(self) -> SourceInfo:
        if self._place == "before":
            raise self._error
        return SourceInfo(size=300_000)

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        if self._place == "first":
            raise self._error
        yield bytes(150_000)
        await anyio.lowlevel.checkpoint()
        if self._place in ("later", "call"):
            raise self._error
        yield bytes(150_000)

    async def aclose(self) -> None:
        self._diary.closed += 1
        if self._place == "closing":
            raise self._error


def writer(diary: Diary, place: str, error: type[BaseException]) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        for item in sync_content(diary, place, error):
            file.write(item)

    return write


def through_the_loop(diary: Diary, place: str, error: type[BaseException]) -> Iterator[bytes]:
    with iterate_from_thread(async_content(diary, place, error)) as items:
        yield from items


SHAPES: dict[str, Callable[[Diary, str, type[BaseException]], Any]] = {
    "sync": lambda *a: StreamingResponse(sync_content(*a), on_close=a[0].told),
    "async": lambda *a: StreamingResponse(async_content(*a), on_close=a[0].told),
    "iterator": lambda *a: StreamingResponse(Iterating(*a), on_close=a[0].told),
    "source": lambda *a: StreamingResponse(Source(*a), on_close=a[0].told),
    "writes": lambda *a: StreamingResponse(iterate_writes(writer(*a)), on_close=a[0].told),
    "stream": lambda *a: StreamingResponse(
        iterate_in_threadpool(sync_content(*a)), on_close=a[0].told
    ),
    "sync-over-async": lambda *a: StreamingResponse(through_the_loop(*a), on_close=a[0].told),
    "member": lambda *a: ZIPStreamingResponse(
        [ZipMember("a", async_content(*a))], on_close=a[0].told
    ),
    "replaced": lambda *a: _replaced(*a),
}


def _replaced(diary: Diary, place: str, error: type[BaseException]) -> StreamingResponse:
    response = StreamingResponse(async_items(diary), on_close=diary.told)
    response.body_iterator = async_content(diary, place, error)
    return response


async def attack(attack: Attack) -> None:
    """Every shape, place and error; with a client that reads, and one that leaves."""
    rounds = [
        (shape, place, error, leaves)
        for shape in SHAPES
        for place in PLACES
        for error in RAISED
        for leaves in (False, True)
    ]
    while attack.goes_on:
        attack.random.shuffle(rounds)
        for shape, place, error, leaves in rounds:
            if not attack.goes_on:
                return
            leftovers = Leftovers()
            attack.step("raising contents", f"{shape}, {error.__name__} {place}, leaves={leaves}")
            diary = Diary()
            # Each in a task of its own, since what it raises may be meant for a whole task.
            await _answer(attack, SHAPES[shape](diary, place, error), error, leaves)
            await attack.settled(diary)
            await leftovers.check(attack)


async def _answer(attack: Attack, response: Any, error: type[BaseException], leaves: bool) -> None:
    client = Client(room=2 if leaves else None)
    try:
        async with anyio.create_task_group() as group:
            if leaves:
                group.start_soon(_leave, client)
            await client.request(response)
    except BaseException as exc:
        raised = list(_leaves(exc))
        known = (error, RuntimeError, Exception)
        attack.expect(all(isinstance(one, known) for one in raised), f"raised {raised}")


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for one in exc.exceptions:
            yield from _leaves(one)
    else:
        yield exc


async def _leave(client: Client) -> None:
    await anyio.sleep(0.005)
    client.leave()
