"""Items that come one by one: the processor time that each takes the server's process."""

from __future__ import annotations

from typing import Any

from ..measures import trickle
from ..model import Job, Side

OURS, FASTAPI_OURS = "trickle:streamkit", "trickle:fastapi_streamkit"
FLOOR = Side("trickle:floor", floor=True)


def items(name: str, title: str, ours: str, *peers: Side, streams: int = 100, **more: Any) -> Job:
    return Job(
        f"trickle-{name}",
        f"{streams} streams of 20 {title}",
        trickle,
        streams,
        ours,
        (*peers, FLOOR),
        url=f"/trickle-{name}",
        rounds=7 if len(peers) > 1 else 9,
        quick=1,
        warm_up=None,
        same=None,
        **more,
    )


JOBS = [
    items(
        "async",
        "items a second, async generator",
        OURS,
        Side("trickle:starlette", 1.0),
        label="An async item that comes alone",
    ),
    items(
        "yield",
        "items a second, FastAPI `yield`, async",
        FASTAPI_OURS,
        Side("trickle:fastapi", 1.0),
        label="The same through FastAPI `yield`",
    ),
    items(
        "events",
        "events a second, async generator",
        OURS,
        Side("trickle:sse_starlette", 0.8),
        Side("trickle:fastapi", 0.3, called="fastapi.sse"),
        label="An event that comes alone",
    ),
    items(
        "sync",
        "items a second, sync generator",
        OURS,
        Side("trickle:starlette", 0.6),
        streams=32,  # Starlette has 40 threads
        label="A sync item that comes alone",
        note="32 streams, because Starlette has 40 threads. The floor has none: it is async.",
    ),
]
