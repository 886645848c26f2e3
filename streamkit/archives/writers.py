"""Members to the bytes of an archive: `ZipWriter` and `TarWriter`, one for each archive.

They are generators over the stdlib's own headers. `zipfile.ZipFile` itself would write Zip64
descriptors from 2 GiB on, refuse more where it can't know the size, leave stored entries that
can't be read from a pipe, and end the archive properly when a member has failed.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Protocol

from streamkit.archives.member import ZipMember
from streamkit.archives.reading import CHUNK, FileReader, Reader, Tasks

__all__ = ["Hole", "TarWriter", "Writer", "ZipWriter"]

# Bytes of a spooled content that stay in memory.
SPOOLED = 1 << 20

MAX_32 = 0xFFFFFFFF
FILE_MODE, DIRECTORY_MODE, LINK_MODE = 0o644, 0o755, 0o777
DOS_DIRECTORY = 0x10
UNIX = 3
DESCRIBED = 0x08
FIRST_TIME, LAST_TIME = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)


class Hole(bytes):
    """Stands for `size` bytes of content that are counted, not read: see `measure.py`.

    Only a content of known size gives one, as one of its chunks. It holds no bytes.
    """

    _size: int

    def __new__(cls, size: int) -> Hole:
        hole = super().__new__(cls)
        hole._size = size
        return hole

    def __len__(self) -> int:
        return self._size


class Writer(Protocol):
    """Writes the members of one archive, one after the other."""

    checks: bool
    """Whether it tells the CRC of a content."""

    def stores(self, member: ZipMember) -> bool:
        """Whether a content of known size is written as it is."""
        ...

    def add(self, member: ZipMember, content: Reader | None, tasks: Tasks) -> Iterator[bytes]:
        """The bytes of one member; `content` is None for a directory."""
        ...

    def end(self) -> Iterator[bytes]:
        """What makes the archive whole."""
        ...


def _seconds(member: ZipMember, content: Reader | None) -> float:
    if member.modified is not None:
        return member.modified.timestamp()
    known = content.modified if content is not None else None
    return time.time() if known is None else known


def _permissions(member: ZipMember) -> int:
    if member.mode is not None:
        return member.mode
    if member.is_directory:
        return DIRECTORY_MODE
    # Elsewhere than on Unix the bits are made up.
    if isinstance(member.content, os.PathLike) and os.name == "posix":
        try:
            return os.stat(member.content).st_mode & 0o777
        except OSError:  # Opening it tells.
            pass
    return FILE_MODE


def _changed(member: ZipMember) -> RuntimeError:
    return RuntimeError(
        f"the content of {member.name!r} changed while it was read; give the archive a copy"
    )


def _all_of(member: ZipMember, content: Reader) -> Iterator[bytes]:
    """The chunks of a content; raises at their end if that is before its size."""
    left = content.size or 0
    for chunk in content.chunks():
        left -= len(chunk)
        yield chunk
    if left > 0:
        raise _changed(member)


class ZipWriter:
    """Zip, as in PKWARE's APPNOTE 6.3."""

    checks = True

    def __init__(self, level: int) -> None:
        self._level = level
        self._infos: list[zipfile.ZipInfo] = []
        self._offset = 0

    def stores(self, member: ZipMember) -> bool:
        return member.is_directory or member.symlink or not member.compress

    def add(self, member: ZipMember, content: Reader | None, tasks: Tasks) -> Iterator[bytes]:
        info = _zip_info(member, _seconds(member, content))
        info.header_offset = self._offset
        for chunk in self._entry(info, member, content, tasks):
            self._offset += len(chunk)
            yield chunk
        self._infos.append(info)

    def _entry(
        self, info: zipfile.ZipInfo, member: ZipMember, content: Reader | None, tasks: Tasks
    ) -> Iterator[bytes]:
        if content is None:
            return iter([info.FileHeader(zip64=False)])
        if not self.stores(member):
            return _deflated(info, member, content, self._level)
        if content.size is None:
            # A reader of a pipe finds the end of what is deflated, never of what is stored.
            return _deflated(info, member, content, 0)
        return _stored(info, member, content, tasks)

    def end(self) -> Iterator[bytes]:
        sink = _DirectorySink(self._offset)
        with zipfile.ZipFile(sink, "w") as archive:
            archive.filelist = self._infos
        directory = sink.getvalue()
        for start in range(0, len(directory), CHUNK):
            yield directory[start : start + CHUNK]


def _zip_info(member: ZipMember, seconds: float) -> zipfile.ZipInfo:
    # Not before 1970, where some systems have no local time.
    local = time.localtime(max(0, seconds))[:6]
    info = zipfile.ZipInfo(member.name, min(max(local, FIRST_TIME), LAST_TIME))
    info.CRC = 0
    info.create_system = UNIX
    if member.symlink:
        mode = stat.S_IFLNK | LINK_MODE
    else:
        mode = (stat.S_IFDIR if member.is_directory else stat.S_IFREG) | _permissions(member)
    info.external_attr = mode << 16 | (DOS_DIRECTORY if member.is_directory else 0)
    if -(1 << 31) <= seconds < 1 << 31:
        # Info-ZIP's extended timestamp: the instant, which zip's local time does not tell.
        info.extra = struct.pack("<HHBl", 0x5455, 5, 1, int(seconds))
    return info


def _deflated(
    info: zipfile.ZipInfo, member: ZipMember, content: Reader, level: int
) -> Iterator[bytes]:
    """An entry whose CRC and sizes follow it, in a data descriptor (APPNOTE 4.3.9).

    Readers of pipes know a descriptor's width by the sizes they have counted, or by the Zip64
    field of the header, which tells it where the size is known before.
    """
    info.flag_bits |= DESCRIBED
    info.compress_type = zipfile.ZIP_DEFLATED
    chunks = _all_of(member, content)
    # Before the header: an exception may still become the response's status.
    first = next(chunks, b"")
    zip64 = (content.size or 0) > MAX_32
    yield info.FileHeader(zip64=zip64)
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    crc = size = compressed = 0
    for chunk in chain([first], chunks):
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
        if data := deflate.compress(chunk):
            compressed += len(data)
            yield data
    data = deflate.flush()
    compressed += len(data)
    info.CRC, info.compress_size, info.file_size = crc, compressed, size
    wide = zip64 or max(size, compressed) > MAX_32
    yield data + struct.pack("<4sLQQ" if wide else "<4sLLL", b"PK\7\x08", crc, compressed, size)


def _stored(
    info: zipfile.ZipInfo, member: ZipMember, content: Reader, tasks: Tasks
) -> Iterator[bytes]:
    """An entry whose CRC and sizes stand before it: the content is read twice."""
    info.CRC, info.file_size = _checksum(member, content, tasks)
    info.compress_size = info.file_size
    yield info.FileHeader(zip64=info.file_size > MAX_32)
    crc, whole = 0, True
    for chunk in content.chunks():
        if isinstance(chunk, Hole):
            whole = False
        else:
            crc = zlib.crc32(chunk, crc)
        yield chunk
    if whole and crc != info.CRC:
        raise _changed(member)


def _checksum(member: ZipMember, content: Reader, tasks: Tasks) -> tuple[int, int]:
    """CRC and size; a content that is measured, or read in part, knows both."""
    known: int | None = getattr(content, "crc32", None)
    if known is not None:
        return known, content.size or 0
    crc = size = 0
    for chunk in _all_of(member, content):
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
        tasks.check()
    return crc, size


class _DirectorySink(io.BytesIO):
    """Takes the directory that `ZipFile.close` writes, as if the entries stood before it."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self._entries = offset

    def tell(self) -> int:
        return self._entries + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        raise io.UnsupportedOperation("seek")


class TarWriter:
    """Tar, in the pax format of IEEE Std 1003.1."""

    checks = False

    def __init__(self) -> None:
        self._offset = 0

    def stores(self, member: ZipMember) -> bool:
        return True

    def add(self, member: ZipMember, content: Reader | None, tasks: Tasks) -> Iterator[bytes]:
        for chunk in self._entry(member, content, tasks):
            self._offset += len(chunk)
            yield chunk

    def _entry(self, member: ZipMember, content: Reader | None, tasks: Tasks) -> Iterator[bytes]:
        info = tarfile.TarInfo(member.name.removesuffix("/"))
        # In whole seconds: a fraction takes another 1024 bytes of header.
        info.mtime = int(_seconds(member, content))
        info.mode = LINK_MODE if member.symlink else _permissions(member)
        if member.is_directory:
            info.type = tarfile.DIRTYPE
        if member.symlink:
            info.type, info.linkname = tarfile.SYMTYPE, member.content
        if content is None or member.symlink:
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        elif content.size is not None:
            yield from _sized(info, member, content)
        else:
            with SpooledTemporaryFile(SPOOLED) as spool:
                for chunk in content.chunks():
                    spool.write(chunk)
                    tasks.check()
                size = spool.tell()
                spool.seek(0)
                yield from _sized(info, member, FileReader(spool, size))

    def end(self) -> Iterator[bytes]:
        end = 2 * tarfile.BLOCKSIZE
        yield bytes(end + -(self._offset + end) % tarfile.RECORDSIZE)


def _sized(info: tarfile.TarInfo, member: ZipMember, content: Reader) -> Iterator[bytes]:
    info.size = content.size or 0
    chunks = _all_of(member, content)
    first = next(chunks, b"")
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    yield first
    yield from chunks
    if padding := -info.size % tarfile.BLOCKSIZE:
        yield bytes(padding)
