"""A member's content, whatever its kind, as chunks of bytes on the archive's thread."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

from streamkit import backend
from streamkit.adapters import file_chunks, is_async_file
from streamkit.bridge import Stream, ThreadIterator
from streamkit.buffer import Buffer, ThreadSignal
from streamkit.content import open_content
from streamkit.delivery import Delivery, whole
from streamkit.encoders.text import TextEncoder
from streamkit.errors import StreamStopped
from streamkit.producers import Producer, TaskProducer, Work
from streamkit.sources import ByteSource

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
    """What stops the async content that an archive's thread waits for.

    `stop` and `kill` are called on the loop's thread, as all starting is, so that a content
    which starts meanwhile is not missed. One content is read at a time.
    """

    def __init__(self) -> None:
        self._current: Producer | None = None
        self.stopped = False

    def iterate(self, content: Any) -> ThreadIterator[Any]:
        """A sync iterator over async content; closing it closes the content in its task."""
        opened = open_content(content, thread_affine=False, owner="ZipMember")
        if isinstance(opened, ByteSource):
            opened = TaskProducer(Delivery(opened, whole))
        return ThreadIterator(Stream(_Stoppable(opened, self)))

    def started(self, producer: Producer) -> None:
        """Take note of a content that is read from now on."""
        self._current = producer
        if self.stopped:
            producer.stop()

    def stop(self) -> None:
        """Stop the content at hand, and those to come."""
        self.stopped = True
        if self._current is not None:
            self._current.stop()

    def kill(self) -> None:
        """Give up on the cleanup of the content at hand."""
        if self._current is not None:
            self._current.kill()

    def check(self) -> None:
        """Leave a loop that gives no chunks; on the archive's thread."""
        if self.stopped:
            raise StreamStopped("nobody reads this archive any more")


class _Stoppable:
    """A producer that the archive's `Tasks` know while it runs."""

    buffer: Buffer[Any]

    def __init__(self, producer: Producer, tasks: Tasks) -> None:
        self._producer = producer
        self._tasks = tasks
        self.stop = producer.stop
        self.kill = producer.kill

    def start(self, work: Work, reader: backend.Signal | ThreadSignal) -> None:
        self._producer.start(work, reader)
        self.buffer = self._producer.buffer
        self._tasks.started(self._producer)


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
    """A seekable binary file, from where it stands."""

    size: int | None

    def __init__(self, file: Any, size: int, modified: float | None = None) -> None:
        self._file = file
        self._start = file.tell()
        self.size = size
        self.modified = modified

    def close(self) -> None:
        close_all([self._file])

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(self._start)
        left = self.size or 0
        while left and (chunk := self._file.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk


class ItemsReader:
    """Items that come once, small ones joined."""

    size: int | None = None

    def __init__(
        self, items: Iterable[Any], tasks: Tasks, *owned: Any, modified: float | None = None
    ) -> None:
        self._items = items
        self._tasks = tasks
        self._owned = [items, *owned]
        self.modified = modified

    def chunks(self) -> Iterator[bytes]:
        encode = TextEncoder().encode
        parts: list[bytes] = []
        length = 0
        iterator = iter(self._items)
        self._owned.insert(0, iterator)
        while True:
            try:
                data = encode(next(iterator))
            except StopIteration:
                break
            parts.append(data)
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
            file: Any = undo.enter_context(open(content, "rb"))
            reader = _file_reader(file, tasks, os.fstat(file.fileno()).st_mtime)
        elif callable(getattr(items, "read", None)):
            reader = _file_reader(items, tasks, None)
        else:
            reader = ItemsReader(items, tasks)
        undo.pop_all()
    return reader


def check_content(content: Any, owner: str) -> None:
    """`TypeError`, in the words of `owner`, for what can't be streamed."""
    if not isinstance(content, WHOLE):
        open_content(content, thread_affine=False, owner=owner)


def close_contents(contents: Iterable[Any], tasks: Tasks) -> None:
    """Close contents that were never opened, each one, whatever the others raise."""
    close_all(_sync(content, tasks) for content in contents)


def close_all(owned: Iterable[Any]) -> None:
    """Close all that can be closed, once; then raise what one of them raised."""
    with ExitStack() as stack:
        for thing in {id(thing): thing for thing in owned}.values():
            if callable(close := getattr(thing, "close", None)):
                stack.callback(close)


def _sync(content: Any, tasks: Tasks) -> Any:
    """The content itself, or a sync iterator over one that is async."""
    if content is None or isinstance(content, (*WHOLE, os.PathLike)):
        return content
    if isinstance(content, ByteSource):
        is_sync = False
    elif callable(getattr(content, "read", None)):
        is_sync = not is_async_file(content)
    else:
        is_sync = isinstance(content, Iterable) and not isinstance(content, AsyncIterable)
    return content if is_sync else tasks.iterate(content)


def _file_reader(file: Any, tasks: Tasks, modified: float | None) -> Reader:
    # A file that says it is empty may be one of those that can't tell, as in /proc.
    if size := _size(file):
        return FileReader(file, size, modified)
    return ItemsReader(file_chunks(file), tasks, file, modified=modified)


def _size(file: Any) -> int | None:
    """Bytes from where a file stands to its end; None if it is text, or can't seek."""
    try:
        if not file.seekable() or not isinstance(file.read(0), bytes):
            return None
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except (AttributeError, OSError):
        return None
    return max(0, int(end) - int(start))


def _slices(data: bytes) -> Iterator[bytes]:
    if len(data) < 2 * CHUNK:
        yield data
        return
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]
