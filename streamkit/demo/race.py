"""The same generator twice: once with Starlette's response, once with ours."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter
from starlette import responses

from streamkit import PlainTextStreamingResponse, StreamingResponse
from streamkit.demo.record import routes

__all__ = ["LINES", "router"]

LINES = 20_000

router: APIRouter = routes()


def count_lines() -> Iterator[str]:
    for number in range(LINES):
        yield f"line {number:6}\n"


@router.get("/race/streamkit", response_class=PlainTextStreamingResponse)
def race_streamkit() -> responses.Response:
    """20,000 short lines from a sync generator, sent by streamkit."""
    return StreamingResponse(count_lines(), media_type="text/plain")


@router.get("/race/starlette", response_class=responses.PlainTextResponse)
def race_starlette() -> responses.Response:
    """The same lines from the same generator, sent by Starlette."""
    return responses.StreamingResponse(count_lines(), media_type="text/plain")
