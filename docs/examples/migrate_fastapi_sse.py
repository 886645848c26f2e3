from collections.abc import AsyncIterable

from fastapi import FastAPI
from fastapi.sse import ServerSentEvent
from pydantic import BaseModel

from streamkit import SSEStreamingResponse

app = FastAPI()


class Progress(BaseModel):
    percent: int


@app.get("/progress", response_class=SSEStreamingResponse)
async def progress() -> AsyncIterable[Progress | ServerSentEvent]:
    for percent in (0, 50, 100):
        yield Progress(percent=percent)
    yield ServerSentEvent(data="done", event="end")
