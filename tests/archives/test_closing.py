"""Everything that an archive was given is closed once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamkit import (
    StreamOutcome,
    stream_limiter,
)
from streamkit.archives import TARStreamingResponse, ZipMember, ZIPStreamingResponse
from streamkit.testing import StreamClient, fetch, stream
from tests.archives.members import (
    NOISE,
    AsyncCounted,
    AsyncFile,
    Counted,
    CountedFile,
    async_rows,
    body_of,
    both,
    unzipped,
)

pytestmark = pytest.mark.anyio


def endless() -> Iterator[bytes]:
    while True:
        yield NOISE


async def async_endless() -> AsyncIterator[bytes]:
    while True:
        yield NOISE


def spoiled(error: str) -> Iterator[bytes]:
    yield NOISE
    raise RuntimeError(error)


async def complete(response: Any) -> None:
    assert (await fetch(response)).complete


async def head(response: Any) -> None:
    assert (await fetch(response, method="HEAD")).body == b""


async def start_fails(response: Any) -> None:
    async def send(message: Any) -> None:
        raise OSError("gone")

    scope = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.3"}}
    await response(scope, anyio.sleep_forever, send)


async def leave(response: Any) -> None:
    async with stream(response) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()


async def fail(response: Any) -> None:
    # before the first byte, as a tar member of unknown size fails, or after it
    with pytest.raises(RuntimeError, match="spoiled"):
        await body_of(response)


WAYS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], str]] = {
    # first member's content, what happens, and the reason on_close is told
    "complete": (lambda: b"first", complete, "complete"),
    "HEAD": (lambda: b"first", head, "complete"),
    "sending the start fails": (lambda: b"first", start_fails, "disconnect"),
    "disconnect at the first": (endless, leave, "disconnect"),
    "disconnect at the first, async": (async_endless, leave, "disconnect"),
    "error in the first": (lambda: spoiled("spoiled"), fail, "error"),
}


@pytest.mark.parametrize("way", WAYS)
@both
async def test_each_content_of_a_list_is_closed_once_on_its_side(
    way: str, response_class: Any, anyio_backend: Any
) -> None:
    first, act, reason = WAYS[way]
    if response_class is TARStreamingResponse and reason == "disconnect":
        # a tar member of unknown size is sent when it is at its end
        first = {endless: lambda: [NOISE] * 100, async_endless: lambda: AsyncFile(NOISE * 50)}.get(
            first, first
        )
    outcomes: list[StreamOutcome] = []
    before, after = Counted(), Counted()
    counted, file = AsyncCounted(), CountedFile(b"1")
    async_file = AsyncFile(b"2")
    members = [
        ZipMember("first", first()),
        ZipMember("b", before),
        ZipMember("directory/", None),
        ZipMember("c", counted),
        ZipMember("d", file),
        ZipMember("e", async_file),
        ZipMember("f", after, compress=False),
    ]
    with anyio.fail_after(10):
        await act(response_class(members, on_close=outcomes.append))
    assert [outcome.reason for outcome in outcomes] == [reason]
    closings = [before.closed, after.closed, counted.closed, file.closings, async_file.closed]
    assert closings == [1] * 5
    assert threading.get_ident() not in before.sides | after.sides
    assert len(counted.tasks) == 1


async def test_contents_are_closed_when_the_response_cannot_be_made(anyio_backend: Any) -> None:
    sync_content, async_content = Counted(), AsyncCounted()
    with pytest.raises(ValueError, match="max_buffer"):
        ZIPStreamingResponse(
            [ZipMember("a", sync_content), ZipMember("b", async_content)], max_buffer=0
        )
    with anyio.fail_after(5):
        while not (sync_content.closed and async_content.closed):  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert (sync_content.closed, async_content.closed) == (1, 1)


class Wrong(ZIPStreamingResponse):
    def _make_writer(self) -> Any:
        raise RuntimeError("no writer")


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception]]] = {
    "two members of one name": (ZIPStreamingResponse, {}, ValueError),
    "compress_level=0": (ZIPStreamingResponse, {"compress_level": 0}, ValueError),
    "compress_level='9'": (ZIPStreamingResponse, {"compress_level": "9"}, TypeError),
    "compress_level=True": (ZIPStreamingResponse, {"compress_level": True}, TypeError),
    "names='dos'": (TARStreamingResponse, {"names": "dos"}, ValueError),
    "an unknown option": (TARStreamingResponse, {"compress_level": 4}, TypeError),
    "a writer that can't be made": (Wrong, {}, RuntimeError),
    "an etag without quotes": (TARStreamingResponse, {"etag": "v7", "names": "posix"}, ValueError),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_response_that_is_refused_closes_all_it_was_given(
    case: str, anyio_backend: Any
) -> None:
    response_class, options, error = REFUSED[case]
    given: list[Any] = [Counted(), AsyncCounted(), CountedFile(b"1"), AsyncFile(b"2")]
    second = "0" if case == "two members of one name" else "1"
    names = ["0", second, "2", "3"]
    members = [ZipMember(name, each) for name, each in zip(names, given, strict=True)]
    with pytest.raises(error):
        response_class(
            [ZipMember("directory/", None), ZipMember("bytes", b""), *members], **options
        )

    def closings() -> list[int]:
        return [each.closings if isinstance(each, CountedFile) else each.closed for each in given]

    with anyio.fail_after(5):
        while closings() != [1, 1, 1, 1]:  # noqa: ASYNC110
            await anyio.sleep(0.01)


@pytest.mark.parametrize("level", [0, 10, True, 4.5, None, "4"])
def test_a_class_with_a_wrong_compress_level_cannot_be_declared(level: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="compress_level must be"):
        type("Wrong", (ZIPStreamingResponse,), {"compress_level": level})


@pytest.mark.parametrize("wrap", [Counted, AsyncCounted])
async def test_a_generator_of_members_is_closed_with_a_response_that_is_refused(
    wrap: Any, anyio_backend: Any
) -> None:
    with pytest.raises(ValueError, match="compress_level"):
        ZIPStreamingResponse(members := wrap(), compress_level=0)
    with anyio.fail_after(5):
        while not members.closed:  # noqa: ASYNC110
            await anyio.sleep(0.01)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_of_a_generator_only_what_it_gave_is_closed_and_itself(
    kind: str, anyio_backend: Any
) -> None:
    seen: list[str] = []
    given = Counted(endless())

    def generate() -> Iterator[ZipMember]:
        try:
            yield ZipMember("a", given)
            seen.append("second")
        finally:
            seen.append("closed")

    async def async_generate() -> AsyncIterator[ZipMember]:
        try:
            yield ZipMember("a", given)
            seen.append("second")
        finally:
            await anyio.sleep(0.01)
            seen.append("closed")

    with anyio.fail_after(10):
        await leave(ZIPStreamingResponse(generate() if kind == "sync" else async_generate()))
    assert seen == ["closed"]
    assert given.closed == 1


@pytest.mark.parametrize("way", ["HEAD", "sending the start fails"])
@pytest.mark.parametrize("kind", [Counted, AsyncCounted])
async def test_members_that_were_never_asked_for_are_closed(
    way: str, kind: Any, anyio_backend: Any
) -> None:
    members = kind([])
    with anyio.fail_after(10):
        await WAYS[way][1](ZIPStreamingResponse(members))
    assert members.closed == 1


async def test_what_a_generator_holds_open_around_its_yield_stays_open(anyio_backend: Any) -> None:
    is_open = False

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        nonlocal is_open
        is_open = True
        yield
        is_open = False

    async def reading() -> AsyncIterator[bytes]:
        for _ in range(5):
            await anyio.sleep(0.001)
            assert is_open
            yield NOISE

    async def members() -> AsyncIterator[ZipMember]:
        for name in "ab":
            async with opened():
                yield ZipMember(name, reading())

    assert list(unzipped(await body_of(ZIPStreamingResponse(members())))) == ["a", "b"]


async def _read_on(client: StreamClient) -> None:
    async for _ in client:
        pass


@both
@pytest.mark.parametrize("nested", [False, True], ids=["list", "async members"])
async def test_an_async_content_that_waits_is_stopped_at_once(
    response_class: Any, nested: bool, anyio_backend: Any
) -> None:
    closed = 0
    wait_began = anyio.Event()

    async def waits() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield NOISE
            wait_began.set()
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.01)
            closed += 1

    never = AsyncCounted()
    members = [ZipMember("a", NOISE * 2), ZipMember("b", waits()), ZipMember("c", never)]
    content = async_rows(*members) if nested else members
    async with stream(response_class(content)) as client:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                # All that comes: what is held back would hold the archive's thread back.
                group.start_soon(_read_on, client)
                await wait_began.wait()
                group.cancel_scope.cancel()
            await client.disconnect()
            await client.wait_closed()
    assert closed == 1
    assert never.closed == (0 if nested else 1)


@both
async def test_a_content_of_small_items_is_stopped_at_the_next_one(response_class: Any) -> None:
    made = 0
    begun, closed = threading.Event(), threading.Event()

    def rows() -> Iterator[bytes]:
        nonlocal made
        try:
            for made in range(1, 1001):  # noqa: B007  all of them are less than a chunk
                begun.set()
                time.sleep(0.01)
                yield b"row\n"
        finally:
            closed.set()

    response = response_class([ZipMember("a", rows())])
    async with stream(response, wait_for_start=False) as client:
        await anyio.to_thread.run_sync(begun.wait, 20)
        await client.disconnect()
        await client.wait_closed()
    assert closed.is_set()
    assert made < 1000


async def test_a_cleanup_that_never_ends_is_given_up_on() -> None:
    async def stubborn() -> AsyncIterator[bytes]:
        try:
            yield NOISE
            await anyio.sleep_forever()
        finally:
            await anyio.sleep_forever()

    response = ZIPStreamingResponse([ZipMember("a", stubborn())], cleanup_timeout=0.1)
    with anyio.fail_after(5):
        async with stream(response, wait_for_start=False) as client:
            await anyio.sleep(0.1)
            await client.disconnect()
            await client.wait_closed()


async def test_one_thread_reads_all_sync_contents_where_affinity_is_wanted() -> None:
    threads: set[int] = set()

    def notes() -> Iterator[bytes]:
        for _ in range(20):
            threads.add(threading.get_ident())
            yield os.urandom(100_000)

    members = [ZipMember(name, notes()) for name in "abc"]
    async with stream(ZIPStreamingResponse(members, thread_affine=True)) as client:
        async for _ in client:
            await anyio.to_thread.run_sync(time.sleep, 0.001)
    assert len(threads) == 1


async def test_a_stalled_client_stops_the_archive_and_holds_no_thread() -> None:
    made = 0

    def noise() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield os.urandom(1 << 16)

    async with stream(ZIPStreamingResponse([ZipMember("a", noise())])) as client:
        await anext(client)
        client.stall()
        await anyio.sleep(0.2)
        ahead = made
        await anyio.sleep(0.1)
        assert made == ahead < 20
        assert stream_limiter().borrowed_tokens == 0
