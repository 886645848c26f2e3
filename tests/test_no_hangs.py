"""Nothing waits for itself, and nothing hides an end: threads, loops that are gone, `-O`."""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import streamkit
from streamkit import (
    StreamingResponse,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
    stream_limiter,
)
from tests.attack import raising
from tests.attack.contents import Client, Diary
from tests.attack.nesting import build, nestings
from tests.attack.running import Attack

# Seconds after which something hangs.
FOREVER = 20.0


@pytest.mark.anyio
@pytest.mark.parametrize("tokens", [1, 4])
async def test_on_fewer_threads_than_streams_every_nesting_of_the_bridges_comes_to_its_end(
    tokens: int, anyio_backend: Any
) -> None:
    stream_limiter().total_tokens = tokens
    kinds = [*nestings()]
    ended = []

    async def one(kind: str) -> None:
        diary, client = Diary(), Client()
        await client.request(StreamingResponse(build(kind, diary, 2), on_close=diary.told))
        assert diary.settled
        if client.complete and len(client.body) == 2000:
            ended.append(kind)

    with anyio.fail_after(FOREVER):
        async with anyio.create_task_group() as group:
            for kind in kinds:
                group.start_soon(one, kind)
        # A thread of a nested bridge may be on its way out.
        while stream_limiter().borrowed_tokens:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert sorted(ended) == sorted(kinds)


@pytest.mark.anyio
@pytest.mark.parametrize("shape", raising.SHAPES)
async def test_contents_that_raise_what_is_no_exception_are_closed_and_told_of(
    shape: str, anyio_backend: Any
) -> None:
    attack = Attack(0, FOREVER)
    for place in raising.PLACES:
        for error in (GeneratorExit, raising.Interrupt):
            attack.step(shape, f"{error.__name__} {place}")
            diary = Diary()
            response = raising.SHAPES[shape](diary, place, error)
            with anyio.fail_after(FOREVER):
                await raising._answer(attack, response, error, leaves=False)
            await attack.settled(diary)
    assert not attack.findings


def endless(closed: threading.Event) -> Iterator[bytes]:
    try:
        while True:
            yield b"x" * 1000
    finally:
        closed.set()


def writes_endlessly(closed: threading.Event) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        try:
            while True:
                file.write(b"x" * 1000)
        finally:
            closed.set()

    return write


async def waits(closed: threading.Event) -> None:
    async def idle() -> AsyncIterator[bytes]:
        yield b"x"
        await anyio.sleep_forever()

    def read() -> None:
        try:
            for _ in iterate_from_thread(idle()):
                began.set()
        except BaseException:
            # The loop is gone, and with it what was iterated over.
            closed.set()

    began = threading.Event()
    asyncio.ensure_future(anyio.to_thread.run_sync(read, abandon_on_cancel=True))  # noqa: RUF006
    while not began.is_set():  # noqa: ASYNC110 (a thread sets it)
        await asyncio.sleep(0.001)


async def waits_for_room(closed: threading.Event) -> None:
    kept.append(iterate_in_threadpool(endless(closed), thread_affine=True, max_buffer=1))
    await anext(kept[-1])


async def waits_to_write(closed: threading.Event) -> None:
    kept.append(iterate_writes(writes_endlessly(closed), max_buffer=1))
    await anext(kept[-1])


kept: list[Any] = []


@pytest.mark.parametrize("begin", [waits_for_room, waits_to_write, waits])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_thread_of_a_loop_that_was_closed_without_a_word_comes_to_its_end(
    begin: Callable[[threading.Event], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("streamkit.body.threaded.CHECK_LOOP", 0.02)
    monkeypatch.setattr("streamkit.threads.CHECK_LOOP", 0.02)
    caplog.set_level("CRITICAL")
    closed = threading.Event()
    event_loop = asyncio.new_event_loop()
    event_loop.run_until_complete(begin(closed))
    # No shutdown_asyncgens, and no task is cancelled.
    event_loop.close()
    assert closed.wait(FOREVER)


SOURCES = sorted(Path(streamkit.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_an_assert_only_tells_the_type_checker_what_is_known(path: Path) -> None:
    # Under `python -O` none of them is there.
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assert):
            test = node.test
            if isinstance(test, ast.Compare):
                assert isinstance(test.ops[0], ast.IsNot)
                test = test.left
            if isinstance(test, ast.Call):
                assert isinstance(test.func, ast.Name)
                assert test.func.id == "isinstance"
            else:
                assert isinstance(test, ast.Name | ast.Attribute), ast.unparse(node)
