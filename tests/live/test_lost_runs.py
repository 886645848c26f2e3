"""Runs that the log no longer has, and ids that are used again, while they are still followed."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any

import anyio
import pytest

from streamkit.live import Log, LogUnavailable, MemoryLog, RunEnded, RunFailed
from tests.live.conftest import RedisServer
from tests.live.support import Content, Harness, running, until

pytestmark = pytest.mark.anyio


async def is_gone(h: Harness) -> bool:
    return await h.live.state("run") is None


async def test_an_id_that_is_used_again_is_a_run_of_its_own(log: Log) -> None:
    async with running(log, ttl=0.3) as h:
        run = await h.done(*range(100), id="run")
        slow = run.follow()
        await slow.open()
        await until(lambda: is_gone(h))
        # What must be there from now on is there for an hour.
        h.live._core.ttl = 3600.0
        content = Content()
        run = await h.live.start(content, id="run", linger=0)
        first, second = run.follow(), run.follow()
        content.put("new")
        assert [await anext(first), await anext(second)] == ["new", "new"]
        # Readers of the older one are none of this one.
        await slow.aclose()
        assert await h.live.state("run") == "running"
        content.put("more")
        content.end()
        assert [item async for item in first] == [item async for item in second] == ["more"]
        assert await run.wait() == await h.live.state("run") == "done"
        assert not h.live._core.producers


async def test_a_run_that_redis_has_lost_can_be_cancelled(redis_server: RedisServer) -> None:
    import redis

    from streamkit.live import RedisLog

    client, prefix = redis.Redis(port=redis_server.port), f"test-{secrets.token_hex(4)}:"
    async with running(RedisLog(redis_server.url, prefix=prefix)) as h:
        content = Content()
        run = await h.live.start(content, id="run")
        content.put(1)
        follow = run.follow()
        assert await anext(follow) == 1
        client.delete(f"{prefix}run:run")
        assert await run.cancel() == "cancelled"
        assert content.closed == 1
        with pytest.raises(RunFailed, match="cancelled"):
            await anext(follow)
    client.close()


class Lossy(MemoryLog):
    """A log that loses a run, and then doesn't answer."""

    remote = True
    is_away = False

    async def append(self, *args: Any, **options: Any) -> list[str]:
        if self.is_away:
            raise RunEnded
        return await super().append(*args, **options)

    async def end(self, *args: Any, **options: Any) -> Any:
        if self.is_away:
            raise LogUnavailable("away")
        return await super().end(*args, **options)


async def test_a_run_whose_end_cannot_be_asked_for_is_brought_to_its_end() -> None:
    log = Lossy()
    async with running(log) as h:
        content = Content()
        run = await h.live.start(content)
        content.put(1)
        follow = run.follow()
        assert await anext(follow) == 1
        log.is_away = True
        content.put(2, 3)
        content.end()
        assert [item async for item in follow] == [2, 3]
        await until(lambda: not h.live._core.producers)
        assert content.closed == 1


async def test_a_content_that_waits_is_stopped_by_a_run_that_takes_its_id(
    redis_server: RedisServer,
) -> None:
    import redis

    from streamkit.live import RedisLog

    client, prefix = redis.Redis(port=redis_server.port), f"test-{secrets.token_hex(4)}:"
    async with running(RedisLog(redis_server.url, prefix=prefix)) as h:
        old, new = Content(), Content()
        run = await h.live.start(old, id="run")
        old.put("old")
        reader = run.follow()
        assert await anext(reader) == "old"
        # Redis loses the run, as where it is restarted without its data.
        client.delete(f"{prefix}run:run")
        run = await h.live.start(new, id="run")
        with pytest.raises(RunFailed, match="expired"):
            await anext(reader)
        await until(lambda: old.closed)
        new.put("new")
        new.end()
        assert await run.wait() == "done"
        assert [item async for item in run.follow()] == ["new"]
        assert new.closed == 1
        assert not h.live._core.producers
    client.close()


async def test_however_many_runs_lose_their_producer_all_are_found_lost(
    redis_server: RedisServer,
) -> None:
    from streamkit.live import RedisLog

    log = RedisLog(redis_server.url, prefix=f"test-{secrets.token_hex(4)}:")
    await log.open()
    found: set[str] = set()
    names = [f"run-{n}" for n in range(1500)]

    async def look(name: str) -> None:
        # A machine that is busy answers none of them in time.
        with suppress(LogUnavailable):
            if not await log.is_alive(name, lease=1.0):
                found.add(name)

    async def look_at_all() -> bool:
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(look, name)
        return len(found) == len(names)

    await until(look_at_all)
    await log.aclose()
