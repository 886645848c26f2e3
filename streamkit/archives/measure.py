"""The length of an archive before it is made: the same writer, over contents that are not read.

A content of known size is one `Hole` of that size, so that measuring costs the headers only.
`ranges.py` reads a part of an archive in the same way, with holes before and after the part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from streamkit.archives.folder import FolderFile
from streamkit.archives.member import ZipMember
from streamkit.archives.reading import CHUNK, WHOLE, Tasks
from streamkit.archives.writers import Hole, Writer
from streamkit.encoders.text import TextEncoder
from streamkit.errors import SourceError
from streamkit.regular import RegularFile, open_regular

__all__ = ["Layout", "Measured", "Slot", "added", "is_measurable", "measure", "measured"]


def is_measurable(members: Sequence[ZipMember], writer: Writer) -> bool:
    """Whether an archive's length follows from what its members are, without reading them."""
    return all(
        writer.stores(member)
        and isinstance(member.content, (*WHOLE, os.PathLike, FolderFile, type(None)))
        for member in members
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """A member with all that its headers tell, as it was when the response began.

    `size` is None for a file that gives more or less than its size, as those in /proc do. `tag`
    names the content, None where nothing does.
    """

    member: ZipMember
    size: int | None
    tag: str | None
    data: bytes | None = None
    """The content, if it is in memory."""
    status: os.stat_result | None = None
    """What tells that a file is still the same."""


def measured(member: ZipMember, now: float) -> Measured:
    """Look at a member's content; blocks, on a thread.

    `now`: seconds since 1970, for a member without a time. Raises what opening the content raises.
    """
    content = member.content
    if member.is_directory:
        return Measured(_timed(member, now), 0, "")
    if isinstance(content, WHOLE):
        data = TextEncoder().encode(content)
        # The data is part of the archive's tag.
        return Measured(_timed(member, now), len(data), "", data)
    with _open(content) as file:
        mode = member.mode
        if mode is None and os.name == "posix":
            mode = file.status.st_mode & 0o777
        member = replace(_timed(member, file.status.st_mtime), mode=mode)
        return Measured(member, file.size, file.etag, status=file.status)


def _timed(member: ZipMember, seconds: float) -> ZipMember:
    if member.modified is not None:
        return member
    try:
        return replace(member, modified=datetime.fromtimestamp(int(seconds), UTC))
    except (OverflowError, ValueError, OSError):  # pragma: no cover - not on every disk
        # Some file systems go beyond the year 9999.
        return replace(member, modified=datetime.fromtimestamp(0, UTC))


def _open(content: os.PathLike[str] | FolderFile) -> RegularFile:
    if not isinstance(content, FolderFile):
        return open_regular(content)
    file = content.regular()
    file.measure()
    return file


class Slot:
    """The content of one member in a run of the writer: its bytes from `start` to `end`.

    What is before and after is a `Hole`; all of it, by default. It is a `Reader`, which knows its
    CRC where the run needs one.
    """

    modified: float | None = None

    def __init__(self, member: Measured, start: int = 0, end: int = 0, crc32: int = 0) -> None:
        self.size: int | None = member.size
        self.crc32 = crc32
        self._member = member
        self._start = start
        self._end = end

    def chunks(self) -> Iterator[bytes]:
        size = self.size or 0
        start, end = max(0, self._start), min(self._end, size)
        if start >= end:
            start = end = size
        if start:
            yield Hole(start)
        for chunk in self._read(start, end):
            start += len(chunk)
            yield chunk
        if start < end:
            raise _changed(self._member.member)
        if end < size:
            yield Hole(size - end)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        if start == end:
            return
        if self._member.data is not None:
            for position in range(start, end, CHUNK):
                yield self._member.data[position : min(position + CHUNK, end)]
            return
        with _open(self._member.member.content) as file:
            if _version(file.status) != _version(self._member.status):
                raise _changed(self._member.member)
            while start < end and (chunk := file.read_at(start, min(CHUNK, end - start))):
                start += len(chunk)
                yield chunk

    def close(self) -> None:
        """Nothing stays open."""


def _version(status: os.stat_result | None) -> tuple[int, ...] | None:
    return None if status is None else (status.st_size, status.st_mtime_ns)


def _changed(member: ZipMember) -> SourceError:
    return SourceError(
        f"the content of {member.name!r} changed while the archive was sent; give it a copy"
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything in an archive is: for each member, its entry's and its content's start.

    `end` is where what follows the last entry begins, such as the directory of a zip.
    """

    places: list[tuple[int, int]]
    end: int
    size: int


def measure(members: Sequence[Measured], writer: Writer) -> Layout:
    """Run a fresh writer over members of which each one's size is known."""
    position, places = 0, []
    for each in members:
        entry = content = position
        for chunk in added(writer, each, Slot(each)):
            if isinstance(chunk, Hole):
                content = position
            position += len(chunk)
        places.append((entry, content))
    return Layout(places, position, position + sum(map(len, writer.end())))


def added(writer: Writer, each: Measured, slot: Slot) -> Iterator[bytes]:
    """The member's entry, with the content that the slot gives."""
    content = None if each.member.is_directory else slot
    return writer.add(each.member, content, Tasks())
