import os
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException, Request

from streamkit import StreamingResponse

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9000")
# Headers of one connection, never passed on (RFC 9110 §7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization"}
HOP_BY_HOP |= {"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
# Replaced: Host by httpx, the others by our server.
REPLACED = {"host", "date", "server"}


@asynccontextmanager
async def lifespan(app):
    # An event stream may be silent for long: no limit for reading.
    timeout = httpx.Timeout(10, read=None)
    async with httpx.AsyncClient(base_url=UPSTREAM, timeout=timeout) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


def passed_on(headers):
    options = ",".join(value for name, value in headers if name.lower() == "connection")
    dropped = HOP_BY_HOP | REPLACED | {option.strip().lower() for option in options.split(",")}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


@app.get("/{path:path}")
@app.head("/{path:path}", include_in_schema=False)
async def proxy(request: Request):
    client: httpx.AsyncClient = request.app.state.client
    headers = passed_on(request.headers.items())
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
    for name, value in passed_on(upstream.headers.multi_items()):
        response.headers.append(name, value)
    return response
