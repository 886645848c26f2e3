"""The listening sockets of the server, which ASGI does not give: they are closed when it stops.

A server that is told to stop without a signal (`--limit-max-requests`, `should_exit = True`, the
end of a worker) tells its app only once all responses have ended. What it does first, on every
server, is to close the sockets on which it accepts.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

__all__ = ["Address", "Listeners", "address_of"]

# A port, or the path of a Unix socket.
Address = int | str


def address_of(scope: Mapping[str, Any]) -> Address | None:
    """Where the server accepts, as far as a request tells."""
    server = scope.get("server")
    if not server:
        return None
    if server[1] is None:
        return str(server[0])
    # granian's ports are strings.
    return int(server[1])


class Listeners:
    """The sockets of this process that accept at an address, as they were when this was made.

    None are found where descriptors can't be listed (Windows), or if the address is another
    process's.
    """

    __slots__ = ("_found",)

    def __init__(self, address: Address) -> None:
        self._found: dict[int, int] = {}
        try:
            names = os.listdir("/dev/fd")
        except OSError:
            names = []
        for name in names:
            with suppress(OSError, ValueError):
                descriptor = int(name)
                status = os.fstat(descriptor)
                if stat.S_ISSOCK(status.st_mode) and _accepts_at(descriptor, address):
                    self._found[descriptor] = status.st_ino

    def __len__(self) -> int:
        return len(self._found)

    def closed(self) -> bool:
        """Whether there were some, and all of them are closed."""
        return bool(self._found) and not any(map(self._is_open, self._found))

    def _is_open(self, descriptor: int) -> bool:
        try:
            # The number may be another file's by now.
            return os.fstat(descriptor).st_ino == self._found[descriptor]
        except OSError:
            return False


def _accepts_at(descriptor: int, address: Address) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as one:
        if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        name = one.getsockname()
    return bool(address == (name[1] if isinstance(name, tuple) else name))
