"""Whether everything was closed: generators and files, on every way out."""

from __future__ import annotations

import dis
import gc
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import CO_ITERABLE_COROUTINE
from types import AsyncGeneratorType, FrameType, GeneratorType
from typing import Any
from weakref import WeakSet

__all__ = ["check_closed"]

# Whose generators are their own affair; what they hold of yours is looked at by itself.
THEIRS = {"anyio", "asyncio", "contextlib", "fastapi", "starlette", "streamkit", "trio"}
_NOT_BEGUN = dis.opmap["RETURN_GENERATOR"]


@contextmanager
def check_closed() -> Iterator[None]:
    """Check that what was opened in the block is closed where it ends: generators and files.

    A generator, sync or async, that was begun in the block must have come to its end, so that its
    `finally` has run; a file that was opened in it must be closed. That includes what they
    use themselves: a generator within a generator, a file that one of them opened. Nothing is
    collected before, so what only the garbage collector would close is found.

    Put it around the `stream` or `fetch`, whose app has returned when they end. What lasts longer
    than a response, such as a pool that the first request opens, must be there before the block.

    Raises `AssertionError` that names the open objects and where they stand. It says nothing of
    objects of other types, and is silent where the block itself raises.

        with check_closed():
            async with stream(app, "/film") as client:
                await anext(client)
    """
    known: WeakSet[Any] = WeakSet(_open())
    yield
    if left := sorted(_described(thing) for thing in _open() if thing not in known):
        raise AssertionError(
            f"{len(left)} of what was opened here was not closed: {'; '.join(left)}"
        )


def _open() -> Iterator[Any]:
    for thing in gc.get_objects():
        kind = type(thing)
        if kind is GeneratorType:
            if _has_begun(thing) and _matters(thing.gi_frame):
                yield thing
        elif kind is AsyncGeneratorType:
            if _has_begun_async(thing) and _matters(thing.ag_frame):
                yield thing
        elif issubclass(kind, io.FileIO) and not thing.closed:
            yield thing


def _has_begun(thing: GeneratorType[Any, Any, Any]) -> bool:
    return thing.gi_suspended or thing.gi_running


def _has_begun_async(thing: AsyncGeneratorType[Any, Any]) -> bool:
    if sys.version_info >= (3, 12):  # pragma: no cover - or the lines below are not
        return thing.ag_suspended or thing.ag_running
    frame = thing.ag_frame
    return frame is not None and frame.f_code.co_code[frame.f_lasti] != _NOT_BEGUN


def _matters(frame: FrameType | None) -> bool:
    """Whether a generator has not ended, and is somebody's who cares."""
    if frame is None or frame.f_code.co_flags & CO_ITERABLE_COROUTINE:
        return False
    return str(frame.f_globals.get("__name__")).partition(".")[0] not in THEIRS


def _described(thing: Any) -> str:
    if isinstance(thing, io.FileIO):
        return f"the file {thing.name!r}"
    frame = thing.gi_frame if isinstance(thing, GeneratorType) else thing.ag_frame
    # None where another thread has ended it since.
    line = "its end" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return f"the generator {thing.__qualname__}() at {line}"
