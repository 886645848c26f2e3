"""From what a test asks for to an ASGI scope."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote, unquote

from starlette.types import Scope

__all__ = [
    "ADDRESSES",
    "BodyTypes",
    "HeaderTypes",
    "completed",
    "is_websocket",
    "request_headers",
    "url_parts",
]

HeaderTypes = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
BodyTypes = bytes | Iterable[bytes] | AsyncIterable[bytes]

_URL_SAFE = "/%:;,=@&+$!*'()~?"
ADDRESSES: dict[str, str | tuple[str, int]] = {
    "scheme": "http",
    "root_path": "",
    "client": ("127.0.0.1", 50000),
    "server": ("testserver", 80),
}


def is_websocket(scope: Scope) -> bool:
    return bool(scope["type"] == "websocket")


def url_parts(path: str) -> Scope:
    target, _, query = quote(path, safe=_URL_SAFE).partition("?")
    if not target.startswith("/"):
        raise ValueError(f'path must start with "/", got {path!r}')
    return {
        "path": unquote(target),
        "raw_path": target.encode(),
        "query_string": query.encode(),
    }


def request_headers(headers: HeaderTypes | None, body: BodyTypes) -> list[tuple[bytes, bytes]]:
    given = headers.items() if isinstance(headers, Mapping) else headers or ()
    pairs = cast("Iterable[tuple[str | bytes, str | bytes]]", given)
    raw = [(_latin1(name).lower(), _latin1(value)) for name, value in pairs]
    names = {name for name, _ in raw}
    if b"host" not in names:
        raw.insert(0, (b"host", b"testserver"))
    if body and not names & {b"content-length", b"transfer-encoding"}:
        if isinstance(body, bytes):
            raw.append((b"content-length", b"%d" % len(body)))
        else:
            raw.append((b"transfer-encoding", b"chunked"))
    return raw


def _latin1(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def completed(scope: Scope) -> Scope:
    if not is_websocket(scope):
        return {"state": {}, **scope, "extensions": dict(scope["extensions"] or {})}
    del scope["method"]
    denial: dict[str, Any] = {"websocket.http.response": {}}
    extensions = denial if scope["extensions"] is None else dict(scope["extensions"])
    return {"state": {}, "subprotocols": [], **scope, "scheme": "ws", "extensions": extensions}
