"""Small responses, each class called as the ASGI app that it is: no router takes its part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import ASGIApp

from ..samples import GIB, blob, middle, sample, sparse
from .bare import by_name, bytes_floor, joined_floor

CHUNKS = (b"one\n", b"two\n", b"three\n")
SIZE = 20_000
BINARY = "application/octet-stream"


def chunks() -> Iterator[bytes]:
    yield from CHUNKS


async def async_chunks() -> AsyncIterator[bytes]:
    for chunk in CHUNKS:
        yield chunk


def served(
    stream: Callable[..., Response],
    whole: Callable[..., Response],
    file: Callable[[Path], Response],
) -> ASGIApp:
    text: dict[str, Any] = {"media_type": "text/plain"}
    return by_name(
        {
            "small-async": lambda: stream(async_chunks(), **text),
            "small-sync": lambda: stream(chunks(), **text),
            "small-bytes": lambda: whole(blob(SIZE), media_type=BINARY),
            "file": lambda: file(sample(SIZE)),
            "sparse": lambda: file(sparse(GIB)),
        }
    )


def starlette() -> ASGIApp:
    return served(StreamingResponse, Response, FileResponse)


def streamkit() -> ASGIApp:
    import streamkit as kit

    return served(kit.StreamingResponse, kit.StreamingResponse, kit.FileStreamingResponse)


def floor() -> ASGIApp:
    """Files are in memory here: the floor opens none."""
    three, blob_20k = joined_floor(async_chunks), bytes_floor(blob(SIZE))
    first, last = middle(GIB)
    content_range = [(b"content-range", f"bytes {first}-{last}/{GIB}".encode())]
    ranged = bytes_floor(blob(last - first + 1), 206, content_range)
    return by_name(
        {
            "small-async": lambda: three,
            "small-sync": lambda: three,
            "small-bytes": lambda: blob_20k,
            "file": lambda: blob_20k,
            "sparse": lambda: ranged,
        }
    )
