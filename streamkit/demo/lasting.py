"""Live routes whose streams outlive a connection, or are one for many tabs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import count

import anyio
from fastapi import Request, Response

from streamkit import SSEStreamingResponse, last_event_id
from streamkit.demo.record import routes
from streamkit.live import Live

__all__ = ["live", "router"]

WORDS = "This answer goes on, whether you look or not. Leave, come back, and miss no word of it. "

router = routes()
live = Live(grace=0.5)
numbers = live.channel("counter", history=1)
added = count(1)


async def say(words: Iterable[str]) -> AsyncIterator[str]:
    for word in words:
        yield f"{word} "
        await anyio.sleep(1 / 5)


@router.get("/lasting", response_class=SSEStreamingResponse)
async def lasting(request: Request, run: str | None = None) -> Response:
    """An answer that goes on without its client; a second start of a run follows the first."""
    begun = await live.start(say(3 * WORDS.split()), id=run, linger=60)
    return SSEStreamingResponse(begun.follow(last_event_id(request), gap="event"))


@router.get("/counter", response_class=SSEStreamingResponse)
async def counter(request: Request) -> Response:
    """One number for all tabs: the newest first, then each that follows."""
    return SSEStreamingResponse(numbers.follow(last_event_id(request), gap="event"))


@router.post("/counter", status_code=204, response_class=Response, include_in_schema=False)
async def add_one() -> None:
    """Publish the next number."""
    await numbers.publish(next(added))
