"""A reader: content for a response, which reads a stream from where its client was."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Literal

from streamkit import loop
from streamkit.encoders.sse import SSEEncoder
from streamkit.live.checks import check_gap
from streamkit.live.core import Core, in_time
from streamkit.live.errors import (
    Gone,
    RunFailed,
    SlowReader,
    StreamGap,
    UnknownStream,
)
from streamkit.live.formats import ItemFormat, RecordFormat, format_for
from streamkit.live.log import WINDOW, Info
from streamkit.live.place import LARGEST_PAGE, PAGE, Place
from streamkit.live.records import END, Record, end_state
from streamkit.live.tail import CHUNK, Tail
from streamkit.start import ResponseStart

__all__ = ["Follow", "OnSlow"]

OnSlow = Literal["cut", "gap", "latest"]


class Follow(AsyncIterator[Any]):
    """Follows a run or a channel; made by `follow`, and closed by the response it is given to.

    Content for `SSEStreamingResponse`, `JSONLinesStreamingResponse`, `JSONArrayStreamingResponse`
    and plain responses. It can also be iterated with `async for`: it then gives the items, and
    `position` is the id of the last one; close it with `aclose()`.

    A response awaits `open()` before its start. It raises `UnknownStream` (404), `StreamGap` (410)
    and `LogUnavailable` (503), and gives a 204 where nothing is left to send. Iterating raises
    `RunFailed` where the run ended otherwise than done, `SlowReader`, and `LogUnavailable`.
    """

    def __init__(
        self,
        core: Core,
        name: str,
        *,
        after: str | None = None,
        skip: int = 0,
        gap: str | None = None,
        history: int = 0,
        max_age: float | None = None,
        on_slow: OnSlow = "cut",
        channel: bool = False,
    ) -> None:
        if after is not None and not isinstance(after, str):
            raise TypeError(
                f"after must be the id of an item, 'now' or None, got {type(after).__name__}: "
                f"{after!r:.60}; pass last_event_id(request)"
            )
        check_gap(gap)
        self._core = core
        self._name = name
        self._is_channel = channel
        self._after = after
        self._skip = skip
        self._gap = gap
        self._history = history
        self._max_age = max_age
        self._on_slow = on_slow
        # How far behind a reader of a channel may be.
        self._window = history or WINDOW
        self._format: RecordFormat = ItemFormat()
        self._encodes = False
        self.position: str = ""
        """The id of the last item that was given, or the id after which the reader began."""
        self._page: deque[Record] = deque()
        self._page_size = PAGE
        # Whether it has come up to the tail and takes what others take, too.
        self._flows = False
        self._pending: deque[Any] = deque()
        self._tail: Tail | None = None
        # An index into the tail, once the reader has come up to it.
        self._index = -1
        # Up to here a burst came while it waited, which it may take at its own pace.
        self._granted = 0
        self._signal: loop.Signal | None = None
        self._start: ResponseStart | None = None
        self._closed = False

    def use_encoder(self, encoder: Any) -> None:
        """Give bytes from now on, as this encoder of a response would encode the items."""
        self._format = format_for(encoder)
        self._encodes = True
        if isinstance(encoder, SSEEncoder):
            encoder.expect_ids()

    @property
    def _can_tell_gaps(self) -> bool:
        return self._format.has_events or not self._encodes

    # before the start

    async def open(self) -> ResponseStart:
        """Find the place to read from; the start of the response."""
        if self._start is not None:
            return self._start
        core, name, channel = self._core, self._name, self._is_channel
        core.check_running()
        info = await core.info(name, channel=channel)
        if info is None:
            raise UnknownStream(name)
        with in_time():
            has_gap = await self._find_position(info)
        has_all = self._after is not None and self.position == info.last and not has_gap
        if info.end is not None and has_all:
            return self._started(204, {"Stream-State": end_state(info.end)[0]})
        self._signal = loop.make_signal()
        self._tail = await core.hold_for_reader(self._name, info, channel, self._window)
        if self._encodes and (opening := self._format.opening(self.position)) is not None:
            self._pending.append(opening)
        return self._started(None, {"Stream-After": self.position})

    def _started(self, status: int | None, headers: dict[str, str]) -> ResponseStart:
        self._start = ResponseStart(status, headers)
        return self._start

    async def _find_position(self, info: Info) -> bool:
        """Set where to begin; whether items before that are missing."""
        after, window = self._after, self._history
        if self._is_channel and not window and after is not None:
            # Those who come back find what a reader may be behind; others begin with what comes.
            window = WINDOW
        place = Place(self._core, self._name, self._is_channel, window, self._max_age)
        if after is None or after == "now":
            self.position = info.last if after else await place.oldest(info)
            return False
        try:
            self.position, page = await place.after(info, after, self._skip)
        except Gone:
            if self._gap != "event" or not self._can_tell_gaps:
                raise StreamGap(after) from None
            self.position = await place.oldest(info)
            self._pending.append(self._format.gap(after, self.position))
            return True
        self._page.extend(page)
        return False

    # the items

    def __aiter__(self) -> Follow:
        return self

    async def __anext__(self) -> Any:
        if self._start is None:
            await self.open()
        tail = self._tail
        if tail is None:
            return await self._end_unread()
        if self._flows and tail.error is None:
            # The way of thousands of readers, an item each: `_next` does the same.
            if self._index == tail.top:
                assert self._signal is not None
                tail.waiting[self._signal] = None
                await self._signal.wait()
                self._granted = tail.top
            if tail.flows_at(self._index) and tail.top - self._granted <= self._window:
                chunk, self._index, self.position = tail.chunk(self._format, self._index)
                return chunk
            self._flows = False
        return await self._next(tail)

    async def _next(self, tail: Tail) -> Any:
        if not self._pending:
            self._check_pace(tail)
        while True:
            if self._pending:
                return self._pending.popleft()
            if self._page or self._index < tail.base:
                if await self._reach_tail(tail):
                    continue
                found = self._take_page()
            elif self._index < tail.top:
                found = self._take(tail)
            else:
                await self._wait(tail)
                continue
            if found is not None:
                return found

    async def _wait(self, tail: Tail) -> None:
        if tail.error is not None:
            self.release()
            raise tail.error
        assert self._signal is not None
        await tail.wait(self._signal)
        self._granted = tail.top

    def _take(self, tail: Tail) -> Any:
        """What the tail has for this reader; None for a record that is nothing to give."""
        record = tail.records[self._index - tail.base]
        if record.kind == END:
            if record is not tail.end:
                # The channel was closed, and goes on.
                self._index += 1
                return None
            self._finish(record)
        if self._encodes and self._format.shared:
            self._flows = True
            chunk, self._index, self.position = tail.chunk(self._format, self._index)
            return chunk
        self._index += 1
        self.position = record.id
        return self._format.encode(record)

    def _finish(self, record: Record) -> None:
        state, reason = end_state(record)
        self.release()
        if state == "done":
            raise StopAsyncIteration
        raise RunFailed(self._name, state, reason)

    async def _end_unread(self) -> Any:
        """Nothing was to be read: the end, as whoever reads to it gets it."""
        info = None if self._closed else await self._core.info(self._name, channel=self._is_channel)
        if info is not None and info.end is not None:
            self._finish(info.end)
        raise StopAsyncIteration

    # what is older than the tail

    async def _reach_tail(self, tail: Tail) -> bool:
        """Whether the tail has all that comes next; else there is a page of what is older."""
        if self._page:
            return False
        if self.position > tail.last:
            # A page may be ahead of the tail, which then brings the same records again.
            await self._wait(tail)
            return True
        if self.position >= tail.start:
            self._index = tail.index_after(self.position)
            self._granted = tail.top
            return True
        self._index = -1
        try:
            await self._read_page(self._page_size)
        except Gone:
            if not self._is_channel:
                raise StreamGap(self.position) from None
            self._fall_behind(tail)
            return True
        if not self._page:
            # The tail began at a record that the log no longer has.
            raise StreamGap(self.position)
        return False

    async def _read_page(self, limit: int) -> None:
        records = await self._core.log.read(
            self._name, self.position, min(limit, LARGEST_PAGE), channel=self._is_channel
        )
        self._page.extend(records)
        if records and sum(len(record.data) for record in records) < CHUNK:
            self._page_size = min(self._page_size * 2, LARGEST_PAGE)

    def _take_page(self) -> Any:
        """A chunk of the page, or one item; None for a record that is nothing to give."""
        parts: list[bytes] = []
        size = 0
        page, format_ = self._page, self._format
        while page and size < CHUNK:
            record = page[0]
            if record.kind == END:
                if self._is_channel and len(page) > 1:
                    self.position = page.popleft().id
                    continue
                if parts:
                    break
                if self._is_channel:
                    self._after_closed_channel(record)
                    return None
                self._finish(record)
            page.popleft()
            self.position = record.id
            if not (self._encodes and format_.shared):
                return format_.encode(record)
            parts.append(format_.encode(record))
            size += len(parts[-1])
        return b"".join(parts) if parts else None

    def _after_closed_channel(self, record: Record) -> None:
        # The last of its page: whether more followed is known to the tail.
        assert self._tail is not None
        if record.id >= self._tail.last:
            self._finish(record)
        self.position = record.id
        self._page.clear()

    # readers that are slow

    def _check_pace(self, tail: Tail) -> None:
        """A reader who waited may be given any burst; one who comes late, its window at most."""
        behind = tail.top - max(self._index, self._granted)
        if not self._is_channel or self._index < 0 or behind <= self._window:
            return
        self._fall_behind(tail)

    def _fall_behind(self, tail: Tail) -> None:
        if self._on_slow == "cut" or (self._on_slow == "gap" and not self._can_tell_gaps):
            self.release()
            raise SlowReader(self._name, self._window)
        left_at = self.position
        keep = 1 if self._on_slow == "latest" else self._window
        self._index = max(tail.top - keep, tail.base)
        self._granted = tail.top
        first = self._index - tail.base
        self.position = tail.records[first - 1].id if first else tail.start
        if self._on_slow == "gap":
            self._pending.append(self._format.gap(left_at, self.position))

    # the end

    def release(self) -> None:
        """Let go of the tail; the reader no longer counts."""
        if self._tail is not None:
            tail, self._tail = self._tail, None
            if self._signal is not None:
                tail.waiting.pop(self._signal, None)
            self._closed = True
            self._core.release_reader(tail)

    async def aclose(self) -> None:
        """Leave: the run goes on, as far as its `linger` says."""
        self._closed = True
        self.release()
