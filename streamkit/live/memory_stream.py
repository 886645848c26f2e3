"""One stream in memory: a list of records whose oldest are dropped, and its ids."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter

from streamkit.live.errors import Gone
from streamkit.live.log import Sink
from streamkit.live.records import Record

__all__ = ["OVERHEAD", "ZERO", "Kept", "make_id"]

# What a record costs beside its data: the tuple, its id, its place in a list.
OVERHEAD = 200
ZERO = "0" * 13 + "-" + "0" * 10
# In the place of a record that was dropped.
GONE = Record("", "", b"")
_id = attrgetter("id")


def make_id(milliseconds: int, number: int) -> str:
    """An id as it is shown: zero-padded, so that ids sort as strings."""
    return f"{milliseconds:013d}-{number:010d}"


class Kept:
    """One run or channel: `records[start:]` are what is kept of it."""

    def __init__(self, origin: str, is_channel: bool) -> None:
        self.origin = origin
        self.floor: str = origin
        # What the ids of a run begin with.
        self.generation: str = origin[:14]
        self.is_channel = is_channel
        self.records: list[Record] = []
        self.times: list[float] = []
        self.start: int = 0
        self.size: int = 0
        self.end: Record | None = None
        self.linger: float | None = None
        self.expires: float = 0.0
        self.sinks: list[Sink] = []

    @property
    def last(self) -> str:
        return self.records[-1].id if self.records else self.floor

    def newest(self) -> Iterator[Record]:
        """What is kept, the newest first."""
        return islice(reversed(self.records), self.count)

    def drop(self, count: int) -> int:
        """Forget the oldest `count`; gives the bytes that frees."""
        if not count:
            return 0
        gone = self.records[self.start : self.start + count]
        self.floor = gone[-1].id
        # Nothing is looked for among them any more.
        self.records[self.start : self.start + count] = [GONE] * count
        self.start += count
        freed = sum(len(record.data) + OVERHEAD for record in gone)
        self.size -= freed
        # Cut the list rarely: that moves all that is left.
        if (self.start > 1024 and self.start * 2 > len(self.records)) or self.count == 0:
            del self.records[: self.start]
            del self.times[: self.start]
            self.start = 0
        return freed

    @property
    def count(self) -> int:
        return len(self.records) - self.start

    def index_after(self, after: str) -> int:
        """The index of the first record after an id."""
        if after == self.floor:
            return self.start
        index = bisect_right(self.records, after, self.start, key=_id)
        if index > self.start and self.records[index - 1].id == after:
            return index
        raise Gone(after)
