"""The table of semantics, row by row, over both logs; channels have a file of their own."""

from __future__ import annotations

import json
import time
from typing import Any

import anyio
import pytest

from streamkit import (
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    PlainTextStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
)
from streamkit.live import Log, RunFailed, StreamGap
from streamkit.testing import fetch, stream
from tests.live.support import Content, aiter_of, data, events, ids, rest_of, running, until

pytestmark = pytest.mark.anyio


# order, ids


async def test_items_arrive_in_order_and_late_readers_get_the_same_bytes(log: Log) -> None:
    async with running(log) as h:
        await h.done({"n": 1}, "text", [3], None, 4.5, id="run")
        first = await h.get("/streams/run")
        assert data(first.body.replace(b"data: text", b'data: "text"')) == [
            {"n": 1},
            "text",
            [3],
            None,
            4.5,
        ]
        assert (await h.get("/streams/run")).body == first.body


async def test_ids_sort_as_strings_are_unique_and_safe_in_headers(log: Log) -> None:
    async with running(log) as h:
        await h.done(*range(120))
        channel = h.live.channel("c", history=200)
        published = [await channel.publish(n) for n in range(120)]
        found = ids((await h.get("/streams/run")).body)
    for some in (found, published):
        assert some == sorted(set(some))
        assert all(one.isascii() and one.isprintable() for one in some)
    assert len(found) == 121


async def test_the_id_of_a_run_is_random_unless_given(log: Log) -> None:
    async with running(log) as h:
        runs = [await h.live.start(aiter_of(1)) for _ in range(3)]
        assert len({run.id for run in runs}) == 3
        assert all(len(run.id) >= 22 for run in runs)


# delivery


async def test_resuming_gives_strictly_what_follows_at_every_cut(log: Log) -> None:
    async with running(log) as h:
        await h.done(*range(20))
        body = (await h.get("/streams/run")).body
        whole, cursors = data(body), ids(body)
        for had, cursor in enumerate(cursors[:-1]):
            rest = await h.get("/streams/run", last_event_id=cursor)
            assert data(rest.body) == whole[had:]
            assert ids(rest.body) == cursors[had:]


async def test_a_long_run_is_replayed_whole_while_it_goes_on(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        content.put(*range(900))
        await until(lambda: run_has(h, run.id, 900))
        got: list[Any] = []

        async def read() -> None:
            got.extend([item async for item in run.follow()])

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            for n in range(900, 1800):
                content.put(n)
                if n % 100 == 0:
                    await anyio.sleep(0.001)
            content.end()
        assert got == list(range(1800))


async def run_has(h: Any, run: str, count: int) -> bool:
    info = await h.live._core.log.info(run)
    return info is not None and int(info.last[-6:]) >= count


async def test_the_first_block_is_an_id_without_data(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        async with stream(h.app, f"/streams/{run.id}") as client:
            first = await anext(aiter(client))
            assert list(events(first)[0]) == ["id"]
        content.put("one")
        content.end()
        await run.wait()
        back = await h.get(f"/streams/{run.id}", last_event_id=events(first)[0]["id"])
        assert b"data: one" in back.body


async def test_now_gives_only_what_comes_next(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        content.put(1, 2)
        await until(lambda: run_has(h, run.id, 2))
        follow = run.follow("now")
        await follow.open()
        content.put(3)
        content.end()
        assert [item async for item in follow] == [3]


async def test_items_keep_their_kind(log: Log) -> None:
    event = ServerSentEvent({"a": "ü"}, event="token", id="own", retry=5, comment="c")
    async with running(log) as h:
        items = ("a\nb", b"data: raw\n\n", event, {"x": float("nan")}, ServerSentEvent())
        run = await h.done(*items)
        found = events((await h.get("/streams/run")).body)
        assert [e.get("data") for e in found] == [
            None,
            "a\nb",
            "raw",
            '{"a":"ü"}',
            '{"x":null}',
            None,
        ]
        assert found[3]["event"] == "token"
        assert found[3]["retry"] == "5"
        assert "own" not in ids((await h.get("/streams/run")).body)
        items = [item async for item in run.follow()]
        assert items[0] == "a\nb"
        assert items[1] == b"data: raw\n\n"
        assert (items[2].data, items[2].event) == ({"a": "ü"}, "token")


# formats


async def test_json_lines_resume_by_the_number_of_lines_had(log: Log) -> None:
    lines = {"accept": "application/jsonl"}
    async with running(log) as h:
        await h.done(*range(10))
        whole = await h.get("/streams/run", **lines)
        assert whole.headers["content-type"] == "application/jsonl"
        assert [json.loads(line) for line in whole.body.splitlines()] == list(range(10))
        after = whole.headers["stream-after"]
        for had in range(10):
            rest = await h.get(f"/streams/run?after={after}&skip={had}", **lines)
            assert [json.loads(line) for line in rest.body.splitlines()] == list(range(had, 10))
        assert (await h.get(f"/streams/run?after={after}&skip=10", **lines)).status == 204
        assert (await h.get(f"/streams/run?after={after}&skip=11", **lines)).status == 410
        assert (await h.get(f"/streams/run?after={after}&skip=x", **lines)).status == 400


async def test_last_event_id_wins_over_after(log: Log) -> None:
    async with running(log) as h:
        await h.done(*range(3))
        cursors = ids((await h.get("/streams/run")).body)
        rest = await h.get(f"/streams/run?after={cursors[0]}&skip=1", last_event_id=cursors[2])
        assert data(rest.body) == [2]


async def test_the_array_and_plain_bytes_are_content_too(log: Log) -> None:
    async with running(log) as h:
        await h.done("a", "b")

        @h.app.get("/array")
        async def array() -> Any:
            return JSONArrayStreamingResponse(h.live.follow("run"))

        @h.app.get("/text")
        async def text() -> Any:
            return PlainTextStreamingResponse(h.live.follow("run"))

        assert (await fetch(h.app, "/array")).body == b'["a","b"]'
        assert (await fetch(h.app, "/text")).body == b"ab"


# the end


async def test_a_failed_run_is_the_same_cut_for_late_readers(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content, id="run")
        async with stream(h.app, "/streams/run") as client:
            content.put(1, ValueError("broken"))
            first = await rest_of(client)
            assert isinstance(client.error, RunFailed)
        assert await run.wait() == "failed"
        late = await h.get("/streams/run")
        assert not late.complete
        assert isinstance(late.error, RunFailed)
        assert late.body == first
        assert late.error.reason == client.error.reason == "ValueError"
        assert content.closed == 1


async def test_a_failed_run_is_the_same_error_frame_for_late_readers(log: Log) -> None:
    async with running(log) as h:

        @h.app.get("/told")
        async def told() -> Any:
            return SSEStreamingResponse(h.live.follow("run"), error_frames=True)

        content = Content()
        run = await h.live.start(content, id="run")
        async with stream(h.app, "/told") as client:
            content.put(1, ValueError("broken"))
            first = await rest_of(client)
        assert await run.wait() == "failed"
        assert (await fetch(h.app, "/told")).body == first
        assert events(first)[-1]["event"] == "error"


async def test_the_first_end_stands(log: Log) -> None:
    async with running(log) as h:
        run = await h.done(1)
        assert await run.cancel() == "done"
        assert await h.live.state("run") == "done"


async def test_cancelling_closes_the_content_and_cuts_the_readers(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content, id="run")
        content.put(1)
        async with stream(h.app, "/streams/run") as client:
            await anext(aiter(client))
            deleted = await fetch(h.app, "/streams/run", method="DELETE")
            assert (deleted.status, deleted.headers["stream-state"]) == (204, "cancelled")
            await rest_of(client)
            assert isinstance(client.error, RunFailed)
        assert await run.wait() == "cancelled"
        assert content.closed == 1


# leaving


async def test_leaving_is_not_cancelling(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        async with stream(h.app, f"/streams/{run.id}") as client:
            await client.disconnect()
        content.put(1, 2)
        content.end()
        assert await run.wait() == "done"
        assert data((await h.get(f"/streams/{run.id}")).body) == [1, 2]


async def test_without_linger_a_run_goes_on_to_its_end(log: Log) -> None:
    async with running(log) as h:
        run = await h.live.start(aiter_of(1))
        assert await run.wait() == "done"


async def test_a_run_lingers_and_is_then_cancelled(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content, linger=0.1)
        assert await run.wait() == "cancelled"
        assert content.closed == 1


async def test_linger_zero_ends_with_the_last_reader(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content, linger=0)
        async with stream(h.app, f"/streams/{run.id}") as one:
            async with stream(h.app, f"/streams/{run.id}") as two:
                await anext(aiter(two))
            await anext(aiter(one))
            assert await h.live.state(run.id) == "running"
        assert await run.wait() == "cancelled"


async def test_linger_zero_waits_a_lease_for_its_first_reader(log: Log) -> None:
    async with running(log, lease=0.3) as h:
        started = time.monotonic()
        run = await h.live.start(Content(), linger=0)
        assert await run.wait() == "cancelled"
        assert time.monotonic() - started >= 0.3


# one producer


async def test_a_second_start_follows_the_first(log: Log) -> None:
    async with running(log) as h:
        first, second, third = Content(), Content(), Content()
        run = await h.live.start(first, id="run")
        again = await h.live.start(second, id="run")
        assert (second.closed, second.iterated) == (1, False)
        first.put(1)
        first.end()
        assert await run.wait() == await again.wait() == "done"
        assert [item async for item in again.follow()] == [1]
        await h.live.start(third, id="run")
        assert (third.closed, third.iterated) == (1, False)


# gaps, and nothing there

CURSORS = [
    "x",
    "0-0",
    "",
    "9999999999999-0000000001",
    "0000000000000-0000000000",
    "\x00",
    "1" * 999,
]


@pytest.mark.parametrize("cursor", CURSORS)
async def test_a_cursor_that_was_never_given_is_a_gap(log: Log, cursor: str) -> None:
    async with running(log) as h:
        run = await h.done(1, 2)
        with pytest.raises(StreamGap) as refused:
            await run.follow(cursor).open()
        assert refused.value.status_code == 410
        items = [item async for item in run.follow(cursor, gap="event")]
        assert [getattr(item, "event", item) for item in items] == ["gap", 1, 2]


async def test_a_gap_is_a_410_or_an_event(log: Log) -> None:
    async with running(log) as h:
        await h.done(1)
        assert (await h.get("/streams/run", last_event_id="nonsense")).status == 410
        told = events((await h.get("/gaps/run", last_event_id="nonsense")).body)
        assert [event.get("event") for event in told] == ["gap", None, None]
        assert json.loads(told[0]["data"]) == {"after": "nonsense"}


async def test_content_may_be_opened_before_its_response_is_made(log: Log) -> None:
    async with running(log) as h:

        @h.app.get("/opened")
        async def opened(after: str, lines: bool = False) -> Any:
            content = h.live.follow("run", after, gap="event")
            await content.open()
            return (JSONLinesStreamingResponse if lines else SSEStreamingResponse)(content)

        await h.done(1, 2)
        known = ids((await h.get("/streams/run")).body)
        assert (await h.get(f"/opened?after={known[1]}")).body == (
            await h.get("/streams/run", last_event_id=known[1])
        ).body
        told = events((await h.get("/opened?after=x")).body)
        assert [event.get("event") for event in told] == ["gap", None, None, None]
        # Lines can't tell of a gap.
        assert (await h.get(f"/opened?after={known[1]}&lines=1")).body == b"2\n"
        assert (await h.get("/opened?after=x&lines=1")).status == 410


async def test_a_cursor_of_an_earlier_run_of_that_name_is_a_gap(log: Log) -> None:
    # Only the ttl of the earlier one is short: what must be there is there for an hour.
    async with running(log, ttl=0.3) as h:
        content = Content()
        follow = (await h.live.start(content, id="run")).follow()
        content.put(1)
        assert await anext(follow) == 1
        cursor = follow.position
        await follow.aclose()
        content.end()
        await until(lambda: is_gone(h, "run"))
    async with running(log) as h:
        await h.done(2, id="run")
        assert (await h.get("/streams/run", last_event_id=cursor)).status == 410


async def is_gone(h: Any, run: str) -> bool:
    return await h.live.state(run) is None


async def test_an_unknown_run_is_a_404(log: Log) -> None:
    async with running(log) as h:
        assert (await h.get("/streams/none")).status == 404
        assert (await fetch(h.app, "/streams/none", method="HEAD")).status == 404
        assert (await fetch(h.app, "/streams/none", method="DELETE")).status == 404
        assert await h.live.state("none") is None
        assert await h.live.cancel("none") is None


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
async def test_ended_and_all_received_is_a_204_with_the_state(log: Log, state: str) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content, id="run")
        content.put(1)
        await until(lambda: run_has(h, "run", 1))
        if state == "failed":
            content.put(ValueError())
        elif state == "cancelled":
            await run.cancel()
        content.end()
        assert await run.wait() == state
        last = ids((await h.get("/streams/run")).body)[-1]
        rest = await h.get("/streams/run", last_event_id=last)
        assert (rest.status, rest.headers["stream-state"], rest.body) == (204, state, b"")
        head = await fetch(h.app, "/streams/run", method="HEAD")
        assert (head.status, head.headers["stream-state"]) == (200, state)
        head = await fetch(h.app, "/streams/run", method="HEAD", headers={"last-event-id": last})
        assert (head.status, head.headers["stream-state"]) == (204, state)


# expiry, who may, shutdown


async def test_an_ended_run_stays_its_ttl(log: Log) -> None:
    async with running(log, ttl=0.5) as h:
        started = time.monotonic()
        run = await h.done(1)
        await until(lambda: is_gone(h, run.id))
        assert time.monotonic() - started >= 0.5
        assert (await h.get("/streams/run")).status == 404


async def test_a_run_that_is_silent_for_longer_than_its_ttl_is_still_there(log: Log) -> None:
    async with running(log, ttl=1.0, lease=0.8) as h:
        content = Content()
        run = await h.live.start(content, id="run")
        content.put(1)
        await until(lambda: run_has(h, "run", 1))
        await anyio.sleep(2)
        assert await h.live.state("run") == "running"
        follow = run.follow()
        await follow.open()
        content.put(2)
        content.end()
        assert [item async for item in follow] == [1, 2]


async def test_shutdown_closes_runs_and_marks_them_failed(log: Log, make_log: Any) -> None:
    content = Content()
    async with running(log) as h:
        await h.live.start(content, id="run")
        content.put(1)
        await until(lambda: run_has(h, "run", 1))
    assert content.closed == 1
    async with running(log) as h:
        assert await h.live.state("run") == "failed"
        late = await h.get("/streams/run")
        assert isinstance(late.error, RunFailed)
        assert late.error.reason == "shutdown"


async def test_a_run_may_finish_within_the_grace(log: Log) -> None:
    content = Content()
    async with running(log, grace=5) as h:
        await h.live.start(content, id="run")

        async def finish() -> None:
            await anyio.sleep(0.1)
            content.put("last")
            content.end()

        async with anyio.create_task_group() as group:
            group.start_soon(finish)
            await h.live._core.stop_runs()
        assert await h.live.state("run") == "done"


async def test_keep_alives_of_a_stream_with_ids_are_no_blank_lines(log: Log) -> None:
    """httpx-sse and OpenAI's client take a blank line behind an id for an event."""
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        response = SSEStreamingResponse(run.follow(), keep_alive=0.02)
        async with stream(response) as client:
            body = b""
            while b": keep-alive\n" not in body:
                body += await anext(client)
            content.end()
            body += await client.read()
    assert b": keep-alive\n\n" not in body
