"""What `start` takes: any content that is a stream, as an async iterable."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from inspect import iscoroutine
from typing import Any

from streamkit.adapters.files import is_async_file, whole_async_chunks, whole_chunks
from streamkit.body.readymade import adapted
from streamkit.closing import close_async
from streamkit.iterate import iterate_in_threadpool

__all__ = ["as_async"]


class _File:
    """An open async file, which the run owns."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __aiter__(self) -> AsyncIterator[Any]:
        return whole_async_chunks(self._file)

    async def aclose(self) -> None:
        if (error := await close_async(self._file)) is not None:
            raise error


class _SyncFile:
    """An open file, which the run owns."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __iter__(self) -> Any:
        return whole_chunks(self._file)

    def close(self) -> None:
        self._file.close()


def as_async(content: Any) -> AsyncIterable[Any]:
    """Any content that is a stream as an async iterable, which is closed in place of it."""
    if (made := adapted(content)) is not None:
        content = made
    elif callable(getattr(content, "read", None)):
        if is_async_file(content):
            return _File(content)
        return iterate_in_threadpool(_SyncFile(content))
    if isinstance(content, AsyncIterable):
        return content
    if isinstance(content, Iterable) and not isinstance(
        content, str | bytes | bytearray | memoryview | Mapping
    ):
        return iterate_in_threadpool(content)
    hint = "; put a single item into a list: [item]"
    if iscoroutine(content):
        content.close()
        hint = "; await it first"
    elif callable(content):
        hint = "; call it"
    raise TypeError(
        f"Live.start() takes an iterable or async iterable of items, or an open file, "
        f"got {type(content).__name__}{hint}"
    )
