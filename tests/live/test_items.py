"""What becomes of each kind of item, of each kind of content, and of errors that are pickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import anyio
import pytest
import sse_starlette

from streamkit import ServerSentEvent
from streamkit.live import (
    Log,
    LogUnavailable,
    MemoryLog,
    RunFailed,
    SlowReader,
    StreamGap,
    UnknownStream,
)
from tests.live.support import events, running

pytestmark = pytest.mark.anyio


async def test_bytes_of_any_type_are_encoded_events(log: Log) -> None:
    async with running(log) as h:
        raw = b"data: raw\n\n"
        await h.done(bytearray(raw), memoryview(raw), sse_starlette.ServerSentEvent("raw", id="x"))
        found = events((await h.get("/streams/run")).body)
        assert [event.get("data") for event in found] == [None, "raw", "raw", "raw"]


async def test_text_that_is_no_unicode_is_mended_as_in_an_event_stream(log: Log) -> None:
    async with running(log) as h:
        run = await h.done("pair \ud83d\ude00", "lone \ud800.")
        assert [item async for item in run.follow()] == ["pair 😀", "lone �."]


async def test_events_of_fastapi_keep_their_fields(log: Log) -> None:
    make = pytest.importorskip("fastapi.sse").ServerSentEvent
    async with running(log) as h:
        await h.done(
            make(data={"a": 1}, event="token", retry=5, comment="c"),
            make(data="text"),
            make(raw_data="raw", id="own"),
        )
        _, *found = events((await h.get("/streams/run")).body)
        # FastAPI makes text JSON, unless it is raw.
        assert [event["data"] for event in found] == ['{"a":1}', '"text"', "raw"]
        assert (found[0]["event"], found[0]["retry"]) == ("token", "5")
        assert "own" not in [event["id"] for event in found]


async def test_lines_have_the_data_of_events(log: Log) -> None:
    async with running(log) as h:
        await h.done(
            "text", ServerSentEvent("of an event"), ServerSentEvent({"a": 1}), ServerSentEvent()
        )
        got = await h.get("/streams/run", accept="application/jsonl")
        lines = [json.loads(line) for line in got.body.splitlines()]
        assert lines == ["text", "of an event", {"a": 1}, None]


async def test_an_async_file_is_content_and_is_closed(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 70_000)
    async with running(log) as h:
        # From its end, it is whole as well.
        for position in (0, 70_000):
            file = await anyio.open_file(path, "rb")
            await file.seek(position)
            run = await h.live.start(file)
            assert await run.wait() == "done"
            assert b"".join([chunk async for chunk in run.follow()]) == b"x" * 70_000
            assert file.wrapped.closed


async def test_an_async_file_that_fails_to_close_fails_its_run(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty:
        async def read(self, size: int = -1) -> bytes:
            return b""

        async def aclose(self) -> None:
            raise OSError("disk full")

    async with running(log) as h:
        run = await h.live.start(Faulty())  # type: ignore[arg-type]
        assert await run.wait() == "failed"
        with pytest.raises(RunFailed, match="OSError"):
            await anext(run.follow())
    assert "disk full" in caplog.text


async def test_a_coroutine_is_told_to_be_awaited_first() -> None:
    async def items() -> list[int]:
        return [1]

    async with running(MemoryLog()) as h:
        # Not awaited, it would be warned of.
        with pytest.raises(TypeError, match="got coroutine; await it first"):
            await h.live.start(items())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (RunFailed("run", "failed", "ValueError"), ("id", "state", "reason")),
        (SlowReader("prices", 8), ("channel", "behind")),
        (UnknownStream("run"), ("id", "status_code", "detail")),
        (StreamGap("7-1"), ("after", "status_code", "detail")),
        (LogUnavailable("away"), ("why", "status_code", "headers")),
    ],
)
async def test_errors_can_be_pickled(error: Any, fields: tuple[str, ...]) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    for field in fields:
        assert getattr(again, field) == getattr(error, field)


async def test_runs_and_channels_are_shown_by_their_names() -> None:
    async with running(MemoryLog()) as h:
        assert repr(await h.live.start([], id="a")) == "Run('a')"
        assert repr(h.live.channel("b")) == "Channel('b')"
