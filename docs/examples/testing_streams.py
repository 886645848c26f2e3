import anyio
import pytest
from fastapi import FastAPI

from streamkit import BodyCut, PlainTextStreamingResponse
from streamkit.testing import fetch, stream

app = FastAPI()
closed = []


@app.get("/ticks", response_class=PlainTextStreamingResponse)
async def ticks():
    try:
        while True:
            yield "tick\n"
            await anyio.sleep(0.05)
    finally:
        closed.append("ticks")


@app.get("/broken", response_class=PlainTextStreamingResponse)
async def broken():
    yield "half of "
    await anyio.sleep(0.01)
    raise RuntimeError("the other half is gone")


async def test_a_tick_is_sent_as_soon_as_it_is_there():
    async with stream(app, "/ticks") as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/plain; charset=utf-8"
        first, second = await anext(client), await anext(client)
        assert first == second == b"tick\n"
        assert second.at - first.at < 1


async def test_a_client_that_leaves_ends_the_stream():
    closed.clear()
    async with stream(app, "/ticks") as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
        assert closed == ["ticks"]


async def test_a_failed_stream_is_never_a_whole_one():
    async with stream(app, "/broken") as client:
        with pytest.raises(BodyCut):
            await client.read()
        assert isinstance(client.error, RuntimeError)
    response = await fetch(app, "/broken")
    assert response.status == 200
    assert not response.complete
