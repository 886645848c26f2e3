"""Apps that do what a test says, message by message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from starlette.types import ASGIApp, Message, Receive, Scope, Send

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body"}
SpecVersions = pytest.mark.parametrize("spec_version", ["2.1", "2.3", "2.4"])


def body(data: Any, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def sends(*messages: Message, then: BaseException | None = None) -> ASGIApp:
    """An app that sends these messages, and then raises."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    return app


def app_of(run: Callable[[Receive, Send], Awaitable[None]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await run(receive, send)

    return app


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def ticker(seen: list[str]) -> ASGIApp:
    """Sends the start and one chunk, then waits for the disconnect."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"tick"))
        await until_disconnect(receive)
        seen.append("disconnect")

    return app


async def settle() -> None:
    for _ in range(10):
        await checkpoint()
