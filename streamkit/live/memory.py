"""A log in the memory of this process."""

from __future__ import annotations

import heapq
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

from streamkit.declare import whole_number
from streamkit.live.errors import Gone, RunEnded
from streamkit.live.log import Info, Sink
from streamkit.live.memory_stream import OVERHEAD, ZERO, Kept, make_id
from streamkit.live.records import END, Payload, Record

__all__ = ["MemoryLog"]


class MemoryLog:
    """Keeps all streams in the memory of this process, at most `max_bytes` of them (64 MiB).

    Where that is too little, the oldest finished runs go first, then the oldest records of the
    largest stream. One loop at a time may use it; its data outlive a `Live`.

        live = Live(MemoryLog(max_bytes=256 * 1024 * 1024))
    """

    remote = False

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        whole_number("max_bytes", max_bytes)
        self._max_bytes = max_bytes
        self._streams: dict[tuple[bool, str], Kept] = {}
        # Of runs that ended, the oldest first.
        self._ended: dict[str, None] = {}
        self._expiry: list[tuple[float, bool, str]] = []
        self._size = 0
        self._last_ms = 0

    async def open(self) -> None:
        pass

    async def aclose(self) -> None:
        for stream in self._streams.values():
            stream.sinks.clear()

    # runs

    async def begin(
        self, run: str, *, ttl: float, lease: float, linger: float | None
    ) -> str | None:
        self._expire()
        if (False, run) in self._streams:
            return None
        # No two runs of one name may share it, however soon the first one expired.
        self._last_ms = self._now_ms() + 1
        stream = self._streams[False, run] = Kept(make_id(self._last_ms, 0), False)
        stream.linger = linger
        return stream.origin

    async def append(self, run: str, number: int, payloads: Sequence[Payload]) -> list[str]:
        return [
            self.append_now(run, number + index, payload) for index, payload in enumerate(payloads)
        ]

    def append_now(self, run: str, number: int, payload: Payload) -> str:
        """`append` of one item, which never waits here."""
        stream = self._streams.get((False, run))
        if stream is None or stream.end is not None:
            raise RunEnded(stream.end if stream is not None else None)
        id_ = stream.generation + str(number + 1).zfill(10)
        record = Record(id_, payload[0], payload[1])
        stream.records.append(record)
        size = OVERHEAD + len(payload[1])
        stream.size += size
        self._size += size
        for sink in stream.sinks:
            sink.feed((record,))
        if self._size > self._max_bytes:
            self._shrink()
        return id_

    async def end(self, run: str, payload: Payload, *, ttl: float) -> Record | None:
        stream = self._streams.get((False, run))
        if stream is None or stream.end is not None:
            return stream.end if stream is not None else None
        self._touch(False, run, stream, ttl)
        stream.end = record = Record(stream.origin[:14] + "9" * 10, *payload)
        self._ended[run] = None
        self._add(stream, [record])
        return record

    async def renew(self, run: str, *, ttl: float, lease: float) -> None:
        # It expires once it has ended.
        pass

    async def is_alive(self, run: str, *, lease: float) -> bool:
        return True

    async def attend(self, run: str, *, lease: float) -> None:
        pass

    async def is_attended(self, run: str) -> bool:
        return False

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
        stream = self._streams.get((True, channel))
        if stream is None:
            self._expire()
            stream = self._streams[True, channel] = Kept(ZERO, True)
            self._touch(True, channel, stream, max(ttl, max_age or 0))
        now = time.monotonic()
        stream.expires = now + max(ttl, max_age or 0)
        ms = self._now_ms()
        last = stream.last
        number = int(last[14:]) + 1 if last[:13] == f"{ms:013d}" else 0
        records = [
            Record(make_id(ms, index), *payload) for index, payload in enumerate(payloads, number)
        ]
        self._add(stream, records)
        surplus = max(stream.count - keep, 0)
        if max_age is not None:
            until = bisect_right(stream.times, now - max_age, stream.start)
            surplus = max(surplus, min(until - stream.start, stream.count - 1))
        self._size -= stream.drop(surplus)
        return [record.id for record in records]

    async def oldest(self, channel: str, history: int, max_age: float | None) -> str:
        stream = self._streams.get((True, channel))
        if stream is None:
            return ZERO
        index = max(len(stream.records) - history, stream.start)
        if max_age is not None:
            index = max(index, bisect_right(stream.times, time.monotonic() - max_age, stream.start))
        return stream.records[index - 1].id if index > stream.start else stream.floor

    # both

    async def info(self, stream: str, *, channel: bool = False) -> Info | None:
        self._expire()
        found = self._streams.get((channel, stream))
        if found is None:
            return Info(ZERO, ZERO) if channel else None
        last, end = found.last, found.end
        if found.count and found.records[-1].kind == END:
            end = found.records[-1]
            # A channel may have been closed more than once.
            items = (record.id for record in found.newest() if record.kind != END)
            last = next(items, found.floor)
        # Of a run that lost its oldest records, readers begin with the oldest there is.
        return Info(found.floor, last, end, found.linger)

    async def read(
        self, stream: str, after: str, limit: int, *, channel: bool = False
    ) -> list[Record]:
        found = self._streams.get((channel, stream))
        if found is None:
            if channel and after == ZERO:
                return []
            raise Gone(after)
        index = found.index_after(after)
        return found.records[index : index + limit]

    async def subscribe(
        self, stream: str, after: str, sink: Sink, *, channel: bool = False
    ) -> Callable[[], None]:
        found = self._streams.get((channel, stream))
        if found is None:
            if not channel:
                raise Gone(after)
            found = self._streams[True, stream] = Kept(ZERO, True)
            self._touch(True, stream, found, 60.0)
        if records := found.records[found.index_after(after) :]:
            sink.feed(records)
        found.sinks.append(sink)

        def unsubscribe() -> None:
            if sink in found.sinks:
                found.sinks.remove(sink)

        return unsubscribe

    def _add(self, stream: Kept, records: list[Record]) -> None:
        stream.records += records
        if stream.is_channel:
            stream.times += [time.monotonic()] * len(records)
        size = len(records) * OVERHEAD
        for record in records:
            size += len(record[2])
        stream.size += size
        self._size += size
        for sink in stream.sinks:
            sink.feed(records)
        if self._size > self._max_bytes:
            self._shrink()

    def _shrink(self) -> None:
        while self._size > self._max_bytes and self._ended:
            self._remove(False, next(iter(self._ended)))
        while self._size > self._max_bytes:
            largest = max(self._streams.values(), key=lambda stream: stream.size)
            if largest.count <= 1:
                return
            self._size -= largest.drop(max(largest.count // 8, 1))

    def _touch(self, is_channel: bool, name: str, stream: Kept, ttl: float) -> None:
        stream.expires = time.monotonic() + ttl
        heapq.heappush(self._expiry, (stream.expires, is_channel, name))

    def _expire(self) -> None:
        """Forget streams whose time has come: each has one entry in the heap, maybe an old one."""
        now = time.monotonic()
        while self._expiry and self._expiry[0][0] <= now:
            _, is_channel, name = heapq.heappop(self._expiry)
            stream = self._streams.get((is_channel, name))
            if stream is None:
                continue
            if stream.expires <= now and not stream.sinks:
                self._remove(is_channel, name)
            else:
                due = max(stream.expires, now + 1.0)
                heapq.heappush(self._expiry, (due, is_channel, name))

    def _remove(self, is_channel: bool, name: str) -> None:
        stream = self._streams.pop((is_channel, name))
        self._size -= stream.size
        self._ended.pop(name, None) if not is_channel else None

    def _now_ms(self) -> int:
        # The clock may be set back, and ids must not.
        self._last_ms = max(self._last_ms, time.time_ns() // 1_000_000)
        return self._last_ms
