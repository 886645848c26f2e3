"""`async def` endpoints that yield: FastAPI's wrapper is taken off, and what follows from that."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextvars import ContextVar
from types import AsyncGeneratorType
from typing import Any

import anyio
import fastapi.routing
import pytest
from fastapi import Depends, FastAPI, Response

from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartPart,
    MultipartStreamingResponse,
    PlainTextStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
)
from streamkit.body.fastapi import unwrap
from streamkit.testing import stream

pytestmark = pytest.mark.anyio

user: ContextVar[str] = ContextVar("user", default="nobody")

FORMATS: list[tuple[type[StreamingResponse], Any]] = [
    (StreamingResponse, b"x"),
    (PlainTextStreamingResponse, "x"),
    (JSONLinesStreamingResponse, {"a": 1}),
    (JSONArrayStreamingResponse, {"a": 1}),
    (SSEStreamingResponse, "x"),
    (CSVStreamingResponse, ["x"]),
    (MultipartStreamingResponse, MultipartPart(b"x", media_type="text/plain")),
]
BY_NAME = pytest.mark.parametrize(
    ("kind", "item"), FORMATS, ids=[kind.__name__ for kind, _ in FORMATS]
)


def app_of(kind: type[StreamingResponse], item: Any, steps: list[str], how: str) -> FastAPI:
    app = FastAPI()

    async def dependency() -> AsyncIterator[str]:
        try:
            yield "ada"
        finally:
            steps.append("dependency")

    class Told(kind):  # type: ignore[misc, valid-type]
        def on_close(self, outcome: StreamOutcome) -> None:
            steps.append(outcome.reason)

    @app.get("/", response_class=Told)
    async def items(name: str = Depends(dependency)) -> AsyncIterator[Any]:
        token = user.set(name)
        try:
            yield item
            if how == "error":
                raise ValueError("midway")
            while how == "disconnect":
                await anyio.sleep(0.001)
                yield item
        finally:
            steps.append(f"finally for {user.get()}")
            await anyio.sleep(0.002)
            user.reset(token)
            steps.append(f"reset to {user.get()}")

    return app


@BY_NAME
@pytest.mark.parametrize("how", ["complete", "disconnect", "error"])
async def test_the_endpoint_is_closed_before_on_close_and_dependencies(
    kind: type[StreamingResponse], item: Any, how: str
) -> None:
    steps: list[str] = []
    with anyio.fail_after(10):
        async with stream(app_of(kind, item, steps, how)) as client:
            await anext(client)
            if how == "disconnect":
                await client.disconnect()
            await client.wait_closed()
    assert steps == ["finally for ada", "reset to nobody", how, "dependency"]


@BY_NAME
async def test_the_wrapper_of_the_installed_fastapi_is_known(
    kind: type[StreamingResponse], item: Any
) -> None:
    taken: list[Any] = []

    class Taken(kind):  # type: ignore[misc, valid-type]
        def __init__(self, content: Any, **arguments: Any) -> None:
            taken.append((content, unwrap(content)))
            super().__init__(content, **arguments)

    app = FastAPI()

    @app.get("/", response_class=Taken)
    async def items() -> AsyncIterator[Any]:
        yield item

    async with stream(app) as client:
        await client.read()
    ((wrapper, inner),) = taken
    # A failure here says that FastAPI wraps in another way now: look at streamkit/body/fastapi.py.
    assert isinstance(wrapper, AsyncGeneratorType)
    assert inner is not wrapper
    assert inner.ag_code.co_name == "items"


def test_the_wrapper_does_no_more_than_is_known() -> None:
    source = inspect.getsource(fastapi.routing)
    _, _, rest = source.partition("async def _async_stream_raw(")
    body, _, _ = rest.partition("gen = _async_stream_raw(gen)")
    code = [line.strip() for line in body.splitlines() if line.strip()]
    assert [line for line in code if not line.startswith("#")] == [
        "async_gen: AsyncIterator[Any],",
        ") -> AsyncIterator[Any]:",
        "async for chunk in async_gen:",
        "yield chunk",
        "await anyio.sleep(0)",
    ]


async def test_other_generators_keep_what_is_around_them() -> None:
    async def inner() -> AsyncIterator[bytes]:
        yield b"x"

    async def _async_stream_raw(async_gen: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in async_gen:
            yield chunk * 2

    content = _async_stream_raw(inner())
    assert unwrap(content) is content
    async with stream(StreamingResponse(content)) as client:
        assert await client.read() == b"xx"


async def test_a_wrapper_that_was_started_stays_on() -> None:
    app = FastAPI()
    first: list[Any] = []

    class Started(StreamingResponse):
        def __init__(self, content: Any, **arguments: Any) -> None:
            super().__init__(self.after_the_first(content), **arguments)

        async def after_the_first(self, content: Any) -> AsyncIterator[bytes]:
            first.append(await anext(content))
            assert unwrap(content) is content
            async for item in content:
                yield item

    @app.get("/", response_class=Started)
    async def items() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with stream(app) as client:
        assert await client.read() == b"two"
    assert first == [b"one"]


async def test_fastapis_response_parameter_counts_in_a_dependency_and_not_behind_a_yield() -> None:
    app = FastAPI()

    def dependency(response: Response) -> None:
        response.set_cookie("seen", "yes")
        response.headers["X-From"] = "dependency"

    @app.get("/", response_class=PlainTextStreamingResponse, dependencies=[Depends(dependency)])
    async def items(response: Response) -> AsyncIterator[str]:
        # Too late: FastAPI copies the headers before it calls the response.
        response.headers["X-Late"] = "yes"
        yield "x"

    async with stream(app) as client:
        assert await client.read() == b"x"
        headers = client.headers
    assert headers["x-from"] == "dependency"
    assert "seen=yes" in headers["set-cookie"]
    assert "x-late" not in headers
