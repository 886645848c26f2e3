import uuid
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from streamkit import SSEStreamingResponse

app = FastAPI()


class ChatRequest(BaseModel):
    messages: list[dict[str, Any]]


class UIMessageStreamingResponse(SSEStreamingResponse):
    first_chunk_timeout = 10.0


@app.post("/api/chat")
async def chat(request: ChatRequest):
    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    return UIMessageStreamingResponse(parts(request), headers=headers)


async def parts(request: ChatRequest):
    text = uuid.uuid4().hex
    begun = False
    try:
        async for token in generate(request.messages):
            if not begun:
                begun = True
                yield {"type": "start", "messageId": uuid.uuid4().hex}
                yield {"type": "text-start", "id": text}
            yield {"type": "text-delta", "id": text, "delta": token}
    except ConnectionError:
        if not begun:
            raise  # a status, since nothing was sent
        yield {"type": "error", "errorText": "the model has gone"}
    else:
        yield {"type": "text-end", "id": text}
        yield {"type": "finish"}
    yield "[DONE]"


async def generate(messages: list[dict[str, Any]]):
    """Your model."""
    for token in ("Hello", ",\n", "world"):
        yield token
