"""A log in Redis Streams, for all processes and hosts that use the same Redis.

Each run is one stream, and no script is needed, because Redis refuses an XADD whose id is not
above the newest one of the stream:

* `0-1` is the record of its beginning; who adds it is the producer.
* Items are `<generation>-<n>`, with n from 1 on. Sending one again is harmless.
* The end is always `<generation>-<the largest n>`. Done, failed, cancelled and lost compete for one
  id: the first wins, and whatever a producer that was thought dead appends later is refused.

Channels have many publishers, and Redis gives their ids. A lease is a key of its own, named by a
token in the record of the beginning.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic
from typing import Any

import anyio
import redis

from streamkit.live.errors import Gone, LogUnavailable, RunEnded
from streamkit.live.log import FIRST, Info, Sink
from streamkit.live.memory import ZERO
from streamkit.live.records import END, Payload, Record
from streamkit.live.wire import (
    Command,
    ConnectionLost,
    Entries,
    Link,
    Unsent,
    Wire,
    make_connection,
)

__all__ = ["RedisLog"]

LARGEST = 2**64 - 1
_shown = re.compile(r"(\d{13})-(\d{10})")
# Newest records among which one is looked for that may have been appended before.
NEWEST = 4096
# Seconds between two tries.
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.5)


def show(raw: bytes) -> str:
    """Redis' id with leading zeros, so that ids sort as strings."""
    milliseconds, _, number = raw.partition(b"-")
    shown = b"9999999999" if len(number) > 10 else number.rjust(10, b"0")
    return f"{milliseconds.rjust(13, b'0').decode()}-{shown.decode()}"


def parse(shown: str) -> tuple[int, int]:
    """The two numbers of an id; `Gone` for what this log never gave."""
    found = _shown.fullmatch(shown)
    if found is None or not shown.isascii():
        raise Gone(shown)
    number = int(found[2])
    return int(found[1]), LARGEST if number == 9_999_999_999 else number


def hide(shown: str) -> str:
    """Redis' form of an id."""
    return "{}-{}".format(*parse(shown))


def before(raw: bytes) -> str:
    """The id right before one of Redis'."""
    milliseconds, number = map(int, raw.split(b"-"))
    if number:
        return show(f"{milliseconds}-{number - 1}".encode())
    return show(f"{milliseconds - 1}-{LARGEST}".encode())


def _record(entry: tuple[bytes, list[bytes]]) -> Record:
    raw, fields = entry
    return Record(show(raw), fields[0].decode(), fields[1])


class RedisLog:
    """Keeps all streams in Redis 7 or later, or Valkey, for any number of processes.

    * `url_or_client`: `"redis://localhost"`, `"rediss://..."`, `"unix://..."`, or a `redis.Redis`,
      whose settings are taken over for two connections of this log's own.
    * `prefix`: of all keys; apps with different ones don't see each other's streams.
    * `timeout` (30.0): seconds for which readers and publishers wait when Redis doesn't answer, or
      is restarted; then `LogUnavailable`. `start` and `follow` wait 3 seconds at most.

    Durability is that of the server: with `appendonly no` a restart loses all streams, and their
    readers are cut, never led on. A Redis Cluster can't be used: one XREAD reads all streams.

        live = Live(RedisLog("redis://localhost"))
    """

    remote = True

    def __init__(
        self, url_or_client: Any, *, prefix: str = "streamkit:", timeout: float = 30.0
    ) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be str, got {type(prefix).__name__}")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"timeout must be a number of seconds, got {timeout!r}")
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}")
        self._connect = make_connection(url_or_client)
        self._prefix = prefix
        self._timeout = float(timeout)
        self._wire: Wire | None = None
        self._link: Link | None = None
        # Who follows a stream in this process, and the last id each was given.
        self._sinks: dict[bytes, dict[Sink, str]] = {}
        # Generation and token of the runs that are produced here.
        self._mine: dict[str, tuple[int, str]] = {}
        self._process = secrets.token_hex(6)
        self._numbers = count(1)
        # When each channel with a `max_age` was trimmed last.
        self._trimmed: dict[str, float] = {}

    async def open(self) -> None:
        self._wake_key = f"{self._prefix}wake:{secrets.token_hex(8)}"
        self._wire = Wire(self._connect, self._timeout)
        self._link = Link(
            self._connect, self._wake_key, self._timeout, self._on_entries, self._on_failure
        )

    async def aclose(self) -> None:
        wire, link = self._wire, self._link
        if wire is None or link is None:
            return
        link.close()
        self._wake()
        wire.post([("DEL", self._wake_key)])
        wire.close()
        with anyio.CancelScope(shield=True):
            await link.join()
            await wire.join()
        self._wire = self._link = None
        self._sinks.clear()
        self._mine.clear()

    # runs

    async def begin(
        self, run: str, *, ttl: float, lease: float, linger: float | None
    ) -> str | None:
        key, token = self._run_key(run), secrets.token_hex(8)
        generation = time.time_ns() // 1_000_000
        fields = ("g", generation, "t", token, "l", "" if linger is None else linger)
        replies = await self._ask(
            [
                ("MULTI",),
                ("XADD", key, "0-1", *fields),
                ("PEXPIRE", key, _ms(ttl), "NX"),
                ("SET", self._lease_key(token), 1, "PX", _ms(lease)),
                ("EXEC",),
            ],
            timeout=FIRST,
        )
        if isinstance(replies[-1][0], redis.ResponseError):
            # It was begun before; by this call, if that had to be sent twice.
            head = await self._head(run, timeout=FIRST)
            if head is None or head[1] != token:
                return None
        self._mine[run] = (generation, token)
        return show(f"{generation}-0".encode())

    async def append(self, run: str, number: int, payloads: Sequence[Payload]) -> list[str]:
        if run not in self._mine:
            raise RunEnded
        key, (generation, _) = self._run_key(run), self._mine[run]
        ids = [f"{generation}-{number + index}" for index in range(1, len(payloads) + 1)]
        replies = await self._ask(
            [
                ("XADD", key, "NOMKSTREAM", id_, kind, data)
                for id_, (kind, data) in zip(ids, payloads, strict=True)
            ]
        )
        if None in replies:
            raise RunEnded
        if any(isinstance(reply, redis.ResponseError) for reply in replies):
            await self._check_appended(key, ids, payloads)
        return [show(id_.encode()) for id_ in ids]

    async def _check_appended(self, key: str, ids: list[str], payloads: Sequence[Payload]) -> None:
        """Some were refused: appended before a connection broke, or the run has ended."""
        last, there = await self._ask(
            [("XREVRANGE", key, "+", "-", "COUNT", 1), ("XRANGE", key, ids[0], ids[-1])]
        )
        if last and last[0][1][0] == END.encode():
            raise RunEnded(_record(last[0]))
        if [_record(entry)[1:] for entry in there] != [tuple(payload) for payload in payloads]:
            raise LogUnavailable("another producer has appended to the run")

    async def end(self, run: str, payload: Payload, *, ttl: float) -> Record | None:
        key = self._run_key(run)
        head = self._mine.get(run) or await self._head(run)
        if head is None:
            return None
        generation, token = head
        id_ = f"{generation}-{LARGEST}"
        (reply,) = await self._ask([("XADD", key, "NOMKSTREAM", id_, *payload)])
        self._mine.pop(run, None)
        if isinstance(reply, redis.ResponseError):
            (last,) = await self._ask([("XREVRANGE", key, "+", "-", "COUNT", 1)])
            return _record(last[0]) if last and last[0][1][0] == END.encode() else None
        if reply is None:
            return None
        await self._ask([("PEXPIRE", key, _ms(ttl)), ("DEL", self._lease_key(token))])
        return Record(show(id_.encode()), *payload)

    async def renew(self, run: str, *, ttl: float, lease: float) -> None:
        if run in self._mine:
            token = self._mine[run][1]
            await self._ask(
                [
                    ("SET", self._lease_key(token), 1, "PX", _ms(lease)),
                    ("PEXPIRE", self._run_key(run), _ms(ttl)),
                ],
                timeout=lease,
            )

    async def is_alive(self, run: str, *, lease: float) -> bool:
        head = self._mine.get(run) or await self._head(run, timeout=lease)
        if head is not None:
            (there,) = await self._ask([("EXISTS", self._lease_key(head[1]))], timeout=lease)
            if there:
                return True
        # The producer had no way to renew it while Redis was away.
        assert self._wire is not None
        assert self._link is not None
        since = max(self._wire.contact_since, self._link.contact_since)
        return monotonic() - since < lease

    async def attend(self, run: str, *, lease: float) -> None:
        await self._ask([("SET", f"{self._prefix}readers:{run}", 1, "PX", _ms(lease))], lease)

    async def is_attended(self, run: str) -> bool:
        return bool((await self._ask([("EXISTS", f"{self._prefix}readers:{run}")], FIRST))[0])

    async def _head(self, run: str, timeout: float | None = None) -> tuple[int, str] | None:
        (found,) = await self._ask([("XRANGE", self._run_key(run), "0-1", "0-1")], timeout)
        return _generation(found[0][1]) if found else None

    # channels

    async def publish(
        self,
        channel: str,
        payloads: Sequence[Payload],
        *,
        keep: int,
        max_age: float | None,
        ttl: float,
    ) -> list[str]:
        key = self._channel_key(channel)
        tokens = [f"{self._process}-{next(self._numbers)}" for _ in payloads]
        left = {
            token: ("XADD", key, "MAXLEN", keep, "*", *payload, "t", token)
            for token, payload in zip(tokens, payloads, strict=True)
        }
        after = [("PEXPIRE", key, _ms(max(ttl, max_age or 0)))]
        if max_age is not None and monotonic() - self._trimmed.get(channel, -1e9) > 1:
            self._trimmed[channel] = monotonic()
            oldest = time.time_ns() // 1_000_000 - 2 * _ms(max_age) - 1000
            after.append(("XTRIM", key, "MINID", "~", max(oldest, 0)))  # type: ignore[arg-type]
        ids: dict[str, str] = {}

        async def find() -> None:
            """Take out those that were appended before the connection broke."""
            assert self._wire is not None
            most = ("XREVRANGE", key, "+", "-", "COUNT", min(keep, NEWEST))
            (there,) = await self._wire.call([most], self._timeout)
            for raw, fields in there:
                token = fields[3].decode()
                if left.pop(token, None):
                    ids[token] = show(raw)

        def commands() -> list[Command]:
            return [*left.values(), *after]

        replies = await self._ask(commands, before_again=find)
        for token, reply in zip(tuple(left), replies, strict=False):
            if isinstance(reply, Exception):
                raise LogUnavailable(str(reply))
            ids[token] = show(reply)
        return [ids[token] for token in tokens]

    async def oldest(self, channel: str, history: int, max_age: float | None) -> str:
        key = self._channel_key(channel)
        now, size, first = await self._ask(
            [("TIME",), ("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", 1)]
        )
        if not first:
            return await self._origin(key)
        floor = before(first[0][0])
        extra = size - history
        asked: list[Command] = []
        if extra > 0:
            asked.append(
                ("XRANGE", key, "-", "+", "COUNT", extra)
                if extra <= history + 1
                else ("XREVRANGE", key, "+", "-", "COUNT", history + 1)
            )
        if max_age is not None:
            oldest = int(now[0]) * 1000 + int(now[1]) // 1000 - _ms(max_age)
            asked.append(("XREVRANGE", key, max(oldest, 0), "-", "COUNT", 1))
        for entries in await self._ask(asked) if asked else ():
            if entries:
                floor = max(floor, show(entries[-1][0]))
        return floor

    async def _origin(self, key: str) -> str:
        """The id of an empty channel's newest record, which was trimmed; there may be none."""
        (info,) = await self._ask([("XINFO", "STREAM", key)])
        if isinstance(info, Exception):
            return ZERO
        fields = dict(zip(info[::2], info[1::2], strict=True))
        return show(fields[b"last-generated-id"])

    # both

    async def info(self, stream: str, *, channel: bool = False) -> Info | None:
        key = self._key(stream, channel)
        begin, newest = await self._ask(
            [
                ("XRANGE", key, "0-1", "0-1"),
                ("XREVRANGE", key, "+", "-", "COUNT", 2),
            ],
        )
        end = None
        if newest and newest[0][1][0] == END.encode():
            end = _record(newest.pop(0))
        if channel:
            last = show(newest[0][0]) if newest else await self._origin(key)
            if end is not None and not newest:
                last = before(hide(end.id).encode())
            return Info(ZERO, last, end)
        if not begin:
            return None
        generation, _ = _generation(begin[0][1])
        linger = begin[0][1][5]
        origin = show(f"{generation}-0".encode())
        last = show(newest[0][0]) if newest and newest[0][0] != b"0-1" else origin
        return Info(origin, last, end, float(linger) if linger else None)

    async def read(
        self, stream: str, after: str, limit: int, *, channel: bool = False
    ) -> list[Record]:
        key, id_ = self._key(stream, channel), hide(after)
        begin, there, found = await self._ask(
            [
                ("XRANGE", key, "-", "+", "COUNT", 1),
                ("XRANGE", key, id_, id_),
                ("XRANGE", key, f"({id_}", "+", "COUNT", limit),
            ],
        )
        records = [_record(entry) for entry in found]
        if channel:
            if not there and not await self._begins_after(key, after, begin):
                raise Gone(after)
            return records
        if not begin:
            raise Gone(after)
        generation, _ = _generation(begin[0][1])
        milliseconds, number = parse(after)
        if milliseconds != generation or not (there or number == 0):
            raise Gone(after)
        for expected, record in enumerate(records, number + 1):
            if record.kind != END and int(record.id[14:]) != expected:
                # Redis has lost some of them.
                raise Gone(after)
        return records

    async def _begins_after(self, key: str, after: str, first: Entries) -> bool:
        """Whether nothing that a channel ever gave lies between an id and its first record."""
        if first and before(first[0][0]) == after:
            return True
        (info,) = await self._ask([("XINFO", "STREAM", key)])
        if isinstance(info, Exception):
            return after == ZERO
        fields = dict(zip(info[::2], info[1::2], strict=True))
        if not first:
            return bool(show(fields[b"last-generated-id"]) == after)
        return after == ZERO and fields.get(b"entries-added") == fields[b"length"]

    async def subscribe(
        self, stream: str, after: str, sink: Sink, *, channel: bool = False
    ) -> Callable[[], None]:
        if self._link is None:
            raise LogUnavailable("it is not open")
        key = self._key(stream, channel).encode()
        self._sinks.setdefault(key, {})[sink] = after
        self._link.add(key, hide(after).encode(), channel)
        self._wake()

        def unsubscribe() -> None:
            sinks = self._sinks.get(key, {})
            if sinks.pop(sink, None) is not None and not sinks:
                del self._sinks[key]
                if self._link is not None:
                    self._link.remove(key)

        return unsubscribe

    def _wake(self) -> None:
        assert self._wire is not None
        self._wire.post(
            [
                ("XADD", self._wake_key, "MAXLEN", 1, "*", "w", 1),
                ("PEXPIRE", self._wake_key, 60_000),
            ]
        )

    def _on_entries(self, key: bytes, entries: Entries, missed: bool) -> None:
        sinks = self._sinks.get(key)
        if not sinks:
            return
        records = [_record(entry) for entry in entries if entry[0] != b"0-1"]
        for sink, last in tuple(sinks.items()):
            new = [record for record in records if record.id > last]
            if missed:
                sink.miss(before(entries[0][0]))
            if new:
                sinks[sink] = new[-1].id
                sink.feed(new)

    def _on_failure(self, why: str) -> None:
        error = LogUnavailable(why)
        for sinks in tuple(self._sinks.values()):
            for sink in tuple(sinks):
                sink.fail(error)

    # commands

    def _key(self, stream: str, channel: bool) -> str:
        return self._channel_key(stream) if channel else self._run_key(stream)

    def _run_key(self, run: str) -> str:
        return f"{self._prefix}run:{run}"

    def _channel_key(self, channel: str) -> str:
        return f"{self._prefix}channel:{channel}"

    def _lease_key(self, token: str) -> str:
        return f"{self._prefix}lease:{token}"

    async def _ask(
        self,
        commands: Sequence[Command] | Callable[[], Sequence[Command]],
        timeout: float | None = None,
        before_again: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """The replies to commands, which are sent again until the timeout if a connection breaks.

        They must bear that, unless `before_again` sees to it.
        """
        if self._wire is None:
            raise LogUnavailable("it is not open")
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        until = monotonic() + seconds
        uncertain = False
        for attempt in count():
            try:
                if uncertain and before_again is not None:
                    await before_again()
                uncertain = False
                asked = commands() if callable(commands) else commands
                return await self._wire.call(asked, max(until - monotonic(), 0.001))
            except ConnectionLost as exc:
                uncertain = uncertain or not isinstance(exc, Unsent)
                pause = PAUSES[min(attempt, len(PAUSES) - 1)]
                if monotonic() + pause >= until:
                    raise LogUnavailable(str(exc)) from exc
                await anyio.sleep(pause)
            except TimeoutError as exc:
                raise LogUnavailable(f"Redis gave no answer for {seconds:g} seconds") from exc
        raise AssertionError


def _generation(fields: list[bytes]) -> tuple[int, str]:
    return int(fields[1]), fields[3].decode()


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
