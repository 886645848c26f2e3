"""A log in Redis Streams, for all processes and hosts that use the same Redis.

Each run is one stream, and no script is needed, because Redis refuses an XADD whose id is not
above the newest one of the stream:

* `0-1` is the record of its beginning; who adds it is the producer.
* Items are `<generation>-<n>`, with n from 1 on. Sending one again is harmless.
* The end is always `<generation>-<the largest n>`. Done, failed, cancelled and lost compete for one
  id: the first wins, and whatever a producer that was thought dead appends later is refused. One
  that is done says how many items there are: a failover may lose the newest.

Channels have many publishers, and Redis gives their ids. A lease is a key of its own, named by a
token in the record of the beginning.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from streamkit import loop
from streamkit.live.errors import Gone, LogUnavailable, RunEnded
from streamkit.live.link import Entries
from streamkit.live.log import FIRST, Info
from streamkit.live.memory_stream import ZERO
from streamkit.live.records import END, Payload, Record, end_payload
from streamkit.live.redis_channels import RedisChannels
from streamkit.live.redis_ids import (
    LARGEST,
    floor_of,
    generation_of,
    hide,
    is_whole,
    milliseconds,
    parse,
    record_of,
    show,
)
from streamkit.live.wire import Command, ResponseError

__all__ = ["RedisLog"]

# The part of a lease for which it has been missing when its producer is lost. It is longer than the
# time between two renewals.
ABSENCE = 3
# Leases after which it is forgotten since when one has been missing.
FORGOTTEN = 10


class RedisLog(RedisChannels):
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
        super().__init__(url_or_client, prefix=prefix, timeout=timeout)
        # Generation and token of the runs that are produced here, and how many items they have.
        self._mine: dict[str, tuple[int, str, int]] = {}
        # When the leases that are missing were first found to be.
        self._missing: dict[str, float] = {}

    # runs

    async def begin(
        self, run: str, *, ttl: float, lease: float, linger: float | None
    ) -> str | None:
        key, token = self._run_key(run), secrets.token_hex(8)
        generation = time.time_ns() // 1_000_000
        fields = ("g", generation, "t", token, "l", "" if linger is None else linger)
        commands: list[Command] = [
            ("MULTI",),
            ("XADD", key, "0-1", *fields),
            # As long as it runs it stays for longer than its lease, which is renewed with it.
            ("PEXPIRE", key, milliseconds(max(ttl, 2 * lease)), "NX"),
            ("SET", self._lease_key(token), 1, "PX", milliseconds(lease)),
            ("EXEC",),
        ]
        try:
            replies = await self._ask(commands, timeout=FIRST)
            if isinstance(replies[-1][0], ResponseError):
                # It was begun before; by this call, if that had to be sent twice.
                head = await self._head(run, timeout=FIRST)
                if head is None or head[1] != token:
                    return None
        except BaseException:
            # It may begin all the same, and nobody would produce it.
            loop.spawn(partial(self._undo, run, token))
            raise
        self._mine[key] = (generation, token, 0)
        return show(f"{generation}-0".encode())

    async def _undo(self, run: str, token: str) -> None:
        with suppress(LogUnavailable):
            head = await self._head(run)
            if head is not None and head[1] == token:
                await self._ask([("DEL", self._run_key(run), self._lease_key(token))])

    async def append(self, run: str, number: int, payloads: Sequence[Payload]) -> list[str]:
        key = self._run_key(run)
        if key not in self._mine:
            raise RunEnded
        generation, token, _ = self._mine[key]
        ids = [f"{generation}-{number + index + 1}" for index in range(len(payloads))]
        try:
            await self._append(key, ids, payloads)
        except BaseException:
            # Its producer gives it up: others shall find it lost.
            self._mine.pop(key, None)
            raise
        if key in self._mine:
            self._mine[key] = (generation, token, number + len(ids))
        return [show(id_.encode()) for id_ in ids]

    async def _append(self, key: str, ids: list[str], payloads: Sequence[Payload]) -> None:
        replies = await self._ask(
            [
                ("XADD", key, "NOMKSTREAM", id_, kind, data)
                for id_, (kind, data) in zip(ids, payloads, strict=True)
            ]
        )
        if None in replies:
            raise RunEnded
        if any(isinstance(reply, ResponseError) for reply in replies):
            await self._check_appended(key, ids, payloads)

    async def _check_appended(self, key: str, ids: list[str], payloads: Sequence[Payload]) -> None:
        """Some were refused: appended before a connection broke, or the run has ended."""
        last, there = await self._ask(
            [("XREVRANGE", key, "+", "-", "COUNT", 1), ("XRANGE", key, ids[0], ids[-1])]
        )
        if last and last[0][1][0] == END.encode():
            raise RunEnded(record_of(last[0]))
        if [record_of(entry)[1:] for entry in there] != [tuple(payload) for payload in payloads]:
            raise LogUnavailable("another producer has appended to the run")

    async def end(self, run: str, payload: Payload, *, ttl: float) -> Record | None:
        key = self._run_key(run)
        head = await self._head(run)
        mine = self._mine.get(key)
        if head is None or (mine is not None and mine[:2] != head):
            # Redis has lost the run; there may be another one of its name.
            self._mine.pop(key, None)
            return None
        generation, token = head
        id_ = f"{generation}-{LARGEST}"
        # Only its producer knows how many items it has, when it is done.
        number = ("n", mine[2]) if mine is not None and payload == end_payload("done") else ()
        (reply,) = await self._ask([("XADD", key, "NOMKSTREAM", id_, *payload, *number)])
        self._mine.pop(key, None)
        if isinstance(reply, ResponseError):
            (last,) = await self._ask([("XREVRANGE", key, "+", "-", "COUNT", 1)])
            return record_of(last[0]) if last and last[0][1][0] == END.encode() else None
        if reply is None:
            return None
        await self._ask([("PEXPIRE", key, milliseconds(ttl)), ("DEL", self._lease_key(token))])
        return Record(show(id_.encode()), *payload)

    async def renew(self, run: str, *, ttl: float, lease: float) -> None:
        key = self._run_key(run)
        if key in self._mine:
            token = self._mine[key][1]
            await self._ask(
                [
                    ("SET", self._lease_key(token), 1, "PX", milliseconds(lease)),
                    ("PEXPIRE", key, milliseconds(max(ttl, 2 * lease))),
                ],
                timeout=lease,
            )

    async def is_alive(self, run: str, *, lease: float) -> bool:
        head = await self._head(run, timeout=lease)
        token = head[1] if head else run
        (there,) = await self._ask([("EXISTS", self._lease_key(token))], timeout=lease)
        if there:
            self._missing.pop(token, None)
            return True
        # A write that changes nothing: it is refused where the producer's are.
        await self._ask([("SET", self._lease_key(token), 1, "XX", "KEEPTTL")], timeout=lease)
        # One look is not enough: Redis may have been slow, or have made room.
        now = monotonic()
        since = self._missing.setdefault(token, now)
        while now - next(iter(self._missing.values()), now) > FORGOTTEN * lease:
            del self._missing[next(iter(self._missing))]
        # The producer had no way to renew it while Redis was away, or refused it.
        assert self._wire is not None
        assert self._link is not None
        contact_since = max(self._wire.contact_since, self._link.contact_since)
        if now - since < lease / ABSENCE or now - contact_since < lease:
            return True
        self._missing.pop(token, None)
        return False

    async def attend(self, run: str, *, lease: float) -> None:
        await self._ask(
            [("SET", f"{self._prefix}readers:{run}", 1, "PX", milliseconds(lease))], lease
        )

    async def is_attended(self, run: str) -> bool:
        return bool((await self._ask([("EXISTS", f"{self._prefix}readers:{run}")], FIRST))[0])

    def _on_entries(self, key: bytes, after: bytes, entries: Entries, missed: bool) -> None:
        if entries[-1][1][0] == END.encode():
            self._mine.pop(key.decode(), None)
        super()._on_entries(key, after, entries, missed)

    async def _head(self, run: str, timeout: float | None = None) -> tuple[int, str] | None:
        (found,) = await self._ask([("XRANGE", self._run_key(run), "0-1", "0-1")], timeout)
        return generation_of(found[0][1]) if found else None

    # both

    async def info(self, stream: str, *, channel: bool = False) -> Info | None:
        key = self._key(stream, channel)
        begin, newest = await self._ask(
            [
                ("XRANGE", key, "0-1", "0-1"),
                ("XREVRANGE", key, "+", "-", "COUNT", 2),
            ],
        )
        count = 2
        while len(newest) == count and not _items(newest):
            # A channel that was closed more than once.
            count *= 8
            (newest,) = await self._ask([("XREVRANGE", key, "+", "-", "COUNT", count)])
        items = _items(newest)
        end = record_of(newest[0]) if newest and newest[:1] != items[:1] else None
        if channel:
            if items:
                last = show(items[0][0])
            else:
                (about,) = await self._ask([("XINFO", "STREAM", key)])
                last, _ = floor_of(about)
            return Info(ZERO, last, end)
        if not begin:
            return None
        generation, _ = generation_of(begin[0][1])
        linger = begin[0][1][5]
        origin = show(f"{generation}-0".encode())
        last = show(items[0][0]) if items[0][0] != b"0-1" else origin
        if end is not None and not is_whole(newest[:1], last):
            end = Record(end.id, *end_payload("failed", "items lost"))
        return Info(origin, last, end, float(linger) if linger else None)

    async def read(
        self, stream: str, after: str, limit: int, *, channel: bool = False
    ) -> list[Record]:
        key, id_ = self._key(stream, channel), hide(after)
        first: Command = ("XRANGE", key, "-", "+", "COUNT", 1)
        # The question whether some are gone comes last, so that none goes after it.
        found, there, begin = await self._ask(
            [
                ("XRANGE", key, f"({id_}", "+", "COUNT", limit),
                ("XRANGE", key, id_, id_),
                ("XINFO", "STREAM", key) if channel else first,
            ],
        )
        records = [record_of(entry) for entry in found]
        if channel:
            if not there and after != floor_of(begin)[0]:
                raise Gone(after)
            return records
        generation = generation_of(begin[0][1])[0] if begin else None
        began, number = parse(after)
        if began != generation or not (there or number == 0) or not is_whole(found, after):
            # Redis has lost some of them.
            raise Gone(after)
        return records


def _items(entries: Entries) -> Entries:
    """Those of some entries that are no ends."""
    return [entry for entry in entries if entry[1][0] != END.encode()]
