"""What an archive is made of: a content with a name that is safe to unpack."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streamkit.archives.folder import Folder, FolderFile, Symlinks
from streamkit.archives.names import fault, link_fault, plain_str
from streamkit.archives.reading import check_content

__all__ = ["Member", "ZipMember"]


@dataclass(frozen=True, slots=True, eq=False)
class ZipMember:
    """One member of an archive, zip or tar: a file, a directory, or a symbolic link.

    `name`: its path in the archive, with forward slashes, as in "docs/a.txt". A name that could
    be unpacked elsewhere is refused: absolute, with a drive, a backslash, a control character, or
    an empty, `.` or `..` part. One that ends with "/" is a directory, whose content is None. How
    names fit together is checked by the response: `ZIPStreamingResponse.names`.

    `content`: what a response takes: a sync or async iterable of `str` or bytes, an open file,
    sync or async, an `os.PathLike`, a `ByteSource`, whole `str` or bytes. `str` is written as
    UTF-8. A path is opened when its turn comes. The archive owns the content, and closes it.

    `modified`: when the file was last changed; a naive datetime is local time. By default a
    path's own time, else now. Zip stores local time from 1980 to 2107, times outside are moved
    there, and next to it the exact second up to 2038.

    `compress`: False for what is compressed already, such as images and films.

    `mode`: Unix permissions, 0 to 0o777. By default a path's own on Unix, else 0o644, and 0o755
    for a directory.

    `symlink`: True makes it a symbolic link, and `content` its target, a `str`: a relative path
    that stays inside the archive, with `..` only at its beginning.

    `Member` is the same class. Raises `ValueError` for a name, target or mode that is refused,
    `TypeError` for content that can't be streamed.

        ZipMember("film.mp4", Path("film.mp4"), compress=False)
    """

    name: str
    content: Any = field(repr=False)
    modified: datetime | None = field(default=None, kw_only=True)
    compress: bool = field(default=True, kw_only=True)
    mode: int | None = field(default=None, kw_only=True)
    symlink: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _checked_name(self.name))
        if self.modified is not None:
            _check_time(self.modified)
        if self.mode is not None:
            _check_mode(self.mode)
        if self.symlink:
            object.__setattr__(self, "content", _checked_target(self.name, self.content))
        elif not self.is_directory:
            check_content(self.content, f"ZipMember {self.name!r}")
        elif self.content is not None:
            raise ValueError(
                f"ZipMember name {self.name!r} ends with '/', which makes it a directory, and a "
                f"directory's content is None, got {type(self.content).__name__}; name a file "
                f"without the '/' at its end"
            )

    @property
    def is_directory(self) -> bool:
        """Whether the name ends with "/"."""
        return self.name.endswith("/")

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        *,
        prefix: str = "",
        compress: bool = True,
        symlinks: Symlinks = "keep",
    ) -> Iterable[ZipMember]:
        """The members for a whole folder, for zip and tar alike.

        Each has its name in the folder, below `prefix` ("site/", say), and the modification time
        and, on Unix, the permissions it has there. Directories are members too, so that empty
        ones stay. The order is that of the names, a directory before what is in it. Sockets,
        FIFOs and devices are skipped; a file with two names is two files.

        No symbolic link is ever followed, but `path` itself may be one: neither while the folder
        is listed, nor when a file is opened, although somebody swaps a directory for a link
        meanwhile (where the system has `openat`: not on Windows). `symlinks` says what becomes of
        them: "keep" makes them links in the archive, and raises `ValueError` for one that leads
        out of the folder; "inside" leaves these out; "skip" leaves out all.

        The folder is listed while the members are taken, so take them on a thread, as a response
        does; a list of them has a Content-Length where one can be known. It can be iterated more
        than once. Raises, from the iteration, `NotADirectoryError` and `OSError` for what can't
        be read, `ValueError` for a name that is refused.

            TARStreamingResponse(ZipMember.from_folder("site", prefix="site/"))
        """
        if prefix:
            prefix = _checked_name(prefix if prefix.endswith("/") else f"{prefix}/")
        return _FolderMembers(cls, Folder(path, symlinks), prefix, compress)


Member = ZipMember
"""`ZipMember` by a name that fits tar as well."""


class _FolderMembers(Iterable[ZipMember]):
    """Lists the folder anew each time."""

    def __init__(self, make: type[ZipMember], folder: Folder, prefix: str, compress: bool) -> None:
        self._make = make
        self._folder = folder
        self._prefix = prefix
        self._compress = compress

    def __repr__(self) -> str:
        return f"ZipMember.from_folder({self._folder.path!r}, prefix={self._prefix!r})"

    def __iter__(self) -> Any:
        for entry in self._folder:
            yield self._make(
                self._prefix + entry.name,
                entry.content,
                modified=entry.modified,
                compress=self._compress and isinstance(entry.content, FolderFile),
                mode=entry.mode,
                symlink=isinstance(entry.content, str),
            )


def _checked_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(
            f"a ZipMember name must be a str, got {type(name).__name__}: {name!r:.60}; "
            f"of a path take path.as_posix()"
        )
    name = plain_str(name)
    if problem := fault(name):
        raise ValueError(
            f"ZipMember name {name!r:.200} {problem}; a name is a path inside the archive with "
            f"forward slashes, such as 'docs/a.txt', or 'docs/' for a directory"
        )
    return name


def _checked_target(name: str, target: object) -> str:
    if not isinstance(target, str):
        raise TypeError(
            f"the content of the symbolic link {name!r} must be its target, a str such as "
            f"'../a.txt', got {type(target).__name__}"
        )
    if name.endswith("/"):
        raise ValueError(f"the name of a symbolic link, {name!r}, must not end with '/'")
    target = plain_str(target)
    if problem := link_fault(name, target):
        raise ValueError(
            f"the target {target!r:.200} of the symbolic link {name!r:.200} {problem}; give a "
            f"relative path that stays in the archive, such as '../a.txt'"
        )
    return target


def _check_mode(mode: int) -> None:
    if not isinstance(mode, int) or isinstance(mode, bool):
        raise TypeError(
            f"ZipMember mode must be an int or None, got {type(mode).__name__}: {mode!r:.60}"
        )
    if not 0 <= mode <= 0o777:
        raise ValueError(
            f"ZipMember mode must be permissions from 0 to 0o777, got {mode:#o}; of a file's "
            f"st_mode take mode & 0o777"
        )


def _check_time(modified: datetime) -> None:
    if not isinstance(modified, datetime):
        raise TypeError(
            f"ZipMember modified must be a datetime or None, got {type(modified).__name__}: "
            f"{modified!r:.60}; of a timestamp take datetime.fromtimestamp(seconds)"
        )
    try:
        modified.timestamp()
    except (OverflowError, ValueError, OSError) as exc:
        raise ValueError(
            f"ZipMember modified={modified!r} is a time this system can't tell ({exc}); "
            f"give one after 1970, or None for now"
        ) from exc
