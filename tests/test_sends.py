"""The `send` of a server gives any awaitable: ASGI promises no coroutine (granian gives none)."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.types import Message, Receive, Scope, Send

from streamkit import (
    FileStreamingResponse,
    JSONLinesStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
)
from streamkit.live import Live
from streamkit.testing import fetch

pytestmark = pytest.mark.anyio


class Sent:
    """What granian's `send` gives: it can be awaited, and no more."""

    def __init__(self, send: Callable[[], Awaitable[None]]) -> None:
        self._send = send

    def __await__(self) -> Generator[Any, Any, None]:
        return self._send().__await__()


def as_awaitable(send: Send, message: Message) -> Any:
    return Sent(partial(send, message))


async def waiting(send: Send, message: Message) -> None:
    await anyio.lowlevel.checkpoint()
    await send(message)


class Server:
    """An object whose call is async."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        await self._send(message)


SENDS: dict[str, Callable[[Send], Any]] = {
    "an awaitable": lambda send: partial(as_awaitable, send),
    "an awaitable that waits": lambda send: partial(as_awaitable, partial(waiting, send)),
    "a function that gives one": lambda send: lambda message: Sent(partial(send, message)),
    "a partial": lambda send: partial(waiting, send),
    "an object": Server,
}


async def items() -> AsyncIterator[bytes]:
    for n in range(3):
        yield b"%d" % n
        await anyio.lowlevel.checkpoint()


async def events() -> AsyncIterator[Any]:
    for n in range(3):
        await anyio.sleep(0.001)
        yield {"n": n}


def lines() -> Iterator[bytes]:
    yield from (b"0", b"1", b"2")


RESPONSES: dict[str, Callable[[], StreamingResponse]] = {
    "async": lambda: StreamingResponse(items()),
    "sync": lambda: StreamingResponse(lines()),
    "bytes": lambda: StreamingResponse(b"012"),
    "a file": lambda: FileStreamingResponse(__file__),
    "events": lambda: SSEStreamingResponse(events()),
    "lines": lambda: JSONLinesStreamingResponse(events()),
    "compressed": lambda: StreamingResponse(items(), media_type="text/plain", compress=True),
    "at a rate": lambda: StreamingResponse(items(), max_rate=1e6),
}


def plain(answer: Any) -> bytes:
    body: bytes = answer.body
    return gzip.decompress(body) if "content-encoding" in answer.headers else body


def below(make_send: Callable[[Send], Any], make: Callable[[], Any]) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await make()(scope, receive, make_send(send))

    return app


@pytest.mark.parametrize("make_send", SENDS.values(), ids=SENDS)
@pytest.mark.parametrize("make", RESPONSES.values(), ids=RESPONSES)
async def test_any_awaitable_will_do(
    make: Callable[[], StreamingResponse], make_send: Callable[[Send], Any]
) -> None:
    headers = {"accept-encoding": "gzip"}
    expected = await fetch(below(lambda send: send, make), headers=headers)
    answer = await fetch(below(make_send, make), headers=headers)
    assert (answer.status, plain(answer), answer.complete) == (200, plain(expected), True)


@pytest.mark.parametrize("make_send", SENDS.values(), ids=SENDS)
async def test_any_awaitable_will_do_for_a_live_stream(make_send: Callable[[Send], Any]) -> None:
    async with Live() as live:
        run = await live.start(events(), linger=60)
        answer = await fetch(below(make_send, lambda: SSEStreamingResponse(run.follow())))
    assert answer.complete
    assert answer.body.count(b"data: ") == 3
