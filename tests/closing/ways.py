"""Each way that a response may come to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import anyio
import pytest

from streamkit import SendTimeout, StreamingResponse
from streamkit.testing import StreamClient, stream
from tests.closing.contents import Ledger, Made


class Run:
    """One response on its way out."""

    def __init__(self, kind: Callable[[Ledger], Made], ledger: Ledger, version: str) -> None:
        self.ledger = ledger
        self.made = kind(ledger)
        self.version = version
        self.outcomes: list[tuple[str, bool]] = []
        self.scope = anyio.CancelScope()
        self.task: asyncio.Task[Any] | None = None
        self.fails_to_start = False
        self.raised: BaseException | None = None
        self.closed_at_return = False

    def client(self, **options: Any) -> AbstractAsyncContextManager[StreamClient]:
        return stream(self.app, spec_version=self.version, read_ahead=500, **options)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        async def refuse(message: Any) -> None:
            raise OSError("the connection is gone")

        with suppress(RuntimeError):
            self.task = asyncio.current_task()
        response = StreamingResponse(
            self.made.content,
            on_close=lambda outcome: self.outcomes.append((outcome.reason, self.closed())),
            max_buffer=4000,
            send_timeout=0.02 if self.ledger.way == "send timeout" else None,
        )
        try:
            with self.scope:
                await response(scope, receive, refuse if self.fails_to_start else send)
        except BaseException as exc:
            self.raised = exc
            raise
        finally:
            self.closed_at_return = self.closed()

    def closed(self) -> bool:
        return self.made.closed() and self.ledger.closes == self.made.closes()


async def complete(run: Run) -> None:
    async with run.client() as client:
        await client.read()
        await client.wait_closed()
        assert client.complete


async def start_failed(run: Run) -> None:
    run.fails_to_start = True
    async with run.client(wait_for_start=False) as client:
        await client.wait_closed()
        assert not client.messages


async def head(run: Run) -> None:
    async with run.client(method="HEAD") as client:
        await client.wait_closed()
        assert client.complete


async def disconnect_idle(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        await anyio.sleep(0.003)
        await client.disconnect()
        run.ledger.gate.set()
        await client.wait_closed()


async def disconnect_busy(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        await anyio.sleep(0.003)
        await client.disconnect()
        await client.wait_closed()


async def cut(run: Run) -> None:
    async with run.client() as client:
        await client.wait_closed()
        assert run.raised is not None
        assert not client.complete


async def stalled(run: Run) -> None:
    async with run.client() as client:
        await client.wait_closed()
        assert isinstance(run.raised, SendTimeout)
        assert not client.complete


async def cancelled_by_scope(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        run.scope.cancel()
        await client.wait_closed()
        assert not client.complete


async def cancelled_twice(run: Run) -> None:
    async with run.client() as client:
        await anext(client)
        if run.task is None:
            pytest.skip("native cancellation is asyncio's")
        run.task.cancel()
        if run.ledger.tasks:
            await run.ledger.closing.wait()
        await anyio.lowlevel.checkpoint()
        run.task.cancel()
        await client.wait_closed()
        assert isinstance(run.raised, asyncio.CancelledError)
        assert not client.complete


async def constructor_failed(run: Run) -> None:
    if run.version == "2.1":
        with pytest.raises(UnicodeEncodeError):
            StreamingResponse(run.made.content, headers={"x-price": "5 €"})
    else:
        with pytest.raises(ValueError, match="positive"):
            StreamingResponse(run.made.content, max_buffer=0)
    while not run.closed():  # noqa: ASYNC110
        await anyio.sleep(0.001)
    run.closed_at_return = True


WAYS = {
    "complete": (complete, "complete"),
    "start failed to send": (start_failed, "disconnect"),
    "HEAD": (head, "complete"),
    "disconnect while idle": (disconnect_idle, "disconnect"),
    "disconnect while busy": (disconnect_busy, "disconnect"),
    "exception in the content": (cut, "error"),
    "exception in an item's encoding": (cut, "error"),
    "send timeout": (stalled, "timeout"),
    "cancelled by a scope": (cancelled_by_scope, "cancelled"),
    "cancelled natively twice": (cancelled_twice, "cancelled"),
    "exception in __init__": (constructor_failed, None),
}
