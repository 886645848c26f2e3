"""Contents that fail or never end, and the middleware that they pass through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request

FOREVER = 30.0


class Broken(Exception):
    pass


async def relay(request: Request, call_next: Any) -> Any:
    return await call_next(request)


MIDDLEWARE: dict[str, Callable[[Any], Any]] = {
    "bare": lambda app: app,
    "BaseHTTPMiddleware": lambda app: BaseHTTPMiddleware(app, relay),
    "two BaseHTTPMiddleware": lambda app: BaseHTTPMiddleware(BaseHTTPMiddleware(app, relay), relay),
    "GZipMiddleware": GZipMiddleware,
    "GZip in BaseHTTPMiddleware": lambda app: BaseHTTPMiddleware(GZipMiddleware(app), relay),
    "BaseHTTPMiddleware in GZip": lambda app: GZipMiddleware(BaseHTTPMiddleware(app, relay)),
}


async def breaks_async() -> AsyncIterator[bytes]:
    yield b"part"
    await anyio.sleep(0.003)
    raise Broken


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000


class Beating:
    def encode(self, item: str) -> bytes:
        return item.encode()

    def finish(self) -> bytes:
        return b"!"

    def keep_alive(self) -> bytes:
        return b"."
