"""The newest records of each stream that is followed in this process, shared by its readers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter
from time import monotonic
from typing import Protocol

from streamkit import loop
from streamkit.body.base import LOOP_SLICE
from streamkit.live.errors import LogUnavailable
from streamkit.live.formats import RecordFormat
from streamkit.live.log import WINDOW, Info, Log
from streamkit.live.records import END, Record, end_payload

__all__ = ["EXPIRED", "Hub", "Tail"]

# Bytes after which a chunk is complete: as much as a response sends at once.
CHUNK = 65536
# Chunks that are kept for other readers at the same place, until more comes.
CHUNKS = 16
# Bytes of records that are kept for readers; who needs older ones reads them from the log.
MOST = 8 * 1024 * 1024
# How a run ends here that the log no longer has; it sorts behind all that the log gave.
EXPIRED = Record("~", *end_payload("failed", "expired"))
_id = attrgetter("id")


class Idle(Protocol):
    """A reader that waits, and whose response can be sent from the loop."""

    def push(self) -> bool:
        """Send what has come; False if it no longer waits for that."""
        ...


class Tail:
    """A list of records that only grows at its end; readers hold an index into it.

    A reader has no queue: it takes what is there from its index on, and waits for a signal if
    nothing is. Indexes count from the first record ever fed; `base` is that of `records[0]`.
    Read and written on the loop's thread only.
    """

    def __init__(self, name: str, is_channel: bool, start: str, keep: int) -> None:
        self.name = name
        self.is_channel = is_channel
        # The id before `records[0]`, and the id of the last record.
        self.start: str = start
        self.last: str = start
        self.keep = keep
        self.base: int = 0
        # The index of the next record.
        self.top: int = 0
        self.records: list[Record] = []
        self._size = 0
        self.end: Record | None = None
        self.error: Exception | None = None
        # Who holds this tail, and who reads it for a client.
        self.users = 0
        self.readers = 0
        self.is_produced_here = False
        self.linger: float | None = None
        self.unsubscribe: Callable[[], None] | None = None
        self.on_end: Callable[[Record], None] | None = None
        self.waiting: dict[loop.Signal, None] = {}
        # Readers whose responses send from the loop, and those of them that are still to be served.
        self.idle: dict[Idle, None] = {}
        self._queue: list[Idle] = []
        self._serves = self._again = False
        self._encoded: dict[RecordFormat, dict[int, bytes]] = {}
        # What was made of all records from an index on: the chunk, the next index, the last id.
        self.chunks: dict[tuple[RecordFormat, int], tuple[bytes, int, str]] = {}

    def feed(self, records: Sequence[Record]) -> None:
        """Take records of the log; those that are here already are left out."""
        if records[0].id <= self.last:
            records = [record for record in records if record.id > self.last]
            if not records:
                return
        if self.end is not None and not self.is_channel:
            return
        newest = records[-1]
        if self.chunks:
            self.chunks.clear()
        self.records += records
        self.top += len(records)
        self.last = newest.id
        self._size += sum([len(record.data) for record in records])
        if len(self.records) > 2 * self.keep:
            self._forget(len(self.records) - self.keep)
        while self._size > MOST and len(self.records) > 1:
            self._forget(len(self.records) // 2)
        self.end = newest if newest.kind == END else None
        if self.end is not None and self.on_end is not None:
            self.on_end(self.end)
        self.wake()

    def miss(self, position: str) -> None:
        """The log has dropped records before this process read them: its readers are slow ones."""
        if self.records:
            self._forget(len(self.records))
        # No reader's index is at the base.
        self.base += 1
        self.top = self.base
        self.start = self.last = position

    def fail(self, error: Exception) -> None:
        """Nothing more comes from the log; a producer in this process may still feed it."""
        if not self.is_produced_here and self.error is None:
            self.error = error
            self.wake()

    def wake(self) -> None:
        """Let those look who wait."""
        if self.waiting:
            waiting, self.waiting = self.waiting, {}
            for signal in waiting:
                signal.set()
        if self._serves:
            self._again = True
        elif self.idle:
            # What is fed in one turn of the loop goes out together.
            self._serves = True
            loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Push what has come to the idle readers, for a slice of time."""
        if not self._queue:
            self._queue, self._again = list(self.idle), False
        queue, idle = self._queue, self.idle
        until = 0.0
        while queue:
            reader = queue.pop()
            if reader in idle and not reader.push():
                idle.pop(reader, None)
            if queue:
                now = monotonic()
                until = until or now + LOOP_SLICE
                if now > until:
                    break
        self._serves = bool(queue) or self._again
        if self._serves:
            loop.call_soon(self._serve)

    async def wait(self, signal: loop.Signal) -> None:
        """Wait until something is fed, or fails."""
        self.waiting[signal] = None
        try:
            await signal.wait()
        finally:
            self.waiting.pop(signal, None)

    def has(self, position: str) -> bool:
        """Whether all that comes after an id is here, and the id was given."""
        if position == self.start:
            return True
        index = bisect_right(self.records, position, key=_id)
        return index > 0 and self.records[index - 1].id == position

    def index_after(self, position: str) -> int:
        """The index of the first record after an id."""
        return self.base + bisect_right(self.records, position, key=_id)

    def flows_at(self, index: int) -> bool:
        """Whether a reader at this index has a record to take that is not the end."""
        return self.base <= index < self.top and self.records[index - self.base].kind != END

    def chunk(self, format_: RecordFormat, index: int) -> tuple[bytes, int, str]:
        """The encoded records from an index on, as many as make a chunk.

        With it the next index, and the id of the last record. There must be one before the end.
        """
        if self.readers == 1 and index + 1 == self.top:
            record = self.records[-1]
            return format_.encode(record), self.top, record.id
        key = (format_, index)
        if (made := self.chunks.get(key)) is not None:
            return made
        parts, size = [], 0
        while index < self.top and size < CHUNK:
            if self.records[index - self.base].kind == END:
                break
            parts.append(self._one(format_, index))
            size += len(parts[-1])
            index += 1
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        made = (chunk, index, self.records[index - 1 - self.base].id)
        if len(self.chunks) < CHUNKS:
            self.chunks[key] = made
        return made

    def _one(self, format_: RecordFormat, index: int) -> bytes:
        encoded = self._encoded.get(format_)
        if encoded is None:
            encoded = self._encoded[format_] = {}
        chunk = encoded.get(index)
        if chunk is None:
            chunk = encoded[index] = format_.encode(self.records[index - self.base])
        return chunk

    def _forget(self, count: int) -> None:
        self.start = self.records[count - 1].id
        self._size -= sum([len(record.data) for record in self.records[:count]])
        del self.records[:count]
        self.base += count
        for encoded in self._encoded.values():
            for index in [index for index in encoded if index < self.base]:
                del encoded[index]


class Hub:
    """The tails of a process."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.tails: dict[tuple[bool, str], Tail] = {}

    def find(self, name: str, *, channel: bool = False) -> Tail | None:
        """The tail of a stream that somebody holds."""
        return self.tails.get((channel, name))

    def begin(self, run: str, origin: str) -> None:
        """A run begins: what is followed here under its name is an older one, and is over."""
        tail = self.find(run)
        if tail is not None and tail.start != origin:
            del self.tails[False, run]
            tail.feed([EXPIRED])

    async def hold(self, name: str, info: Info, *, channel: bool = False, keep: int = 0) -> Tail:
        """The tail of a stream, to be given back with `release`."""
        key = (channel, name)
        tail = self.tails.get(key)
        # Slow readers may still have that of a run which has expired, and was begun again.
        is_old = tail is not None and tail.end is not None and info.end is None and not channel
        if tail is None or tail.error is not None or is_old:
            tail = self.tails[key] = Tail(name, channel, info.last, max(keep, WINDOW))
            tail.users += 1
            try:
                if info.end is not None:
                    tail.feed([info.end])
                    if not channel:
                        return tail
                # A channel that was closed may be opened again.
                unsubscribe = await self._log.subscribe(name, tail.last, tail, channel=channel)
            except BaseException as exc:
                failure = exc if isinstance(exc, Exception) else LogUnavailable("closed")
                tail.error = failure
                tail.wake()
                self.release(tail)
                raise
            tail.unsubscribe = unsubscribe
            tail.users -= 1
        tail.users += 1
        return tail

    def release(self, tail: Tail) -> None:
        """Give a tail back."""
        tail.users -= 1
        if tail.users == 0:
            if tail.unsubscribe is not None:
                tail.unsubscribe()
            key = (tail.is_channel, tail.name)
            if self.tails.get(key) is tail:
                del self.tails[key]
