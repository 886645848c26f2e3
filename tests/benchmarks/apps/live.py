"""Live streams: one publisher and many readers, replays, and runs that outlive their clients.

The peers are as their documentation has them: a queue for each client with sse-starlette, a
subscription with broadcaster (in memory) under sse-starlette, and Litestar's channels.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .growth import GOLDEN

# Readers of `name` get so many items together, every so many seconds.
FEEDS = {"live-bursts": (10, 0.5), "live-single": (1, 0.1)}
TOKEN_PERIOD = 0.01
Publish = Callable[[str, dict[str, Any]], Awaitable[Any]]

_started = itertools.count()


async def feed(publish: Publish) -> None:
    """Publish to all feeds for ever."""

    async def one(name: str, burst: int, period: float) -> None:
        due = time.monotonic()
        while True:
            for number in range(burst):
                await publish(name, {"tick": number, "eur": 1.08})
            due += period
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    await asyncio.gather(*(one(name, *feed) for name, feed in FEEDS.items()))


def feeding(
    publish: Publish, around: Callable[[], AbstractAsyncContextManager[Any]]
) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """A lifespan in which the feeds are published."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with around():
            publishing = asyncio.create_task(feed(publish))
            yield
            publishing.cancel()

    return lifespan


def items(n: int) -> AsyncIterator[dict[str, Any]]:
    async def some() -> AsyncIterator[dict[str, Any]]:
        for number in range(n):
            yield {"number": number, "text": f"item {number}"}

    return some()


async def tokens() -> AsyncIterator[str]:
    """One every 10 ms, at places of its own in that time."""
    due = time.monotonic() + next(_started) * GOLDEN % 1 * TOKEN_PERIOD
    while True:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield "tick"
        due += TOKEN_PERIOD


def streamkit() -> Starlette:
    import streamkit as kit
    from streamkit.live import Live, MemoryLog

    live = Live(MemoryLog(max_bytes=1 << 30))
    feeds = {name: live.channel(name) for name in FEEDS}
    idle = live.channel("idle", history=1)

    async def publish(name: str, item: dict[str, Any]) -> None:
        await feeds[name].publish(item)

    async def follow(request: Request) -> Response:
        return kit.SSEStreamingResponse(feeds[request.path_params["name"]].follow())

    async def prepare(request: Request) -> Response:
        n = request.path_params["n"]
        await (await live.start(items(n), id=f"run-{n}")).wait()
        return PlainTextResponse("done")

    async def replay(request: Request) -> Response:
        return kit.SSEStreamingResponse(live.follow(f"run-{request.path_params['n']}"))

    async def start(_: Request) -> Response:
        return kit.SSEStreamingResponse((await live.start(tokens(), linger=0)).follow())

    async def wait(_: Request) -> Response:
        await idle.publish("ready")
        return kit.SSEStreamingResponse(idle.follow())

    async def pass_through(request: Request) -> Response:
        million = live.channel(f"million-{next(_started)}", history=1000)

        async def publish_all() -> None:
            for number in range(request.path_params["n"]):
                await million.publish({"number": number})
            await million.close()

        content = million.follow("now")
        await content.open()
        request.app.state.publishing = asyncio.create_task(publish_all())
        return kit.SSEStreamingResponse(content)

    return Starlette(
        routes=[
            Route("/prepare/{n:int}", prepare),
            Route("/live-replay/{n:int}", replay),
            Route("/live-million/{n:int}", pass_through),
            Route("/live-tokens", start),
            Route("/idle-events/{n:int}", wait),
            Route("/{name}", follow),
        ],
        lifespan=feeding(publish, lambda: live),
    )


def plain() -> Starlette:
    """Our own response around the same content, without a log."""
    import streamkit as kit

    async def stream(_: Request) -> Response:
        return kit.SSEStreamingResponse(tokens())

    return Starlette(routes=[Route("/live-tokens", stream)])


def sse_starlette() -> Starlette:
    from sse_starlette import EventSourceResponse

    lists: dict[int, list[dict[str, Any]]] = {}
    clients: dict[str, set[asyncio.Queue[str]]] = {name: set() for name in FEEDS}

    async def publish(name: str, item: dict[str, Any]) -> None:
        data = json.dumps(item)
        for queue in clients[name]:
            queue.put_nowait(data)

    async def follow(request: Request) -> Response:
        queues = clients[request.path_params["name"]]

        async def events() -> AsyncIterator[dict[str, str]]:
            queue: asyncio.Queue[str] = asyncio.Queue()
            queues.add(queue)
            try:
                while True:
                    yield {"data": await queue.get()}
            finally:
                queues.remove(queue)

        return EventSourceResponse(events())

    async def prepare(request: Request) -> Response:
        n = request.path_params["n"]
        lists[n] = [item async for item in items(n)]
        return PlainTextResponse("done")

    async def replay(request: Request) -> Response:
        async def events() -> AsyncIterator[dict[str, Any]]:
            for number, item in enumerate(lists[request.path_params["n"]]):
                yield {"data": json.dumps(item), "id": str(number)}

        return EventSourceResponse(events())

    @asynccontextmanager
    async def nothing() -> AsyncIterator[None]:
        yield

    return Starlette(
        routes=[
            Route("/prepare/{n:int}", prepare),
            Route("/live-replay/{n:int}", replay),
            Route("/{name}", follow),
        ],
        lifespan=feeding(publish, nothing),
    )


def broadcaster() -> Starlette:
    from broadcaster import Broadcast
    from sse_starlette import EventSourceResponse

    broadcast = Broadcast("memory://")

    async def publish(name: str, item: dict[str, Any]) -> None:
        await broadcast.publish(channel=name, message=json.dumps(item))

    async def follow(request: Request) -> Response:
        async def events() -> AsyncIterator[dict[str, str]]:
            async with broadcast.subscribe(channel=request.path_params["name"]) as subscriber:
                async for event in subscriber:  # type: ignore[union-attr]
                    yield {"data": event.message}

        return EventSourceResponse(events())

    return Starlette(
        routes=[Route("/{name}", follow)], lifespan=feeding(publish, lambda: broadcast)
    )


def litestar() -> Any:
    from litestar import Litestar, get
    from litestar.channels import ChannelsPlugin
    from litestar.channels.backends.memory import MemoryChannelsBackend
    from litestar.response import ServerSentEvent

    plugin = ChannelsPlugin(backend=MemoryChannelsBackend(), channels=list(FEEDS))

    async def publish(name: str, item: dict[str, Any]) -> None:
        plugin.publish(item, name)

    @get("/{name:str}")
    async def follow(name: str, channels: ChannelsPlugin) -> ServerSentEvent:
        async def events() -> AsyncIterator[bytes]:
            async with channels.start_subscription([name]) as subscriber:
                async for message in subscriber.iter_events():
                    yield message

        return ServerSentEvent(events())

    @asynccontextmanager
    async def feeds(_: object) -> AsyncIterator[None]:
        publishing = asyncio.create_task(feed(publish))
        yield
        publishing.cancel()

    return Litestar(
        route_handlers=[follow],
        plugins=[plugin],
        lifespan=[feeds],
        signature_namespace={"ChannelsPlugin": ChannelsPlugin, "ServerSentEvent": ServerSentEvent},
    )


def over_redis() -> Starlette:
    """One of two processes: `/live-redis/{port}/{n}` follows, `/publish/{port}/{n}` publishes."""
    import streamkit as kit
    from streamkit.live import Live, RedisLog

    lives: dict[int, Live] = {}

    async def channel(request: Request) -> Any:
        port = request.path_params["port"]
        if port not in lives:
            lives[port] = await Live(RedisLog(f"redis://127.0.0.1:{port}")).__aenter__()
        return lives[port].channel("stamps")

    async def follow(request: Request) -> Response:
        return kit.SSEStreamingResponse((await channel(request)).follow())

    async def publish(request: Request) -> Response:
        stamps = await channel(request)
        for _ in range(request.path_params["n"]):
            await stamps.publish(f"t={time.monotonic_ns()}")
            await asyncio.sleep(0.002)
        await stamps.close()
        return PlainTextResponse("done")

    return Starlette(
        routes=[
            Route("/live-redis/{port:int}/{n:int}", follow),
            Route("/publish/{port:int}/{n:int}", publish),
        ]
    )
