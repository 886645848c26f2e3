from pathlib import Path

import anyio
import pytest
from fastapi import FastAPI

from streamkit import (
    BodyCut,
    PlainTextStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
    file_chunks,
)
from streamkit.testing import check_closed, fetch, stream, virtual_time

app = FastAPI()


@app.get("/words", response_class=PlainTextStreamingResponse)
async def words():
    for word in ("some ", "are ", "late "):
        yield word
        await anyio.sleep(0.01)


@app.get("/broken", response_class=PlainTextStreamingResponse)
async def broken():
    yield "half of "
    await anyio.sleep(0.01)
    raise RuntimeError("the other half is gone")


@app.get("/film")
def film():
    def chunks():
        with Path("film.mp4").open("rb") as file:
            yield from file_chunks(file, 64)

    return StreamingResponse(chunks(), media_type="video/mp4")


@app.get("/news", response_class=SSEStreamingResponse)
async def news():
    yield "first"
    await anyio.sleep(40)
    yield "second"


async def test_a_chunk_arrives_when_it_is_made():
    async with stream(app, "/words") as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/plain; charset=utf-8"
        first, second = await anext(client), await anext(client)
        assert (first, second) == (b"some ", b"are ")
        assert second.at - first.at > 0.005
        assert await client.read() == b"late "


async def test_a_whole_response():
    response = await fetch(app, "/words", headers={"accept": "text/plain"})
    assert response.body == b"some are late "
    assert response.complete


async def test_a_failed_stream_is_never_a_whole_one():
    async with stream(app, "/broken") as client:
        with pytest.raises(BodyCut):
            await client.read()
        assert isinstance(client.error, RuntimeError)


async def test_a_client_that_leaves_leaves_nothing_open():
    with check_closed():
        async with stream(app, "/film") as client:
            await anext(client)
            await anext(client)


async def test_a_silence_is_filled_every_15_seconds():
    with virtual_time():
        async with stream(app, "/news") as client:
            chunks = [chunk async for chunk in client]
    assert chunks[1:3] == [b": keep-alive\n\n"] * 2
    assert 15 < chunks[1].at < 16
    assert chunks[-1] == b"data: second\n\n"
