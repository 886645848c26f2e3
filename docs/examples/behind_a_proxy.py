import anyio
from fastapi import FastAPI

from streamkit import (
    FileStreamingResponse,
    JSONLinesStreamingResponse,
    SSEStreamingResponse,
)

app = FastAPI()

LIVE = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
PUBLIC = {"Cache-Control": "public, max-age=3600"}


async def readings():
    number = 0
    while True:
        number += 1
        yield {"reading": number}
        await anyio.sleep(0.1)


@app.get("/events")
async def events():
    return SSEStreamingResponse(readings())


@app.get("/readings.jsonl")
async def lines():
    return JSONLinesStreamingResponse(readings(), headers=LIVE)


@app.get("/film.mp4")
def film():
    return FileStreamingResponse("film.mp4", headers=PUBLIC)
