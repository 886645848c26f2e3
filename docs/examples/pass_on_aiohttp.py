import os
from contextlib import asynccontextmanager

import aiohttp
from fastapi import FastAPI, HTTPException, Request

from streamkit import StreamingResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")
KEPT = ["content-type", "content-length", "content-encoding", "content-range", "accept-ranges"]
KEPT += ["cache-control", "etag", "last-modified", "vary"]
# For clients that don't say what they can unpack; aiohttp would ask for gzip in their name.
UNPACKED = {"accept-encoding": "identity"}


@asynccontextmanager
async def lifespan(app):
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    # The bytes as they come: nothing is decompressed, to be compressed again.
    session = aiohttp.ClientSession(
        UPSTREAM, timeout=timeout, headers=UNPACKED, auto_decompress=False
    )
    async with session as app.state.session:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/{path:path}")
async def proxy(path: str, request: Request):
    headers = {
        name: value
        for name, value in request.headers.items()
        if name in ("accept", "accept-encoding", "if-none-match", "last-event-id", "range")
    }
    try:
        upstream = await request.app.state.session.get(f"/{path}", headers=headers)
    except aiohttp.ClientConnectionError as exc:
        raise HTTPException(502, "the server behind does not answer") from exc
    return StreamingResponse(
        upstream.content.iter_any(),
        upstream.status,
        {name: upstream.headers[name] for name in KEPT if name in upstream.headers},
        on_close=lambda outcome: upstream.close(),
    )
