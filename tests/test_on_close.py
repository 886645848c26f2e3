"""`on_close` hears how it went, once; background tasks run as in Starlette."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from starlette.background import BackgroundTask

from streamkit import StreamingResponse, StreamOutcome
from streamkit.testing import fetch, stream
from tests.failing import Broken, breaks_async, endless

pytestmark = pytest.mark.anyio


# on_close


async def test_the_outcome_tells_how_it_went() -> None:
    outcomes: list[StreamOutcome] = []
    await fetch(StreamingResponse([b"abc", "dé"], on_close=outcomes.append))
    (outcome,) = outcomes
    assert (outcome.reason, outcome.bytes_sent, outcome.error) == ("complete", 6, None)
    assert 0 <= outcome.duration < 60
    with pytest.raises(AttributeError):
        outcome.reason = "error"  # type: ignore[misc]


async def test_on_close_may_be_async_and_is_left_to_finish_when_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamkit.asgi.truncate.PATIENCE", 0.01)
    steps: list[str] = []

    async def on_close(outcome: StreamOutcome) -> None:
        await anyio.sleep(0.005)
        steps.append(outcome.reason)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with anyio.move_on_after(0.01):
            await StreamingResponse(endless(), on_close=on_close)(scope, receive, send)

    async with stream(app) as client:
        await client.wait_closed()
    assert steps == ["cancelled"]


async def test_on_close_may_be_a_method_of_a_subclass_or_of_anything() -> None:
    seen: list[Any] = []

    class Logged(StreamingResponse):
        def on_close(self, outcome: StreamOutcome) -> None:  # type: ignore[override]
            seen.append((self.status_code, outcome.reason))

    await fetch(Logged([b"x"], 201))
    await fetch(Logged([b"x"], on_close=functools.partial(seen.append)))
    assert seen[0] == (201, "complete")
    assert seen[1].reason == "complete"


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_an_on_close_that_raises_is_logged_and_changes_nothing(
    flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    def on_close(outcome: StreamOutcome) -> None:
        raise Broken

    async def on_close_async(outcome: StreamOutcome) -> None:
        raise Broken

    ran: list[int] = []
    response = StreamingResponse(
        [b"x"],
        on_close=on_close if flavour == "sync" else on_close_async,
        background=BackgroundTask(ran.append, 1),
    )
    result = await fetch(response)
    assert (result.body, result.error) == (b"x", None)
    assert ran == [1]
    assert "on_close failed" in caplog.text


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_what_the_cleanup_raises_after_a_disconnect_is_logged_and_told(
    flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[StreamOutcome] = []

    class Content:
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 1000

        def close(self) -> None:
            raise Broken

    class AsyncContent:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._items()

        async def _items(self) -> AsyncIterator[bytes]:
            yield b"x"
            await anyio.sleep_forever()

        async def aclose(self) -> None:
            raise Broken

    content = Content() if flavour == "sync" else AsyncContent()
    async with stream(StreamingResponse(content, on_close=outcomes.append)) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
        assert client.error is None
    assert outcomes[0].reason == "disconnect"
    assert isinstance(outcomes[0].error, Broken)
    assert len([record for record in caplog.records if record.name == "streamkit"]) == 1


async def test_an_error_after_the_last_item_still_cuts_the_body() -> None:
    class Content:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            raise Broken

    response = await fetch(StreamingResponse(Content()))
    assert not response.complete
    assert isinstance(response.error, Broken)


# background tasks


@pytest.mark.parametrize(
    ("ending", "runs"), [("complete", True), ("disconnect", True), ("error", False)]
)
async def test_background_tasks_run_as_in_starlette(ending: str, runs: bool) -> None:
    ran: list[str] = []
    content = {"complete": [b"x"], "disconnect": endless(), "error": breaks_async()}[ending]
    response = StreamingResponse(
        content,
        background=BackgroundTask(ran.append, "ran"),
        on_close=lambda outcome: ran.append(outcome.reason),
    )
    async with stream(response, spec_version="2.3") as client:
        await anext(client)
        if ending == "disconnect":
            await client.disconnect()
        await client.wait_closed()
    assert ran == [ending, "ran"] if runs else [ending]
