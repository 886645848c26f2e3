import os
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException, Request

from streamkit import StreamingResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")
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
    client = httpx.AsyncClient(base_url=UPSTREAM, timeout=timeout, headers=UNPACKED)
    async with client as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


def passed_on(raw):
    """Headers as bytes: their values need not be ASCII."""
    headers = [(name.lower(), value) for name, value in raw]
    options = b",".join(value for name, value in headers if name == b"connection")
    dropped = HOP_BY_HOP | REPLACED | {option.strip().lower() for option in options.split(b",")}
    return [(name, value) for name, value in headers if name not in dropped]


@app.get("/{path:path}")
@app.head("/{path:path}", include_in_schema=False)
async def proxy(request: Request):
    client: httpx.AsyncClient = request.app.state.client
    headers = passed_on(request.headers.raw)
    url = httpx.URL(path=request.url.path, query=request.url.query.encode())
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
