"""The request's body and the disconnect come by one channel, which the response shares."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message

from streamkit import SSEStreamingResponse, StreamingResponse
from streamkit.asgi.listen import Inbox
from streamkit.testing import stream

pytestmark = pytest.mark.anyio

app = FastAPI()
closed: list[str] = []


@app.get("/ticks", response_class=SSEStreamingResponse)
async def ticks(request: Request) -> AsyncIterator[str]:
    try:
        while True:
            yield "tick"
            await anyio.sleep(3600)
    finally:
        closed.append("ticks")


@app.get("/plain", response_class=StreamingResponse)
async def plain(request: Request) -> AsyncIterator[str]:
    try:
        yield "first"
        await anyio.sleep(3600)
    finally:
        closed.append("plain")


@pytest.mark.parametrize("name", ["ticks", "plain"])
async def test_an_idle_stream_of_an_endpoint_that_takes_the_request_sees_its_client_leave(
    name: str,
) -> None:
    closed.clear()
    async with stream(app, f"/{name}") as client:
        await anext(client)
        await client.disconnect()
        with anyio.fail_after(5):
            await client.wait_closed()
    assert closed == [name]


@pytest.mark.parametrize("reads", [False, True])
async def test_a_middleware_that_gives_the_body_each_time_it_is_asked_is_asked_no_further(
    reads: bool,
) -> None:
    asked = 0

    async def replay() -> Message:
        nonlocal asked
        asked += 1
        # A failing test must end: this never waits, and nothing else would have its turn.
        assert asked < 1000
        return {"type": "http.request", "body": b"body", "more_body": False}

    inbox = Inbox(replay)
    inbox.may_have_reader = True
    if reads:
        assert (await inbox.receive())["body"] == b"body"
    assert not await inbox.listen()
    assert asked < 5
    # What is kept is for a reader who comes now; `Request.is_disconnected` asks after that, too.
    assert (await inbox.receive())["body"] == b"body"
    assert (await inbox.receive())["type"] == "http.request"
    assert asked < 5
