"""Files as chunks: sync and async files, and paths."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from inspect import isawaitable, iscoroutinefunction
from typing import Any, AnyStr, Protocol, TypeVar

from streamkit.declare import byte_count
from streamkit.pythonfile import can_seek
from streamkit.regular import open_regular
from streamkit.threads import run_in_stream_thread

__all__ = [
    "async_file_chunks",
    "file_chunks",
    "is_async_file",
    "whole_async_chunks",
    "whole_chunks",
]

CHUNK_SIZE = 65536

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Readable(Protocol[T_co]):
    """A sync file, as far as reading goes."""

    def read(self, size: int, /) -> T_co: ...


class AsyncReadable(Protocol[T_co]):
    """An async file, as far as reading goes."""

    async def read(self, size: int, /) -> T_co: ...


def is_async_file(thing: object) -> bool:
    """Whether `read` has to be awaited."""
    return iscoroutinefunction(getattr(thing, "read", None)) or hasattr(thing, "__aiter__")


def file_chunks(file: Readable[AnyStr], chunk_size: int = CHUNK_SIZE) -> Iterator[AnyStr]:
    """Read a sync file in chunks of `chunk_size` bytes (characters, if it is a text file).

    64 KiB is where more no longer makes a loop over a cached file faster. A pipe or socket gives
    what has arrived, at most `chunk_size`, instead of waiting for all of it. The file is read
    from where it stands, and not closed: whoever opened it closes it.

    Raises `TypeError` for what has no sync `read`, `ValueError` for a size that isn't positive.

        with open("logo.png", "rb") as file:
            yield from file_chunks(file)
    """
    byte_count("chunk_size", chunk_size)
    if not callable(getattr(file, "read", None)) or is_async_file(file):
        raise TypeError(
            f"file_chunks() takes a file with a sync read(size), got {type(file).__name__}; "
            f"open a path first, and read an async file with async_file_chunks()"
        )
    read: Callable[[int], AnyStr] = file.read
    if not can_seek(file):
        read = getattr(file, "read1", read)
    return _read_all(read, chunk_size)


def whole_chunks(file: Any) -> Iterator[Any]:
    """As `file_chunks`, of a file that was handed over: at its end, as after writing it, it is read
    from its start."""
    empty = True
    for chunk in file_chunks(file):
        empty = False
        yield chunk
    if empty and can_seek(file):
        file.seek(0)
        yield from file_chunks(file)


async def whole_async_chunks(file: Any) -> AsyncGenerator[Any, None]:
    """The same of an async file."""
    empty = True
    while True:
        async with aclosing(async_file_chunks(file)) as chunks:
            async for chunk in chunks:
                empty = False
                yield chunk
        if not (empty and hasattr(file, "seekable") and await _result(file.seekable())):
            return
        await _result(file.seek(0))
        empty = False


def async_file_chunks(
    path_or_file: str | os.PathLike[str] | Readable[bytes] | AsyncReadable[bytes],
    chunk_size: int = CHUNK_SIZE,
    *,
    start: int = 0,
    end: int | None = None,
) -> AsyncGenerator[bytes, None]:
    """Read the bytes `start` to `end` (half-open) of a file in async code, in chunks.

    Takes a path, an open binary file, whose reads then run on the threads of streams, or an async
    file. A path is opened when the first chunk is asked for, and closed by this iterator; a file
    that is passed in stays open, and is read from where it stands unless `start` is given.

    Raises `TypeError` for anything else, `ValueError` for a size or range that makes no sense,
    and, when iterated, what opening and reading raise, such as `FileNotFoundError`; `OSError` for
    the path of a FIFO, a device or a socket, without waiting for it.

        async for chunk in async_file_chunks("film.mp4", start=1000, end=2000):
            ...
    """
    byte_count("chunk_size", chunk_size)
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"a range needs 0 <= start <= end, got start={start}, end={end}")
    if isinstance(path_or_file, str | os.PathLike):
        return _path_chunks(path_or_file, chunk_size, start, end)
    if not callable(getattr(path_or_file, "read", None)):
        raise TypeError(
            f"async_file_chunks() takes a path or a file with read(size), "
            f"got {type(path_or_file).__name__}"
        )
    left = None if end is None else end - start
    return _async_chunks(path_or_file, chunk_size, start, left)


async def _result(given: Any) -> Any:
    return await given if isawaitable(given) else given


def _read_all(read: Callable[[int], T], size: int) -> Iterator[T]:
    while chunk := read(size):
        yield chunk


async def _path_chunks(
    path: str | os.PathLike[str], size: int, start: int, end: int | None
) -> AsyncGenerator[bytes, None]:
    file = await run_in_stream_thread(open_regular, path)
    try:
        # To its end as it is when the reading gets there: a file may grow.
        chunks = file.read(start, sys.maxsize if end is None else end, size)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
    finally:
        file.close()


async def _async_chunks(
    file: Any, size: int, start: int, left: int | None
) -> AsyncGenerator[bytes, None]:
    async def call(function: Callable[[int], Any], argument: int) -> Any:
        if not is_async_file(file):
            return await run_in_stream_thread(function, argument)
        return await _result(function(argument))

    if start:
        await call(file.seek, start)
    while left is None or left > 0:
        chunk = await call(file.read, size if left is None else min(size, left))
        if not chunk:
            break
        if left is not None:
            left -= len(chunk)
        yield chunk
