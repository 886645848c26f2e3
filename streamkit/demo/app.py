"""The demo's app: the gallery, its live routes and the record of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.routing import APIRoute

from streamkit import (
    FileStreamingResponse,
    HTMLStreamingResponse,
    PlainTextStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    graceful_shutdown,
    last_event_id,
)
from streamkit.demo import items, lasting, live, race, seekable
from streamkit.demo.page import STATIC, render_page
from streamkit.demo.record import RecordedRoute, Wire, record

__all__ = ["app"]

ROUTERS = [live.router, items.router, lasting.router, seekable.router, race.router]
# Only these, for every path; the types don't depend on the system's table.
TYPES = {".css": "text/css", ".js": "text/javascript"}
FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open streams don't keep the demo from ending, and neither do those that nobody reads."""
    async with graceful_shutdown(grace=0.5), lasting.live:
        yield


app: FastAPI = FastAPI(title="streamkit demo", lifespan=lifespan)
app.add_middleware(Wire)


@app.get("/", response_class=HTMLStreamingResponse, include_in_schema=False)
def index(request: Request) -> Iterator[str]:
    """The gallery."""
    routes = [*(route for router in ROUTERS for route in router.routes), *app.routes]
    shown = {r.path: r for r in routes if isinstance(r, APIRoute) and r.include_in_schema}
    yield from render_page(shown.values(), str(request.url.replace(query="")), [RecordedRoute])


@app.get("/static/{name}", include_in_schema=False)
def static(name: str) -> FileStreamingResponse:
    """A file of the page, revalidated each time."""
    if name not in FILES:
        raise HTTPException(404)
    path = FILES[name]
    return FileStreamingResponse(
        path, media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"}
    )


@app.get("/record", response_class=SSEStreamingResponse, include_in_schema=False)
async def events(request: Request) -> AsyncIterator[ServerSentEvent]:
    """The record, for the page: its one EventSource."""
    async for event in record.events(last_event_id(request)):
        yield event


for _router in ROUTERS:
    app.include_router(_router)


@app.get("/open-files", response_class=PlainTextStreamingResponse)
async def open_files() -> AsyncIterator[str]:
    """How many files of /slow-file are open, and how the last stream ended."""
    yield f"open files: {record.open_files()}\nlast outcome: {record.last_outcome()}\n"
