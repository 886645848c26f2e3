import time
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
from fastapi import FastAPI, Request

from streamkit import (
    PlainTextStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    graceful_shutdown,
)


@asynccontextmanager
async def lifespan(app):
    async with graceful_shutdown(grace=5.0) as app.state.shutdown:
        yield


app = FastAPI(lifespan=lifespan)


class ClockStreamingResponse(SSEStreamingResponse):
    farewell = ServerSentEvent("back in a moment", event="bye", retry=1000)


@app.get("/clock", response_class=ClockStreamingResponse)
async def clock():
    while True:
        yield datetime.now().isoformat()
        await anyio.sleep(1)


@app.get("/lines", response_class=PlainTextStreamingResponse)
def lines(request: Request):
    shutdown = request.app.state.shutdown
    while not shutdown.requested:
        yield "a line\n"
        time.sleep(0.1)
    yield "that was the last one\n"
