"""Async content that is read by the task that sends it: a source's, on trio."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Coroutine
from typing import Any

import anyio

from streamkit import loop
from streamkit.body.base import END, Coding
from streamkit.closing import close_async, first_of, name_of

__all__ = ["DirectBody"]


class DirectBody:
    """One chunk at a time, and nothing ahead; the chunks of a source are large."""

    finished: bool = False
    error: BaseException | None = None

    def __init__(self, content: AsyncIterable[Any]) -> None:
        self._content = content
        self._iterator: AsyncIterator[Any] | None = None
        self._stopped = False

    @property
    def name(self) -> str:
        """What its author calls the content, for the log."""
        return name_of(self._content)

    def start(self, coding: Coding) -> None:
        self._coding = coding
        self._iterator = aiter(self._content)

    async def ready(self) -> list[Any]:
        assert self._iterator is not None
        try:
            # Two turns of the loop, in which a disconnect is noticed: neither a read from memory
            # nor a send to a client that has left ever waits.
            await loop.checkpoint()
            await loop.checkpoint()
            while not self._stopped:
                item = await anext(self._iterator, END)
                if item is END:
                    break
                if data := self._coding.encode(item):
                    return [data]
        except BaseException as exc:
            asked = self._stopped and isinstance(exc, anyio.get_cancelled_exc_class())
            if asked:
                raise
            self.error = exc
        await self.aclose()
        return []

    def shield(self, sending: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        return sending

    def stop(self) -> bool:
        self._stopped = True
        return not self.finished

    async def aclose(self) -> None:
        self._stopped = True
        if not self.finished:
            closing = await close_async(self._iterator, self._content)
            self.error = first_of(self.error, closing)
            self.finished = True
