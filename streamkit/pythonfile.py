"""Files that only Python knows: which can be read from the middle, and reading them on threads."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import UploadFile

from streamkit.errors import SourceError
from streamkit.pagecache import READ_SIZE
from streamkit.threads import run_in_stream_thread

__all__ = ["PythonFile", "can_seek", "file_behind", "is_seekable"]

# By package and name, as importing them is costly; subclasses are found by it too.
_DECOMPRESSORS = frozenset(
    (
        ("gzip", "GzipFile"),
        ("bz2", "BZ2File"),
        ("lzma", "LZMAFile"),
        ("compression", "ZstdFile"),
        ("backports", "ZstdFile"),
        ("pyzstd", "ZstdFile"),
    )
)
_HTTP_FILES = frozenset((("fsspec", "HTTPFile"),))


def file_behind(file: Any) -> Any:
    """The sync file that an `UploadFile` wraps; any other file as it is."""
    return file.file if isinstance(file, UploadFile) else file


def is_seekable(file: Any) -> bool:
    """Whether a file is binary and says that it can be read from the middle."""
    file = file_behind(file)
    return (
        not isinstance(file, io.TextIOBase)
        # Wrappers such as tempfile's inherit nothing, but pass on what only text files have.
        and getattr(file, "encoding", None) is None
        and all(callable(getattr(file, name, None)) for name in ("read", "seek", "seekable"))
        and can_seek(file)
    )


def can_seek(file: Any) -> bool:
    """Whether a file says that it can seek; one that has no way to tell says that it can't."""
    try:
        return bool(file.seekable())
    except AttributeError:
        # So do members of a tar archive that is read as a stream.
        return False


class PythonFile:
    """A file that says it can seek and has no descriptor of its own, such as a member of a ZIP.

    After `measure`, `position` is where it stood (0 if at its end) and `size` is None if finding
    the end takes reading all of it, or if it can't seek after all.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._seeks = True
        self.size: int | None = None
        self.position: int = 0

    def measure(self) -> None:
        """Find out where the file stands and how long it is; blocks, on a thread."""
        file = self._file
        position = _tell(file)
        # To find its end, a member of a ZIP archive decompresses all of itself.
        size = getattr(file, "_orig_file_size", None)
        if _is_one_of(_DECOMPRESSORS, file):
            # So would these, to the last byte.
            at_end = position > 0 and not file.read(1)
            self.position = 0 if at_end else position
            return
        if not isinstance(size, int):
            size = self._seek_end()
            if size and _is_one_of(_HTTP_FILES, file):
                self._check_end(size)
        self.position = 0 if size is not None and position >= size else position
        self.size = size

    def _seek_end(self) -> int | None:
        try:
            self._file.seek(0, os.SEEK_END)
        except (NotImplementedError, ValueError, io.UnsupportedOperation):
            # So do fsspec's files for a server without ranges.
            if getattr(self._file, "closed", False):
                raise
            self._seeks = False
            return None
        return _tell(self._file)

    def _check_end(self, size: int) -> None:
        """Find out now whether the server gives ranges: the second read would fail."""
        try:
            self._file.seek(size - 1)
            self._file.read(1)
        except ValueError as exc:
            raise SourceError(
                f"{type(self._file).__name__}.seekable() is true, but its server gives no "
                f"ranges; open it with block_size=0, and it is streamed"
            ) from exc

    def rewind(self) -> None:
        """Have the file stand at `position` again, to be read by somebody else."""
        if self._seeks:
            self._file.seek(self.position)

    def read_now(self, start: int, end: int) -> bytes | None:
        """None: any read of such a file may block."""
        return None

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """The bytes from `start` to `end`; None for the end of the file."""
        while end is None or start < end:
            size = READ_SIZE if end is None else min(READ_SIZE, end - start)
            chunk = await run_in_stream_thread(self._read_at, start, size)
            if not chunk:
                return
            start += len(chunk)
            yield chunk

    def _read_at(self, start: int, size: int) -> bytes:
        if self._seeks:
            self._file.seek(start)
        chunk: bytes = self._file.read(size)
        return chunk


def _is_one_of(known: frozenset[tuple[str, str]], file: Any) -> bool:
    """Whether a file, or what it buffers, is of one of these classes."""
    return any(
        (each.__module__.partition(".")[0], each.__name__) in known
        for each in type(getattr(file, "raw", file)).__mro__
    )


def _tell(file: Any) -> int:
    # seek() gives the position too, but not that of every wrapper.
    tell = getattr(file, "tell", None)
    position: int = file.seek(0, os.SEEK_CUR) if tell is None else tell()
    return position
