from contextlib import aclosing

import anyio
from fastapi import FastAPI
from pydantic import BaseModel

from streamkit import SSEStreamingResponse
from streamkit.live import Live, Run

live = Live()
app = FastAPI(lifespan=live.lifespan)
app.include_router(live.router("/v1/streams"))


class CompletionRequest(BaseModel):
    model: str
    messages: list[dict[str, str]]


@app.post("/v1/chat/completions")
async def complete(request: CompletionRequest):
    # The model stops when its answer was without a reader for 30 seconds.
    run = await live.start(events(request), linger=30)
    return SSEStreamingResponse(without_ids(run), headers=run.headers)


async def without_ids(run: Run):
    # OpenAI's client can't read an id without data, which comes first otherwise.
    async with aclosing(run.follow()) as items:
        async for item in items:
            yield item


async def events(request: CompletionRequest):
    chunk = {"object": "chat.completion.chunk", "model": request.model}
    async for token in generate(request.messages):
        yield chunk | {"choices": [{"index": 0, "delta": {"content": token}}]}
    yield chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield "[DONE]"


async def generate(messages: list[dict[str, str]]):
    """Your model."""
    for token in ("Hello", ",\n", "world"):
        yield token
        await anyio.sleep(0.5)
