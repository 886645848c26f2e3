"""CRCs of files, remembered between responses."""

from __future__ import annotations

import threading
import time
import zlib
from collections import OrderedDict

from streamkit.archives.measure import Measured, Slot
from streamkit.archives.reading import Tasks

__all__ = ["crc32_of", "forget"]

# A few megabytes in all.
REMEMBERED = 10_000
# Seconds in which a file may change without its times telling so.
UNSETTLED = 2.0

_Key = tuple[int, ...]

_known: OrderedDict[_Key, int] = OrderedDict()
# The archives of several requests are read on threads of their own.
_lock = threading.Lock()


def crc32_of(member: Measured, tasks: Tasks) -> int:
    """The CRC of a member's content, which is read for it once; on a thread."""
    if member.data is not None:
        return zlib.crc32(member.data)
    key = _key(member)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    crc = 0
    for chunk in Slot(member, 0, member.size or 0).chunks():
        crc = zlib.crc32(chunk, crc)
        tasks.check()
    status = member.status
    if status is not None and max(status.st_mtime, status.st_ctime) < time.time() - UNSETTLED:
        with _lock:
            _known[key] = crc
            if len(_known) > REMEMBERED:
                _known.popitem(last=False)
    return crc


def forget(member: Measured) -> None:
    """Compute the CRC anew the next time."""
    with _lock:
        _known.pop(_key(member), None)


def _key(member: Measured) -> _Key:
    status = member.status
    if status is None:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
