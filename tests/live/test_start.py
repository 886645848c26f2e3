"""What `start` takes, what it closes, who may read, and what wrong arguments are told."""

from __future__ import annotations

import io
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from streamkit.live import Live, Log, LogUnavailable, MemoryLog
from streamkit.testing import fetch, stream
from tests.live.support import (
    Content,
    aiter_of,
    data,
    followed_channel,
    ids,
    rest_of,
    running,
    until,
)

pytestmark = pytest.mark.anyio

variable: ContextVar[str] = ContextVar("variable", default="none")


def sync_items(closed: list[str]) -> Iterator[str]:
    try:
        yield variable.get()
        yield "two"
    finally:
        closed.append(variable.get())


async def async_items(closed: list[str]) -> AsyncIterator[str]:
    try:
        yield variable.get()
        yield "two"
    finally:
        await anyio.lowlevel.checkpoint()
        closed.append(variable.get())


@pytest.mark.parametrize("make", [sync_items, async_items])
async def test_content_runs_in_the_context_of_its_request(log: Log, make: Any) -> None:
    async with running(log) as h:
        closed: list[str] = []
        variable.set("the request's")
        run = await h.live.start(make(closed))
        assert await run.wait() == "done"
        assert [item async for item in run.follow()] == ["the request's", "two"]
        assert closed == ["the request's"]


async def test_the_cleanup_of_a_cancelled_content_runs_whole(log: Log) -> None:
    async with running(log) as h:
        closed: list[str] = []

        async def endless() -> AsyncIterator[str]:
            try:
                yield "one"
                await anyio.sleep_forever()
            finally:
                await anyio.sleep(0.02)
                closed.append("closed")

        run = await h.live.start(endless())
        follow = run.follow()
        assert await anext(follow) == "one"
        await follow.aclose()
        assert await run.cancel() == "cancelled"
        assert closed == ["closed"]


async def test_files_are_content_and_are_closed(log: Log) -> None:
    async with running(log) as h:
        binary, text = io.BytesIO(b"x" * 70000), io.StringIO("text")
        run = await h.live.start(binary)
        assert await run.wait() == "done"
        assert b"".join([chunk async for chunk in run.follow()]) == b"x" * 70000
        run = await h.live.start(text)
        assert await run.wait() == "done"
        assert [chunk async for chunk in run.follow()] == ["text"]
        assert binary.closed
        assert text.closed
        # At its end, as after writing it.
        written = io.StringIO()
        written.write("text")
        run = await h.live.start(written)
        assert await run.wait() == "done"
        assert [chunk async for chunk in run.follow()] == ["text"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_response_of_httpx_is_content_and_is_closed(log: Log, is_async: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=aiter_of(b"1", b"2") if is_async else iter([b"1", b"2"]))

    transport, asked = httpx.MockTransport(answer), httpx.Request("GET", "http://upstream/")
    async with running(log) as h, httpx.AsyncClient(transport=transport) as client:
        response = (
            await client.send(asked, stream=True)
            if is_async
            else httpx.Client(transport=transport).send(asked, stream=True)
        )
        run = await h.live.start(response)
        assert await run.wait() == "done"
        assert b"".join([chunk async for chunk in run.follow()]) == b"12"
        assert response.is_closed


async def test_content_that_floods_leaves_others_their_turn(log: Log) -> None:
    async def flood() -> AsyncIterator[int]:
        for n in range(5000):
            yield n

    async with running(log) as h:
        run = await h.live.start(flood())
        turns = 0
        while await h.live.state(run.id) == "running":
            turns += 1
            await anyio.lowlevel.checkpoint()
        assert turns > 1
        assert [item async for item in run.follow()] == list(range(5000))


async def test_content_of_large_items_waits_for_a_log_that_is_slow() -> None:
    class Slow(MemoryLog):
        remote = True

        async def append(self, *args: Any) -> list[str]:
            await answers.wait()
            return await super().append(*args)

    taken = 0

    async def large() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(500):
            taken += 1
            yield bytes(100_000)

    answers = anyio.Event()
    async with running(Slow()) as h:
        run = await h.live.start(large())
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        # Some are on their way, and as many may wait.
        assert taken < 50
        answers.set()
        assert await run.wait() == "done"
        assert taken == 500


async def test_an_item_that_json_cannot_hold_fails_the_run(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        content.put(1, object())
        assert await run.wait() == "failed"
        assert content.closed == 1


@pytest.mark.parametrize("wrong", ["text", b"bytes", {"a": 1}, 5, aiter_of])
async def test_what_is_no_stream_is_refused(wrong: Any) -> None:
    async with running(MemoryLog()) as h:
        with pytest.raises(TypeError, match=r"Live\.start\(\) takes"):
            await h.live.start(wrong)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"id": ""}, ValueError),
        ({"id": "a\nb"}, ValueError),
        ({"id": 5}, TypeError),
        ({"linger": -1}, ValueError),
        ({"linger": True}, TypeError),
    ],
)
async def test_wrong_arguments_are_told_and_the_content_is_closed(
    log: Log, options: Any, error: Any
) -> None:
    async with running(log) as h:
        content = Content()
        with pytest.raises(error):
            await h.live.start(content, **options)
        assert (content.closed, content.iterated) == (1, False)


async def test_outside_of_its_block_a_live_says_how_to_run_it() -> None:
    live, content = Live(), Content()
    with pytest.raises(RuntimeError, match=r"lifespan=live\.lifespan"):
        await live.start(content)
    assert content.closed == 1
    with pytest.raises(RuntimeError, match="lifespan"):
        await live.channel("c").publish(1)
    with pytest.raises(RuntimeError, match="lifespan"):
        await live.follow("run").open()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Live("redis://localhost"),  # type: ignore[arg-type]
        lambda: Live(ttl="5"),  # type: ignore[arg-type]
        lambda: Live(lease=True),
        lambda: Live(path=5),  # type: ignore[arg-type]
        lambda: Live().channel("c", history=True),
        lambda: Live().follow(5),  # type: ignore[arg-type]
        lambda: Live().follow("run", 5),  # type: ignore[arg-type]
        lambda: MemoryLog(max_bytes="1"),  # type: ignore[arg-type]
    ],
)
async def test_a_wrong_type_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Live(ttl=0),
        lambda: Live(lease=-1),
        lambda: Live(path="streams"),
        lambda: Live().router("streams"),
        lambda: Live().router("/s", gap="no"),
        lambda: Live().channel("c", history=-1),
        lambda: Live().channel("c", on_slow="drop"),  # type: ignore[arg-type]
        lambda: Live().follow("run", gap="silent"),
        lambda: MemoryLog(max_bytes=0),
    ],
)
async def test_a_wrong_value_is_a_value_error(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        wrong()


async def test_one_channel_of_a_name() -> None:
    live = Live()
    channel = live.channel("c", history=5)
    assert live.channel("c", history=5) is channel
    with pytest.raises(ValueError, match="has the options"):
        live.channel("c", history=6)


async def test_location_is_under_the_router_or_the_path(make_log: Callable[[], Log]) -> None:
    live = Live(make_log())
    async with live:
        run = await live.start(aiter_of(), id="a b/c")
        assert run.headers == {}
        app = FastAPI()
        app.include_router(live.router("/streams"))
        assert run.headers == {"Location": "/streams/a%20b%2Fc"}
        assert (await fetch(app, "/streams/a%20b/c", method="HEAD")).status == 200
    async with Live(make_log(), path="/api/streams") as live:
        live.router("/streams")
        run = await live.start(aiter_of(), id="x")
        assert run.headers == {"Location": "/api/streams/x"}


async def refuse(request: Any, id_: str) -> bool:
    return False


async def raise_401(request: Any, id_: str) -> None:
    raise HTTPException(401)


@pytest.mark.parametrize(
    ("authorize", "status"),
    [
        (lambda request, id_: False, 403),
        (refuse, 403),
        # A sync function may hand on what an async one gives.
        (lambda request, id_: refuse(request, id_), 403),
        (raise_401, 401),
        (lambda request, id_: id_ == "other", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("id_", ["run", "unknown"])
async def test_who_may_not_is_told_before_anything_is_looked_up(
    log: Log, authorize: Any, status: int, method: str, id_: str
) -> None:
    live, app = Live(log), FastAPI()
    app.include_router(live.router("/streams", authorize=authorize))
    async with live:
        run = await live.start(aiter_of(1), id="run")
        await run.wait()
        refused = await fetch(
            app, f"/streams/{id_}?after=x", method=method, headers={"last-event-id": "y"}
        )
        assert refused.status == status
        assert await live.state("run") == "done"


async def test_who_may_reads_and_others_do_not(log: Log) -> None:
    async with running(log) as h:
        asked: list[str] = []

        def authorize(request: Any, id_: str) -> bool:
            asked.append(request.headers.get("authorization", ""))
            return asked[-1] == "token"

        h.app.include_router(h.live.router("/mine", authorize=authorize))
        await h.done(1)
        got = await h.get("/mine/run", authorization="token")
        assert data(got.body) == [1]
        for method in ("GET", "HEAD", "DELETE"):
            assert (await fetch(h.app, "/mine/run", method=method)).status == 403
        # A replay is asked for, too.
        last = ids(got.body)[-1]
        again = await h.get("/mine/run", authorization="token", last_event_id=last)
        assert again.status == 204
        assert asked == ["token", "", "", "", "token"]


async def test_readers_that_leave_and_come_back_see_every_item_once(log: Log) -> None:
    total, readers = 40, 10
    async with running(log) as h:
        content, chance = Content(), random.Random(7)
        run = await h.live.start(content)

        async def read() -> None:
            got: list[int] = []
            cursor = None
            while len(got) < total:
                headers = {} if cursor is None else {"last-event-id": cursor}
                body = b""
                async with stream(h.app, f"/streams/{run.id}", headers=headers) as client:
                    if client.status == 204:
                        break
                    leave_after = chance.randrange(1, 12)
                    async for chunk in client:
                        body += chunk
                        leave_after -= 1
                        if not leave_after:
                            break
                    await client.disconnect()
                # As a connection is cut: anywhere, also within an event.
                body = body[: chance.randrange(len(body) + 1)]
                body = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
                got += data(body)
                cursor = ([cursor, *ids(body)])[-1]
            assert got == list(range(total))

        async def produce() -> None:
            for n in range(total):
                content.put(n)
                await anyio.sleep(0.002)
            content.end()

        async with anyio.create_task_group() as group:
            group.start_soon(produce)
            for _ in range(readers):
                group.start_soon(read)


async def test_the_oldest_finished_runs_make_room() -> None:
    async with running(MemoryLog(max_bytes=50_000)) as h:
        for n in range(10):
            run = await h.live.start(aiter_of("x" * 10_000), id=f"run{n}")
            await run.wait()
        states = [await h.live.state(f"run{n}") for n in range(10)]
        assert states == [None] * 6 + ["done"] * 4


async def test_a_million_items_cost_no_memory_but_the_history() -> None:
    log = MemoryLog()
    async with running(log) as h:
        channel, follow = await followed_channel(h, history=1000)
        for n in range(20_000):
            await channel.publish(n)
        kept = log._streams[True, "c"]
        assert len(kept.records) < 3500
        assert follow._reader is not None
        assert len(follow._reader.tail.records) < 2500
        assert log._size < 400_000
        await follow.aclose()


async def test_a_run_whose_log_fails_goes_on_for_its_first_client() -> None:
    class Failing(MemoryLog):
        broken = False

        async def append(self, *args: Any) -> list[str]:
            if self.broken:
                raise LogUnavailable("broken")
            return await super().append(*args)

        async def end(self, *args: Any, **options: Any) -> Any:
            if self.broken:
                raise LogUnavailable("broken")
            return await super().end(*args, **options)

        async def info(self, *args: Any, **options: Any) -> Any:
            if self.broken:
                raise LogUnavailable("broken")
            return await super().info(*args, **options)

    log = Failing()
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        async with stream(h.app, f"/streams/{run.id}") as client:
            content.put(0, 1)
            body = await anext(aiter(client))
            await until(lambda: h.live._core.find(run.id, False).top == 2)
            log.broken = True
            content.put(2, 3)
            await until(lambda: h.live._core.find(run.id, False).top == 4)
            late = run.follow()
            await late.open()
            content.end()
            body += await rest_of(client)
            assert client.error is None
            assert data(body) == [0, 1, 2, 3]
            assert [item async for item in late] == [0, 1, 2, 3]


async def test_an_iterator_need_not_be_its_own_iterable(log: Log) -> None:
    class Items:
        given = 0

        async def __anext__(self) -> int:
            self.given += 1
            if self.given > 3:
                raise StopAsyncIteration
            return self.given

    class Content:
        def __aiter__(self) -> Items:
            return Items()

    async with running(log) as h:
        run = await h.live.start(Content())  # type: ignore[arg-type]
        assert [item async for item in run.follow()] == [1, 2, 3]
