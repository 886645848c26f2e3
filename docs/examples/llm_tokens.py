import time
import uuid
from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel

from streamkit import SSEStreamingResponse

app = FastAPI()


class Message(BaseModel):
    role: str
    content: str


class CompletionRequest(BaseModel):
    model: str
    messages: list[Message]
    stream: Literal[True]


class CompletionStreamingResponse(SSEStreamingResponse):
    first_chunk_timeout = 10.0  # so that a refusal of the model becomes a status
    error_frames = True


@app.post("/v1/chat/completions")
async def complete(request: CompletionRequest):
    return CompletionStreamingResponse(events(request))


async def events(request: CompletionRequest):
    chunk = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": request.model,
    }
    delta = {"role": "assistant"}
    async for token in generate(request.messages):
        yield chunk | {"choices": [choice(delta | {"content": token})]}
        delta = {}
    yield chunk | {"choices": [choice(delta, "stop")]}
    yield "[DONE]"


def choice(delta: dict[str, str], finish_reason: str | None = None):
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


async def generate(messages: list[Message]):
    """Your model."""
    for token in ("Hello", ",\n", "world"):
        yield token
