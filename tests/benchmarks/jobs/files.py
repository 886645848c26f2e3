"""Content with an address."""

from __future__ import annotations

from ..measures import cold, crowd, requests, transfer
from ..model import Job, Side
from ..samples import GIB, MB

FILES, FASTAPI_FILES = "files:streamkit", "files:fastapi_streamkit"

JOBS = [
    Job(
        "file-1g",
        "1 GiB page-cached file, one connection",
        transfer("MB", MB),
        GIB,
        FILES,
        (Side("files:starlette", 5), Side("nginx", 1)),
        url="/file/{n}.bin",
        label="1 GiB file",
    ),
    Job(
        "file-1m",
        "1 MB file, 32 connections",
        requests(32),
        2000,
        FILES,
        (Side("files:starlette", 2), Side("nginx")),
        url="/file/1000000.bin",
        label="1 MB file, 32 connections",
    ),
    Job(
        "file-fastapi",
        "20 kB file returned by a FastAPI endpoint, 16 connections",
        requests(16),
        4000,
        FASTAPI_FILES,
        (Side("files:fastapi"),),
        url="/file/20000.bin",
        rounds=3,
        label="20 kB file in FastAPI",
        note="Both are returned by an `async def` endpoint: FastAPI's FileResponse is Starlette's.",
    ),
    Job(
        "bytesio",
        "256 MB BytesIO",
        transfer("MB", MB),
        256_000_000,
        FILES,
        (Side("files:starlette", 2, share=1 / 64),),
        rounds=3,
        label="256 MB BytesIO",
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
        label="Peak memory, 64 times 1 GiB at once",
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
        label="1 GiB file from the disk",
    ),
]
