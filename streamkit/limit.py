"""How many responses may be open at the same time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from inspect import isawaitable, iscoroutinefunction
from typing import cast

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

__all__ = ["StreamLimit"]


def _client_address(request: Request) -> Hashable:
    return None if request.client is None else request.client.host


class StreamLimit:
    """Limits how many responses are open at once; one object for all that share the limit.

    Pass it as `limit=`, to a class or to a response. A request that finds no place is answered with
    503 and `Retry-After` before anything of its content runs. The content is closed, and `on_close`
    and observers are told "error". A place is free again when the response has ended.

    `total` counts all responses, `per_client` those with the same `key(request)`, each None for
    any number. `key` is the client's address by default. Behind a proxy that is the proxy's, unless
    the server takes it from a header (`uvicorn --proxy-headers`); or count users instead. A
    client for whom it gives None counts for `total` only. `retry_after` is what `Retry-After`
    says: whole seconds.

    Each process counts for itself. Raises `ValueError` for a number below 1, or if neither is
    given; `TypeError` for anything but a whole number, and for a `key` that is async.

        class Export(JSONLinesStreamingResponse):
            limit = StreamLimit(total=100, per_client=2)
    """

    def __init__(
        self,
        *,
        total: int | None = None,
        per_client: int | None = None,
        key: Callable[[Request], Hashable] = _client_address,
        retry_after: int = 5,
    ) -> None:
        if total is None and per_client is None:
            raise ValueError("StreamLimit needs total=, per_client= or both")
        for name, value in (("total", total), ("per_client", per_client)):
            _check(name, value, 1)
        _check("retry_after", retry_after, 0)
        if not callable(key) or iscoroutinefunction(key):
            raise TypeError(f"key must be a function of the request, not async, got {key!r}")
        self._total = math.inf if total is None else total
        self._per_client = math.inf if per_client is None else per_client
        self._key = key
        self._retry_after = retry_after
        # More than one loop, each on its own thread, may share a limit.
        self._lock = threading.Lock()
        self._open = 0
        self._clients: dict[Hashable, int] = {}

    @property
    def open(self) -> int:
        """How many responses have a place now."""
        return self._open

    def acquire(self, scope: Scope) -> Callable[[], None]:
        """Take a place for a request; call what it returns, once or more often, to free it.

        A response with `limit=` does both. Raises `HTTPException` with status 503 if there is no
        place, and every exception of `key`.
        """
        client = None if self._per_client == math.inf else self._key(_request(scope))
        if isawaitable(client):
            raise TypeError(
                f"key must give what tells a client, not something to await, got {client!r}: "
                f"have a dependency find it, and read it from request.state"
            )
        with self._lock:
            held = self._clients.get(client, 0)
            if self._open >= self._total or (client is not None and held >= self._per_client):
                retry = {"Retry-After": str(self._retry_after)}
                raise HTTPException(503, "too many open streams", headers=retry)
            self._open += 1
            if client is not None:
                self._clients[client] = held + 1
        held_by = [client]

        def release() -> None:
            with self._lock:
                if held_by:
                    self._release(held_by.pop())

        return release

    def _release(self, client: Hashable) -> None:
        self._open -= 1
        if client is None:
            return
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]


def _request(scope: Scope) -> Request:
    if scope["type"] == "http":
        return Request(scope)
    # A response to a websocket's handshake: the same, but for a body.
    return cast(Request, HTTPConnection(scope))


def _check(name: str, value: int | None, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {value!r}")
