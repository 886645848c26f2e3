"""What an archive is made of: a content with a name that is safe to unpack."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streamkit.archives.reading import check_content

__all__ = ["ZipMember"]

# What both formats can tell of a name's length.
LONGEST = 65535

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True, eq=False)
class ZipMember:
    """One member of an archive: a file, or a directory.

    `name`: its path in the archive, with forward slashes, as in "docs/a.txt". A name that could
    be unpacked elsewhere is refused: absolute, with a drive, a backslash, a control character, or
    an empty, `.` or `..` part. One that ends with "/" is a directory, whose content is None.

    `content`: what a response takes: a sync or async iterable of `str` or bytes, an open file,
    sync or async, an `os.PathLike`, whole `str` or bytes. `str` is written as UTF-8. A path is
    opened when its turn comes. The archive owns the content, and closes it.

    `modified`: when the file was last changed; a naive datetime is local time. By default a
    path's own time, else now. Zip stores local time from 1980 to 2107, times outside are moved
    there, and next to it the exact second up to 2038.

    `compress`: False for what is compressed already, such as images and films.

    Files get the permissions 0o644, directories 0o755. Raises `ValueError` for a name that is
    refused, `TypeError` for content that can't be streamed.

        ZipMember("film.mp4", Path("film.mp4"), compress=False)
    """

    name: str
    content: Any = field(repr=False)
    modified: datetime | None = field(default=None, kw_only=True)
    compress: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.modified is not None:
            _check_time(self.modified)
        if not self.is_directory:
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


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(
            f"a ZipMember name must be a str, got {type(name).__name__}: {name!r:.60}; "
            f"of a path take path.as_posix()"
        )
    if fault := _fault(name):
        raise ValueError(
            f"ZipMember name {name!r:.200} {fault}; a name is a path inside the archive with "
            f"forward slashes, such as 'docs/a.txt', or 'docs/' for a directory"
        )


def _fault(name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if not name:
        return "is empty"
    if "\\" in name:
        return "has a backslash, which some readers take for a separator"
    if name.startswith("/") or _DRIVE.match(name):
        return "is absolute"
    if odd := {"", ".", ".."}.intersection(parts):
        return f"has the part {odd.pop()!r}, so that it could be unpacked elsewhere"
    if control := _CONTROL.search(name):
        return f"has the control character {control[0]!r}"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "has a lone surrogate, which UTF-8 can't tell"
    return f"takes {length} bytes, and {LONGEST} is the most" if length > LONGEST else None


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
