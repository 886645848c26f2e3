"""Events of another server, as bytes that are cut anywhere, kept as a run or published."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import BodyCut, SSEStreamingResponse, split_events
from streamkit.live import Log, MemoryLog
from streamkit.testing import stream
from tests.live.support import followed_channel, ids, running, until

Event = tuple[str, str, str]


def read_events(body: bytes) -> list[Event]:
    """Type, data and last id of the events that a browser dispatches (WHATWG HTML §9.2.6)."""
    found: list[Event] = []
    kind, data, last = "", [], ""
    lines = re.split(r"\r\n|\n|\r", body.decode().removeprefix("\ufeff"))
    for line in lines[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append((kind, "\n".join(data), last))
            kind, data = "", []
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last = value
    return found


def without_ids(events: list[Event]) -> list[tuple[str, str]]:
    return [(kind, data) for kind, data, _ in events]


LINE = st.sampled_from(
    ["data: é", "data:{}", "data", "event: token", "retry: 5", "id: own", ": ping", "other: x"]
)
BODIES = st.tuples(
    st.sampled_from(["", "\ufeff"]),
    st.lists(st.tuples(st.lists(LINE, max_size=4), st.sampled_from(["\n", "\r\n", "\r"]))),
    st.sampled_from(["", "data: not ended", "data: not ended\n"]),
).map(
    lambda drawn: (
        drawn[0]
        + "".join("".join(line + end for line in [*lines, ""]) for lines, end in drawn[1])
        + drawn[2]
    ).encode()
)


def cut_anywhere(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(min(cut, len(body)) for cut in cuts)
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


CUTS = st.lists(st.integers(0, 200), max_size=20)


@given(BODIES, CUTS)
def test_the_events_are_those_of_the_whole(body: bytes, cuts: list[int]) -> None:
    events = list(split_events(cut_anywhere(body, cuts)))
    assert read_events(b"".join(events)) == read_events(body)
    assert events == list(split_events([body])) == list(split_events(bytes([b]) for b in body))
    assert all(event.endswith(b"\n\n") and event.count(b"\n\n") == 1 for event in events)


def test_an_event_is_given_as_soon_as_it_has_ended() -> None:
    source = iter([b"data: 1\r", b"\n\r", b"\ndata: 2", b"\n", b"\n"])
    content = split_events(source)
    assert next(content) == b"data: 1\n\n"
    assert next(source) == b"\ndata: 2"


def test_text_is_refused() -> None:
    with pytest.raises(TypeError, match=r"split_events\(\) takes bytes, got str"):
        list(split_events(["data: 1\n\n"]))


def test_a_long_event_in_many_chunks_takes_linear_time() -> None:
    assert len(*split_events([b"x" * 10] * 100_000 + [b"\n\n"])) == 1_000_002


@given(BODIES, CUTS)
def test_a_run_is_followed_and_resumed_after_each_of_its_events(
    body: bytes, cuts: list[int]
) -> None:
    async def upstream() -> AsyncIterator[bytes]:
        for chunk in cut_anywhere(body, cuts):
            yield chunk

    async def run() -> None:
        async with running(MemoryLog()) as h:
            await (await h.live.start(split_events(upstream()), id="run")).wait()
            whole = (await h.get("/streams/run")).body
            events = read_events(whole)
            assert without_ids(events) == without_ids(read_events(body))
            for cursor in ids(whole):
                rest = await h.get("/streams/run", last_event_id=cursor)
                before, id_, _ = whole.partition(cursor.encode())
                seen = read_events(before + id_ + b"\n\n")
                assert without_ids(seen + read_events(rest.body)) == without_ids(events)

    anyio.run(run)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [7, 20])
async def test_bytes_that_are_no_whole_events_are_refused_where_they_are_followed_as_events(
    log: Log, size: int
) -> None:
    wire = b'event: token\ndata: {"text":"Hello"}\n\ndata: [DONE]\n\n'
    async with running(log) as h:
        await h.done(*(wire[start : start + size] for start in range(0, len(wire), size)))
        told = await h.get("/streams/run")
        assert isinstance(told.error, ValueError)
        assert "split_events" in str(told.error)
        assert b"token" not in told.body
        # As plain bytes they are what they were.
        assert b"".join([item async for item in h.live.follow("run")]) == wire


@pytest.mark.anyio
async def test_readers_that_wait_are_told_too(log: Log) -> None:
    async with running(log) as h:
        channel, first = await followed_channel(h, history=5)
        had, errors = [0, 0, 0], []

        async def read(number: int) -> None:
            async with stream(SSEStreamingResponse(channel.follow("now"))) as client:
                with suppress(BodyCut):
                    async for chunk in client:
                        had[number] += chunk.count(b"data: ")
                errors.append(str(client.error))

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(read, number)
            await until(lambda: h.live._core.tails[True, "c"].readers == 4)
            for n in (1, 2):
                await channel.publish(n)
                assert await anext(first) == n
                await until(lambda n=n: had == [n] * 3)
            await channel.publish(b"data: cut")
        assert ["split_events" in error for error in errors] == [True] * 3
        await first.aclose()
