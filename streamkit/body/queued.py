"""What the bodies share whose chunks come through a queue."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any

from streamkit import loop
from streamkit.body.base import Coding
from streamkit.body.queue import Queue, ThreadSignal
from streamkit.closing import name_of

__all__ = ["QueuedBody"]


class QueuedBody:
    """The reading side, in a task; a subclass fills the queue."""

    queue: Queue
    _content: Any
    _signal: loop.Signal
    _started = False
    _is_first = True

    @property
    def name(self) -> str:
        """What its author calls the content, for the log."""
        return name_of(self._content)

    @property
    def finished(self) -> bool:
        return self._started and self.queue.drained

    @property
    def error(self) -> BaseException | None:
        return self.queue.error if self._started else None

    def start(self, coding: Coding, reader: ThreadSignal | None = None) -> None:
        raise NotImplementedError  # pragma: no cover - a subclass has it

    def stop(self) -> bool:
        raise NotImplementedError  # pragma: no cover - a subclass has it

    async def ready(self) -> list[Any]:
        queue = self.queue
        while queue.is_idle():
            await self._signal.wait()
        # The first chunk leaves alone: the client waits for it.
        first, self._is_first = self._is_first, False
        return queue.take(1 if first else None)

    def shield(self, sending: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        return sending

    async def aclose(self) -> None:
        if not self._started:
            self.start(Coding())
        self.stop()
        while not self.queue.finished:
            self.queue.take()
            if self.queue.is_idle():
                await self._signal.wait()
        self.queue.take()
