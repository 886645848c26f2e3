"""The middlewares that may stand between a response and its server."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["STACKS", "codings_of", "middleware"]


class PassOn(BaseHTTPMiddleware):
    """Does nothing, as most of them do."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


class Transform:
    """Changes the body, and passes over what it can't change."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_coded = False

        async def change(message: Message) -> None:
            nonlocal is_coded
            if message["type"] == "http.response.start":
                is_coded = any(name == b"content-encoding" for name, _ in message["headers"])
            elif message["type"] == "http.response.body":
                try:
                    body = bytes(message.get("body", b""))
                except Exception:
                    return
                message = {**message, "body": body if is_coded else body.swapcase()}
            else:
                return
            await send(message)

        await self.app(scope, receive, change)


class Catch:
    """Catches what the app raises, and ends the body that was begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = ended = False

        async def watch(message: Message) -> None:
            nonlocal started, ended
            started = started or message["type"] == "http.response.start"
            await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self.app(scope, receive, watch)
        except Exception:
            if not started:
                await Response("failed", 500)(scope, receive, send)
        if started and not ended:
            with contextlib.suppress(Exception):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


class Collect:
    """Keeps the body back until it is complete, and gives it a length."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body: list[bytes] = []

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if message["type"] != "http.response.body":
                return
            body.append(message.get("body", b""))
            if message.get("more_body"):
                return
            whole = b"".join(body)
            headers = [*start["headers"], (b"content-length", b"%d" % len(whole))]
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": whole, "more_body": False})

        await self.app(scope, receive, collect)


def _compress() -> Middleware:
    from starlette_compress import CompressMiddleware

    return Middleware(CompressMiddleware)


def _brotli() -> Middleware:
    from brotli_asgi import BrotliMiddleware

    return Middleware(BrotliMiddleware, quality=1)


def _correlation() -> Middleware:
    from asgi_correlation_id import CorrelationIdMiddleware

    return Middleware(CorrelationIdMiddleware)


def _prometheus() -> Middleware:
    from prometheus_client import CollectorRegistry
    from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware

    return Middleware(PrometheusInstrumentatorMiddleware, registry=CollectorRegistry())


def _opentelemetry() -> Middleware:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.trace import TracerProvider

    return Middleware(OpenTelemetryMiddleware, tracer_provider=TracerProvider())


@cache
def _sentry() -> Middleware:
    import sentry_sdk
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    class Nowhere(sentry_sdk.Transport):
        def capture_envelope(self, envelope: Any) -> None:
            pass

    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        transport=Nowhere,
        default_integrations=False,
        auto_enabling_integrations=False,
        traces_sample_rate=1.0,
        auto_session_tracking=False,
        enable_backpressure_handling=False,
    )
    return Middleware(SentryAsgiMiddleware)


_MAKERS: dict[str, Callable[[], Middleware]] = {
    "base": lambda: Middleware(PassOn),
    "gzip": lambda: Middleware(GZipMiddleware, compresslevel=1),
    "cors": lambda: Middleware(CORSMiddleware, allow_origins=["*"]),
    "compress": _compress,
    "brotli": _brotli,
    "collect": lambda: Middleware(Collect),
    "transform": lambda: Middleware(Transform),
    "catch": lambda: Middleware(Catch),
    "correlation": _correlation,
    "prometheus": _prometheus,
    "opentelemetry": _opentelemetry,
    "sentry": _sentry,
}
# These read, change, keep or end bodies: they meet each other in both orders.
_BODY = ("base", "gzip", "compress", "transform", "catch", "collect")
_HEADERS = ("cors", "brotli", "correlation", "prometheus", "opentelemetry", "sentry")
# Outermost first.
STACKS: tuple[str, ...] = (
    "none",
    *_MAKERS,
    "base+base",
    "base+base+base",
    *("+".join(pair) for pair in itertools.permutations(_BODY, 2)),
    *(f"base+{name}" for name in _HEADERS),
    *(f"{name}+base" for name in _HEADERS),
)


def middleware(stack: str) -> list[Middleware]:
    """The middlewares of a stack, outermost first."""
    return [] if stack == "none" else [_MAKERS[name]() for name in stack.split("+")]


def codings_of(stack: str) -> str:
    """The `Accept-Encoding` of a client that has the stack's middlewares compress."""
    names = {"gzip": "gzip", "compress": "zstd", "brotli": "br"}
    return ", ".join(names[name] for name in stack.split("+") if name in names) or "identity"
