"""Items that come while a reader's task waits are sent from the loop: nobody may notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from streamkit import SendTimeout, SSEStreamingResponse
from streamkit.live import Channel, Live, MemoryLog
from tests.live.support import data, until

pytestmark = pytest.mark.anyio
variable: ContextVar[str] = ContextVar("variable", default="the loop's")


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", {"use_uvloop": request.param}


class Client:
    """A client of one reader, with a `send` that can be made to wait, or to fail."""

    def __init__(self) -> None:
        self.body = b""
        self.tasks: list[Any] = []
        self.contexts: list[str] = []
        self.open = anyio.Event()
        self.open.set()
        self.left = anyio.Event()
        self.failure: Exception | None = None
        self.outcomes: list[str] = []
        self.sending: Callable[[], object] = lambda: None

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.tasks.append(asyncio.current_task())
        self.contexts.append(variable.get())
        self.sending()
        # As a middleware does: a scope belongs to one task, and a token to one context.
        token = variable.set("changed")
        with anyio.CancelScope():
            await self.open.wait()
            if self.failure is not None:
                raise self.failure
            self.body += message.get("body", b"")
        variable.reset(token)

    async def read(self, channel: Channel, **options: Any) -> None:
        variable.set("the reader's")
        response = SSEStreamingResponse(
            channel.follow(), on_close=lambda outcome: self.outcomes.append(outcome.reason)
        )
        for name, value in options.items():
            setattr(response, name, value)
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        with suppress(SendTimeout):
            await response(scope, self.receive, self.send)  # type: ignore[arg-type]

    def has(self, *numbers: int) -> Callable[[], bool]:
        return lambda: data(self.body) == list(numbers)


@asynccontextmanager
async def reading(**options: Any) -> AsyncIterator[tuple[Channel, Client]]:
    """A reader that has had an item, and waits for the next."""
    live, client = Live(MemoryLog()), Client()
    with anyio.fail_after(20):
        async with live, anyio.create_task_group() as group:
            channel = live.channel("c", history=10)
            await channel.publish(0)
            group.start_soon(lambda: client.read(channel, **options))
            await until(client.has(0))
            await channel.publish(1)
            await until(client.has(0, 1))
            yield channel, client
            client.open.set()
            client.left.set()


async def test_a_send_sees_the_task_and_the_context_of_its_reader() -> None:
    async with reading() as (channel, client):
        (tail,) = channel._core.tails.values()
        idle: list[int] = []
        client.sending = lambda: idle.append(len(tail.idle))
        for number in range(2, 6):
            await channel.publish(number)
            await until(client.has(*range(number + 1)))
        # It never woke up.
        assert idle == [1] * 4
        # The start and the first item came from the task itself.
        assert len(set(client.tasks)) == 1
        assert client.tasks[-1] is not asyncio.current_task()
        assert set(client.contexts) == {"the reader's"}


async def test_what_is_published_in_one_turn_is_sent_together() -> None:
    async with reading() as (channel, client):
        sent = len(client.tasks)
        for number in range(2, 10):
            await channel.publish(number)
        await until(client.has(*range(10)))
        assert len(client.tasks) == sent + 1


async def test_a_send_that_waits_is_finished_by_its_task_in_order() -> None:
    async with reading() as (channel, client):
        client.open = anyio.Event()
        sent = len(client.tasks)
        for number in range(2, 6):
            await channel.publish(number)
            await anyio.sleep(0.01)
        # One send at a time, and the others are not kept by it.
        assert len(client.tasks) == sent + 1
        assert client.has(0, 1)()
        client.open.set()
        await until(client.has(*range(6)))
        await channel.publish(6)
        await until(client.has(*range(7)))
        assert set(client.contexts) == {"the reader's"}


async def test_a_slow_reader_holds_nobody_up() -> None:
    async with reading() as (channel, client):
        other = Client()
        async with anyio.create_task_group() as group:
            group.start_soon(other.read, channel)
            await until(other.has(0, 1))
            client.open = anyio.Event()
            for number in range(2, 6):
                await channel.publish(number)
                await until(other.has(*range(number + 1)))
            assert client.has(0, 1)()
            client.open.set()
            await until(client.has(*range(6)))
            other.left.set()


def fail() -> None:
    raise OSError("gone")


async def test_a_send_that_fails_before_it_waits_is_a_disconnect() -> None:
    async with reading() as (channel, client):
        client.sending = fail
        await channel.publish(2)
        await until(lambda: client.outcomes)
        assert client.outcomes == ["disconnect"]
        assert client.has(0, 1)()
        assert channel._core.tails == {}


async def test_a_failing_send_is_a_disconnect() -> None:
    async with reading() as (channel, client):
        client.failure = OSError("gone")
        await channel.publish(2)
        await until(lambda: client.outcomes)
        assert client.outcomes == ["disconnect"]
        assert channel._core.tails == {}
        # Later items are for nobody.
        await channel.publish(3)


async def test_a_client_that_leaves_while_its_send_waits() -> None:
    async with reading() as (channel, client):
        client.open = anyio.Event()
        await channel.publish(2)
        await until(lambda: len(client.tasks) > 3)
        client.left.set()
        await until(lambda: client.outcomes)
        assert client.outcomes == ["disconnect"]
        assert channel._core.tails == {}


async def test_a_send_that_waits_too_long_is_a_timeout() -> None:
    async with reading(send_timeout=0.05) as (channel, client):
        client.open = anyio.Event()
        await channel.publish(2)
        await until(lambda: client.outcomes)
        assert client.outcomes == ["timeout"]


async def test_keep_alives_come_between_items() -> None:
    async with reading(keep_alive=0.03) as (channel, client):
        for number in range(2, 12):
            await channel.publish(number)
            await anyio.sleep(0.01 if number % 3 else 0.05)
        await until(client.has(*range(12)))
        assert b"\n: " in client.body or b"\n\n:" in client.body


async def test_a_task_factory_of_ones_own_is_left_alone() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **_: asyncio.Task(coro, loop=loop))
    try:
        async with reading() as (channel, client):
            for number in range(2, 6):
                await channel.publish(number)
                await until(client.has(*range(number + 1)))
    finally:
        loop.set_task_factory(None)
