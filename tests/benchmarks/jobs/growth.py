"""How the cost of slow streams grows with their number."""

from __future__ import annotations

from dataclasses import replace

from ..measures import Measure, growth, sync_growth
from ..model import Job, Side

OURS = "growth:streamkit"
STARLETTE = Side("growth:starlette")
SLOW = Side("growth:starlette", goals={"µs/chunk": 1.0, "/ping p99 ms": 1.5})
SSE_STARLETTE = Side("growth:sse_starlette")
FASTAPI_SSE = Side("growth:fastapi", called="fastapi.sse")
SIZES = (1, 10, 100, 1000, 10_000)


def grow(kind: str, title: str, measure: Measure, *peers: Side, rounds: int = 1) -> list[Job]:
    """Those of 1,000 streams and more run in so many rounds and have the peers' goals."""
    return [
        Job(
            f"growth-{kind}-{n}",
            f"{n:,} {title}",
            measure,
            n,
            OURS,
            peers if n >= 1000 else tuple(replace(peer, goals={}) for peer in peers),
            url=f"/{kind}",
            rounds=rounds if n >= 1000 else 1,
            fresh=rounds > 1,
            quick=1 if n < 1000 else 0.1,
            warm_up=None,
            same=None,
        )
        for n in SIZES
    ]


JOBS = [
    *grow("async", "async generators, a chunk a second each", growth, SLOW, rounds=3),
    *grow("events", "event streams, an event a second each", growth, SSE_STARLETTE, FASTAPI_SSE),
    *grow("sync", "sync generators that sleep a second a chunk", sync_growth, STARLETTE),
]
