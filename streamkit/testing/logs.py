"""Whether a log keeps its contract: the check that streamkit's own logs are tested with."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from streamkit.live import Log, Record

__all__ = ["check_log"]

MakeLog = Callable[[], "Log | Awaitable[Log]"]

TIMES: dict[str, float] = {"ttl": 60.0, "lease": 10.0}
# Of what is to run out; much longer than a busy machine needs for an answer.
LEASE = 1.0
PATIENCE = 10.0


async def check_log(make: MakeLog) -> None:
    """Check that a `Log` does what `Live` relies on; use it in the tests of your own.

    `make` gives a log that is not open yet; it may be async. It is called once, or, if the log says
    that it is `remote`, twice: both must see the same streams, as two processes do. What is made
    is opened and closed here. The streams have random names; they are left to expire.

    Checked are: that one of many wins a run; that ids ascend as strings, are safe in headers, and
    are never given twice; that appending again what was appended does nothing; that the first end
    stands and nothing is appended after it; that reading and subscribing give everything strictly
    after an id, in order, once; that ids the stream never gave are `Gone`; that a channel keeps
    what it was asked to keep; that an ended run expires.

    Raises `AssertionError` that says what was expected and what was seen. Needs a few seconds at
    most for what takes time. Runs on asyncio and trio.

        async def test_log():
            await check_log(lambda: PostgresLog("postgresql://localhost/test"))
    """
    log = await _made(make)
    others = [log, await _made(make)] if log.remote else [log]
    for each in others:
        await each.open()
    try:
        with anyio.fail_after(60):
            await _check_election(others)
            await _check_run(others)
            await _check_end(others)
            await _check_subscription(others)
            await _check_channel(others)
            await _check_readers(others)
            await _check_expiry(log)
    finally:
        for each in others:
            await each.aclose()


async def _made(make: MakeLog) -> Log:
    from streamkit.live import Log

    made: Any = make()
    log = await made if isawaitable(made) else made
    _require(isinstance(log, Log), f"make() must give a Log, it gave {type(log).__name__}")
    return log  # type: ignore[no-any-return]


def _name() -> str:
    return f"check/{secrets.token_hex(8)} ä"


def _payloads(*numbers: int) -> list[Any]:
    from streamkit.live import Payload

    return [Payload("j", b"%d" % number) for number in numbers]


def _end(state: bytes = b"done ") -> Any:
    from streamkit.live import Payload

    return Payload("x", state)


async def _check_election(logs: Sequence[Log]) -> None:
    name, won = _name(), []

    async def begin(log: Log) -> None:
        origin = await log.begin(name, linger=None, **TIMES)
        if origin is not None:
            won.append(origin)

    _require(await logs[0].info(name) is None, "info() of an unknown run must be None")
    async with anyio.create_task_group() as group:
        for log in (*logs, *logs, *logs):
            group.start_soon(begin, log)
    _require(len(won) == 1, f"begin() must let one of {3 * len(logs)} win, it let {len(won)}")
    for log in logs:
        info = await log.info(name)
        _require(
            info is not None and info.origin == info.last == won[0] and info.end is None,
            f"info() of a run without items must have the origin {won[0]!r} twice, it is {info!r}",
        )
        _require(await log.is_alive(name, lease=TIMES["lease"]), "a new run must be alive")


async def _run(logs: Sequence[Log], *numbers: int) -> tuple[str, str, list[str]]:
    name = _name()
    origin = await logs[0].begin(name, linger=2.5, **TIMES)
    _require(origin is not None, "begin() of a new name must win")
    assert origin is not None
    ids = await logs[0].append(name, 0, _payloads(*numbers)) if numbers else []
    return name, origin, ids


async def _check_run(logs: Sequence[Log]) -> None:
    name, origin, ids = await _run(logs, *range(5))
    for number in range(5, 120):
        ids += await logs[0].append(name, number, _payloads(number))
    _check_ids([origin, *ids])
    if logs[0].remote:
        again = await logs[0].append(name, 119, _payloads(119))
        _require(again == ids[119:], "appending again what was appended must give the same ids")
    for log in logs:
        info = await log.info(name)
        _require(
            info is not None and (info.last, info.linger) == (ids[-1], 2.5),
            f"info() must have the last id {ids[-1]!r} and linger=2.5, it is {info!r}",
        )
        await _check_reading(log, name, [origin, *ids])


def _check_ids(ids: list[str]) -> None:
    _require(ids == sorted(set(ids)), f"ids must ascend as strings, and be unique: {ids!r}")
    for one in ids:
        _require(
            isinstance(one, str) and one.isascii() and one.isprintable(),
            f"an id must be printable ASCII, for it travels in headers: {one!r}",
        )


async def _check_reading(log: Log, name: str, positions: list[str], channel: bool = False) -> None:
    """Read after each position; records are numbered from the first position on."""
    for index in (0, 1, 7, len(positions) - 2, len(positions) - 1):
        found = await log.read(name, positions[index], 50, channel=channel)
        expected = positions[index + 1 :][:50]
        _require(
            [record.id for record in found] == expected,
            f"read() after {positions[index]!r} must give the {len(expected)} records strictly "
            f"after it, it gave {len(found)}",
        )
    found = await log.read(name, positions[0], 3, channel=channel)
    _require(len(found) == 3, f"read() with limit=3 gave {len(found)} records")
    last = positions[-1]
    for wrong in ("nonsense", "", last + "0", "\x7f" + last, last[:-1] + chr(ord(last[-1]) + 1)):
        _require(
            await _is_gone(log, name, wrong, channel),
            f"read() after {wrong!r}, which was never given, must raise Gone",
        )


async def _is_gone(log: Log, name: str, after: str, channel: bool = False) -> bool:
    from streamkit.live import Gone

    try:
        await log.read(name, after, 1, channel=channel)
    except Gone:
        return True
    return False


async def _check_end(logs: Sequence[Log]) -> None:
    from streamkit.live import RunEnded

    name, _, ids = await _run(logs, 0, 1)
    _require(await logs[0].end(_name(), _end(), ttl=60.0) is None, "end() of nothing must be None")
    end = await logs[-1].end(name, _end(b"cancelled x"), ttl=60.0)
    _require(end is not None and end.data == b"cancelled x", f"end() must give the end: {end!r}")
    for log in logs:
        again = await log.end(name, _end(), ttl=60.0)
        _require(again == end, f"the first end must stand: {end!r}, got {again!r}")
        info = await log.info(name)
        _require(
            info is not None and info.end == end and info.last == ids[-1],
            f"info() of an ended run must have its end and last item, it is {info!r}",
        )
        found = await log.read(name, ids[-1], 10)
        _require(found == [end], f"read() must give the end behind the last item: {found!r}")
        _require(
            await log.begin(name, linger=None, **TIMES) is None,
            "begin() of a run that has ended must not win before it expires",
        )
    try:
        await logs[0].append(name, 2, _payloads(2))
    except RunEnded:
        return
    raise AssertionError("append() to a run that has ended must raise RunEnded")


class _Sink:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.more = anyio.Event()

    def feed(self, records: Sequence[Record]) -> None:
        last = self.records[-1].id if self.records else ""
        self.records += [record for record in records if record.id > last]
        self.more.set()

    def miss(self, position: str) -> None:
        raise AssertionError("a sink was told of missing records, and none are missing")

    def fail(self, error: Exception) -> None:
        raise error

    async def wait_for(self, ids: list[str]) -> None:
        with anyio.move_on_after(PATIENCE):
            while len(self.records) < len(ids):
                self.more = anyio.Event()
                await self.more.wait()
        found = [record.id for record in self.records]
        _require(
            found == ids,
            f"a subscription must give {len(ids)} records in order, it gave {len(found)}",
        )


async def _check_subscription(logs: Sequence[Log]) -> None:
    name, origin, ids = await _run(logs, *range(10))
    whole, rest = _Sink(), _Sink()
    stops = [
        await logs[-1].subscribe(name, origin, whole),
        await logs[-1].subscribe(name, ids[4], rest),
    ]
    for number in range(10, 60):
        ids += await logs[0].append(name, number, _payloads(number))
    end = await logs[0].end(name, _end(), ttl=60.0)
    assert end is not None
    await whole.wait_for([*ids, end.id])
    await rest.wait_for([*ids[5:], end.id])
    for stop in stops:
        stop()


async def _check_channel(logs: Sequence[Log]) -> None:
    name, keep = _name(), 100
    empty = await logs[0].info(name, channel=True)
    _require(empty is not None, "info() of a channel must never be None")
    assert empty is not None
    sink = _Sink()
    stop = await logs[-1].subscribe(name, empty.last, sink, channel=True)
    ids: list[str] = []
    for number in range(keep):
        log = logs[number % len(logs)]
        ids += await _publish(log, name, number, keep)
    _check_ids([empty.last, *ids])
    await sink.wait_for(ids)
    stop()
    for log in logs:
        await _check_reading(log, name, [empty.last, *ids], channel=True)
    more = [one for n in range(20) for one in await _publish(logs[0], name, n, keep)]
    kept = (ids + more)[-keep:]
    for log in logs:
        _require(
            await _is_gone(log, name, ids[0], channel=True),
            f"read() after an id whose successors are gone must raise Gone ({keep} are kept)",
        )
        oldest = await log.oldest(name, 5, None)
        found = await log.read(name, oldest, keep, channel=True)
        _require(
            [record.id for record in found] == kept[-5:],
            f"oldest() with history=5 must come before the last 5 records, not {len(found)}",
        )
        oldest = await log.oldest(name, 10 * keep, None)
        found = await log.read(name, oldest, 2 * keep, channel=True)
        _require(
            [record.id for record in found] == kept,
            f"oldest() of more than there is must give all {keep}, it gave {len(found)}",
        )


async def _publish(log: Log, name: str, number: int, keep: int) -> list[str]:
    return await log.publish(name, _payloads(number), keep=keep, max_age=None, ttl=60.0)


async def _check_readers(logs: Sequence[Log]) -> None:
    if not logs[0].remote:
        return
    name, _, _ = await _run(logs, 0)
    _require(not await logs[0].is_attended(name), "a run without readers is not attended")
    await logs[-1].attend(name, lease=LEASE)
    _require(await logs[0].is_attended(name), "attend() must be seen by all")
    await _until_not(
        lambda: logs[0].is_attended(name), "is_attended() must be false a lease after attend()"
    )
    await logs[0].renew(name, ttl=60.0, lease=LEASE)
    _require(await logs[-1].is_alive(name, lease=LEASE), "renew() must be seen by all")
    await _until_not(
        lambda: logs[-1].is_alive(name, lease=LEASE),
        "is_alive() must be false when no lease was renewed",
    )


async def _check_expiry(log: Log) -> None:
    name, _, _ = await _run([log], 0)
    await log.end(name, _end(), ttl=0.2)
    await _until_not(lambda: log.info(name), "a run must expire `ttl` seconds after its end")
    _require(
        await log.begin(name, linger=None, **TIMES) is not None,
        "begin() of a run that has expired must win",
    )


async def _until_not(ask: Callable[[], Awaitable[object]], otherwise: str) -> None:
    with anyio.move_on_after(PATIENCE):
        while await ask():  # noqa: ASYNC110
            await anyio.sleep(0.05)
        return
    raise AssertionError(otherwise)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
