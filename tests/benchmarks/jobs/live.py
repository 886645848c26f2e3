"""Live streams: items of one publisher for many readers, replays, and runs."""

from __future__ import annotations

from ..measures import fan_out, idle, memory, over_redis, replay
from ..model import Job, Side

OURS = "live:streamkit"
QUEUES = "a queue each, sse-starlette"


def readers(name: str, title: str, queues: float, broadcaster: float, litestar: float) -> Job:
    """The goals are how many times the peers' deliveries for each second of processor time."""
    return Job(
        f"live-{name}",
        f"1,000 SSE readers, {title}",
        fan_out,
        1000,
        OURS,
        (
            Side("live:sse_starlette", round(1 / queues, 2), called=QUEUES),
            Side("live:broadcaster", round(1 / broadcaster, 2)),
            Side("live:litestar", round(1 / litestar, 2), called="Litestar channels"),
        ),
        url=f"/live-{name}",
        label=f"1,000 readers, {title}",
        rounds=3,
        quick=0.2,
        warm_up=None,
        same=None,
    )


JOBS = [
    readers("bursts", "10 items together", 3, 3, 3),
    readers("single", "one item every 100 ms", 1.5, 1.3, 1.0),
    Job(
        "live-replay",
        "replay of 100,000 items to one reader",
        replay,
        100_000,
        OURS,
        (Side("live:sse_starlette", 10, called="sse-starlette over a list"),),
        limits={"MiB": 2},
        label="Replay of 100,000 items",
        rounds=3,
        same=None,
    ),
    Job(
        "live-reader",
        "1,000 idle readers of one channel against idle event streams",
        idle,
        1000,
        OURS,
        (Side("formats:streamkit", 1.0, called="idle event streams"),),
        url="/idle-events/{n}",
        limits={"more threads": 0},
        label="1,000 idle readers of a channel",
        rounds=5,
        quick=0.2,
        fresh=True,
        warm_up=None,
        same=None,
    ),
    Job(
        "live-tokens",
        "`start` + `follow`, 100 streams of 100 tokens a second, in memory",
        fan_out,
        100,
        OURS,
        (Side("live:plain", 1.3, called="the plain response"),),
        label="A run's item, read by its client",
        rounds=7,
        quick=1,
        warm_up=None,
        same=None,
        url="/live-tokens",
    ),
    Job(
        "live-million",
        "peak memory added, 1,000,000 items through a channel with history 1,000",
        memory(),
        1_000_000,
        OURS,
        limits={"MiB": 4},
        label="A million items through a channel",
        rounds=1,
        same=None,
    ),
    Job(
        "live-redis",
        "published in one process, received through another, over Redis",
        over_redis,
        1000,
        "live:over_redis",
        limits={"p50 ms": 1, "p99 ms": 10},
        label="Through Redis to another process",
        rounds=3,
        quick=0.2,
        warm_up=None,
        same=None,
        url="{n}",
    ),
]
