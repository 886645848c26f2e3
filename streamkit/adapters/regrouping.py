"""Chunks regrouped, by size, into lines or events: sync stays sync, and async stays async."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, AnyStr, Generic, Protocol, TypeVar, overload

from streamkit.closing import close_async
from streamkit.declare import byte_count
from streamkit.threads import leave_if_stopped

__all__ = ["rechunk", "split_events", "split_lines"]

T = TypeVar("T")

END: Any = object()


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
    byte_count("size", size)
    return _adapt(content, _Rechunker(size))


@overload
def split_events(content: AsyncIterable[Any]) -> AsyncIterator[bytes]: ...
@overload
def split_events(content: Iterable[Any]) -> Iterator[bytes]: ...
def split_events(content: Any) -> Any:
    """Regroup the bytes of an event stream, cut anywhere, into whole events (WHATWG HTML §9.2.6).

    Each is given with the blank line that ends it, as soon as that is there; lines end with LF. An
    event that has not ended is held in memory, and left out at the end, as browsers do.

    A sync iterable gives a sync iterator, an async one an async iterator. The content is taken
    over: it is closed at its end, and when the iterator is closed. Raises `TypeError` for content
    that can't be iterated and for chunks that aren't bytes.

        run = await live.start(split_events(upstream.aiter_bytes()))
    """
    return _adapt(content, _EventSplitter())


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


class _Core(Protocol[T]):
    """Chunks in, regrouped chunks out: what the sync and the async side share."""

    def feed(self, chunk: Any) -> list[T]: ...
    def flush(self) -> list[T]: ...


class _Rechunker:
    def __init__(self, size: int) -> None:
        self._size = size
        self._pending = bytearray()

    def feed(self, chunk: Any) -> list[bytes]:
        pending, size = self._pending, self._size
        pending += _bytes_of(chunk, "rechunk")
        whole = len(pending) - len(pending) % size
        with memoryview(pending) as view:
            chunks = [bytes(view[start : start + size]) for start in range(0, whole, size)]
        del pending[:whole]
        return chunks

    def flush(self) -> list[bytes]:
        rest, self._pending = bytes(self._pending), bytearray()
        return [rest] if rest else []


class _EventSplitter:
    def __init__(self) -> None:
        # The parts of an event whose end has not come, with the byte order mark of the stream.
        self._parts: list[bytes] = []
        self._mark = b"\xef\xbb\xbf"
        self._after_cr = False

    def feed(self, chunk: Any) -> list[bytes]:
        chunk = _bytes_of(chunk, "split_events")
        if chunk:
            chunk = chunk.removeprefix(b"\n") if self._after_cr else chunk
            self._after_cr = chunk.endswith(b"\r")
        if not chunk:
            return []
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        before = self._parts[-1][-1:] if self._parts else b""
        self._parts.append(lines)
        if b"\n\n" not in before + lines:
            return []
        *blocks, rest = b"".join(self._parts).removeprefix(self._mark).split(b"\n\n")
        self._parts, self._mark = [rest] if rest else [], b""
        events = (block.lstrip(b"\n") for block in blocks)
        return [event + b"\n\n" for event in events if event]

    def flush(self) -> list[bytes]:
        return []


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


def _bytes_of(chunk: Any, name: str) -> bytes:
    if isinstance(chunk, str):
        raise TypeError(f"{name}() takes bytes, got str: {chunk!r:.60}; encode it first")
    return chunk if isinstance(chunk, bytes) else memoryview(chunk).tobytes()


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
            # There may be many of them until there is something to give.
            leave_if_stopped()
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
        self._iterator: AsyncIterator[Any] | None = None
        self._core = core
        self._items = self._run()

    async def _run(self) -> AsyncGenerator[T, None]:
        self._iterator = iterator = aiter(self._content)
        while (chunk := await anext(iterator, END)) is not END:
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
        if (error := await close_async(self._iterator, self._content)) is not None:
            raise error
