"""Paths and open files as sources."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal

from streamkit.bytesource import ByteSource, BytesSource, SourceInfo
from streamkit.bytesource import Given as Given
from streamkit.pagecache import open_cached
from streamkit.pythonfile import PythonFile, file_behind
from streamkit.pythonfile import is_seekable as is_seekable
from streamkit.regular import RegularFile
from streamkit.regular import open_regular as open_regular
from streamkit.threads import run_in_stream_thread

__all__ = ["ByteSource", "BytesSource", "FileSource", "PathSource", "SourceInfo"]


class PathSource(ByteSource):
    """A regular file by its path, opened when the response starts and closed with it.

    Size and validators are those of the opened file. The ETag is strong: modification time in
    nanoseconds and size, so that copies on two hosts with equal times agree. A time before 1986,
    which builds and packages set for every file, gives neither an ETag nor a Last-Modified. `etag`
    and `last_modified` go before these; False says none. Files that give more or less than their
    size, as in /proc and /sys, are streamed: no length, no ranges, no validators.

    What the kernel has cached is opened and read on the event loop, without a thread (Linux); all
    else on a thread.

    Raises, from `info`, `FileNotFoundError` and its kin, `IsADirectoryError`, and `OSError` for a
    FIFO, device or socket; symlinks are followed.

        MP4StreamingResponse(PathSource("film.mp4", etag='"v7"'))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        media_type: str | None = None,
    ) -> None:
        # Resolve now: the working directory may change, and pathsend needs an absolute path.
        self.path: str = os.path.abspath(os.fsdecode(path))
        if "\0" in self.path:
            # C would take what stands before it for the path.
            raise ValueError(f"a path holds no NUL character, got {path!r}")
        self._given = Given(etag, last_modified, media_type)
        self._file: RegularFile | None = None
        self._info: SourceInfo | None = None

    async def info(self) -> SourceInfo:
        known = self.info_now()
        return await run_in_stream_thread(self._open) if known is None else known

    def info_now(self) -> SourceInfo | None:
        if self._info is None and self._file is None:
            fd = open_cached(self.path)
            if fd is None:
                return None
            try:
                self._file = RegularFile.owning(fd, self.path)
            except OSError:
                # No regular file: info() opens it again and says so.
                return None
            if self._file.measured:
                self._describe(self._file)
        return self._info

    def _open(self) -> SourceInfo:
        # Keep it here, on the thread: a task that is cancelled meanwhile would never get it.
        if self._file is None:
            self._file = open_regular(self.path)
        self._file.measure()
        return self._describe(self._file)

    def _describe(self, file: RegularFile) -> SourceInfo:
        self._info = self._given.over(SourceInfo(file.size, file.etag, file.last_modified))
        return self._info

    def read_now(self, start: int, end: int) -> bytes | None:
        return None if self._file is None else self._file.read_now(start, end)

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        if self._file is None or self._info is None:
            return _ask_and_read(self, start, end)
        return self._file.read(start, end)

    async def aclose(self) -> None:
        if self._file is not None:
            self._file.close()


class FileSource(ByteSource):
    """An open, seekable binary file, served from its current position.

    A file at its end, as after writing or reading it, is served whole. The bytes before the
    position are no part of the content: byte 0 of a range is the byte there.

    A file of the operating system is read as `PathSource` reads, and has the same validators; any
    other is read on worker threads, and has those given. An `UploadFile` is read as the file it
    wraps. What would be read twice for its length (gzip, bz2, lzma, zstd), and what says it can
    seek and then can't (fsspec's files of a server without ranges), is streamed: no length, no
    ranges. The file is owned, and closed.

    Raises `TypeError` for a file that is not binary and seekable: stream it with `file_chunks`.

        FileSource(zip_archive.open("film.mp4"))
    """

    def __init__(
        self,
        file: Any,
        *,
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        media_type: str | None = None,
    ) -> None:
        self._file = file_behind(file)
        if not is_seekable(file):
            raise TypeError(
                f"FileSource takes a seekable binary file, got {type(file).__name__}; "
                f"stream any other with file_chunks()"
            )
        self._given = Given(etag, last_modified, media_type)
        self._inner: RegularFile | BytesSource | PythonFile | None = None
        self._origin = 0
        self._info: SourceInfo | None = None

    async def info(self) -> SourceInfo:
        known = self.info_now()
        return await run_in_stream_thread(self._measure) if known is None else known

    def info_now(self) -> SourceInfo | None:
        if self._info is None:
            try:
                return self._find()
            except (OSError, ValueError):
                # Closed, say: info() says so.
                return None
        return self._info

    def _find(self) -> SourceInfo | None:
        file = self._file
        if type(file) is io.BytesIO:
            # Shares the memory, as long as nothing writes to the file.
            data = file.getvalue()
            self._inner = BytesSource(data)
            return self._describe(len(data), file.tell())
        # Others may have to write first what they hold.
        if isinstance(file, io.FileIO | io.BufferedReader) and self._inner is None:
            self._inner = inner = RegularFile.behind(file)
            if inner is not None and inner.measured:
                return self._describe(inner.size, file.tell(), inner)
        return None

    def _measure(self) -> SourceInfo:
        file, inner = self._file, self._inner
        if not isinstance(inner, RegularFile):
            inner = self._inner = RegularFile.behind(file)
        if inner is None:
            self._inner = python_file = PythonFile(file)
            python_file.measure()
            return self._describe(python_file.size, python_file.position)
        inner.measure()
        position = file.tell()
        if inner.size is None and position and not inner.read_at(position, 1):
            position = 0
        return self._describe(inner.size, position, inner)

    def _describe(
        self, size: int | None, position: int, file: RegularFile | None = None
    ) -> SourceInfo:
        if size is not None and position >= size:
            position = 0
        self._origin = position
        etag = None if file is None else file.etag
        if etag is not None and position:
            # Another part of the file is another content.
            etag = f'{etag[:-1]}-{position:x}"'
        left = None if size is None else size - position
        info = SourceInfo(left, etag, None if file is None else file.last_modified)
        self._info = self._given.over(info)
        return self._info

    def read_now(self, start: int, end: int) -> bytes | None:
        origin = self._origin
        return None if self._inner is None else self._inner.read_now(start + origin, end + origin)

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        if self._inner is None or self._info is None:
            return _ask_and_read(self, start, end)
        origin = self._origin
        return self._inner.read(start + origin, None if end is None else end + origin)

    async def aclose(self) -> None:
        if isinstance(self._file, io.BytesIO):
            self._file.close()
        elif close := getattr(self._file, "close", None):
            await run_in_stream_thread(close)


async def _ask_and_read(source: ByteSource, start: int, end: int | None) -> AsyncIterator[bytes]:
    """The bytes of one that was not asked for its info yet."""
    await source.info()
    chunks: Any = source.read(start, end)
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk
