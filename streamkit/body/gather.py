"""Takes, encodes and gathers the items of async content, until a batch is complete."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Generator
from types import coroutine
from typing import Any

from streamkit.body.base import (
    CHECK_EVERY,
    END,
    ITEM_WEIGHT,
    LOOP_SLICE,
    Coding,
    Pace,
    blame,
    encode_first,
)
from streamkit.body.following import async_followed, cancel_at_yield
from streamkit.closing import close_async, first_of, name_of

__all__ = ["PAUSED", "CancelledAtYield", "Gatherer", "Mark"]


class Mark:
    """What a coroutine yields to the one who steps it, instead of a future."""


# A batch is complete; the content waits at its `yield`.
PAUSED = Mark()


class CancelledAtYield(BaseException):
    """Thrown at a pause: a scope that the content holds around its `yield` cancels it."""


class Gatherer:
    """The coroutines that run and close the content; whoever steps them takes the chunks."""

    def __init__(self, content: AsyncIterable[Any]) -> None:
        self._content = content
        self._iterator: AsyncIterator[Any] | None = None
        self._coding: Coding | None = None
        self._chunks: list[Any] = []
        # The size of `_chunks`, as far as it was counted.
        self._gathered = 0
        self._is_first = True
        self._pace = Pace(LOOP_SLICE)
        # Whether the loop has its turn before the content goes on.
        self._yields = False
        # Whether the content is being closed, which is left alone.
        self._closing = False
        self.stopped = False
        self.error: BaseException | None = None

    @property
    def name(self) -> str:
        """What its author calls the content, for the log."""
        return name_of(self._content)

    async def _close_content(self, error: BaseException | None) -> None:
        self.error, self._closing = error, True
        self._add_error(await close_async(self._iterator, self._content))

    def _add_error(self, error: BaseException | None) -> None:
        self.error = first_of(self.error, error)

    async def _take_items(self) -> None:
        """Take, encode and gather all items."""
        coding, pace = self._coding, self._pace
        assert coding is not None
        encode, measure = coding.encode, coding.measure
        exact, quick = coding.exact, coding.quick
        data = await self._take_first(coding)
        iterator: Any = self._iterator
        item: Any = None
        added = 0
        try:
            while data is not END:
                try:
                    if data:
                        self._chunks.append(data)
                        size = measure(data) + ITEM_WEIGHT
                        if self._batch_is_complete(size) and await self._pause():
                            return
                    async for item in iterator:
                        data = quick(item) if type(item) is exact else encode(item)
                        if data:
                            self._chunks.append(data)
                            added += measure(data)
                        added += ITEM_WEIGHT
                        if added >= pace.allowed:
                            if self._batch_is_complete(added) and await self._pause():
                                return
                            added = 0
                except CancelledAtYield as cancelled:
                    cancellation: BaseException = cancelled.args[0]
                else:
                    break
                item = await cancel_at_yield(iterator, cancellation)
                data = END if item is END else encode(item)
        except Exception as exc:
            blame(item, exc)
            raise
        if not self.stopped and (tail := coding.finish()):
            self._chunks.append(tail)

    async def _take_first(self, coding: Coding) -> Any:
        """The chunk of the first item, empty for a `ResponseStart`; `END` if there is none."""
        if self.stopped:
            return END
        self._iterator = iterator = async_followed(aiter(self._content))
        item = await anext(iterator, END)
        if item is END:
            return END
        data = encode_first(coding, item)
        return b"" if data is END else data

    @coroutine
    def _pause(self) -> Generator[Any, None, bool]:
        """Let a complete batch be sent; whether the content is to stop."""
        yield PAUSED
        self._pace.begin()
        return self.stopped

    def _batch_is_complete(self, added: int) -> bool:
        if self.stopped:
            return True
        self._gathered += added
        if self._is_first and self._chunks:
            # The first chunk leaves alone: the client waits for it.
            self._is_first = False
            return True
        pace = self._pace
        if pace.until < 0 and added < CHECK_EVERY:
            # It may come alone, and is not worth a look at the clock: the next one is.
            pace.begin()
            return False
        assert self._coding is not None
        self._yields = pace.is_over() or self._gathered >= self._coding.max_buffer
        return self._yields
