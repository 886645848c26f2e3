"""The socket of a client, found by its addresses: ASGI does not give it."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

__all__ = ["Address", "Connection", "connection_of", "drop", "reset_on_close"]

Address = tuple[str, int]
# The client's address and the server's.
Connection = tuple[Address, Address]


def connection_of(scope: Mapping[str, Any]) -> Connection | None:
    """The addresses of a request over TCP; None where the server does not tell them."""
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or client[1] is None or server[1] is None:
        return None
    # granian's ports are strings.
    return (client[0], int(client[1])), (server[0], int(server[1]))


def drop(connections: Collection[Connection | None], *, reset: bool = False) -> int:
    """Shut down the sockets that this process still holds for these; returns how many.

    What the kernel has taken is still sent, and then the end of the connection; with `reset` a
    reset, at once, where the kernel can be asked for it (Linux). A server that
    waits for a stalled client goes on. A proxy that shares one connection among requests has its
    own addresses, so that only HTTP/1 connections may be dropped.
    """
    return sum(_shut_down(one, reset=reset) for one in _sockets(connections))


def reset_on_close(connections: Collection[Connection | None]) -> int:
    """Let the server's close of these connections be a reset, which HTTP/1.0 clients notice."""
    count = 0
    for one in _sockets(connections):
        with one, suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            count += 1
    return count


def _sockets(connections: Collection[Connection | None]) -> list[socket.socket]:
    wanted = {connection for connection in connections if connection is not None}
    try:
        names = os.listdir("/dev/fd") if wanted else []
    except OSError:
        # Windows: there the sockets can't be listed.
        return []
    found = []
    for name in names:
        with suppress(OSError, ValueError):
            descriptor = int(name)
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                one = socket.socket(fileno=os.dup(descriptor))
                try:
                    matches = (one.getpeername()[:2], one.getsockname()[:2]) in wanted
                except (OSError, IndexError):
                    matches = False
                if matches:
                    found.append(one)
                else:
                    one.close()
    return found


def _shut_down(one: socket.socket, *, reset: bool) -> bool:
    with one:
        if reset and _disconnect(one):
            return True
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
    return True


def _disconnect(one: socket.socket) -> bool:
    """Dissolve a connection, as connect(2) does for AF_UNSPEC: its peer gets a reset."""
    if sys.platform != "linux":
        return False
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    done: int = ctypes.CDLL(None).connect(one.fileno(), nowhere, len(nowhere))
    return done == 0
