"""Regular files of the operating system: opened, checked, and read by position."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from streamkit.pagecache import OPEN_FLAGS, READ_SIZE, read_cached
from streamkit.threads import run_in_stream_thread

__all__ = ["RegularFile", "open_regular", "regular_status"]

# Builds write one time for every file: the epoch, the second after it, the first day that ZIP
# knows (1980), npm's of 1985. Earlier than this, a time says nothing about the content.
_FIRST_TIME = int(datetime(1986, 1, 1, tzinfo=UTC).timestamp())


def open_regular(path: str | os.PathLike[str]) -> RegularFile:
    """Open a path that must be a regular file; blocks, so call it on a thread.

    The caller closes what it gets. Symlinks are followed.

    Raises `FileNotFoundError` and its kin, `IsADirectoryError`, and `OSError` for a FIFO (without
    waiting for its writer), a device or a socket.

        with open_regular("film.mp4") as file:
            first = file.read_at(0, 1000)
    """
    file = RegularFile.owning(os.open(path, OPEN_FLAGS), os.fspath(path))
    try:
        file.measure()
    except BaseException:
        file.close()
        raise
    return file


def regular_status(fd: int, path: str) -> os.stat_result:
    """What `fstat` says of a regular file; raises as `open_regular` does for anything else."""
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Only regular files are served", path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file but a FIFO, device or socket", path)
    return status


class RegularFile:
    """An open regular file, read by position; `close` closes what `owning` took.

    `size` in bytes as it was when the file was opened. None, after `measure`, for a file that
    gives more or less than its size says, as those in /proc and /sys do. `status` is what `fstat`
    said.
    """

    __slots__ = ("_fd", "_first", "_owned", "measured", "size", "status")

    def __init__(self, fd: int, path: str, *, owned: bool) -> None:
        # True only at the end: until then whoever opened it closes it.
        self._owned = False
        self._fd = fd
        status = regular_status(fd, path)
        self.status: os.stat_result = status
        self.size: int | None = status.st_size
        # What the kernel makes up when it is read takes no room on a disk.
        self.measured = status.st_size > 0 and getattr(status, "st_blocks", 1) > 0
        self._first = b""
        self._owned = owned

    @classmethod
    def owning(cls, fd: int, path: str) -> RegularFile:
        """Take a descriptor, and close it at once if it is of no regular file."""
        try:
            return cls(fd, path, owned=True)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def behind(cls, file: Any) -> RegularFile | None:
        """The regular file that a Python file reads, if there is nothing else between the two.

        It is lent: the Python file still closes it.
        """
        if not isinstance(file, io.FileIO | io.BufferedReader | io.BufferedRandom):
            return None
        # A member of an archive, or what is decompressed, can be buffered just as a file is.
        if not isinstance(getattr(file, "raw", file), io.FileIO):
            return None
        file.flush()
        fd = file.fileno()
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        return cls(fd, str(file.name), owned=False) if regular else None

    def __enter__(self) -> RegularFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A task that is cancelled never gets what a thread has opened for it.
        self.close()

    @property
    def etag(self) -> str | None:
        """A strong tag: modification time in nanoseconds and size; None if the time says nothing.

        The same on two hosts whose copies have equal times.
        """
        modified = self.status.st_mtime_ns
        if self.size is None or modified < _FIRST_TIME * 1_000_000_000:
            return None
        return f'"{modified:x}-{self.size:x}"'

    @property
    def last_modified(self) -> datetime | None:
        """The modification time, in whole seconds; None if it says nothing."""
        modified = self.status.st_mtime_ns // 1_000_000_000
        return None if self.size is None or modified < _FIRST_TIME else _moment(modified)

    def measure(self) -> None:
        """Read the beginning of a file whose size is in doubt, once; blocks, on a thread.

        Files of size 0 are in doubt, and those without blocks on a disk.
        """
        if self.measured:
            return
        first = _pread(self._fd, READ_SIZE, 0)
        if len(first) != min(self.status.st_size, READ_SIZE):
            self._first, self.size = first, None
        self.measured = True

    def read_at(self, start: int, size: int) -> bytes:
        """Read up to `size` bytes from `start` on; b"" only at the end. Blocks, on a thread."""
        if start < len(self._first):
            # Read again, a file that is made up as it is read may differ.
            return self._first[start : start + size]
        return _pread(self._fd, size, start)

    def read_now(self, start: int, end: int) -> bytes | None:
        """All the bytes from `start` to `end`, if the page cache has them."""
        if end - start > READ_SIZE:
            return None
        data = read_cached(self._fd, start, end - start)
        return data if data is not None and len(data) == end - start else None

    async def read(
        self, start: int, end: int | None, most: int = READ_SIZE
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to `end`, at most `most` at a time.

        None for the end as it was when the file was opened.
        """
        end = self.size if end is None else end
        while end is None or start < end:
            size = most if end is None else min(most, end - start)
            chunk = None if start < len(self._first) else read_cached(self._fd, start, size)
            if chunk is None:
                chunk = await run_in_stream_thread(self.read_at, start, size)
            if not chunk:
                return
            start += len(chunk)
            yield chunk

    def close(self) -> None:
        owned, self._owned = self._owned, False
        if owned:
            os.close(self._fd)


@lru_cache(1024)
def _moment(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # pragma: no cover - not on every disk
        # Some file systems go beyond the year 9999.
        return None


def _pread(fd: int, size: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, start)
    # Windows has no pread; a response reads from one task, so that the position is its own.
    os.lseek(fd, start, os.SEEK_SET)
    return os.read(fd, size)
