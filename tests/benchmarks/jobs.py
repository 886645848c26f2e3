"""Every job of the benchmark. `model.py` says what the fields mean."""

from __future__ import annotations

from typing import Any

from .measures import bridge, cold, crowd, idle, latency, memory, requests, transfer
from .model import Job, Side
from .same import event_fields, json_lines, members

MB, MIB, GIB = 1e6, 1 << 20, 1 << 30
KIT, FASTAPI_KIT = "core:streamkit", "core:fastapi_streamkit"
FILES, FORMATS = "files:streamkit", "formats:streamkit"
MIDDLE = f"Range: bytes={GIB // 2}-{GIB // 2 + 65535}\r\n"


def starlette(goal: float | None = None, share: float = 1.0) -> tuple[Side]:
    return (Side("core:starlette", goal, share),)


def fastapi(goal: float, share: float = 1.0) -> tuple[Side]:
    return (Side("core:fastapi", goal, share),)


def lines(name: str, title: str, ours: str, peers: tuple[Side, ...], **more: Any) -> Job:
    return Job(name, title, transfer("lines"), 200_000, ours, peers, **more)


def delay(kind: str) -> Job:
    title = f"latency added to an item every 10 ms, {kind} generator"
    limits = {"p99 ms": 5.0}
    more: dict[str, Any] = {"limits": limits, "rounds": 2, "quick": 0.2, "same": None}
    return Job(f"latency-{kind}", title, latency, 250, KIT, starlette(), **more)


def peak(kind: str, content: str, peers: tuple[Side, ...] = (), **more: Any) -> Job:
    """Memory that 1 GiB of a kind of content adds to the process's peak, on a fresh server."""
    title = f"peak memory added by 1 GiB from {content}"
    measure = memory(more.pop("prepare", False))
    more |= {"limits": {"MiB": 16.0}, "rounds": 1, "same": None, "warm_up": 0}
    return Job(f"memory-{kind}", title, measure, GIB, KIT, peers, **more)


CORE = [
    lines(
        "sync-lines",
        "200,000 short lines, sync generator",
        KIT,
        starlette(80, share=1 / 4),
        rounds=3,
    ),
    lines("async-lines", "200,000 short lines, async generator", KIT, starlette(15)),
    lines(
        "yield-sync",
        "the same through FastAPI `yield`, sync",
        FASTAPI_KIT,
        fastapi(80, share=1 / 4),
        rounds=3,
    ),
    lines("yield-async", "the same through FastAPI `yield`, async", FASTAPI_KIT, fastapi(2)),
    Job(
        "threadpool",
        "`iterate_in_threadpool` alone, 1,000,000 items",
        bridge,
        1_000_000,
        KIT,
        starlette(100, share=1 / 20),
        rounds=3,
        same=None,
    ),
    Job(
        "small-sync",
        "3-chunk stream, 8 connections, sync",
        requests(8),
        4000,
        KIT,
        starlette(1.5),
        url="/small-sync/3",
    ),
    Job(
        "small-async",
        "3-chunk stream, 8 connections, async",
        requests(8),
        6000,
        KIT,
        starlette(1),
        url="/small-async/3",
    ),
    Job(
        "file-chunks",
        "256 MiB binary file in a sync endpoint, `file_chunks(file)` against `yield from file`",
        transfer("MB", MB),
        256 * MIB,
        FASTAPI_KIT,
        fastapi(3, share=1 / 64),
        url="/file-chunks/{n}.bin",
        rounds=3,
    ),
    delay("sync"),
    delay("async"),
    peak("sync", "a sync generator", starlette()),
    peak("async", "an async generator", starlette()),
    peak("file", "an open file", url="/memory-file/{n}.bin"),
    peak("path", "a path", url="/memory-path/{n}.bin"),
    peak("bytes", "whole bytes (without their own size)", prepare=True),
    peak("bytesio", "a BytesIO (without its own size)", prepare=True),
]

FILE_JOBS = [
    Job(
        "file-1g",
        "1 GiB page-cached file, one connection",
        transfer("MB", MB),
        GIB,
        FILES,
        (Side("files:starlette", 5), Side("nginx", 1)),
        url="/file/{n}.bin",
    ),
    Job(
        "file-1m",
        "1 MB file, 32 connections",
        requests(32),
        2000,
        FILES,
        (Side("files:starlette", 2), Side("nginx")),
        url="/file/1000000.bin",
    ),
    Job(
        "file-20k",
        "20 kB file, 16 connections",
        requests(16),
        6000,
        FILES,
        (Side("files:starlette", 2), Side("nginx")),
        url="/file/20000.bin",
    ),
    Job(
        "file-range",
        "64 KiB from the middle of a 1 GiB file, 16 connections",
        requests(16, MIDDLE),
        6000,
        FILES,
        (Side("files:starlette", 2), Side("nginx")),
        url=f"/file/{GIB}.bin",
        headers=MIDDLE,
    ),
    Job(
        "bytesio",
        "256 MB BytesIO",
        transfer("MB", MB),
        256_000_000,
        FILES,
        (Side("files:starlette", 2, share=1 / 64),),
        rounds=3,
    ),
    Job(
        "file-memory",
        "peak memory added while 64 clients download 1 GiB each",
        crowd(64),
        GIB,
        FILES,
        url="/file/{n}.bin",
        limits={"MiB": 64},
        rounds=1,
        warm_up=0,
        same=None,
    ),
    Job(
        "file-cold",
        "1 GiB file not in the page cache, and /ping beside it",
        cold,
        GIB,
        FILES,
        (Side("files:starlette", 1),),
        url="/file/{n}.bin",
        limits={"/ping p99 ms": 10},
        rounds=3,
    ),
]

FORMAT_JOBS = [
    Job(
        "jsonlines-async",
        "100,000 dicts as JSON lines, async generator",
        transfer("rows"),
        100_000,
        FORMATS,
        (Side("formats:fastapi", 20),),
        same=json_lines,
    ),
    Job(
        "jsonlines-sync",
        "100,000 dicts as JSON lines, sync generator",
        transfer("rows"),
        100_000,
        FORMATS,
        (Side("formats:fastapi", 60),),
        rounds=3,
        same=json_lines,
    ),
    Job(
        "events-async",
        "100,000 events, async generator",
        transfer("events"),
        100_000,
        FORMATS,
        (Side("formats:sse_starlette", 12), Side("formats:fastapi", 40)),
        rounds=3,
        same=event_fields,
    ),
    Job(
        "events-sync",
        "100,000 events, sync generator",
        transfer("events"),
        100_000,
        FORMATS,
        (Side("formats:fastapi", 80),),
        rounds=3,
        same=event_fields,
    ),
    Job(
        "csv",
        "500,000 CSV rows, sync generator",
        transfer("rows"),
        500_000,
        FORMATS,
        (Side("formats:starlette", 35, share=1 / 10),),
        rounds=3,
    ),
    Job(
        "zip",
        "zip of 200 stored and 200 deflated members, 512 MiB",
        transfer("MB", MB),
        512 * MIB,
        FORMATS,
        (Side("formats:stream_zip", 1.2), Side("formats:zipstream_ng", 1.2)),
        rounds=3,
        same=members,
    ),
    Job(
        "idle-events",
        "1,000 idle event streams",
        idle,
        1000,
        FORMATS,
        (Side("formats:sse_starlette", 0.7), Side("formats:fastapi", 0.6)),
        limits={"more threads": 0},
        rounds=3,
        quick=0.2,
        same=None,
    ),
]

JOBS = [*CORE, *FILE_JOBS, *FORMAT_JOBS]
