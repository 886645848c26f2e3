"""The first exception is raised, logged and told; what follows of it is logged beside it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import anyio
import pytest
from starlette.background import BackgroundTask
from starlette.responses import Response

from streamkit import (
    BodyCut,
    JSONLinesStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    observe,
)
from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.testing import stream

pytestmark = pytest.mark.anyio


class First(Exception):
    """What the content raises."""


class Second(Exception):
    """What follows of it."""


def fails(*_: Any) -> Any:
    raise Second


async def fails_later(*_: Any) -> Any:
    raise Second


class Failing:
    """Sync content that raises, and whose `close` raises too if it is to."""

    def __init__(self, closes: bool) -> None:
        self._closes = closes

    def __iter__(self) -> Iterator[str]:
        yield "item"
        raise First

    def close(self) -> None:
        if not self._closes:
            raise Second


class AsyncFailing(Failing):
    """The same, async."""

    async def __aiter__(self) -> AsyncIterator[str]:  # type: ignore[override]
        yield "item"
        raise First

    __iter__ = None  # type: ignore[assignment]

    async def aclose(self) -> None:
        self.close()


class Encoder(JSONLinesEncoder):
    """Encodes no error."""

    def error(self, exc_type: str, detail: str | None) -> bytes:
        raise Second


class Faulty:
    """An observer that fails at the end."""

    def ended(self, *_: Any) -> None:
        raise Second


Make = Callable[[Any], Response]

WAYS: dict[str, Make] = {
    "error_detail": lambda content: JSONLinesStreamingResponse(
        content, error_frames=True, error_detail=fails
    ),
    "error_item": lambda content: SSEStreamingResponse(content, error_item=fails),
    "an error_item that can't be sent": lambda content: JSONLinesStreamingResponse(
        content, error_item=lambda exc: object()
    ),
    "encoder.error": lambda content: StreamingResponse(content, encoder=Encoder, error_frames=True),
    "on_close": lambda content: StreamingResponse(content, on_close=fails),
    "an async on_close": lambda content: StreamingResponse(content, on_close=fails_later),
    "cleanup": StreamingResponse,
    "an observer": StreamingResponse,
    # It is not run, as in Starlette.
    "a background task": lambda content: StreamingResponse(
        content, background=BackgroundTask(fails)
    ),
}


@pytest.mark.parametrize("flavour", [Failing, AsyncFailing])
@pytest.mark.parametrize("way", WAYS)
async def test_the_first_exception_is_raised_and_told_and_the_second_logged_beside_it(
    way: str, flavour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[StreamOutcome] = []
    response: Any = WAYS[way](flavour(closes=way != "cleanup"))
    if (on_close := response.on_close) is not None:

        def both(outcome: StreamOutcome) -> Any:
            outcomes.append(outcome)
            return on_close(outcome)

        response.on_close = both
    else:
        response.on_close = outcomes.append
    faulty: AbstractContextManager[Any] = nullcontext()
    if way == "an observer":
        faulty = observe(Faulty())  # type: ignore[arg-type]
    with faulty:
        async with stream(response) as client:
            with pytest.raises(BodyCut):
                await client.read()
            await client.wait_closed()
            assert isinstance(client.error, First)
    assert [(outcome.reason, type(outcome.error)) for outcome in outcomes] == [("error", First)]
    logged = [
        type(record.exc_info[1])
        for record in caplog.records
        if record.exc_info and record.levelno >= logging.ERROR
    ]
    if way == "an error_item that can't be sent":
        assert len(logged) == 1
        assert First not in logged
    else:
        assert logged == ([] if way == "a background task" else [Second])


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_a_client_that_leaves_while_it_is_told_of_an_error_hides_nothing(
    version: str,
) -> None:
    outcomes: list[StreamOutcome] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def send_until_error(message: Any) -> None:
            if b"error" in message.get("body", b""):
                raise OSError("the client has left")
            await send(message)

        await JSONLinesStreamingResponse(
            AsyncFailing(closes=True), error_frames=True, on_close=outcomes.append
        )(scope, receive, send_until_error)

    async with stream(app, spec_version=version) as client:
        with pytest.raises(BodyCut):
            await client.read()
        assert isinstance(client.error, First)
    assert [(outcome.reason, type(outcome.error)) for outcome in outcomes] == [("error", First)]


async def test_a_stalled_client_that_is_told_of_an_error_hides_nothing() -> None:
    outcomes: list[StreamOutcome] = []

    async def items() -> AsyncIterator[str]:
        yield "x" * 1000
        raise First

    response = JSONLinesStreamingResponse(
        items(), error_frames=True, send_timeout=0.05, on_close=outcomes.append
    )
    async with stream(response, read_ahead=100) as client:
        client.stall()
        with anyio.fail_after(10):
            await client.wait_closed()
        assert isinstance(client.error, First)
    assert [(outcome.reason, type(outcome.error)) for outcome in outcomes] == [("error", First)]


async def test_what_the_cleanup_raises_after_a_limit_of_time_is_logged_beside_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Silent:
        async def __aiter__(self) -> AsyncIterator[str]:
            yield "item"
            await anyio.sleep_forever()

        async def aclose(self) -> None:
            raise Second

    response = StreamingResponse(Silent(), item_timeout=0.05)
    async with stream(response) as client:
        with pytest.raises(BodyCut):
            await client.read()
        await client.wait_closed()
        assert type(client.error).__name__ == "ItemTimeout"
    assert [type(r.exc_info[1]) for r in caplog.records if r.exc_info and r.levelno >= 40] == [
        Second
    ]


async def test_each_of_several_that_fail_as_they_are_closed_is_heard_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Both:
        """An iterable and its iterator, whose `close` each raise."""

        def __init__(self, error: type[Exception]) -> None:
            self._error = error
            self._left = [b"x"]

        def __iter__(self) -> Both:
            return Both(First)

        def __next__(self) -> bytes:
            if self._error is First and self._left:
                return self._left.pop()
            raise StopIteration

        def close(self) -> None:
            raise self._error

    async with stream(StreamingResponse(Both(Second))) as client:
        with pytest.raises(BodyCut):
            await client.read()
        assert isinstance(client.error, First)
    assert [type(r.exc_info[1]) for r in caplog.records if r.exc_info and r.levelno >= 40] == [
        Second
    ]
