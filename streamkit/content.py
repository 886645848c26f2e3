"""What a response may be given, told apart when it is constructed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from inspect import isawaitable, iscoroutine, isfunction
from typing import Any

from streamkit import backend
from streamkit.adapters import async_file_chunks, file_chunks, is_async_file
from streamkit.bridge import Stream, producer_of
from streamkit.producers import Producer

__all__ = ["close_abandoned", "open_content"]

SLICE = 65536


def open_content(content: Any, *, thread_affine: bool, owner: str) -> Producer:
    """The producer of any content; `TypeError`, in the words of class `owner`, for anything else.

    Nothing is opened, read or iterated here.
    """
    if isinstance(content, str | bytes | bytearray | memoryview):
        return producer_of(_slices(content))
    if isinstance(content, os.PathLike):
        return producer_of(_PathContent(content))
    if callable(getattr(content, "read", None)):
        file = _AsyncFileContent(content) if is_async_file(content) else _FileContent(content)
        return producer_of(file, thread_affine=thread_affine)
    if isinstance(content, Mapping) or not isinstance(content, AsyncIterable | Iterable):
        raise _refusal(content, owner)
    return producer_of(content, thread_affine=thread_affine)


def close_abandoned(content: Any) -> None:
    """Close content whose response could not be constructed, on the loop if there is one."""
    try:
        stream = Stream[Any](open_content(content, thread_affine=False, owner="response"))
    except Exception:
        # The content itself was refused: it was never taken.
        return
    backend.run_somewhere(stream.aclose)


def _refusal(content: Any, owner: str) -> TypeError:
    given = type(content).__name__
    if iscoroutine(content):
        content.close()
        hint = "; await it first"
    elif isfunction(content):
        hint = f"; call it: {content.__name__}()"
    elif isinstance(content, Mapping):
        hint = "; for one JSON object use JSONResponse, for a stream of them put them in a list"
    else:
        hint = "; for a fixed body use Response"
    return TypeError(
        f"{owner} content must be an iterable or async iterable, a file, a path, str or bytes, "
        f"got {given}{hint}"
    )


async def _slices(whole: str | bytes | bytearray | memoryview) -> AsyncIterator[Any]:
    view: Any = whole
    if not isinstance(whole, str):
        view = memoryview(whole)
        view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
    for start in range(0, len(view), SLICE):
        yield view[start : start + SLICE]


class _FileContent:
    """An open file, which the response owns."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __iter__(self) -> Iterator[Any]:
        return file_chunks(self._file)

    def close(self) -> None:
        if close := getattr(self._file, "close", None):
            close()


class _PathContent:
    def __init__(self, path: os.PathLike[str]) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            yield from file_chunks(file)


class _AsyncFileContent:
    """An open async file, which the response owns."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __aiter__(self) -> AsyncIterator[Any]:
        return async_file_chunks(self._file)

    async def aclose(self) -> None:
        close = getattr(self._file, "aclose", None) or getattr(self._file, "close", None)
        if close is not None and isawaitable(result := close()):
            await result
