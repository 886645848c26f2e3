"""Structured streams."""

from __future__ import annotations

from ..measures import idle, transfer
from ..model import Job, Side
from ..same import event_fields, json_lines, members
from ..samples import MB, MIB

FORMATS = "formats:streamkit"


def fastapi_sse(goal: float, share: float = 1.0) -> Side:
    return Side("formats:fastapi", goal, share, called="fastapi.sse")


JOBS = [
    Job(
        "jsonlines-async",
        "100,000 dicts as JSON lines, async generator",
        transfer("rows"),
        100_000,
        FORMATS,
        (Side("formats:fastapi", 20),),
        same=json_lines,
        label="JSON lines, async generator",
    ),
    Job(
        "jsonlines-sync",
        "100,000 dicts as JSON lines, sync generator",
        transfer("rows"),
        100_000,
        FORMATS,
        (Side("formats:fastapi", 60, share=1 / 4),),
        rounds=3,
        same=json_lines,
        label="JSON lines, sync generator",
    ),
    Job(
        "events-async",
        "100,000 events, async generator",
        transfer("events"),
        100_000,
        FORMATS,
        (Side("formats:sse_starlette", 12), fastapi_sse(40)),
        rounds=3,
        same=event_fields,
        label="Events, async generator",
    ),
    Job(
        "events-sync",
        "100,000 events, sync generator",
        transfer("events"),
        100_000,
        FORMATS,
        (fastapi_sse(80, share=1 / 4),),
        rounds=3,
        same=event_fields,
        label="Events, sync generator",
    ),
    Job(
        "csv",
        "500,000 CSV rows, sync generator",
        transfer("rows"),
        500_000,
        FORMATS,
        (Side("formats:starlette", 35, share=1 / 10),),
        rounds=3,
        label="CSV rows, sync generator",
    ),
    Job(
        "zip",
        "zip of 200 stored and 200 deflated members, 256 MiB",
        transfer("MB", MB),
        256 * MIB,
        FORMATS,
        (Side("formats:stream_zip", 1.2), Side("formats:zipstream_ng", 1.2)),
        rounds=3,
        same=members,
        label="zip, half of it deflated",
        note="streamkit deflates at level 4, its default; the peers at zlib's usual 6.",
    ),
    Job(
        "zip-6",
        "the same, all three at level 6, 128 MiB",
        transfer("MB", MB),
        128 * MIB,
        FORMATS,
        (Side("formats:stream_zip"), Side("formats:zipstream_ng")),
        rounds=2,
        same=members,
        label="The same, all at level 6",
    ),
    Job(
        "idle-events",
        "1,000 idle event streams",
        idle,
        1000,
        FORMATS,
        (Side("formats:sse_starlette", 0.7), fastapi_sse(0.6)),
        limits={"more threads": 0},
        rounds=3,
        fresh=True,
        warm_up=None,
        quick=0.2,
        same=None,
        label="1,000 idle event streams",
    ),
    Job(
        "idle-events-plain",
        "1,000 idle event streams against plain ones",
        idle,
        1000,
        FORMATS,
        (Side("formats:starlette", 1.0),),
        url="/idle-events/{n}",
        rounds=3,
        fresh=True,
        warm_up=None,
        quick=0.2,
        same=None,
        label="The same against idle plain streams",
        note="Starlette has no class for events: its streams send no keep-alives.",
    ),
]
