"""Every way to stream an answer while the request's body is read, for a server and in process."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from inspect import iscoroutine
from typing import Any

import anyio
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import Receive, Scope, Send

from streamkit import StreamingResponse, iterate_from_thread, rechunk, request_chunks

# The bytes of one answer for each chunk, so that a body is read to its end with small answers.
WIDTH = 20


def told(size: int) -> bytes:
    return b"%*d" % (WIDTH, size)


async def sizes(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The size of each chunk, and at the end the digest of all."""
    digest = hashlib.sha256()
    async for chunk in chunks:
        digest.update(chunk)
        yield told(len(chunk))
    yield digest.hexdigest().encode()


async def late(request: Request) -> AsyncIterator[bytes]:
    yield told(0)
    await anyio.sleep(0.05)
    async for item in sizes(request.stream()):
        yield item


def on_a_thread(request: Request) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with iterate_from_thread(request.stream()) as chunks:
        for chunk in chunks:
            digest.update(chunk)
            yield told(len(chunk))
    yield digest.hexdigest().encode()


class Hidden:
    """An iterable in which no frame shows the request."""

    def __init__(self, request: Request) -> None:
        self.request = [request]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for item in sizes(self.request[0].stream()):
            yield item


async def begun(request: Request) -> AsyncIterator[bytes]:
    """A body of which the beginning was read before the response."""
    chunks = request.stream()
    first = await anext(chunks)

    async def all_of_it() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return sizes(all_of_it())


WAYS: dict[str, Callable[[Request], Any]] = {
    "request_chunks": lambda request: sizes(request_chunks(request)),
    "request_chunks-hidden": lambda request: sizes(rechunk(request_chunks(request), 1000)),
    "generator": lambda request: sizes(request.stream()),
    "late": late,
    "thread": on_a_thread,
    "hidden": Hidden,
    "rechunk": lambda request: sizes(rechunk(request.stream(), 1000)),
    "begun": begun,
}


async def answer(request: Request) -> Response:
    content = WAYS[request.url.path.rpartition("/")[2]](request)
    return StreamingResponse(await content if iscoroutine(content) else content)


async def echo(request: Request) -> Response:
    return StreamingResponse(request.stream())


async def ignore(request: Request) -> Response:
    return StreamingResponse(ticks(request))


async def ticks(request: Request) -> AsyncIterator[bytes]:
    while True:
        yield b"tick\n"
        await anyio.sleep(0.01)


class Plain:
    """An ASGI app without a `Request`, whose content calls `receive` itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def messages() -> AsyncIterator[bytes]:
            more = True
            while more:
                message = await receive()
                more = message.get("more_body", False)
                yield message["body"]

        async with aclosing(messages()) as content:
            await StreamingResponse(sizes(content))(scope, receive, send)


async def pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


async def intercept(request: Request, call_next: Any) -> Any:
    return await answer(request)


yielding = FastAPI()


@yielding.post("/yielding", response_class=StreamingResponse)
async def yielded(request: Request) -> AsyncIterator[bytes]:
    async for item in sizes(request.stream()):
        yield item


routes = [
    Route("/plain-asgi", Plain()),
    Route("/echo", echo, methods=["POST"]),
    Route("/ignore", ignore, methods=["POST"]),
    Mount("/fastapi", yielding),
    Route("/{way}", answer, methods=["POST"]),
]


def below(depth: int) -> Starlette:
    """The app below so many `BaseHTTPMiddleware`."""
    passing = [Middleware(BaseHTTPMiddleware, dispatch=pass_on)] * depth
    return Starlette(routes=routes, middleware=passing)


intercepting = Starlette(
    routes=[Route("/{way}", answer, methods=["POST"])],
    middleware=[Middleware(BaseHTTPMiddleware, dispatch=intercept)],
)

app = Router([Mount(f"/{depth}", below(depth)) for depth in (0, 1, 2)])
