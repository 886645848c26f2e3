"""CRCs of files, remembered between responses."""

from __future__ import annotations

import time
import zlib

from streamkit.archives.measure import Measured, Slot
from streamkit.archives.reading import Tasks

__all__ = ["crc32_of", "forget"]

# A few megabytes in all.
REMEMBERED = 10_000
# Seconds in which a file may change without its times telling so.
UNSETTLED = 2.0

_Key = tuple[int, ...]

# The archives of several requests are read on several threads: each step is a single operation of
# the dict, and a CRC that two of them compute is the same.
_known: dict[_Key, int] = {}


def crc32_of(member: Measured, tasks: Tasks) -> int:
    """The CRC of a member's content, which is read for it once; on a thread."""
    if member.data is not None:
        return zlib.crc32(member.data)
    key = _key(member)
    if (known := _known.get(key)) is not None:
        return known
    crc = 0
    for chunk in Slot(member, 0, member.size or 0).chunks():
        crc = zlib.crc32(chunk, crc)
        tasks.check()
    status = member.status
    if status is not None and max(status.st_mtime, status.st_ctime) < time.time() - UNSETTLED:
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[key] = crc
    return crc


def forget(member: Measured) -> None:
    """Compute the CRC anew the next time."""
    _known.pop(_key(member), None)


def _key(member: Measured) -> _Key:
    status = member.status
    if status is None:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
