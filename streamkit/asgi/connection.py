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

__all__ = ["Address", "Connection", "connection_of", "drop", "reset"]

Address = tuple[str, int]
# The client's address and the server's.
Connection = tuple[Address, Address]


def connection_of(scope: Mapping[str, Any]) -> Connection | None:
    """The addresses of a request over TCP; None where the server does not tell them."""
    client, server = scope.get("client"), scope.get("server")
    # A port of 0 is that of a client behind a proxy, as uvicorn's --proxy-headers tells it.
    if not (client and server and client[1] and server[1]):
        return None
    # granian's ports are strings.
    return (client[0], int(client[1])), (server[0], int(server[1]))


def drop(connections: Collection[Connection | None]) -> int:
    """Shut down the sockets that this process still holds for these; returns how many.

    What the kernel has taken is still sent, and then the end of the connection. A server that
    waits for a stalled client goes on. A proxy that shares one connection among requests has its
    own addresses, so that only HTTP/1 connections may be dropped.
    """
    return sum(_shut_down(one) for one in _sockets(connections))


def reset(connections: Collection[Connection | None]) -> int:
    """Reset these connections, which a client of HTTP/1.0 notices; returns how many.

    At once on Linux, which dissolves a connection when asked for one to nowhere (`connect(2)`).
    Elsewhere when the server closes it.
    """
    return sum(map(_reset, _sockets(connections)))


# Descriptors as they were listed last: where many responses fail at once, one list does.
_listed: dict[Connection, int] = {}


def _sockets(connections: Collection[Connection | None]) -> list[socket.socket]:
    wanted = {connection for connection in connections if connection is not None}
    found = {each: one for each in wanted if (one := _copy(_listed.get(each), each)) is not None}
    if len(found) < len(wanted):
        _list_descriptors()
        for each in wanted - found.keys():
            if (one := _copy(_listed.get(each), each)) is not None:
                found[each] = one
    return list(found.values())


def _list_descriptors() -> None:
    _listed.clear()
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        # Windows: there the sockets can't be listed.
        return
    for name in names:
        with suppress(OSError, ValueError):
            descriptor = int(name)
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                one = socket.socket(fileno=descriptor)
                try:
                    _listed[_addresses(one)] = descriptor
                finally:
                    # It is the server's.
                    one.detach()


def _copy(descriptor: int | None, connection: Connection) -> socket.socket | None:
    """A socket on a copy of the descriptor, if that still is of the connection."""
    with suppress(OSError):
        if descriptor is not None:
            one = socket.socket(fileno=descriptor)
            try:
                if _addresses(one) == connection:
                    return socket.socket(fileno=os.dup(descriptor))
            finally:
                # It is the server's.
                one.detach()
    return None


def _addresses(one: socket.socket) -> Connection:
    return one.getpeername()[:2], one.getsockname()[:2]


def _shut_down(one: socket.socket) -> bool:
    with one, suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
        return True
    return False


def _reset(one: socket.socket) -> bool:
    with one, suppress(OSError):
        if sys.platform != "linux":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return True
        nowhere = struct.pack("H14x", socket.AF_UNSPEC)
        return bool(ctypes.CDLL(None).connect(one.fileno(), nowhere, len(nowhere)) == 0)
    return False
