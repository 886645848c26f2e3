"""What the tests of live streams share: an app over a log, and readers of its bodies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
from fastapi import FastAPI, Request

from streamkit import BodyCut, JSONLinesStreamingResponse, SSEStreamingResponse, last_event_id
from streamkit.live import Live, Log
from streamkit.testing import FetchedResponse, StreamClient, fetch


class Harness:
    """A `Live` in a running app, with routes for its runs and its channels."""

    def __init__(self, log: Log, **options: Any) -> None:
        self.live = Live(log, **{"lease": 1.0, "grace": 0.2, **options})
        self.app = FastAPI()
        self.app.include_router(self.live.router("/streams"))
        self.app.include_router(self.live.router("/gaps", gap="event"))

        @self.app.get("/channels/{name}")
        async def follow(request: Request, name: str, after: str | None = None) -> Any:
            channel = self.live._channels[name]
            return SSEStreamingResponse(channel.follow(last_event_id(request) or after))

        @self.app.get("/lines/{name}")
        async def lines(name: str, after: str | None = None) -> Any:
            return JSONLinesStreamingResponse(self.live._channels[name].follow(after))

    async def get(self, path: str, **headers: str) -> FetchedResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await fetch(self.app, path, headers=named)

    async def done(self, *items: Any, id: str = "run") -> Any:  # noqa: A002
        """A run that has given these items, and is done."""
        run = await self.live.start(aiter_of(*items), id=id)
        assert await run.wait() == "done"
        return run


@asynccontextmanager
async def running(log: Log, **options: Any) -> AsyncIterator[Harness]:
    harness = Harness(log, **options)
    with anyio.fail_after(30):
        async with harness.live:
            yield harness


async def aiter_of(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


class Content:
    """Items that a test hands out one by one, and what became of their generator."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Any](1000)
        self.closed = 0
        self.iterated = False

    def put(self, *items: Any) -> None:
        for item in items:
            self._send.send_nowait(item)

    def end(self) -> None:
        self._send.close()

    async def __aiter__(self) -> AsyncIterator[Any]:
        self.iterated = True
        async for item in self._receive:
            if isinstance(item, Exception):
                raise item
            yield item

    async def aclose(self) -> None:
        self.closed += 1
        self._send.close()
        self._receive.close()
        await anyio.lowlevel.checkpoint()


async def followed_run(h: Harness) -> tuple[Content, Any, Any]:
    """The content of a run, the run, and its first reader."""
    content = Content()
    run = await h.live.start(content)
    follow = run.follow()
    await follow.open()
    return content, run, follow


async def followed_channel(h: Harness, **options: Any) -> tuple[Any, Any]:
    """A channel, and its first reader."""
    channel = h.live.channel("c", **options)
    follow = channel.follow()
    await follow.open()
    return channel, follow


def events(body: bytes) -> list[dict[str, str]]:
    """The blocks of an event stream, as far as they are whole, without comments."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name:
                fields[name] = fields[name] + "\n" + value if name in fields else value
        if fields:
            found.append(fields)
    return found


def data(body: bytes) -> list[Any]:
    """The data of the events, which is JSON."""
    return [json.loads(event["data"]) for event in events(body) if "data" in event]


def ids(body: bytes) -> list[str]:
    return [event["id"] for event in events(body) if "id" in event]


async def rest_of(client: StreamClient) -> bytes:
    """The rest of a body, cut or not."""
    body = b""
    with suppress(BodyCut):
        async for chunk in client:
            body += chunk
    return body


async def until(look: Any, what: str = "it") -> None:
    """Wait for something that happens soon."""
    with anyio.fail_after(10):
        while True:
            seen = look()
            if seen if not hasattr(seen, "__await__") else await seen:
                return
            await anyio.sleep(0.005)
