"""Takes, encodes and gathers the items of async content, until a batch is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Generator
from types import coroutine
from typing import Any

from streamkit.body.base import END, ITEM_WEIGHT, LOOP_SLICE, Coding, Pace, blame, encode_first
from streamkit.body.following import async_followed, cancel_at_yield
from streamkit.closing import close_async, first_of, name_of

__all__ = ["PAUSED", "CancelledAtYield", "Gatherer", "Mark"]


class Mark:
    """What `_drive` yields to the one who steps it, instead of a future."""


# A batch is complete; the content waits at its `yield`.
PAUSED = Mark()


class CancelledAtYield(BaseException):
    """Thrown at a pause: a scope that the content holds around its `yield` cancels it."""


class Gatherer:
    """The coroutine that runs the content; whoever steps it takes the chunks."""

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

    async def _drive(self) -> None:
        """Take, encode and gather all items, and close the content; sets `error`."""
        error: BaseException | None = None
        try:
            if not self.stopped:
                await self._take_items()
        except GeneratorExit:
            # By the content, or since this is closed with its loop: who steps it can tell.
            raise
        except BaseException as exc:
            # That it was cancelled, as `stop` asked for, is no failure.
            asked = self.stopped and isinstance(exc, asyncio.CancelledError)
            error = None if asked else exc
        await self._close_content(error)

    async def _close_content(self, error: BaseException | None) -> None:
        self.error, self._closing = error, True
        closing = await close_async(self._iterator, self._content)
        self.error = first_of(error, closing)

    async def _take_items(self) -> None:
        coding, pace = self._coding, self._pace
        assert coding is not None
        encode, measure = coding.encode, coding.measure
        exact, quick = coding.exact, coding.quick
        self._iterator = iterator = async_followed(aiter(self._content))
        item = await anext(iterator, END)
        data = END if item is END else encode_first(coding, item)
        added = 0
        try:
            while item is not END:
                try:
                    if data is not END and data:
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
                data = b"" if item is END else encode(item)
        except Exception as exc:
            raise blame(item, exc) from exc.__cause__
        if tail := coding.finish():
            self._chunks.append(tail)

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
        assert self._coding is not None
        self._yields = self._pace.is_over() or self._gathered >= self._coding.max_buffer
        return self._yields
