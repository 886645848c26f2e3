"""What an operator adds to streams."""

from __future__ import annotations

from ..measures import compressed, latency, slow_clients, small, transfer
from ..model import Job, Side
from ..same import coded_json_lines

OURS = "operate:streamkit"


def compression(coding: str, *peers: str) -> Job:
    """Bytes may be 5 % more, for three times the speed."""
    accepted = f"Accept-Encoding: {coding}, gzip;q=0.5\r\n"
    sides = tuple(
        Side(f"operate:{peer}", 3, share=1 / 10, goals={"bytes/row": 1.05}) for peer in peers
    )
    return Job(
        f"compressed-{coding}",
        f"100,000 dicts as JSON lines, sync generator, {coding}",
        compressed(accepted),
        100_000,
        OURS,
        sides,
        headers=accepted,
        rounds=3,
        same=coded_json_lines,
        label=f"JSON lines, {coding}",
        note="The peers stand over Starlette's StreamingResponse, at the same level.",
    )


JOBS = [
    compression("gzip", "gzip_middleware", "starlette_compress"),
    compression("zstd", "gzip_middleware", "starlette_compress"),
    Job(
        "latency-compressed",
        "latency added to an item every 10 ms, compressed",
        latency(compressed=True),
        250,
        OURS,
        (Side("operate:plain", called="not compressed"),),
        limits={"p99 ms": 5.0},
        rounds=2,
        quick=0.2,
        same=None,
        label="Latency added to an item, compressed",
    ),
    Job(
        "observed-lines",
        "200,000 short lines, with an observer that counts",
        transfer("lines"),
        200_000,
        "operate:observed",
        (Side(OURS, 0.97, called="no observer"),),
        rounds=9,
        label="Lines, with an observer",
    ),
    Job(
        "observed-small",
        "3-chunk stream, 16 connections, with an observer that counts",
        small(16),
        2,
        "operate:observed",
        (Side(OURS, called="no observer"),),
        url="/observed-small/1",
        rounds=5,
        quick=0.5,
        warm_up=None,
        label="3-chunk stream, with an observer",
    ),
    Job(
        "slow-clients",
        "500 clients that take a byte a second, min_rate=1000, and /ping beside them",
        slow_clients,
        500,
        OURS,
        limits={"left": 0, "/ping p99 ms": 10},
        rounds=1,
        fresh=True,
        quick=0.1,
        warm_up=None,
        same=None,
        label="500 clients below min_rate",
        note="Their grace is 2.5 s, and the pings go on for 10 s from when all are open.",
    ),
]
