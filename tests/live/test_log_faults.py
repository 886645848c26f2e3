"""Logs that fail, hang or lose their replies, and content that doesn't end when it should."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from streamkit.live import (
    Live,
    Log,
    LogUnavailable,
    MemoryLog,
    Payload,
    RunFailed,
    StreamGap,
    UnknownStream,
)
from tests.live.support import Content, aiter_of, followed_channel, followed_run, running, until

pytestmark = pytest.mark.anyio


def at_fault(method: str) -> Any:
    """A method of a log in memory that a fault comes before."""

    async def call(log: Faulty, *args: Any, **options: Any) -> Any:
        await log._fault(method)
        return await getattr(MemoryLog, method)(log, *args, **options)

    return call


class Faulty(MemoryLog):
    """Raises or hangs in the methods that a test names."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, Exception] = {}
        self.hangs: dict[str, anyio.Event] = {}

    async def _fault(self, method: str) -> None:
        if method in self.hangs:
            await self.hangs[method].wait()
        if method in self.faults:
            raise self.faults[method]

    info, read = at_fault("info"), at_fault("read")
    publish, subscribe = at_fault("publish"), at_fault("subscribe")

    async def end(self, *args: Any, **options: Any) -> Any:
        ended = await super().end(*args, **options)
        await self._fault("end")
        return ended


AWAY = LogUnavailable("away")


async def test_a_log_that_hangs_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.live.core.FIRST", 0.05)
    log = Faulty()
    async with running(log) as h:
        await h.done(1)
        log.hangs["info"] = anyio.Event()
        refused = await h.get("/streams/run")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        with pytest.raises(LogUnavailable, match="no answer for"):
            await h.live.state("run")


async def test_a_run_that_cannot_be_followed_is_given_up_and_its_content_closed() -> None:
    log, content = Faulty(), Content()
    async with running(log) as h:
        log.faults["subscribe"] = AWAY
        with pytest.raises(LogUnavailable, match="away"):
            await h.live.start(content, id="run")
        assert (content.closed, content.iterated) == (1, False)

        async def is_failed() -> bool:
            return await h.live.state("run") == "failed"

        # Those who come for it are told, rather than to wait for nobody.
        await until(is_failed)
        with pytest.raises(RunFailed, match="not started"):
            await anext(h.live.follow("run"))


async def test_a_reader_that_cannot_subscribe_leaves_the_next_one_its_chance() -> None:
    log = Faulty()
    async with running(log) as h:
        channel = h.live.channel("c", history=5)
        await channel.publish(1)
        log.faults["subscribe"] = AWAY
        assert (await h.get("/channels/c")).status == 503
        del log.faults["subscribe"]
        follow = channel.follow()
        assert await anext(follow) == 1
        await follow.aclose()


async def test_those_who_wait_for_a_failing_subscription_fail_with_it() -> None:
    log = Faulty()
    async with running(log) as h:
        channel = h.live.channel("c", history=5)
        await channel.publish(1)
        log.hangs["subscribe"] = anyio.Event()
        first, second = channel.follow(), channel.follow()
        told: list[str] = []

        async def read(follow: Any, count: int) -> None:
            try:
                for _ in range(count):
                    await anext(follow)
            except LogUnavailable as exc:
                told.append(exc.why)

        async with anyio.create_task_group() as group:
            group.start_soon(read, first, 1)
            await until(lambda: h.live._core.find("c", True))
            # It has what there is, and waits for more.
            group.start_soon(read, second, 2)
            await anyio.lowlevel.checkpoint()
            log.faults["subscribe"] = AWAY
            log.hangs["subscribe"].set()
        assert told == ["away", "away"]


async def test_an_end_whose_reply_is_lost_is_one_end(caplog: pytest.LogCaptureFixture) -> None:
    log = Faulty()
    async with running(log) as h:
        content, run, follow = await followed_run(h)
        content.put(1)
        log.faults["end"] = AWAY
        content.end()
        assert await run.wait() == "done"
        assert [item async for item in follow] == [1]
        assert "goes on for the readers of this process only" in caplog.text


async def test_cancelling_stops_the_content_though_the_log_is_away() -> None:
    log = Faulty()
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        log.faults["end"] = AWAY
        with pytest.raises(LogUnavailable):
            await run.cancel()
        assert await run.wait() == "cancelled"
        assert content.closed == 1


async def test_what_threads_publish_to_a_failing_log_is_logged_and_later_items_arrive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Faulty()
    async with running(log) as h:
        channel = h.live.channel("c", history=5)
        log.faults["publish"] = AWAY
        await anyio.to_thread.run_sync(channel.publish_from_thread, "lost")
        await until(lambda: "1 items of threads for channel Channel('c') were lost" in caplog.text)
        # Closing may not be awaited, so it doesn't raise.
        await channel.close()
        assert "channel 'c' could not be closed" in caplog.text
        del log.faults["publish"]
        await anyio.to_thread.run_sync(channel.publish_from_thread, "kept")
        follow = channel.follow()
        assert await anext(follow) == "kept"
        await follow.aclose()


@pytest.mark.parametrize("has_loop", [False, True])
async def test_threads_wait_for_a_slow_log_and_lose_nothing(has_loop: bool) -> None:
    log, count = Faulty(), 3000
    async with running(log) as h:
        channel = h.live.channel("c", history=2 * count)
        log.hangs["publish"] = anyio.Event()
        done = threading.Event()

        def publish() -> None:
            for n in range(count):
                channel.publish_from_thread(n)
            done.set()

        async def publish_on_a_loop() -> None:
            publish()

        job = partial(trio.run, publish_on_a_loop) if has_loop else publish
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, job)
            # Long enough for the thread to look whether the app still runs.
            await anyio.sleep(1.2)
            assert not done.is_set()
            log.hangs["publish"].set()
        follow = channel.follow()
        await channel.close()
        assert [item async for item in follow] == list(range(count))


async def test_threads_of_an_app_that_is_over_are_told() -> None:
    async with running(MemoryLog()) as h:
        channel = h.live.channel("c")
    with pytest.raises(RuntimeError, match="not running"):
        channel.publish_from_thread(1)


async def test_a_live_runs_once_at_a_time() -> None:
    live = Live()
    async with live:
        with pytest.raises(RuntimeError, match="running already"):
            await live.__aenter__()
    async with live:
        assert await (await live.start([1])).wait() == "done"


async def test_readers_of_a_channel_are_cut_when_the_app_stops(log: Log) -> None:
    async with running(log) as h:
        _, follow = await followed_channel(h)
    with pytest.raises(LogUnavailable, match="has shut down"):
        await anext(follow)


async def test_content_that_takes_too_long_to_close_is_cut_off_and_logged(
    log: Log, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.live.core.CLOSING", 0.1)
    over: list[str] = []

    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            try:
                await anyio.sleep(60)
            finally:
                over.append("over")

    async with running(log, grace=0.0) as h:
        run = await h.live.start(stubborn(), id="slow")
        follow = run.follow()
        assert await anext(follow) == 1
        await follow.aclose()
    assert "the content of run 'slow' took too long to close" in caplog.text
    assert over == ["over"]


async def test_a_run_that_is_cancelled_at_once_never_begins(log: Log) -> None:
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        assert await run.cancel() == "cancelled"
        assert content.closed == 1
        with pytest.raises(RunFailed, match="cancelled"):
            await anext(run.follow())


async def test_what_content_gives_after_it_was_cancelled_is_not_kept(log: Log) -> None:
    async def late() -> AsyncIterator[str]:
        yield "one"
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            yield "late"
            raise

    async with running(log) as h:
        run = await h.live.start(late())
        follow = run.follow()
        assert await anext(follow) == "one"
        assert await run.cancel() == "cancelled"
        with pytest.raises(RunFailed, match="cancelled"):
            await anext(follow)
        late_reader = run.follow()
        assert await anext(late_reader) == "one"
        with pytest.raises(RunFailed, match="cancelled"):
            await anext(late_reader)


async def test_a_log_that_loses_what_is_to_be_read_next_is_a_gap() -> None:
    class Forgetful(MemoryLog):
        forgets = False

        async def read(self, *args: Any, **options: Any) -> Any:
            return [] if self.forgets else await super().read(*args, **options)

    log = Forgetful()
    async with running(log) as h:
        run = await h.done(*range(100))
        follow = run.follow()
        assert await anext(follow) == 0
        log.forgets = True
        with pytest.raises(StreamGap):
            [item async for item in follow]


async def test_a_run_whose_oldest_items_made_room_is_a_gap_for_its_slow_readers() -> None:
    async with running(MemoryLog(max_bytes=700_000)) as h:
        run = await h.done(*("x" for _ in range(3000)))
        follow = run.follow()
        await anext(follow)
        other = await h.live.start(aiter_of(*("y" * 1000 for _ in range(500))))
        # The finished run is all gone, to make room.
        assert await other.wait() == "done"
        with pytest.raises(StreamGap):
            [item async for item in follow]


@pytest.mark.parametrize("state", ["done", "failed"])
async def test_iterating_where_all_was_received_tells_the_end(log: Log, state: str) -> None:
    async with running(log) as h:
        content, run, follow = await followed_run(h)
        content.put(1)
        assert await anext(follow) == 1
        if state == "failed":
            content.put(ValueError("broken"))
        content.end()
        assert await run.wait() == state
        again = run.follow(follow.position)
        with pytest.raises(StopAsyncIteration if state == "done" else RunFailed):
            await anext(again)
        # One that was closed gives no more.
        await again.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(again)
        await follow.aclose()


async def test_waiting_for_an_unknown_run_says_so(make_log: Callable[[], Log]) -> None:
    async with running(make_log(), ttl=0.2) as h:
        run = await h.done(1)

        async def is_gone() -> bool:
            return await h.live.state(run.id) is None

        await until(is_gone)
        with pytest.raises(UnknownStream):
            await run.wait()


async def test_a_reader_of_a_stream_that_was_closed_and_went_on(log: Log) -> None:
    async with running(log) as h:
        channel, follow = await followed_channel(h, history=10)
        await channel.publish(1)
        await channel.close()
        last = await channel.publish(2)
        await until(lambda: h.live._core.find("c", True).last == last)
        assert [await anext(follow), await anext(follow)] == [1, 2]
        await follow.aclose()


class Remote(Faulty):
    """A log in memory that asks for all that a log elsewhere needs."""

    remote = True

    async def renew(self, *args: Any, **options: Any) -> None:
        await self._fault("renew")

    async def attend(self, *args: Any, **options: Any) -> None:
        await self._fault("attend")

    async def is_attended(self, run: str) -> bool:
        await self._fault("is_attended")
        return False

    async def is_alive(self, run: str, *, lease: float) -> bool:
        await self._fault("is_alive")
        return True


async def test_leases_that_cannot_be_renewed_are_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, content = Remote(), Content()
    log.faults["renew"] = ValueError("a bug of the log")
    async with running(log, lease=0.1) as h:
        run = await h.live.start(content)
        await until(lambda: caplog.text.count("leases could not be renewed") >= 2)
        content.put(1)
        content.end()
        assert await run.wait() == "done"
    assert "a bug of the log" in caplog.text


async def test_a_run_does_not_end_while_its_readers_cannot_be_asked_for() -> None:
    log, content = Remote(), Content()
    log.faults["is_attended"] = AWAY
    async with running(log, lease=0.1) as h:
        run = await h.live.start(content, linger=0.05)
        await anyio.sleep(0.5)
        assert await h.live.state(run.id) == "running"
        del log.faults["is_attended"]
        assert await run.wait() == "cancelled"
        assert content.closed == 1


async def test_readers_wait_for_a_log_that_cannot_be_asked_whether_the_producer_lives() -> None:
    log = Remote()
    async with running(log, lease=0.1) as h:
        # By a process that is not this one.
        await log.begin("run", ttl=60, lease=5, linger=1.0)
        follow = h.live.follow("run")
        await follow.open()
        log.faults["is_alive"] = log.faults["attend"] = AWAY
        await anyio.sleep(0.3)
        await log.append("run", 0, [Payload("j", b"1")])
        assert await anext(follow) == 1
        await follow.aclose()


async def test_a_reader_that_leaves_before_its_start_is_none() -> None:
    log = Remote()
    async with running(log) as h:
        await log.begin("run", ttl=60, lease=5, linger=1.0)
        log.hangs["attend"] = anyio.Event()
        with anyio.move_on_after(0.05):
            await h.live.follow("run").open()
        # Nobody follows the stream here any more.
        assert h.live._core.find("run", False) is None
        log.hangs["attend"].set()
        follow = h.live.follow("run")
        await follow.open()
        await follow.aclose()


async def test_waiting_for_a_run_elsewhere_ends_with_the_app(log: Log) -> None:
    told: list[str] = []

    async def wait(run: Any) -> None:
        try:
            await run.wait()
        except LogUnavailable as exc:
            told.append(exc.why)

    async with anyio.create_task_group() as group, running(log) as h:
        await log.begin("run", ttl=60, lease=5, linger=None)
        group.start_soon(wait, await h.live.start([], id="run"))
        await until(lambda: h.live._core.find("run", False))
    assert told == ["the app has shut down"]


async def test_a_log_that_does_not_answer_for_leases_does_not_hold_the_end() -> None:
    log = Remote()
    hang = log.hangs["renew"] = anyio.Event()

    async def answer_late() -> None:
        await anyio.sleep(20)
        hang.set()

    async with anyio.create_task_group() as group:
        group.start_soon(answer_late)
        async with running(log, lease=0.1, grace=0) as h:
            await h.live.start(Content())
            await until(lambda: hang.statistics().tasks_waiting)
        assert not hang.is_set()
        group.cancel_scope.cancel()


async def test_a_log_that_takes_nothing_does_not_hold_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamkit.live.live.LEAST_PATIENCE", 0.05)
    log = Faulty()
    log.hangs["publish"] = anyio.Event()
    with anyio.fail_after(10):
        async with Live(log, grace=0) as live:
            channel = live.channel("c")
            await anyio.to_thread.run_sync(channel.publish_from_thread, 1)
    assert "items of threads are lost" in caplog.text
    log.hangs["publish"].set()
    await anyio.lowlevel.checkpoint()
