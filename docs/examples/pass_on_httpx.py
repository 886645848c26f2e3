import os
import re
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import quote, unquote

import httpx
from fastapi import FastAPI, HTTPException, Request

from streamkit import StreamingResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000").rstrip("/")
# What the server behind may read as the folder above.
CLIMBS = re.compile(r"(^|[/\\])\.\.($|[/\\;])")
# What stays as it is in an address; a "#" would end it.
SAFE = "%/?:@!$&'()*+,;=[]"
# Headers of one connection, never passed on (RFC 9110 §7.6.1).
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"}
HOP_BY_HOP |= {b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
# Replaced: Host by httpx, the others by our server.
REPLACED = {b"host", b"date", b"server"}
# For clients that don't say what they can unpack; httpx would ask for gzip in their name.
UNPACKED = {"accept-encoding": "identity"}


@asynccontextmanager
async def lifespan(app):
    # An event stream may be silent for long: no limit for reading.
    timeout = httpx.Timeout(10, read=None)
    # All users share the client: a jar would send the cookies of one with the requests of another.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    client = httpx.AsyncClient(timeout=timeout, headers=UNPACKED, cookies=no_cookies)
    async with client as app.state.client:
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


def passed_on(raw):
    """Headers as bytes: their values need not be ASCII."""
    headers = [(name.lower(), value) for name, value in raw]
    options = b",".join(value for name, value in headers if name == b"connection")
    dropped = HOP_BY_HOP | REPLACED | {option.strip().lower() for option in options.split(b",")}
    return [(name, value) for name, value in headers if name not in dropped]


@app.get("/{path:path}")
@app.head("/{path:path}", include_in_schema=False)
async def proxy(path: str, request: Request):
    client: httpx.AsyncClient = request.app.state.client
    headers = passed_on(request.headers.raw)
    url = target(path, request)
    try:
        upstream = await client.send(
            client.build_request(request.method, url, headers=headers), stream=True
        )
    except httpx.TransportError as exc:
        raise HTTPException(502, "the server behind does not answer") from exc

    async def close(outcome):
        await upstream.aclose()

    response = StreamingResponse(
        upstream.aiter_raw(), status_code=upstream.status_code, on_close=close
    )
    response.raw_headers += passed_on(upstream.headers.raw)
    return response
