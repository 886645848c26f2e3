"""The request's body and the disconnect come by one channel, which the response shares."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from fastapi import FastAPI, Request

from streamkit import SSEStreamingResponse, StreamingResponse
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
