import json
import os
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from fastapi import FastAPI, HTTPException, Request

from streamkit import ServerSentEvent, SSEStreamingResponse, split_lines

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")


@asynccontextmanager
async def lifespan(app):
    # A model may think for long before it goes on: no limit for reading.
    timeout = httpx.Timeout(10, read=None)
    # All users share the client: its jar would keep cookies of the other server.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    client = httpx.AsyncClient(base_url=UPSTREAM, timeout=timeout, cookies=no_cookies)
    async with client as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


class ChatStreamingResponse(SSEStreamingResponse):
    first_chunk_timeout = 10.0  # so that a refusal of the model becomes a status


@app.post("/chat", response_class=ChatStreamingResponse)
async def chat(request: Request):
    question = await request.json() | {"stream": True}
    client: httpx.AsyncClient = request.app.state.client
    async with client.stream("POST", "/v1/chat/completions", json=question) as answer:
        if answer.status_code != 200:
            raise HTTPException(answer.status_code, "the model refused")
        # Lines of bytes: those of a str also end at U+2028, which a token may hold.
        async for line in split_lines(answer.aiter_bytes()):
            if not line.startswith(b"data: ") or line == b"data: [DONE]":
                continue  # a blank line, a comment, or the end
            for choice in json.loads(line.removeprefix(b"data: "))["choices"]:
                if token := choice["delta"].get("content"):
                    yield {"text": token}
    yield ServerSentEvent(event="done", data="")
