"""What `follow` gives: content for a response, which reads a stream from where its client was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from streamkit.encoders.sse import SSEEncoder
from streamkit.live.body import ReaderBody
from streamkit.live.checks import check_gap
from streamkit.live.core import Core, in_time
from streamkit.live.errors import Gone, StreamGap, UnknownStream
from streamkit.live.formats import ItemFormat, RecordFormat, format_for
from streamkit.live.log import WINDOW, Info
from streamkit.live.place import Place
from streamkit.live.reader import OnSlow, Reader, raise_end
from streamkit.live.records import Record, end_state
from streamkit.start import ResponseStart

__all__ = ["Follow"]


class Follow(AsyncIterator[Any]):
    """Follows a run or a channel; made by `follow`, and closed by the response it is given to.

    Content for `SSEStreamingResponse`, `JSONLinesStreamingResponse`, `JSONArrayStreamingResponse`
    and plain responses. It can also be iterated with `async for`: it then gives the items, and
    `position` is the id of the last one; close it with `aclose()`.

    A response awaits `open()` before its start. It raises `UnknownStream` (404), `StreamGap` (410)
    and `LogUnavailable` (503), and gives a 204 where nothing is left to send. Iterating raises
    `RunFailed` where the run ended otherwise than done, `SlowReader`, and `LogUnavailable`.
    """

    # There are thousands of them.
    __slots__ = (
        "_after",
        "_closed",
        "_core",
        "_encodes",
        "_format",
        "_gap",
        "_history",
        "_is_channel",
        "_max_age",
        "_missed",
        "_name",
        "_on_slow",
        "_position",
        "_reader",
        "_skip",
        "_start",
    )

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
        self._on_slow: OnSlow = on_slow
        self._format: RecordFormat = ItemFormat()
        self._encodes = False
        self._position: str = ""
        # The cursor after which items are missing.
        self._missed: str | None = None
        self._start: ResponseStart | None = None
        self._reader: Reader | None = None
        self._closed = False

    @property
    def position(self) -> str:
        """The id of the last item that was given, or the id after which the reader began."""
        return self._position if self._reader is None else self._reader.position

    # in a response

    def use_encoder(self, encoder: Any) -> None:
        """Give bytes from now on, as this encoder of a response would encode the items."""
        self._format = format_for(encoder)
        self._encodes = True
        if isinstance(encoder, SSEEncoder):
            encoder.expect_ids()
        if self._reader is not None:
            # It was opened before it was given to a response.
            if self._missed is not None and not self._can_tell_gaps:
                self.release()
                raise StreamGap(self._missed)
            self._reader.use_format(self._format, self._encodes, self._news())

    @property
    def _can_tell_gaps(self) -> bool:
        return self._format.has_events or not self._encodes

    def _news(self) -> list[Any]:
        """What comes before the items."""
        news = []
        if self._missed is not None:
            news.append(self._format.gap(self._missed, self._position))
        if self._encodes and (opening := self._format.opening(self._position)) is not None:
            news.append(opening)
        return news

    def make_body(self) -> ReaderBody:
        """What drives this content in a response."""
        return ReaderBody(self)

    # before the start

    async def open(self) -> ResponseStart:
        """Find the place to read from, and be a reader; the start of the response."""
        if self._start is None:
            info, page, start = await self._find()
            if start.status_code is None:
                core, window = self._core, self._history or WINDOW
                tail = await core.hold_for_reader(self._name, info, self._is_channel, window)
                self._reader = Reader(core, tail, self._position, page, window, self._on_slow)
                self._reader.use_format(self._format, self._encodes, self._news())
            self._start = start
        return self._start

    async def look(self) -> ResponseStart:
        """The start of the response, without being a reader."""
        return (await self._find())[2]

    async def _find(self) -> tuple[Info, list[Record], ResponseStart]:
        """What there is of the stream, what was read for the place, and the start."""
        self._core.check_running()
        info = await self._core.info(self._name, channel=self._is_channel)
        if info is None:
            raise UnknownStream(self._name)
        with in_time():
            page = await self._find_position(info)
        # An end has an id, too.
        has_all = self._after is not None and self._position >= info.last and self._missed is None
        if info.end is not None and has_all:
            start = ResponseStart(204, {"Stream-State": end_state(info.end)[0]})
        else:
            start = ResponseStart(None, {"Stream-After": self._position})
        return info, page, start

    async def _find_position(self, info: Info) -> list[Record]:
        """Set where to begin, and whether items before that are missing; what was read for it."""
        after, window = self._after, self._history
        if self._is_channel and not window and after is not None:
            # Those who come back find what a reader may be behind; others begin with what comes.
            window = WINDOW
        place = Place(self._core, self._name, self._is_channel, window, self._max_age)
        if after is None or after == "now":
            self._position = info.last if after else await place.oldest(info)
            return []
        try:
            self._position, page = await place.after(info, after, self._skip)
        except Gone:
            if self._gap != "event" or not self._can_tell_gaps:
                raise StreamGap(after) from None
            self._missed = after
            self._position = await place.oldest(info)
            return []
        return page

    # the items

    def __aiter__(self) -> Follow:
        return self

    async def __anext__(self) -> Any:
        reader = await self.reader()
        try:
            while (found := reader.take()) is None:
                await reader.wait()
        except Exception:
            # The end of the stream, or what cuts it: no reader any more.
            self.release()
            raise
        return found

    async def reader(self) -> Reader:
        """The reader; raises how the stream ended where there was nothing to read."""
        if self._start is None:
            await self.open()
        if self._reader is not None:
            return self._reader
        info = None if self._closed else await self._core.info(self._name, channel=self._is_channel)
        if info is not None and info.end is not None:
            raise_end(self._name, info.end)
        raise StopAsyncIteration

    # the end

    def release(self) -> None:
        """Let go of the stream; the reader no longer counts."""
        self._closed = True
        if self._reader is not None:
            self._position = self._reader.position
            reader, self._reader = self._reader, None
            reader.release()

    async def aclose(self) -> None:
        """Leave: the run goes on, as far as its `linger` says."""
        self.release()
