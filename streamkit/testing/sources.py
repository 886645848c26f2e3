"""Whether a source keeps its contract: the check that streamkit's own sources are tested with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from itertools import combinations_with_replacement

import anyio
from anyio.lowlevel import checkpoint

from streamkit.http.conditions import Validators
from streamkit.sources import ByteSource, SourceInfo

__all__ = ["check_source"]

MakeSource = Callable[[], ByteSource]

# From either end, every span that starts and ends within so many bytes is read.
EDGE = 6
# Where sources and stores are known to cut their chunks.
BOUNDARIES = tuple(1 << power for power in (12, 16, 18, 20))


async def check_source(make: MakeSource, expected: bytes) -> None:
    """Check that a `ByteSource` does what a response relies on; use it in the tests of your own.

    `make` gives a fresh source over the same bytes each time it is called; `expected` are these
    bytes, best so many that the source gives them in a few chunks. Every source that is made is
    closed here, once, from the task that read it.

    Checked are: the form of what `info()` tells, and that the same bytes have the same validators;
    that `read()` gives exactly the bytes it was asked for, as `bytes`, for spans at and across
    every edge, one after the other, forwards and backwards; that a read which was left early can
    be followed by another; that `aclose()` needs no reading before it, and no `info()`; that
    sources read at the same time do not disturb each other. A source of unknown size is read as a
    whole only, once.

    Raises `AssertionError` that says what was expected and what was seen; what the source itself
    raises is passed on. Nothing is bounded in time: put `anyio.fail_after` around it. Runs on
    asyncio and trio.

        async def test_blob():
            await check_source(lambda: Blob("reports.db", row=1), REPORT)
    """
    await _check_info(make, expected)
    await _check_closing(make)
    await _check_reading(make, expected)
    await _check_leaving_early(make, expected)
    await _check_independence(make, expected)


async def _check_info(make: MakeSource, expected: bytes) -> None:
    first, second = _made(make), _made(make)
    _require(first is not second, "make() must give a fresh source each time, it gave one twice")
    infos = []
    for source in (first, second):
        try:
            infos.append(await source.info())
            _check_form(infos[-1], len(expected))
        finally:
            await source.aclose()
    _require(
        infos[0] == infos[1],
        "info() must be the same for the same bytes, or no client can revalidate or resume: "
        f"first {infos[0]}, then {infos[1]}",
    )


def _made(make: MakeSource) -> ByteSource:
    source = make()
    _require(
        isinstance(source, ByteSource),
        f"make() must give a ByteSource, it gave {type(source).__name__}",
    )
    return source


def _check_form(info: SourceInfo, size: int) -> None:
    _require(
        isinstance(info, SourceInfo),
        f"info() must give a SourceInfo, it gave {type(info).__name__}",
    )
    _require(
        info.size is None or (type(info.size) is int and info.size == size),
        f"info().size must be {size}, or None if it is not known beforehand, it is {info.size!r}",
    )
    _check_validators(info)
    name = info.media_type
    _require(
        name is None or (isinstance(name, str) and name.isascii() and name.isprintable()),
        f"info().media_type must be None or a media type such as 'image/png', it is {name!r}",
    )


def _check_validators(info: SourceInfo) -> None:
    etag, modified = info.etag, info.last_modified
    _require(
        etag is None or isinstance(etag, str),
        f"info().etag must be None or the header's value as str, it is {etag!r}",
    )
    _require(
        modified is None or isinstance(modified, datetime),
        f"info().last_modified must be None or an aware datetime, it is {modified!r}",
    )
    try:
        Validators.of(etag, modified)
    except ValueError as exc:
        raise AssertionError(f"info() gave a validator that no response can send: {exc}") from exc


async def _check_closing(make: MakeSource) -> None:
    await _made(make).aclose()
    source = _made(make)
    await source.info()
    await source.aclose()


async def _check_reading(make: MakeSource, expected: bytes) -> None:
    source = _made(make)
    try:
        if (await source.info()).size is None:
            await _check_span(source, expected, 0, None)
            return
        for start, end in dict.fromkeys(_spans(len(expected))):
            await _check_span(source, expected, start, end)
    finally:
        await source.aclose()


def _spans(size: int) -> Iterator[tuple[int, int]]:
    """The whole; all there are among the first and last bytes; those around the boundaries."""
    yield 0, size
    for low, high in ((0, min(EDGE, size)), (max(size - EDGE, 0), size)):
        yield from combinations_with_replacement(range(low, high + 1), 2)
    inner = {size // 2, *(boundary for boundary in BOUNDARIES if boundary < size)}
    for place in sorted(inner):
        near = [at for at in (place - 1, place, place + 1) if 0 <= at <= size]
        yield from combinations_with_replacement(near, 2)
        yield from ((0, at) for at in near)
        yield from ((at, size) for at in near)


async def _check_span(source: ByteSource, expected: bytes, start: int, end: int | None) -> None:
    wanted = expected[start:end]
    given = bytearray()
    async with aclosing(_chunks(source, start, end)) as chunks:
        async for chunk in chunks:
            given += chunk
            # A source that never ends must not be waited for.
            _require(
                len(given) <= len(wanted),
                f"read({start}, {end}) must give {len(wanted)} bytes, it gave more: at least "
                f"{len(given)}",
            )
    _require(
        len(given) == len(wanted),
        f"read({start}, {end}) must give {len(wanted)} bytes, it gave {len(given)}",
    )
    if given != wanted:
        at = next(i for i in range(len(wanted)) if given[i] != wanted[i])
        raise AssertionError(
            f"read({start}, {end}) must give the bytes from {start} on, but byte {start + at} is "
            f"{bytes(given[at : at + 8])!r} where {wanted[at : at + 8]!r} was expected"
        )


async def _chunks(source: ByteSource, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
    chunks = source.read(start, end)
    if not isinstance(chunks, AsyncIterator):
        if close := getattr(chunks, "close", None):
            close()
        raise AssertionError(
            f"read({start}, {end}) must give an async iterator, it gave {type(chunks).__name__}; "
            f"write it as `async def` with `yield`, or as a plain `def` that returns an iterator"
        )
    try:
        async for chunk in chunks:
            _require(
                isinstance(chunk, bytes),
                f"read({start}, {end}) must give chunks of bytes, it gave {type(chunk).__name__}",
            )
            yield chunk
    finally:
        if aclose := getattr(chunks, "aclose", None):
            await aclose()


async def _check_leaving_early(make: MakeSource, expected: bytes) -> None:
    """As a client does that leaves: the iterator is closed, begun or not, then the source."""
    for begun in (False, True):
        source = _made(make)
        try:
            size = (await source.info()).size
            chunks = source.read(0, size)
            if begun:
                await anext(chunks, b"")
            if aclose := getattr(chunks, "aclose", None):
                await aclose()
            if size is not None:
                await _check_span(source, expected, size // 2, size)
        finally:
            await source.aclose()


async def _check_independence(make: MakeSource, expected: bytes) -> None:
    """Three sources read in turns, chunk by chunk; one of them is closed in the middle."""
    failures: list[BaseException] = []

    async def read(chunks_wanted: float) -> None:
        source = _made(make)
        try:
            size = (await source.info()).size
            given, count = bytearray(), 0
            async with aclosing(_chunks(source, 0, size)) as chunks:
                async for chunk in chunks:
                    given += chunk
                    count += 1
                    if count >= chunks_wanted:
                        return
                    await checkpoint()
            _require(
                given == expected,
                "sources that are read at the same time must be independent: one of three gave "
                f"{len(given)} bytes that differ from the {len(expected)} expected",
            )
        except Exception as exc:
            failures.append(exc)
        finally:
            await source.aclose()

    async with anyio.create_task_group() as group:
        for chunks_wanted in (float("inf"), 1, float("inf")):
            group.start_soon(read, chunks_wanted)
    if failures:
        # One is enough, and no group of them.
        raise failures[0]


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
