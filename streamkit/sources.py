"""Bytes with an address: a size, perhaps a validator, and any part of them on demand."""

from __future__ import annotations

import errno
import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from streamkit.pagecache import OPEN_FLAGS, READ_SIZE, open_cached, read_cached
from streamkit.threads import run_in_stream_thread

__all__ = ["ByteSource", "BytesSource", "FileSource", "PathSource", "SourceInfo"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before it is read.

    `size` in bytes, None if unknown: then there are no ranges. `etag` is the header's value with
    its quotes, `last_modified` an aware datetime, `media_type` used when the response has none.

        SourceInfo(1024, etag='"v7"', media_type="image/png")
    """

    size: int | None
    etag: str | None = None
    last_modified: datetime | None = None
    media_type: str | None = None


class ByteSource(ABC):
    """Anything whose bytes can be read from the middle: subclass it for a store of your own.

    A response calls `info` once, `read` for each span it sends, one after the other, and `aclose`
    once at the end, all from one task. `streamkit.testing.check_source` tests an implementation.

        class Blob(ByteSource):
            async def info(self):
                return SourceInfo(len(BLOB), etag='"1"')
            async def read(self, start, end):
                yield BLOB[start:end]
    """

    @abstractmethod
    async def info(self) -> SourceInfo:
        """Size and validators; what it raises becomes the response's status."""

    @abstractmethod
    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """Exactly the bytes `start` to `end` (half-open), in chunks of any size.

        `end` is None, for all the rest, only if the size is unknown.
        """

    def info_now(self) -> SourceInfo | None:
        """What `info` would give, if it is known without waiting; None to have it awaited.

        A response asks this first and sends small content without a task or a thread. Must not
        block. `info` and `read` go on from here: nothing is opened or asked for a second time.
        """
        return None

    def read_now(self, start: int, end: int) -> bytes | None:
        """All the bytes `start` to `end`, if they are in memory; None to have `read` asked.

        Must not block. Called after `info_now` gave an info, for at most 256 KiB.
        """
        return None

    async def aclose(self) -> None:  # noqa: B027 (many sources hold nothing)
        """Release what the source holds; also called when it was never read."""


class BytesSource(ByteSource):
    """Whole bytes in memory.

    `bytearray` and `memoryview` are copied.

        BytesSource(b"%PDF-1.7 ...", etag='"v7"', media_type="application/pdf")
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        *,
        etag: str | None = None,
        last_modified: datetime | None = None,
        media_type: str | None = None,
    ) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"BytesSource takes bytes, got {type(data).__name__}; encode str first")
        self._data = data if isinstance(data, bytes) else memoryview(data).tobytes()
        self._info = SourceInfo(len(self._data), etag, last_modified, media_type)

    async def info(self) -> SourceInfo:
        return self._info

    def info_now(self) -> SourceInfo:
        return self._info

    def read_now(self, start: int, end: int) -> bytes:
        return self._data[start:end]

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        stop = len(self._data) if end is None else end
        for position in range(start, stop, READ_SIZE):
            yield self._data[position : min(position + READ_SIZE, stop)]


class PathSource(ByteSource):
    """A regular file by its path, opened when the response starts and closed with it.

    Size and validators are those of the opened file. The ETag is strong: modification time in
    nanoseconds and size, so that copies on two hosts with equal times agree. What the kernel has
    cached is opened and read on the event loop, without a thread hop (Linux); all else on a thread.

    Raises, from `info`, `FileNotFoundError` and its kin, `IsADirectoryError`, and `OSError` for a
    FIFO, device or socket; symlinks are followed.

        MP4StreamingResponse(PathSource("film.mp4", etag='"v7"'))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        etag: str | None = None,
        last_modified: datetime | None = None,
        media_type: str | None = None,
    ) -> None:
        # A relative path means the directory of now, and a server that sends it wants it whole.
        self.path = os.path.abspath(os.fsdecode(path))
        if "\0" in self.path:
            # C would take what stands before it for the path.
            raise ValueError(f"a path holds no NUL character, got {path!r}")
        self._given = SourceInfo(None, etag, last_modified, media_type)
        self._file: _RegularFile | None = None

    async def info(self) -> SourceInfo:
        known = self.info_now()
        if known is not None:
            return known
        file = await run_in_stream_thread(self._open)
        return file.info(self._given)

    def info_now(self) -> SourceInfo | None:
        file = self._file
        if file is None:
            fd = open_cached(self.path)
            if fd is None:
                return None
            try:
                file = self._keep(fd)
            except OSError:
                # No regular file: info() says so.
                return None
        return file.info(self._given)

    def read_now(self, start: int, end: int) -> bytes | None:
        return None if self._file is None else self._file.read_now(start, end)

    def _open(self) -> _RegularFile:
        return self._keep(os.open(self.path, OPEN_FLAGS))

    def _keep(self, fd: int) -> _RegularFile:
        # Here, on the thread: a task that was cancelled meanwhile would never get the descriptor.
        self._file = file = _RegularFile.owning(fd, self.path)
        return file

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        return (
            self._open_and_read(start, end) if self._file is None else self._file.read(start, end)
        )

    async def _open_and_read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        await self.info()
        async for chunk in self.read(start, end):
            yield chunk

    async def aclose(self) -> None:
        if self._file is not None:
            self._file.close()


class FileSource(ByteSource):
    """An open, seekable binary file: served whole from its beginning, wherever it stands.

    A file of the operating system is read as `PathSource` reads, and has the same validators; any
    other is read on worker threads, and has those given. The file is owned, and closed.

    Raises `TypeError` for a file that is not binary and seekable: stream it with `file_chunks`.

        FileSource(zip_archive.open("film.mp4"))
    """

    def __init__(
        self,
        file: Any,
        *,
        etag: str | None = None,
        last_modified: datetime | None = None,
        media_type: str | None = None,
    ) -> None:
        if not is_seekable(file):
            raise TypeError(
                f"FileSource takes a seekable binary file, got {type(file).__name__}; "
                f"stream any other with file_chunks()"
            )
        self._python_file = file
        self._given = SourceInfo(None, etag, last_modified, media_type)
        self._inner: _RegularFile | BytesSource | None = None

    async def info(self) -> SourceInfo:
        known = self.info_now()
        if known is not None:
            return known
        file = self._python_file
        if (inner := await run_in_stream_thread(_RegularFile.of, file)) is not None:
            self._inner = inner
            return inner.info(self._given)
        size = await run_in_stream_thread(file.seek, 0, os.SEEK_END)
        return replace(self._given, size=size)

    def info_now(self) -> SourceInfo | None:
        file = self._python_file
        if self._inner is None and type(file) is io.BytesIO:
            # Shares the memory, as long as nobody writes to the file.
            self._inner = BytesSource(file.getvalue())
        elif self._inner is None and isinstance(file, io.FileIO | io.BufferedReader):
            # Others may have to write first what they hold.
            self._inner = _RegularFile.of(file)
        if isinstance(self._inner, _RegularFile):
            return self._inner.info(self._given)
        if isinstance(self._inner, BytesSource):
            return replace(self._given, size=self._inner.info_now().size)
        return None

    def read_now(self, start: int, end: int) -> bytes | None:
        return None if self._inner is None else self._inner.read_now(start, end)

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        if self._inner is None:
            return self._read_on_threads(start, end)
        return self._inner.read(start, end)

    async def _read_on_threads(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        while end is None or start < end:
            size = READ_SIZE if end is None else min(READ_SIZE, end - start)
            chunk = await run_in_stream_thread(_read_at, self._python_file, start, size)
            if not chunk:
                return
            start += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        if isinstance(self._python_file, io.BytesIO):
            self._python_file.close()
        elif close := getattr(self._python_file, "close", None):
            await run_in_stream_thread(close)


def is_seekable(file: Any) -> bool:
    """Whether a file is binary and can be read from the middle."""
    return (
        not isinstance(file, io.TextIOBase)
        # Wrappers such as tempfile's inherit nothing, but pass on what only text files have.
        and getattr(file, "encoding", None) is None
        and all(callable(getattr(file, name, None)) for name in ("read", "seek", "seekable"))
        and bool(file.seekable())
    )


class _RegularFile:
    """An open file of the operating system, read by position."""

    def __init__(self, fd: int, path: str, close: Callable[[], object]) -> None:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Only regular files are served", path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file but a FIFO, device or socket", path)
        self._fd = fd
        self._close = close
        self.size = status.st_size
        self._mtime_ns = status.st_mtime_ns

    @classmethod
    def owning(cls, fd: int, path: str) -> _RegularFile:
        try:
            return cls(fd, path, partial(os.close, fd))
        except OSError:
            os.close(fd)
            raise

    @classmethod
    def of(cls, file: Any) -> _RegularFile | None:
        """The file behind a Python file, if there is nothing else between the two."""
        if not isinstance(file, io.FileIO | io.BufferedReader | io.BufferedRandom):
            return None
        # A member of an archive, or what is decompressed, can be buffered just as a file is.
        if not isinstance(getattr(file, "raw", file), io.FileIO):
            return None
        file.flush()
        fd = file.fileno()
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        return cls(fd, str(file.name), lambda: None) if regular else None

    def info(self, given: SourceInfo) -> SourceInfo:
        return SourceInfo(
            self.size,
            given.etag or f'"{self._mtime_ns:x}-{self.size:x}"',
            given.last_modified or datetime.fromtimestamp(self._mtime_ns / 1e9, UTC),
            given.media_type,
        )

    def read_now(self, start: int, end: int) -> bytes | None:
        data = read_cached(self._fd, start, end - start) if end - start <= READ_SIZE else None
        return data if data is None or len(data) == end - start else None

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        end = self.size if end is None else end
        while start < end:
            size = min(READ_SIZE, end - start)
            chunk = read_cached(self._fd, start, size)
            if chunk is None:
                chunk = await run_in_stream_thread(_pread, self._fd, size, start)
            if not chunk:
                return
            start += len(chunk)
            yield chunk

    def close(self) -> None:
        close, self._close = self._close, lambda: None
        close()


def _pread(fd: int, size: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, start)
    # Windows has no pread; a response reads from one task, so that the position is its own.
    os.lseek(fd, start, os.SEEK_SET)
    return os.read(fd, size)


def _read_at(file: Any, start: int, size: int) -> bytes:
    file.seek(start)
    chunk: bytes = file.read(size)
    return chunk
