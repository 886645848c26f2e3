"""Plain streams."""

from __future__ import annotations

from typing import Any

from ..measures import bridge, idle, latency, memory, transfer
from ..model import Job, Side
from ..samples import GIB, MB, MIB

KIT, FASTAPI_KIT = "core:streamkit", "core:fastapi_streamkit"


def starlette(goal: float | None = None, share: float = 1.0) -> tuple[Side]:
    return (Side("core:starlette", goal, share),)


def fastapi(goal: float, share: float = 1.0) -> tuple[Side]:
    return (Side("core:fastapi", goal, share),)


def lines(name: str, title: str, ours: str, peers: tuple[Side, ...], **more: Any) -> Job:
    return Job(name, title, transfer("lines"), 200_000, ours, peers, **more)


def delay(kind: str) -> Job:
    title = f"latency added to an item every 10 ms, {kind} generator"
    label = f"Latency added to an item, {kind}"
    limits = {"p99 ms": 5.0}
    more: dict[str, Any] = {"limits": limits, "rounds": 2, "quick": 0.2, "same": None}
    more["label"] = label
    return Job(f"latency-{kind}", title, latency(), 250, KIT, starlette(), **more)


def peak(kind: str, content: str, peers: tuple[Side, ...] = (), **more: Any) -> Job:
    """Memory that 1 GiB of a kind of content adds to the process's peak, on a fresh server."""
    title = f"peak memory added by 1 GiB from {content}"
    measure = memory(more.pop("prepare", False))
    more |= {"limits": {"MiB": 16.0}, "rounds": 1, "same": None, "warm_up": 0}
    more["label"] = f"Peak memory, 1 GiB from {content.partition(' (')[0]}"
    return Job(f"memory-{kind}", title, measure, GIB, KIT, peers, **more)


JOBS = [
    lines(
        "sync-lines",
        "200,000 short lines, sync generator",
        KIT,
        starlette(80, share=1 / 4),
        rounds=3,
        label="Sync generator, 200,000 lines",
    ),
    lines(
        "async-lines",
        "200,000 short lines, async generator",
        KIT,
        starlette(15),
        label="Async generator, 200,000 lines",
    ),
    lines(
        "yield-sync",
        "the same through FastAPI `yield`, sync",
        FASTAPI_KIT,
        fastapi(80, share=1 / 4),
        rounds=3,
        label="Sync `yield` in FastAPI",
    ),
    lines(
        "yield-async",
        "the same through FastAPI `yield`, async",
        FASTAPI_KIT,
        fastapi(2),
        label="Async `yield` in FastAPI",
    ),
    Job(
        "threadpool",
        "`iterate_in_threadpool` alone, 1,000,000 items",
        bridge,
        1_000_000,
        KIT,
        starlette(100, share=1 / 20),
        rounds=3,
        same=None,
        label="iterate_in_threadpool alone",
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
        label="Binary file through a sync `yield`",
        note="`yield from file` goes from newline to newline, `file_chunks(file)` by 64 KiB.",
    ),
    delay("sync"),
    delay("async"),
    Job(
        "idle-plain",
        "1,000 idle streams",
        idle,
        1000,
        KIT,
        starlette(0.9),
        limits={"more threads": 0},
        rounds=3,
        fresh=True,
        warm_up=None,
        quick=0.2,
        same=None,
        label="1,000 idle streams",
    ),
    peak("sync", "a sync generator", starlette()),
    peak("async", "an async generator", starlette()),
    peak("file", "an open file", url="/memory-file/{n}.bin"),
    peak("path", "a path", url="/memory-path/{n}.bin"),
    peak("bytes", "whole bytes (without their own size)", prepare=True),
    peak("bytesio", "a BytesIO (without its own size)", prepare=True),
]
