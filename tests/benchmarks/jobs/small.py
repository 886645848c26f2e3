"""Small responses over 16 connections that are kept alive."""

from __future__ import annotations

from typing import Any

from ..measures import small
from ..model import Job, Side
from ..samples import GIB, middle

OURS = "small:streamkit"
FLOOR = Side("small:floor", floor=True)
FIRST, LAST = middle(GIB)
MIDDLE = f"Range: bytes={FIRST}-{LAST}\r\n"


def job(name: str, title: str, goal: float, headers: str = "", *more: Side, **options: Any) -> Job:
    return Job(
        f"small-{name}",
        f"{title}, 16 connections",
        small(16, headers),
        2,  # seconds
        OURS,
        (Side("small:starlette", goal), *more, FLOOR),
        headers=headers,
        quick=0.5,
        warm_up=None,
        **options,
    )


JOBS = [
    job("async", "3-chunk stream, async generator", 2.2, label="3-chunk stream, async"),
    job("sync", "3-chunk stream, sync generator", 2.0, label="3-chunk stream, sync"),
    job("bytes", "20 kB of bytes against `Response`", 0.7, label="20 kB of bytes"),
    job(
        "file",
        "20 kB file against `FileResponse`",
        5,
        "",
        Side("nginx"),
        url="/file/20000.bin",
        label="20 kB file",
    ),
    job(
        "range",
        "64 KiB from the middle of a 1 GiB file against `FileResponse`",
        4,
        MIDDLE,
        Side("nginx"),
        url=f"/sparse/{GIB}.bin",
        label="64 KiB range of a 1 GiB file",
    ),
]
