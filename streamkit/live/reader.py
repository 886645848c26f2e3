"""How one reader takes its items: what is older from pages of the log, the rest from the tail."""

from __future__ import annotations

from typing import Any, Literal

from streamkit import loop
from streamkit.live.core import Core
from streamkit.live.errors import Gone, RunFailed, SlowReader, StreamGap
from streamkit.live.formats import RecordFormat
from streamkit.live.place import LARGEST_PAGE, PAGE
from streamkit.live.records import END, Record, end_state
from streamkit.live.tail import CHUNK, Tail

__all__ = ["OnSlow", "Reader", "raise_end"]

OnSlow = Literal["cut", "gap", "latest"]


def raise_end(name: str, end: Record) -> None:
    """Raise what the end of a stream is for its readers."""
    state, reason = end_state(end)
    if state == "done":
        raise StopAsyncIteration
    raise RunFailed(name, state, reason)


class Reader:
    """A position in a stream: `take` gives what is there, `wait` waits for more.

    A reader has no queue. It is an index into the tail, once it has come up to that; before, it
    holds one page of the log.
    """

    # There are thousands of them.
    __slots__ = (
        "_core",
        "_encodes",
        "_format",
        "_granted",
        "_index",
        "_on_slow",
        "_page",
        "_page_size",
        "_pending",
        "_signal",
        "_window",
        "flows",
        "position",
        "tail",
    )

    def __init__(
        self,
        core: Core,
        tail: Tail,
        position: str,
        page: list[Record],
        window: int,
        on_slow: OnSlow,
    ) -> None:
        self._core = core
        self.tail: Tail = tail
        # The id of the last item that was given, or the one after which the reader began.
        self.position: str = position
        # The newest last.
        self._page = page[::-1]
        self._page_size = PAGE
        # An index into the tail; below its base before the reader has come up to it.
        self._index = -1
        # Up to here a burst came while it waited, which it may take at its own pace.
        self._granted = 0
        # Whether it takes chunks that others take, too.
        self.flows: bool = False
        # How far behind a reader of a channel may be.
        self._window = window
        self._on_slow: OnSlow = on_slow
        self._signal = loop.make_signal()

    def use_format(self, format_: RecordFormat, encodes: bool, news: list[Any]) -> None:
        """Give records in this format, as bytes if it `encodes`, and before them the news."""
        self._format = format_
        self._encodes = encodes
        self._pending = news

    def take(self) -> Any:
        """The next chunk, or item; None if it has to be waited for.

        Raises `StopAsyncIteration` at the end, `RunFailed`, `SlowReader` and `StreamGap`.
        """
        tail, index = self.tail, self._index
        if self.flows and index < tail.top:
            # The way of thousands of readers, an item each: `_take` does the same.
            if tail.flows_at(index) and tail.top - max(index, self._granted) <= self._window:
                chunk, self._index, self.position = tail.chunk(self._format, index)
                return chunk
            self.flows = False
        if not self._pending:
            self._check_pace()
        while True:
            if self._pending:
                return self._pending.pop(0)
            if self._page:
                found = self._take_from_page()
            elif self._index < tail.base and not self._reach_tail():
                return None
            elif self._index < tail.top:
                found = self._take_record()
            else:
                return None
            if found is not None:
                return found

    def flow(self) -> bytes | None:
        """The next chunk for a reader that waits, unless there is more to it than to take it."""
        tail, index = self.tail, self._index
        self._granted = tail.top
        if not tail.flows_at(index):
            return None
        try:
            chunk, self._index, self.position = tail.chunk(self._format, index)
        except ValueError:
            # No bytes of an event: `take` raises it, in the reader's own task.
            return None
        return chunk

    @property
    def is_level(self) -> bool:
        """Whether it has all that the tail has."""
        return self._index == self.tail.top

    async def wait(self) -> None:
        """Wait until `take` may have something, or read a page of what is older.

        Raises what `take` raises, and `LogUnavailable`.
        """
        tail = self.tail
        if self._index < tail.base and self.position <= tail.last:
            await self._read_page()
        elif tail.error is not None:
            raise tail.error
        else:
            await tail.wait(self._signal)
            self._granted = tail.top

    def _take_record(self) -> Any:
        """What the tail has for this reader; None for a record that is nothing to give."""
        tail = self.tail
        record = tail.records[self._index - tail.base]
        if record.kind == END:
            if record is tail.end:
                raise_end(tail.name, record)
            # The channel was closed, and goes on.
            self._index += 1
            return None
        if self._encodes and self._format.shared:
            self.flows = True
            chunk, self._index, self.position = tail.chunk(self._format, self._index)
            return chunk
        self._index += 1
        self.position = record.id
        return self._format.encode(record)

    # what is older than the tail

    def _reach_tail(self) -> bool:
        """Whether the tail has all that comes next."""
        tail = self.tail
        # A page may be ahead of the tail, which then brings the same records again.
        if not tail.start <= self.position <= tail.last:
            return False
        self._index = tail.index_after(self.position)
        self._granted = tail.top
        return True

    async def _read_page(self) -> None:
        tail = self.tail
        top, last = tail.top, tail.last
        try:
            page = await self._core.log.read(
                tail.name, self.position, self._page_size, channel=tail.is_channel
            )
        except Gone:
            if not tail.is_channel:
                raise StreamGap(self.position) from None
            self._fall_behind()
            return
        if not page:
            # The log no longer has the record that the tail began at.
            if not tail.is_channel:
                raise StreamGap(self.position)
            # It forgets a channel that is silent: nothing is left before what the tail is fed next.
            self._index, self.position, self._granted = top, last, tail.top
            return
        self._page = page[::-1]
        # As many as make a chunk: a reader that stops reading holds a page.
        fit = CHUNK * len(page) // (1 + sum(len(record.data) for record in page))
        self._page_size = min(max(fit, 1), 2 * self._page_size, LARGEST_PAGE)

    def _take_from_page(self) -> Any:
        """A chunk of the page, or one item; None for a record that is nothing to give."""
        parts: list[bytes] = []
        size = 0
        page, format_ = self._page, self._format
        while page and size < CHUNK:
            record = page[-1]
            if record.kind == END:
                if parts:
                    break
                self._take_end_from_page(record)
                return None
            page.pop()
            self.position = record.id
            if not (self._encodes and format_.shared):
                return format_.encode(record)
            parts.append(format_.encode(record))
            size += len(parts[-1])
        return b"".join(parts)

    def _take_end_from_page(self, record: Record) -> None:
        # A channel may have gone on after it: that is known to the rest of the page, and the tail.
        is_last = len(self._page) == 1 and record.id >= self.tail.last
        if is_last or not self.tail.is_channel:
            raise_end(self.tail.name, record)
        self.position = record.id
        self._page.pop()

    # readers that are slow

    def _check_pace(self) -> None:
        """A reader who waited may be given any burst; one who comes late, its window at most."""
        tail = self.tail
        behind = tail.top - max(self._index, self._granted)
        if tail.is_channel and self._index >= 0 and behind > self._window:
            self._fall_behind()

    def _fall_behind(self) -> None:
        tail, can_tell = self.tail, self._format.has_events or not self._encodes
        if self._on_slow == "cut" or (self._on_slow == "gap" and not can_tell):
            raise SlowReader(tail.name, self._window)
        left_at = self.position
        keep = 1 if self._on_slow == "latest" else self._window
        self._index = max(tail.top - keep, tail.base)
        self._granted = tail.top
        first = self._index - tail.base
        self.position = tail.records[first - 1].id if first else tail.start
        if self._on_slow == "gap":
            self._pending.append(self._format.gap(left_at, self.position))

    def release(self) -> None:
        """Let go of the tail: the reader no longer counts."""
        self.tail.waiting.pop(self._signal, None)
        self._core.release_reader(self.tail)
