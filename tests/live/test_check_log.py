"""`check_log` passes the logs there are, and tells what is wrong with others."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from streamkit.live import Gone, Log, MemoryLog, Record, RunEnded
from streamkit.testing import check_log
from tests.live.conftest import RedisServer

pytestmark = pytest.mark.anyio


async def test_the_logs_keep_their_contract(make_log: Callable[[], Log]) -> None:
    await check_log(make_log)


class TwoProducers(MemoryLog):
    async def begin(self, run: str, **options: Any) -> str | None:
        return await super().begin(run, **options) or "0"


class Inclusive(MemoryLog):
    async def read(self, stream: str, after: str, limit: int, **options: Any) -> list[Record]:
        return [Record(after, "j", b"1"), *await super().read(stream, after, limit, **options)]


class Forgiving(MemoryLog):
    async def read(self, stream: str, after: str, limit: int, **options: Any) -> list[Record]:
        try:
            return await super().read(stream, after, limit, **options)
        except Gone:
            return []


class LastEndStands(MemoryLog):
    async def end(self, run: str, payload: Any, **options: Any) -> Record | None:
        stream = self._streams.get((False, run))
        if stream is not None:
            stream.end = None
        return await super().end(run, payload, **options)


class Deaf(MemoryLog):
    async def subscribe(self, *args: Any, **options: Any) -> Callable[[], None]:
        return lambda: None


class Hoarder(MemoryLog):
    async def publish(self, channel: str, payloads: Any, **options: Any) -> list[str]:
        return await super().publish(channel, payloads, **{**options, "keep": 10_000})


class Endless(MemoryLog):
    async def append(self, run: str, number: int, payloads: Any) -> list[str]:
        try:
            return await super().append(run, number, payloads)
        except RunEnded:
            return []


class Alarmist(MemoryLog):
    async def subscribe(self, stream: str, after: str, sink: Any, **options: Any) -> Any:
        sink.miss(after)
        return await super().subscribe(stream, after, sink, **options)


class Broken(MemoryLog):
    async def subscribe(self, stream: str, after: str, sink: Any, **options: Any) -> Any:
        sink.fail(AssertionError("its reader failed"))
        return await super().subscribe(stream, after, sink, **options)


class Eternal(MemoryLog):
    async def end(self, run: str, payload: Any, **options: Any) -> Record | None:
        return await super().end(run, payload, **{**options, "ttl": 60.0})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (TwoProducers, "must let one of 3 win"),
        (Inclusive, "strictly after"),
        (Forgiving, "must raise Gone"),
        (LastEndStands, "the first end must stand"),
        (Deaf, "a subscription must give"),
        (Hoarder, "must raise Gone"),
        (Endless, "has ended must raise RunEnded"),
        (Alarmist, "told of missing records"),
        (Broken, "its reader failed"),
        (Eternal, "a run must expire"),
    ],
)
async def test_a_log_that_breaks_a_rule_is_told_which(
    kind: type[MemoryLog], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.testing.logs.PATIENCE", 0.1)
    with pytest.raises(AssertionError, match=message):
        await check_log(kind)


async def test_a_log_whose_producers_never_die_is_told(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamkit.live import RedisLog

    class Immortal(RedisLog):
        async def is_alive(self, run: str, *, lease: float) -> bool:
            return True

    monkeypatch.setattr("streamkit.testing.logs.PATIENCE", 2.0)
    prefix = f"test-{secrets.token_hex(4)}:"
    with pytest.raises(AssertionError, match="must be false when no lease was renewed"):
        await check_log(lambda: Immortal(redis_server.url, prefix=prefix))
