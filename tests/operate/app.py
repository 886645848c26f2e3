"""An app with limits, and with observers over the real libraries; the tests serve it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from streamkit import (
    PlainTextStreamingResponse,
    StreamLimit,
    StreamOutcome,
    observe,
    open_streams,
)
from streamkit.observers.opentelemetry import OpenTelemetryObserver
from streamkit.observers.prometheus import PrometheusObserver

registry = CollectorRegistry()
reader = InMemoryMetricReader()
exporter = InMemorySpanExporter()
spans = TracerProvider()
spans.add_span_processor(SimpleSpanProcessor(exporter))
outcomes: dict[str, list[tuple[str, str]]] = {}
runs: list[str] = []


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    with ExitStack() as stack:
        stack.enter_context(observe(PrometheusObserver(registry)))
        stack.enter_context(observe(OpenTelemetryObserver(MeterProvider([reader]))))
        yield


class Traced:
    """What an instrumentation of the app does: a span around each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with spans.get_tracer("app").start_as_current_span(scope["path"]):
            await self.app(scope, receive, send)


LIMITS: dict[str, dict[str, Any]] = {
    "min-rate": {"min_rate": 50_000, "min_rate_grace": 0.5},
    "deadline": {"deadline": 0.3},
    "limit": {"limit": StreamLimit(total=1, retry_after=3)},
    "max-rate": {"max_rate": 200_000},
    "none": {},
}


def flood() -> Iterator[bytes]:
    runs.append("run")
    yield from itertools.repeat(b"x" * 10_000)


async def ticks() -> AsyncIterator[bytes]:
    runs.append("run")
    while True:
        yield b"tick\n"
        await asyncio.sleep(0.01)


async def few() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"tick\n"


async def failing() -> AsyncIterator[bytes]:
    yield b"tick\n"
    raise LookupError("gone")


CONTENTS = {"flood": flood, "ticks": ticks, "few": few, "failing": failing}


async def limited(request: Request) -> Response:
    content, limit = request.path_params["content"], request.path_params["limit"]
    key = request.query_params.get("key", "")

    def note(outcome: StreamOutcome) -> None:
        error = type(outcome.error).__name__ if outcome.error is not None else ""
        outcomes.setdefault(key, []).append((outcome.reason, error))

    return PlainTextStreamingResponse(CONTENTS[content](), on_close=note, **LIMITS[limit])


async def ended(request: Request) -> Response:
    return JSONResponse(outcomes.get(request.query_params["key"], []))


async def metrics_now(request: Request) -> Response:
    """What OpenTelemetry exports: lines of name, attributes and value."""
    data = reader.get_metrics_data()
    lines = [
        f"{metric.name} {dict(sorted(dict(point.attributes or {}).items()))} "
        f"{getattr(point, 'value', getattr(point, 'count', None))}"
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    return PlainTextResponse("\n".join(sorted(lines)))


async def spans_now(request: Request) -> Response:
    return JSONResponse(
        [
            [span.name, [[event.name, dict(event.attributes or {})] for event in span.events]]
            for span in exporter.get_finished_spans()
            if span.events
        ]
    )


async def open_now(request: Request) -> Response:
    return JSONResponse([[one.route, one.bytes, one.waiting] for one in open_streams()])


async def runs_so_far(request: Request) -> Response:
    return JSONResponse(len(runs))


async def ping(request: Request) -> Response:
    return PlainTextResponse("pong")


# FastAPI, which has always said which route it chose.
app = FastAPI(middleware=[Middleware(Traced)], lifespan=lifespan)
for path, endpoint in {
    "/streams/{content}/{limit}": limited,
    "/ended": ended,
    "/otel": metrics_now,
    "/spans": spans_now,
    "/open": open_now,
    "/runs": runs_so_far,
    "/ping": ping,
}.items():
    app.add_api_route(path, endpoint, response_model=None)
app.mount("/metrics", make_asgi_app(registry))
