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


class StreamOptions(BaseModel):
    include_usage: bool = False


class CompletionRequest(BaseModel):
    model: str
    messages: list[Message]
    stream: Literal[True]
    stream_options: StreamOptions = StreamOptions()


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
    tokens = 0
    async for token in generate(request.messages):
        tokens += 1
        yield chunk | {"choices": [choice(delta | {"content": token})]}
        delta = {}
    yield chunk | {"choices": [choice(delta, "stop")]}
    if request.stream_options.include_usage:
        prompt = sum(len(message.content.split()) for message in request.messages)
        yield chunk | {"choices": [], "usage": usage(prompt, tokens)}
    # Here the answer is complete. Save it now: clients close at [DONE], and so ends this generator.
    yield "[DONE]"


def choice(delta: dict[str, str], finish_reason: str | None = None):
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def usage(prompt: int, completion: int):
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


async def generate(messages: list[Message]):
    """Your model."""
    for token in ("Hello", ",\n", "world"):
        yield token
