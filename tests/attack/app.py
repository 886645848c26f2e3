"""The app that the attack on sockets starts: every kind of content, and a ledger of all of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamkit import StreamingResponse, stream_limiter
from tests.attack.contents import KINDS, Diary
from tests.attack.running import descriptors

diaries: list[tuple[str, Diary]] = []


async def flood(diary: Diary) -> AsyncIterator[bytes]:
    diary.opened += 1
    try:
        while True:
            yield b"x" * 20_000
    finally:
        await anyio.lowlevel.checkpoint()
        diary.closed += 1


async def content(request: Request) -> Response:
    kind, diary = request.path_params["kind"], Diary()
    diaries.append((f"{kind}, {request.url.query}", diary))
    if kind == "endless":
        return StreamingResponse(flood(diary), on_close=diary.told)
    response: Response = KINDS[kind](diary)
    return response


async def state(request: Request) -> JSONResponse:
    """What is open now, and what was not closed as it should be."""
    open_ones = [f"{kind}: {diary}" for kind, diary in diaries if not diary.settled]
    if not open_ones:
        diaries.clear()
        gc.collect()
    return JSONResponse(
        {
            "open": open_ones,
            "tasks": len(asyncio.all_tasks()),
            "threads": stream_limiter().borrowed_tokens,
            "descriptors": descriptors(),
        }
    )


app = Starlette(routes=[Route("/state", state), Route("/{kind}", content, methods=["GET", "HEAD"])])
