"""The options and the start that every response has, of archives as well."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

from streamkit import (
    Member,
    ResponseStart,
    TARStreamingResponse,
    ThreadTimeout,
    ZIPStreamingResponse,
)
from streamkit.testing import fetch, stream
from tests.archives.members import UNPACK
from tests.operate.test_threads import all_threads_taken

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("response_class", [ZIPStreamingResponse, TARStreamingResponse])


async def as_async(items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


GIVEN: dict[str, Callable[[list[Any]], Any]] = {"list": list, "sync": iter, "async": as_async}


@both
@pytest.mark.parametrize("given", ["sync", "async"])
@pytest.mark.parametrize("names", [[], ["a", "b"]])
async def test_a_start_is_no_member(response_class: Any, given: str, names: list[str]) -> None:
    items = [ResponseStart(201, {"X-Total": "2"}), *(Member(name, name) for name in names)]
    received = await fetch(response_class(GIVEN[given](items)))

    assert (received.status, received.headers["x-total"]) == (201, "2")
    assert UNPACK[response_class](received.body) == {name: name.encode() for name in names}


@pytest.mark.parametrize("given", ["sync", "async"])
async def test_a_start_goes_before_ready_chunks(given: str) -> None:
    items = [ResponseStart(201), b"PK", b"..."]
    received = await fetch(ZIPStreamingResponse(GIVEN[given](items)))
    assert (received.status, received.body) == (201, b"PK...")


@pytest.mark.parametrize("given", GIVEN)
async def test_a_stalled_client_stops_an_archive_at_max_buffer(given: str) -> None:
    made = 0

    def blob() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 65536
            yield os.urandom(65536)

    async def ahead(least: int, **options: Any) -> int:
        nonlocal made
        made = 0
        response = ZIPStreamingResponse(GIVEN[given]([Member("a", blob())]), **options)
        async with stream(response, read_ahead=0) as client:
            await anext(client)
            client.stall()
            with anyio.fail_after(20):
                while made - client.bytes_received < least:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            before = -1
            while made != before:
                before = made
                await anyio.sleep(0.05)
            return made - client.bytes_received

    # What waits in `send`, what the buffers hold, and a chunk that is being made.
    assert await ahead(1, max_buffer=1) < 262144
    assert await ahead(262144) < 1_000_000
    await ahead(1_500_000, max_buffer=2_000_000)


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("compress", [False, True])
async def test_an_archive_waits_for_a_thread_for_thread_timeout(given: str, compress: bool) -> None:
    members = GIVEN[given]([Member("a", b"x", compress=compress)])
    response = ZIPStreamingResponse(members, thread_timeout=0.05, first_chunk_timeout=None)
    async with all_threads_taken():
        with anyio.fail_after(20), pytest.raises(Exception) as caught:  # noqa: PT011
            await fetch(response)
    assert isinstance(caught.value.__cause__ or caught.value, ThreadTimeout)
