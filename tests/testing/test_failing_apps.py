"""An app that fails or breaks the specification is told of, and never looks complete."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint
from fastapi import Request
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Message, Receive, Send

from streamkit.errors import BodyCut
from streamkit.testing import fetch, stream
from tests.conftest import BACKENDS
from tests.testing.apps import END, START, app_of, body, sends, ticker, until_disconnect

pytestmark = pytest.mark.anyio


# --- an app that fails


async def test_an_app_that_raises_before_the_start_raises_as_itself_on_entering() -> None:
    error = LookupError("no")
    with pytest.raises(LookupError) as caught:
        async with stream(sends(then=error)):
            raise AssertionError("entered")
    assert caught.value is error


async def test_an_app_that_returns_before_the_start_is_an_error_on_entering() -> None:
    with pytest.raises(RuntimeError, match=r"without starting a response$"):
        await fetch(sends())


@pytest.mark.parametrize("error", [None, LookupError("mid-stream")])
async def test_a_body_that_the_app_cuts_never_looks_complete(error: LookupError | None) -> None:
    async with stream(sends(START, body(b"abc"), then=error)) as client:
        assert await anext(client) == b"abc"
        with pytest.raises(BodyCut) as caught:
            await anext(client)
        assert caught.value.received == 3
        assert caught.value.__cause__ is error
        assert client.error is error
        assert not client.complete
        await client.disconnect()
        with pytest.raises(BodyCut):
            await client.read()


async def test_an_error_after_a_complete_body_is_in_error_only() -> None:
    async def fail(request: Request) -> None:
        raise LookupError("handled by ServerErrorMiddleware, and raised again")

    async with stream(Starlette(routes=[Route("/", fail)])) as client:
        assert client.status == 500
        assert await client.read() == b"Internal Server Error"
        await client.wait_closed()
        assert isinstance(client.error, LookupError)


async def test_an_error_after_the_disconnect_is_in_error_only() -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await until_disconnect(receive)
        raise LookupError("late")

    async with stream(app_of(run)) as client:
        pass
    assert isinstance(client.error, LookupError)


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2])
async def test_an_app_whose_task_is_cancelled_cuts_the_body_and_not_the_test() -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await checkpoint()

    async with stream(app_of(run)) as client:
        with pytest.raises(BodyCut):
            await client.read()
        assert isinstance(client.error, asyncio.CancelledError)
    await checkpoint()


class Stop(BaseException):
    """Like KeyboardInterrupt, but no event loop treats it specially."""


async def test_what_no_server_survives_comes_out_as_itself() -> None:
    with pytest.raises(Stop):
        async with stream(sends(START, then=Stop())):
            await anyio.sleep_forever()
    with pytest.raises(Stop):
        async with stream(ticker([])):
            raise Stop


# --- what breaks the ASGI specification


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([body(b"")], "expected http.response.start"),
        ([START, START], "expected http.response.body"),
        ([START, END, END], "the response is complete"),
        ([START, END, START], "the response is complete"),
        ([{"type": "http.response.strat"}], "'http.response.strat'"),
        ([{"type": "start", "status": 200}], "'start'"),
        ([{"status": 200}], "None"),
        ([START, {"type": "http.response.pathsend", "path": "x"}], "pathsend"),
        ([START, body("text")], "must be bytes, got str"),
        ([START, body(None)], "must be bytes, got NoneType"),
        ([{**START, "status": "200"}], "status must be an int"),
        ([{**START, "status": 100}], "status must be an int"),
        ([{**START, "headers": [("x", b"y")]}], "must be bytes, got 'x'"),
        ([{**START, "headers": [(b"x", "y")]}], "must be bytes"),
        ([{**START, "headers": [(b"x", b"a\r\nb: c")]}], "control character"),
        ([{**START, "headers": [(b"", b"a")]}], "no name"),
        ([{**START, "headers": [(b"content-length", b"-1")]}], "decimal number, got '-1'"),
        ([{**START, "headers": [(b"content-length", b"2")]}, body(b"abc")], "1 bytes longer"),
        ([{**START, "headers": [(b"Content-Length", b"2")]}, END], "2 bytes shorter"),
        ([{**START, "status": 204}, body(b"a")], "1 bytes longer"),
    ],
)
async def test_an_app_that_breaks_the_specification_gets_a_runtime_error(
    messages: list[Message], text: str
) -> None:
    async with stream(sends(*messages), wait_for_start=False) as client:
        await client.wait_closed()
        assert isinstance(client.error, RuntimeError)
        assert text in str(client.error)
        assert len(client.messages) == len(messages) - 1


async def test_a_304_may_carry_the_length_of_the_body_it_does_not_have() -> None:
    start = {**START, "status": 304, "headers": [(b"content-length", b"100")]}
    assert (await fetch(sends(start, END))).complete
