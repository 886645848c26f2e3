import os
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from fastapi import FastAPI, HTTPException, Request

from streamkit import SSEStreamingResponse, last_event_id

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")


@asynccontextmanager
async def lifespan(app):
    # The other server may be silent for long: no limit for reading.
    timeout = httpx.Timeout(10, read=None)
    # All users share the client: its jar would keep cookies of the other server.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    client = httpx.AsyncClient(base_url=UPSTREAM, timeout=timeout, cookies=no_cookies)
    async with client as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/relayed")
async def relayed(request: Request):
    client: httpx.AsyncClient = request.app.state.client
    cursor = last_event_id(request)
    headers = {b"Last-Event-ID": cursor.encode()} if cursor else {}
    question = client.build_request("GET", "/events", headers=headers)
    try:
        events = await client.send(question, stream=True)
    except httpx.TransportError as exc:
        raise HTTPException(502, "the server behind does not answer") from exc

    async def close(outcome):
        await events.aclose()

    if events.status_code != 200:
        await events.aclose()
        raise HTTPException(502, f"the server behind says {events.status_code}")
    return SSEStreamingResponse(events.aiter_bytes(), on_close=close)
