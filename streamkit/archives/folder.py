"""A folder's files, directories and links, without ever following a link out of it.

Where the system has `openat`, each part of a path is opened from the directory above it, and none
may be a link: what is swapped between listing and reading can't lead elsewhere. Windows has none;
there each part is looked at before the file is opened.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from streamkit.archives.names import link_fault
from streamkit.regular import RegularFile, regular_status

__all__ = ["Folder", "FolderFile", "Symlinks"]

Symlinks = Literal["keep", "inside", "skip"]

# A FIFO that was swapped in must not block, nor a terminal become ours.
_FILE = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)
_DIRECTORY = _FILE | getattr(os, "O_DIRECTORY", 0)
_BENEATH = (
    os.open in os.supports_dir_fd
    and os.scandir in os.supports_fd
    and os.readlink in os.supports_dir_fd
    and hasattr(os, "O_NOFOLLOW")
)
# Junctions of Windows lead elsewhere as links do; other reparse points are files in a cloud.
_LINK_TAGS = {
    getattr(stat, name, None) for name in ("IO_REPARSE_TAG_SYMLINK", "IO_REPARSE_TAG_MOUNT_POINT")
} - {None}
# The last second that a datetime can tell.
_LAST_TIME = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a folder.

    `name` has forward slashes, and ends with one for a directory. `content` is None for a
    directory, the target for a link. `mode` is None on Windows.
    """

    name: str
    content: FolderFile | str | None
    modified: datetime
    mode: int | None


class Folder:
    """Lists a folder each time it is iterated: by name, a directory before what is in it."""

    def __init__(self, path: str | os.PathLike[str], symlinks: Symlinks) -> None:
        if symlinks not in ("keep", "inside", "skip"):
            raise ValueError(f"symlinks must be 'keep', 'inside' or 'skip', got {symlinks!r}")
        # Resolve now: the working directory may change before the folder is listed.
        self.path: str = os.path.abspath(os.fsdecode(path))
        self._symlinks = symlinks

    def __iter__(self) -> Iterator[Entry]:
        # The names still to come, last first: no recursion, so no limit of depth.
        waiting = _listed(self.path, "")
        while waiting:
            name, status = waiting.pop()
            if _is_link(status):
                if target := self._target(name):
                    yield Entry(name, target, _time(status), None)
            elif stat.S_ISDIR(status.st_mode):
                yield Entry(f"{name}/", None, _time(status), _mode(status))
                waiting += _listed(self.path, f"{name}/")
            elif stat.S_ISREG(status.st_mode):
                yield Entry(name, FolderFile(self.path, name), _time(status), _mode(status))

    def _target(self, name: str) -> str | None:
        if self._symlinks == "skip":
            return None
        target = _read_link(self.path, name)
        problem = link_fault(name, target)
        if problem and self._symlinks == "keep":
            raise ValueError(
                f"the target {target!r:.200} of the symbolic link {name!r:.200} in {self.path!r} "
                f"{problem}; pass symlinks='inside' to leave such links out"
            )
        return None if problem else target


class FolderFile(io.RawIOBase):
    """A regular file in a folder, opened when it is first read, and never through a link."""

    def __init__(self, folder: str, name: str) -> None:
        super().__init__()
        self._folder = folder
        self._name = name
        self._file: io.FileIO | None = None

    def __repr__(self) -> str:
        return f"<file {self._name!r} in {self._folder!r}>"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return self._opened().readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._opened().seek(offset, whence)

    def tell(self) -> int:
        return 0 if self._file is None else self._file.tell()

    def fileno(self) -> int:
        return self._opened().fileno()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def regular(self) -> RegularFile:
        """The file opened once more, to be read by position; the caller closes it."""
        fd = _open_regular(self._folder, self._name)
        return RegularFile.owning(fd, os.path.join(self._folder, self._name))

    def _opened(self) -> io.FileIO:
        if self.closed:
            raise ValueError(f"I/O operation on closed file: {self!r}")
        if self._file is None:
            self._file = io.FileIO(_open_regular(self._folder, self._name), "rb")
        return self._file


def _listed(folder: str, below: str) -> list[tuple[str, os.stat_result]]:
    """Names and states of what is in a directory, last first."""
    if not _BENEATH:
        _check_no_link(folder, below)
        return _scanned(os.path.join(folder, below), below)
    directory = _open_beneath(folder, below.rstrip("/"), _DIRECTORY)
    try:
        return _scanned(directory, below)
    finally:
        os.close(directory)


def _scanned(directory: str | int, below: str) -> list[tuple[str, os.stat_result]]:
    with os.scandir(directory) as entries:
        # What is gone by now was never there.
        found = [(below + e.name, status) for e in entries if (status := _status(e))]
    return sorted(found, reverse=True)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _open_regular(folder: str, name: str) -> int:
    path = os.path.join(folder, name)
    if _BENEATH:
        fd = _open_beneath(folder, name, _FILE)
    else:
        _check_no_link(folder, name)
        fd = os.open(path, _FILE)
    try:
        regular_status(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_beneath(folder: str, name: str, flags: int) -> int:
    """Open what is in a folder, one directory after the other; the folder itself for no name."""
    # The folder was given: it may be a link itself.
    fd = os.open(folder, _DIRECTORY & ~getattr(os, "O_NOFOLLOW", 0))
    parts = name.split("/") if name else []
    for left, part in enumerate(parts, 1 - len(parts)):
        try:
            below = os.open(part, flags if left == 0 else _DIRECTORY, dir_fd=fd)
        except OSError as exc:
            raise _told(exc, os.path.join(folder, name)) from exc
        finally:
            os.close(fd)
        fd = below
    return fd


def _told(exc: OSError, path: str) -> OSError:
    if exc.errno in (errno.ELOOP, errno.ENOTDIR):
        return OSError(exc.errno, "A symbolic link has taken its place", path)
    return OSError(exc.errno, exc.strerror, path)


def _check_no_link(folder: str, name: str) -> None:
    path = folder
    for part in filter(None, name.split("/")):
        path = os.path.join(path, part)
        if _is_link(os.lstat(path)):
            raise OSError(errno.ELOOP, "A symbolic link has taken its place", path)


def _read_link(folder: str, name: str) -> str:
    if not _BENEATH:
        return os.readlink(os.path.join(folder, name)).replace("\\", "/")
    above, _, last = name.rpartition("/")
    directory = _open_beneath(folder, above, _DIRECTORY)
    try:
        return os.readlink(last, dir_fd=directory)
    finally:
        os.close(directory)


def _is_link(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) in _LINK_TAGS


def _mode(status: os.stat_result) -> int | None:
    return status.st_mode & 0o777 if os.name == "posix" else None


def _time(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(min(max(0, status.st_mtime), _LAST_TIME), UTC)
