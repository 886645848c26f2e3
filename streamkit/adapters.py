"""Files and iterables as chunks: small functions that keep the flavour, sync or async, they get."""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import Any, AnyStr, Generic, Protocol, TypeVar, overload

import anyio.to_thread

__all__ = ["async_file_chunks", "file_chunks", "rechunk", "split_lines"]

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
    _check_size("chunk_size", chunk_size)
    if not callable(getattr(file, "read", None)) or is_async_file(file):
        raise TypeError(
            f"file_chunks() takes a file with a sync read(size), got {type(file).__name__}; "
            f"open a path first, and read an async file with async_file_chunks()"
        )
    read: Callable[[int], AnyStr] = file.read
    if not _is_seekable(file):
        read = getattr(file, "read1", read)
    return _read_all(read, chunk_size)


def async_file_chunks(
    path_or_file: str | os.PathLike[str] | Readable[bytes] | AsyncReadable[bytes],
    chunk_size: int = CHUNK_SIZE,
    *,
    start: int = 0,
    end: int | None = None,
) -> AsyncGenerator[bytes, None]:
    """Read the bytes `start` to `end` (half-open) of a file in async code, in chunks.

    Takes a path, an open binary file, whose reads then run on worker threads, or an async file.
    A path is opened when the first chunk is asked for, and closed by this iterator; a file that
    is passed in stays open, and is read from where it stands unless `start` is given.

    Raises `TypeError` for anything else, `ValueError` for a size or range that makes no sense,
    and, when iterated, what opening and reading raise, such as `FileNotFoundError`.

        async for chunk in async_file_chunks("film.mp4", start=1000, end=2000):
            ...
    """
    _check_size("chunk_size", chunk_size)
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"a range needs 0 <= start <= end, got start={start}, end={end}")
    left = None if end is None else end - start
    if isinstance(path_or_file, str | os.PathLike):
        return _path_chunks(path_or_file, chunk_size, start, left)
    if not callable(getattr(path_or_file, "read", None)):
        raise TypeError(
            f"async_file_chunks() takes a path or a file with read(size), "
            f"got {type(path_or_file).__name__}"
        )
    return _async_chunks(path_or_file, chunk_size, start, left)


@overload
def rechunk(content: AsyncIterable[Any], size: int) -> AsyncIterator[bytes]: ...
@overload
def rechunk(content: Iterable[Any], size: int) -> Iterator[bytes]: ...
def rechunk(content: Any, size: int) -> Any:
    """Regroup bytes-like chunks into chunks of exactly `size` bytes; the last may be shorter.

    A sync iterable gives a sync iterator, an async one an async iterator. The content is taken
    over: it is closed at its end, and when the iterator is closed.

    Raises `TypeError` for content that can't be iterated and for chunks that aren't bytes,
    `ValueError` for a size that isn't positive.

        StreamingResponse(rechunk(camera.packets(), 188 * 7))
    """
    _check_size("size", size)
    return _adapt(content, _Rechunker(size))


@overload
def split_lines(content: AsyncIterable[AnyStr]) -> AsyncIterator[AnyStr]: ...
@overload
def split_lines(content: Iterable[AnyStr]) -> Iterator[AnyStr]: ...
def split_lines(content: Any) -> Any:
    """Regroup chunks of `str` or bytes into lines, without their ends.

    The lines are those of `splitlines()` over the whole: bytes end lines with LF, CR and CRLF,
    `str` also with the Unicode line ends. A line is given as soon as its end is sure, and held in
    memory until then.

    A sync iterable gives a sync iterator, an async one an async iterator. The content is taken
    over: it is closed at its end, and when the iterator is closed. Raises `TypeError` for content
    that can't be iterated, and for chunks that are neither `str` nor bytes.

        for line in split_lines(["a\\nb", "c\\n"]):
            ...  # "a", "bc"
    """
    return _adapt(content, _LineSplitter())


def _check_size(name: str, size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} must be a number of bytes, got {type(size).__name__}: {size!r}")
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {size}")


def _is_seekable(file: Any) -> bool:
    return bool(file.seekable()) if hasattr(file, "seekable") else False


def _read_all(read: Callable[[int], T], size: int) -> Iterator[T]:
    while chunk := read(size):
        yield chunk


async def _path_chunks(
    path: str | os.PathLike[str], size: int, start: int, left: int | None
) -> AsyncGenerator[bytes, None]:
    file = await anyio.to_thread.run_sync(partial(open, path, "rb"))
    chunks = _async_chunks(file, size, start, left)
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        file.close()
        await chunks.aclose()


async def _async_chunks(
    file: Any, size: int, start: int, left: int | None
) -> AsyncGenerator[bytes, None]:
    async def call(function: Callable[[int], Any], argument: int) -> Any:
        if not is_async_file(file):
            return await anyio.to_thread.run_sync(function, argument)
        result = function(argument)
        return await result if isawaitable(result) else result

    if start:
        await call(file.seek, start)
    while left is None or left > 0:
        chunk = await call(file.read, size if left is None else min(size, left))
        if not chunk:
            break
        if left is not None:
            left -= len(chunk)
        yield chunk


class _Core(Protocol[T]):
    """Chunks in, regrouped chunks out: what the sync and the async side share."""

    def feed(self, chunk: Any) -> list[T]: ...
    def flush(self) -> list[T]: ...


class _Rechunker:
    def __init__(self, size: int) -> None:
        self._size = size
        self._pending = bytearray()

    def feed(self, chunk: Any) -> list[bytes]:
        if isinstance(chunk, str):
            raise TypeError(f"rechunk() takes bytes, got str: {chunk!r:.60}; encode it first")
        pending, size = self._pending, self._size
        pending += chunk if isinstance(chunk, bytes) else memoryview(chunk).tobytes()
        whole = len(pending) - len(pending) % size
        with memoryview(pending) as view:
            chunks = [bytes(view[start : start + size]) for start in range(0, whole, size)]
        del pending[:whole]
        return chunks

    def flush(self) -> list[bytes]:
        rest, self._pending = bytes(self._pending), bytearray()
        return [rest] if rest else []


class _LineSplitter:
    def __init__(self) -> None:
        # The parts of a line whose end has not come; a CR at their end may be half of a CRLF.
        self._parts: list[Any] = []

    def feed(self, chunk: Any) -> list[Any]:
        if not isinstance(chunk, str | bytes):
            chunk = memoryview(chunk).tobytes()
        if not chunk:
            return []
        cr: Any
        lf: Any
        cr, lf = ("\r", "\n") if isinstance(chunk, str) else (b"\r", b"\n")
        lines: list[Any] = []
        if self._parts and self._parts[-1].endswith(cr):
            lines += self.flush()
            chunk = chunk.removeprefix(lf)
        *whole, last = chunk.splitlines(keepends=True) or [chunk]
        # Only a line end, and not one that may go on, makes the last piece a line.
        if last.endswith(cr) or last.splitlines() in ([last], []):
            whole, rest = whole, last
        else:
            whole, rest = [*whole, last], last[:0]
        if whole:
            self._parts.append(whole[0])
            lines += self.flush()
            lines += [line.splitlines()[0] for line in whole[1:]]
        if rest:
            self._parts.append(rest)
        return lines

    def flush(self) -> list[Any]:
        parts, self._parts = self._parts, []
        return parts[0][:0].join(parts).splitlines() if parts else []


def _adapt(content: Any, core: _Core[Any]) -> Any:
    if isinstance(content, AsyncIterable):
        return _AsyncAdapter(content, core)
    if isinstance(content, Iterable) and not isinstance(
        content, str | bytes | bytearray | memoryview
    ):
        return _Adapter(content, core)
    raise TypeError(
        f"expected an iterable or async iterable of chunks, got {type(content).__name__}; "
        f"put a single chunk into a list: [chunk]"
    )


class _Adapter(Iterator[T], Generic[T]):
    """A generator whose content is closed with it, also when it was never started."""

    def __init__(self, content: Iterable[Any], core: _Core[T]) -> None:
        self._content = content
        self._core = core
        self._items = self._run()

    def _run(self) -> Generator[T, None, None]:
        for chunk in self._content:
            yield from self._core.feed(chunk)
        yield from self._core.flush()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            return next(self._items)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._items.close()
        if close := getattr(self._content, "close", None):
            close()


class _AsyncAdapter(AsyncIterator[T], Generic[T]):
    """The same, async."""

    def __init__(self, content: AsyncIterable[Any], core: _Core[T]) -> None:
        self._content = content
        self._core = core
        self._items = self._run()

    async def _run(self) -> AsyncGenerator[T, None]:
        async for chunk in self._content:
            for item in self._core.feed(chunk):
                yield item
        for item in self._core.flush():
            yield item

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await anext(self._items)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        await self._items.aclose()
        close = getattr(self._content, "aclose", None) or getattr(self._content, "close", None)
        if close is not None and isawaitable(result := close()):
            await result
