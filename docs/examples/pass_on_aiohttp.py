import os
import re
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote

import aiohttp
import yarl
from fastapi import FastAPI, HTTPException, Request

from streamkit import StreamingResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000").rstrip("/")
# What the server behind may read as the folder above.
CLIMBS = re.compile(r"(^|[/\\])\.\.($|[/\\;])")
# What stays as it is in an address; a "#" would end it.
SAFE = "%/?:@!$&'()*+,;=[]"
KEPT = ["content-type", "content-length", "content-encoding", "content-range", "accept-ranges"]
KEPT += ["cache-control", "etag", "last-modified", "location", "vary"]
# A Range never without its If-Range: the client would join halves of two versions.
PASSED = ("accept", "accept-encoding", "if-none-match", "if-range", "last-event-id", "range")
# For clients that don't say what they can unpack; aiohttp would ask for gzip in their name.
UNPACKED = {"accept-encoding": "identity"}


@asynccontextmanager
async def lifespan(app):
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    # The bytes as they come: nothing is decompressed, to be compressed again.
    session = aiohttp.ClientSession(
        timeout=timeout,
        headers=UNPACKED,
        auto_decompress=False,
        # All users share the session: a jar would send the cookies of one for another.
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    async with session as app.state.session:
        yield


app = FastAPI(lifespan=lifespan)


def target(path: str, request: Request) -> str:
    """The address behind: path and query stay as the client wrote them."""
    before = request.scope["path"].removesuffix(path).encode()
    raw = request.scope.get("raw_path") or b""
    # A server need not give the raw path.
    raw = raw.removeprefix(before) if raw.startswith(before) else quote(path).encode()
    if CLIMBS.search(unquote(raw.decode("latin-1"))):
        raise HTTPException(400, "a path with '..' is not passed on")
    if query := request.scope["query_string"]:
        raw += b"?" + query
    return f"{UPSTREAM}/{quote(raw, safe=SAFE)}"


@app.get("/{path:path}")
async def proxy(path: str, request: Request):
    headers = {name: value for name, value in request.headers.items() if name in PASSED}
    session: aiohttp.ClientSession = request.app.state.session
    url = yarl.URL(target(path, request), encoded=True)
    try:
        upstream = await session.get(url, headers=headers, allow_redirects=False)
    except aiohttp.ClientConnectionError as exc:
        raise HTTPException(502, "the server behind does not answer") from exc
    return StreamingResponse(
        upstream.content.iter_any(),
        upstream.status,
        {name: upstream.headers[name] for name in KEPT if name in upstream.headers},
        on_close=lambda outcome: upstream.close(),
    )
