"""The rules that a server holds an app to."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import Message, Scope

from streamkit.testing.request import is_websocket

__all__ = ["Framing"]


class Framing:
    """The rules that a server holds one response to: message order, types, Content-Length."""

    def __init__(self, scope: Scope) -> None:
        self._prefix = "websocket.http.response." if is_websocket(scope) else "http.response."
        self._head = scope.get("method") == "HEAD"
        self._next: tuple[str, ...] = ("start",)
        offered = "http.response.pathsend" in scope["extensions"]
        self._after_start = ("body", "pathsend") if offered else ("body",)
        self._left: int | None = None

    def kind(self, message: Message) -> str:
        """Give "start", "body" or "pathsend"; raise RuntimeError where it may not come now."""
        sent = message.get("type")
        allowed = {self._prefix + kind: kind for kind in self._next}
        if sent not in allowed:
            expected = " or ".join(allowed) or "nothing: the response is complete"
            raise RuntimeError(f"unexpected ASGI message {sent!r}, expected {expected}")
        return allowed[sent]

    def start(self, message: Message) -> Message:
        status, headers = message.get("status"), list(message.get("headers", ()))
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise RuntimeError(
                f"the response status must be an int from 200 to 999, got {status!r}"
            )
        for name, value in headers:
            _check_header(name, value)
        self._left = self._length(status, Headers(raw=[(n.lower(), v) for n, v in headers]))
        self._next = self._after_start
        return {**message, "headers": headers}

    def _length(self, status: int, headers: Headers) -> int | None:
        if self._head:
            return None
        # RFC 9110 §6.4.1: these have no content, whatever their Content-Length says
        if status in (204, 304):
            return 0
        declared = headers.get("content-length")
        if declared is not None and not re.fullmatch("[0-9]+", declared):
            raise RuntimeError(f"Content-Length must be a decimal number, got {declared!r}")
        return None if declared is None else int(declared)

    def body(self, data: object, *, more: bool) -> bytes | bytearray | memoryview:
        """Give the bytes that reach the client: none for HEAD."""
        if not isinstance(data, bytes | bytearray | memoryview):
            # A server asks for the length first, and gets what that raises.
            if hasattr(type(data), "__len__"):
                len(data)  # type: ignore[arg-type]
            raise RuntimeError(f"a response body must be bytes, got {type(data).__name__}")
        if self._left is not None:
            self._left -= memoryview(data).nbytes
            if self._left < 0:
                raise RuntimeError(f"the body is {-self._left} bytes longer than Content-Length")
            if self._left and not more:
                raise RuntimeError(f"the body is {self._left} bytes shorter than Content-Length")
        if not more:
            self._next = ()
        return b"" if self._head else data


def _check_header(name: object, value: object) -> None:
    if not (isinstance(name, bytes) and isinstance(value, bytes)):
        raise RuntimeError(f"header names and values must be bytes, got {name!r}: {value!r}")
    if not name or re.search(rb"[\r\n\0]", name + value):
        raise RuntimeError(f"a header has no name or a control character: {name!r}: {value!r}")
