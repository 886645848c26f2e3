import anyio
import pytest
from fastapi import FastAPI

from streamkit import JSONLinesStreamingResponse
from streamkit.testing import fetch, stream

app = FastAPI()
closed = []


@app.get("/rows")
async def endless():
    return JSONLinesStreamingResponse(rows())


@app.get("/rows/{count}")
async def counted(count: int):
    return JSONLinesStreamingResponse(rows(count))


async def rows(count=None):
    number = 0
    try:
        while count is None or number < count:
            number += 1
            yield {"row": number}
            await anyio.sleep(0.01)
    finally:
        closed.append(number)


pytestmark = pytest.mark.anyio


async def test_all_rows_are_there():
    response = await fetch(app, "/rows/2")
    assert response.status == 200
    assert response.body == b'{"row":1}\n{"row":2}\n'
    assert response.complete


async def test_rows_end_when_the_client_leaves():
    closed.clear()
    async with stream(app, "/rows") as client:
        assert await anext(client) == b'{"row":1}\n'
        await client.disconnect()
        await client.wait_closed()
    assert closed == [1]
