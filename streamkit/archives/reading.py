"""A member's content, whatever its kind, as chunks of bytes on the archive's thread."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

from streamkit.adapters.files import is_async_file, whole_chunks
from streamkit.body.base import END, Coding
from streamkit.body.of import open_content
from streamkit.body.readymade import adapted
from streamkit.body.source import WholeSource
from streamkit.bridge import ThreadIterator
from streamkit.closing import close_sync
from streamkit.encoders.text import TextEncoder
from streamkit.errors import StreamStopped
from streamkit.iterate import Stream
from streamkit.pythonfile import PythonFile, is_seekable
from streamkit.regular import RegularFile, open_regular
from streamkit.sources import ByteSource
from streamkit.threads import current_burst

__all__ = [
    "CHUNK",
    "FileReader",
    "Reader",
    "Tasks",
    "check_content",
    "close_all",
    "close_contents",
    "open_reader",
]

# Bytes read, compressed and passed on at a time.
CHUNK = 65536

WHOLE = (str, bytes, bytearray, memoryview)


class Tasks:
    """What an archive's thread needs of the loop: async content, and whether to go on."""

    def iterate(self, content: Any) -> ThreadIterator[Any]:
        """A sync iterator over async content; closing it closes the content in its task.

        A stop of the archive reaches it there.
        """
        if isinstance(content, Stream):
            # Driven by itself: it knows its limiter, and how far it may be ahead.
            return ThreadIterator(content, Coding())
        opened: Any = open_content(content, thread_affine=False, owner="ZipMember")
        if isinstance(opened, ByteSource):
            opened = WholeSource(opened)
        return ThreadIterator(opened, Coding())

    def check(self) -> None:
        """Leave a loop that gives no chunks; on the archive's thread."""
        burst = current_burst()
        if burst is not None and burst.stopped:
            raise StreamStopped("nobody reads this archive any more")


class Reader(Protocol):
    """An opened content."""

    size: int | None
    """Bytes of a content that can be read again; None for one that flows once."""
    modified: float | None
    """Seconds since 1970, for a path."""

    def chunks(self) -> Iterator[bytes]:
        """Read it, `CHUNK` bytes or so at a time, from its start."""
        ...

    def close(self) -> None:
        """Close the content."""


class FileReader:
    """`size` bytes of a seekable binary file, from `start` on."""

    size: int | None

    modified: float | None = None

    def __init__(self, file: Any, size: int, start: int = 0) -> None:
        self._file = file
        self._start = start
        self.size = size

    def close(self) -> None:
        close_all([self._file])

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(self._start)
        left = self.size or 0
        while left and (chunk := self._file.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk


class PathReader:
    """A regular file that was opened by its path."""

    def __init__(self, file: RegularFile) -> None:
        self._file = file
        self.size: int | None = file.size
        self.modified: float | None = file.status.st_mtime

    def close(self) -> None:
        self._file.close()

    def chunks(self) -> Iterator[bytes]:
        position = 0
        while self.size is None or position < self.size:
            most = CHUNK if self.size is None else min(self.size - position, CHUNK)
            if not (chunk := self._file.read_at(position, most)):
                break
            position += len(chunk)
            yield chunk


class ItemsReader:
    """Items that come once, small ones joined."""

    size: int | None = None

    modified: float | None = None

    def __init__(self, items: Iterable[Any], tasks: Tasks, *owned: Any) -> None:
        self._items = items
        self._tasks = tasks
        self._owned = [items, *owned]

    def chunks(self) -> Iterator[bytes]:
        encode = TextEncoder().encode
        parts: list[bytes] = []
        length = 0
        iterator = iter(self._items)
        self._owned.insert(0, iterator)
        while (item := next(iterator, END)) is not END:
            # Small items may come for long before there is a chunk.
            self._tasks.check()
            parts.append(data := encode(item))
            length += len(data)
            if length >= CHUNK:
                yield from _slices(b"".join(parts))
                parts, length = [], 0
        # The end of an async content, too, that was stopped.
        self._tasks.check()
        if parts:
            yield b"".join(parts)

    def close(self) -> None:
        close_all(self._owned)


def open_reader(content: Any, tasks: Tasks) -> Reader:
    """Open a content; whatever is opened or taken is closed by the reader's `close`.

    Raises what opening raises, with the content closed.
    """
    if isinstance(content, WHOLE):
        data = TextEncoder().encode(content)
        return FileReader(io.BytesIO(data), len(data))
    with ExitStack() as undo:
        undo.callback(close_all, [items := _sync(content, tasks)])
        if isinstance(content, os.PathLike):
            reader: Reader = PathReader(open_regular(content))
        elif callable(getattr(items, "read", None)):
            reader = _file_reader(items, tasks)
        else:
            reader = ItemsReader(items, tasks)
        undo.pop_all()
    return reader


def check_content(content: Any, owner: str) -> None:
    """`TypeError`, in the words of `owner`, for what can't be streamed."""
    # A stream can be opened once, which is left to the archive.
    if not isinstance(content, (*WHOLE, Stream)):
        open_content(content, thread_affine=False, owner=owner)


def close_contents(contents: Iterable[Any], tasks: Tasks) -> None:
    """Close contents that were never opened, each one, whatever the others raise."""
    close_all(_sync(content, tasks) for content in contents)


def close_all(owned: Iterable[Any]) -> None:
    """Close all that can be closed, once; then raise what one of them raised."""
    if (error := close_sync(*owned)) is not None:
        raise error


def _sync(content: Any, tasks: Tasks) -> Any:
    """The content itself, or a sync iterator over one that is async."""
    if content is None or isinstance(content, (*WHOLE, os.PathLike)):
        return content
    if not isinstance(content, ByteSource):
        # What other libraries make, as a response has it: their `read` may differ from a file's.
        found = adapted(content)
        content = content if found is None else found
    if isinstance(content, ByteSource):
        is_sync = False
    elif callable(getattr(content, "read", None)):
        is_sync = not is_async_file(content)
    else:
        is_sync = isinstance(content, Iterable) and not isinstance(content, AsyncIterable)
    return content if is_sync else tasks.iterate(content)


def _file_reader(file: Any, tasks: Tasks) -> Reader:
    if is_seekable(file):
        size, start = _extent(file)
        # One that says it is empty may be one of those that can't tell.
        if size:
            return FileReader(file, size - start, start)
    return ItemsReader(whole_chunks(file), tasks, file)


def _extent(file: Any) -> tuple[int | None, int]:
    """Where a file ends, None if it can't tell, and where it is read from.

    As a response finds it out: one at its end is read from its start.
    """
    regular = RegularFile.behind(file)
    if regular is not None:
        # In /proc and /sys sizes are made up, and the end can't be sought.
        regular.measure()
        start = file.tell()
        return regular.size, 0 if regular.size is not None and start >= regular.size else start
    found = PythonFile(file)
    found.measure()
    if not found.size:
        found.rewind()
    return found.size, found.position


def _slices(data: bytes) -> Iterator[bytes]:
    if len(data) < 2 * CHUNK:
        yield data
        return
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]
