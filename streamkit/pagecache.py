"""Opening and reading files without waiting for a disk, where the kernel can tell (Linux).

A thread hop costs ten times what opening and reading a small cached file does. So the event loop
tries first, in a way that fails instead of blocking, and leaves the rest to a thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

__all__ = ["OPEN_FLAGS", "READ_SIZE", "open_cached", "read_cached"]

# Larger reads fall out of the processor's cache before they are sent, smaller ones cost turns.
READ_SIZE = 256 * 1024
# Without O_NONBLOCK, opening a FIFO waits for a writer.
OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)

# openat2(2): its number is that of all architectures but alpha; RESOLVE_CACHED is Linux 5.12.
_OPENAT2, _AT_FDCWD, _RESOLVE_CACHED = 437, -100, 0x20
_HOW = struct.pack("QQQ", OPEN_FLAGS, 0, _RESOLVE_CACHED)
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class _Kernel:
    """What this kernel was found to offer."""

    opens = sys.platform == "linux"
    syscall = ctypes.CDLL(None, use_errno=True).syscall if opens else None
    reads = bool(_NOWAIT) and sys.implementation.name == "cpython"


_kernel = _Kernel()

_PyBUF_WRITE = 0x200
# Up to here copying costs less than three calls of the C API.
_COPIED = 32 * 1024

if sys.implementation.name == "cpython":  # pragma: no branch - PyPy has no such calls
    _api = ctypes.pythonapi
    _new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
        ("PyBytes_FromStringAndSize", _api)
    )
    _address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyBytes_AsString", _api))
    _view_of = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
        ("PyMemoryView_FromMemory", _api)
    )


def open_cached(path: str) -> int | None:
    """A descriptor, if the whole path is in the kernel's lookup cache; None if a thread should."""
    # A path with a NUL would end there in C, and name another file.
    if not _kernel.opens or _kernel.syscall is None or "\0" in path:
        return None
    fd: int = _kernel.syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), _HOW, len(_HOW))
    if fd >= 0:
        return fd
    if ctypes.get_errno() in (errno.ENOSYS, errno.EINVAL):
        _kernel.opens = False
    # A path that is missing or forbidden is left to the thread too, which raises the exception.
    return None


def read_cached(fd: int, start: int, size: int) -> bytes | None:
    """Up to `size` bytes, if the page cache has some of them; None if a thread should read."""
    if not _kernel.reads:
        return None
    try:
        if size <= _COPIED:
            buffer = bytearray(size)
            count = os.preadv(fd, [buffer], start, _NOWAIT)
            # Linux 5.9 and 5.10 give 0 for bytes that are not cached; a thread reads these.
            return bytes(buffer if count == size else buffer[:count]) if count else None
        # Into bytes that nothing else has seen yet, as the C API allows: this saves a copy.
        data: bytes = _new_bytes(None, size)
        count = os.preadv(fd, [_view_of(_address_of(data), size, _PyBUF_WRITE)], start, _NOWAIT)
    except OSError:
        # BlockingIOError for bytes that are not cached, EOPNOTSUPP from other file systems.
        return None
    if not count:
        return None
    return data if count == size else data[:count]
