"""The context and the thread of a content: the same from its first item to its close."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from streamkit import StreamingResponse
from streamkit.testing import fetch, stream

pytestmark = pytest.mark.anyio

user: ContextVar[str] = ContextVar("user", default="nobody")


async def test_a_sync_generator_keeps_its_context_from_item_to_item_and_burst_to_burst() -> None:
    def generate() -> Iterator[str]:
        token = user.set("ada")
        for _ in range(5):
            yield user.get() * 1000
        user.reset(token)
        yield user.get()

    body = b""
    async with stream(StreamingResponse(generate(), max_buffer=1), read_ahead=0) as client:
        async for chunk in client:
            body += chunk
            # Long enough for the thread to be given back, so that the next burst is another.
            await anyio.sleep(0.004)
    assert body == b"ada" * 5000 + b"nobody"


async def test_a_sync_generator_is_closed_in_the_context_it_ran_in() -> None:
    seen = []

    def generate() -> Iterator[bytes]:
        token = user.set("ada")
        try:
            while True:
                yield b"x" * 1000
        finally:
            seen.append(user.get())
            user.reset(token)

    response = StreamingResponse(generate(), max_buffer=1000)
    async with stream(response, read_ahead=0) as client:
        await anext(client)
        await anyio.sleep(0.004)
    assert seen == ["ada"]


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_content_sees_the_context_of_the_request(flavour: str) -> None:
    def sync_items() -> Iterator[str]:
        yield user.get()

    async def async_items() -> AsyncIterator[str]:
        yield user.get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        user.set("grace")
        items = sync_items() if flavour == "sync" else async_items()
        await StreamingResponse(items)(scope, receive, send)

    assert (await fetch(app)).body == b"grace"


async def test_what_one_stream_sets_no_other_stream_sees() -> None:
    def generate(name: str) -> Iterator[str]:
        user.set(name)
        for _ in range(3):
            time.sleep(0.002)
            yield user.get()

    async def check(name: str) -> None:
        response = await fetch(StreamingResponse(generate(name), max_buffer=1))
        assert response.body.decode() == name * 3

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(check, f"user{number};")


async def test_thread_affine_keeps_sqlite_on_its_thread_in_eight_streams_at_once() -> None:
    def rows() -> Iterator[str]:
        connection = sqlite3.connect(":memory:")
        try:
            connection.execute("CREATE TABLE numbers AS SELECT 1 AS n")
            connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(2, 501)])
            for (number,) in connection.execute("SELECT n FROM numbers"):
                yield f"{number}\n"
        finally:
            connection.close()

    expected = "".join(f"{n}\n" for n in range(1, 501)).encode()

    async def check() -> None:
        response = StreamingResponse(rows(), thread_affine=True, max_buffer=50)
        assert (await fetch(response, suspend_on_send=True)).body == expected

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(check)


async def test_thread_affine_is_closed_on_the_same_thread_after_a_disconnect() -> None:
    threads = []

    def generate() -> Iterator[bytes]:
        try:
            while True:
                threads.append(threading.get_ident())
                yield b"x" * 1000
        finally:
            threads.append(threading.get_ident())

    response = StreamingResponse(generate(), thread_affine=True, max_buffer=1000)
    async with stream(response, read_ahead=1000) as client:
        await anext(client)
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
    assert len(set(threads)) == 1
